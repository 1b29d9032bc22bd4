// Ptys: terminals of one box (reference 10), without the WebSocket they are shown over.
//
// A session starts its bash when the first client connects; its output goes on into a ring of
// 1 MiB while nobody looks. The terminal itself stays in the box, and a program there relays it
// (pty/pty_wire.h): no descriptor of the box ever comes out.
//
// At most 32 sessions a box, each with a command of at most 128 KiB; one that runs holds 5
// descriptors. kUnavailable where the host has none left, or no thread. Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "runner/execd/descriptor_budget.h"
#include "runner/execd/files.h"
#include "runner/execd/path_expansion.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

class Ptys {
 public:
  // All must outlive it. `env` is the box's. `budget`: shared with whatever else runs in the box;
  // null: one of its own.
  Ptys(Environment env, sandbox::Box& box, Files& files, const Clock& clock, Log log,
       DescriptorBudget* budget = nullptr);
  // Kills what runs; a few seconds at the most, whatever the box does.
  ~Ptys();
  Ptys(const Ptys&) = delete;
  Ptys& operator=(const Ptys&) = delete;

  // Starts nothing yet. `cwd` absolute, made if it is not there. Returns the id, a UUID.
  Result<std::string> Create(const std::string& cwd, const std::string& command);

  struct Status {
    bool running = false;
    std::uint64_t output_offset = 0;  // bytes ever printed
  };
  [[nodiscard]] std::optional<Status> Get(const std::string& id) const;
  Result<void> Delete(const std::string& id);  // kNotFound; kills what runs

  // What a connected client is told, in order, from one thread at a time. `false` says that the
  // client has gone. The text of OnError is one of the reference's codes.
  class Client {
   public:
    virtual ~Client() = default;
    virtual bool OnReplay(std::uint64_t offset, std::string_view bytes) = 0;
    virtual bool OnConnected(bool is_terminal) = 0;
    virtual bool OnOutput(bool is_stderr, std::string_view bytes) = 0;
    virtual void OnExit(int exit_code) = 0;
    virtual void OnTakenOver() = 0;
    virtual void OnError(std::string_view code, std::string_view message) = 0;
  };
  struct Attach {
    bool terminal = true;  // else three pipes; counts when it starts
    std::uint64_t since = 0;
    bool takeover = false;
  };
  // One connection, until it is destroyed. `client` must outlive it. kNotFound; kConflict when
  // somebody else is connected and there is no takeover; kQueueFull and kUnavailable when it does
  // not start.
  class Connection {
   public:
    virtual ~Connection() = default;
    virtual Result<void> Input(std::string_view bytes) = 0;
    virtual void Resize(std::uint16_t columns, std::uint16_t rows) = 0;
    virtual void Signal(int number) = 0;  // to its process group
  };
  Result<std::unique_ptr<Connection>> Connect(const std::string& id, const Attach& attach,
                                              Client& client);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forkbox::execd
