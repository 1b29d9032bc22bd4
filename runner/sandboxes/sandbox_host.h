// SandboxHost: the long-lived sandboxes of this process: opens, finds, pauses, renews and ends
// them, and ends by itself what has expired.
//
// Each is a Box with a Daemon over it, a row in the store, an expiry and a token of its own. Rows
// are written before an answer says so. When the host is destroyed all of its sandboxes end, and
// their rows say why.
//
// Thread-safe; calls block.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "runner/execd/daemon.h"
#include "runner/sandbox/box.h"
#include "store/sandbox_store.h"

namespace forkbox::sandboxes {

struct SandboxSpec {
  std::string id;  // UUID, of the caller's making
  std::string owner;
  std::string request;  // see SandboxRecord
  std::vector<std::pair<std::string, std::string>> metadata;
  execd::Environment env;
  std::vector<std::string> entrypoint;  // run in the background once it stands; may be empty
  sandbox::BoxLimits limits;
  std::optional<std::chrono::seconds> timeout = {};  // none: it never expires
  // Every Find() makes it last so long from then on, if that is longer. None: it does not.
  std::optional<std::chrono::seconds> renew_on_access = {};
};

class SandboxHost {
 public:
  struct Options {
    std::string runner_id;
    std::string address;  // "host:port" that clients reach this host's sandboxes at
    std::size_t max_sandboxes = 128;
    std::uint64_t max_memory_bytes = 0;  // of all limits together; 0: not bounded
    execd::Contexts::Options contexts;   // env is each sandbox's
    // Sandboxes of other runners fail when these have not been seen for so long. 0: nobody's do.
    std::chrono::milliseconds runner_lost_after{0};
  };
  using OpenBox = std::function<Result<std::unique_ptr<sandbox::Box>>(const sandbox::BoxLimits&)>;

  SandboxHost(Options options, OpenBox open_box, store::SandboxStore& store, const Clock& clock,
              Log log);
  ~SandboxHost();
  SandboxHost(const SandboxHost&) = delete;
  SandboxHost& operator=(const SandboxHost&) = delete;

  // In place of Options::address, before anything is created.
  void SetAddress(std::string address);

  // Fails the rows that an earlier life of this runner left, and starts the sweeper.
  Result<void> Start();
  // Ends them all; their rows say `reason`.
  void Close(const std::string& reason);

  // Running when it returns. kQueueFull: no room for one more. kUnavailable: it could not be
  // opened.
  Result<store::SandboxRecord> Create(SandboxSpec spec);
  // A new one with environment and limits of that one and a copy of its files; processes and
  // contexts are not copied. `spec` says the rest. As Create(); kNotFound, kConflict while the
  // first is paused.
  Result<store::SandboxRecord> Fork(const std::string& id, SandboxSpec spec);
  Result<void> Delete(const std::string& id);  // kNotFound
  Result<void> Pause(const std::string& id);   // kNotFound, kConflict
  Result<void> Resume(const std::string& id);  // kNotFound, kConflict
  // kNotFound; kConflict for one that never expires; kInvalidArgument for a time that is over.
  Result<void> Renew(const std::string& id, std::int64_t expires_unix_ms);

  // The one of that id, if the token is its own: kNotFound, kUnauthenticated, kConflict while it is
  // paused. Keeps it from being destroyed, not from being ended.
  Result<std::shared_ptr<execd::Daemon>> Find(std::string_view id, std::string_view token);

  [[nodiscard]] std::size_t size() const;
  // How many more there is room for, as far as numbers and limits of memory say.
  struct Room {
    std::size_t sandboxes = 0;
    std::optional<std::uint64_t> memory_bytes;  // none: not bounded
  };
  [[nodiscard]] Room room() const;
  // What one uses now. kNotFound.
  Result<sandbox::BoxUsage> Usage(const std::string& id) const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace forkbox::sandboxes
