// PtySession: one terminal (or three pipes) of a box, with the bash behind it, the newest of what
// it printed, and the one client that looks at it.
//
// Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/execd/descriptor_budget.h"
#include "runner/execd/files.h"
#include "runner/execd/leftover_pipes.h"
#include "runner/execd/output_log.h"
#include "runner/execd/path_expansion.h"
#include "runner/execd/pty/pty_wire.h"
#include "runner/execd/ptys.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

class PtySession : public std::enable_shared_from_this<PtySession> {
 public:
  struct Surroundings {
    const Environment& env;
    sandbox::Box& box;
    Files& files;
    const Clock& clock;
    LeftoverPipes& leftovers;
    DescriptorBudget& budget;  // of what runs: kDescriptors each
  };
  // Of one that runs: its end, channel or stderr, stdin, stdout, and stop_.
  static constexpr std::size_t kDescriptors = 5;

  // `surroundings` must outlive it.
  PtySession(std::string cwd, std::string command, const Surroundings& surroundings);
  ~PtySession();
  PtySession(const PtySession&) = delete;
  PtySession& operator=(const PtySession&) = delete;

  // As those of Ptys.
  Ptys::Status status() const;
  Result<std::unique_ptr<Ptys::Connection>> Connect(const Ptys::Attach& attach,
                                                    Ptys::Client& client);
  // For good: kills what runs; nothing is started any more. Its client is told of the exit.
  void End();
  // At once: what runs is left to be killed by its thread, and nothing is started any more.
  void Stop();
  // Stop(), and nothing here uses its surroundings any more. Takes a few seconds at the most where
  // the box does what it can against it.
  void Finish();

 private:
  class Connection;

  Result<void> Start(bool terminal);
  Result<sandbox::BoxProcess> StartTerminal(sandbox::BoxProgram program);
  Result<void> AwaitTerminal(const sandbox::BoxProcess& process);
  void Follow(sandbox::BoxProcess process, DescriptorBudget::Lease lease);
  bool Tell(PtyMessageKind kind, int first, int second = 0);  // with mutex_
  void WakeThread();                                          // with mutex_
  void LetGo();                                               // with mutex_
  void TakeOutput(bool is_stderr, std::string_view bytes);
  void Disconnect(std::uint64_t connection);
  Result<void> Input(std::uint64_t connection, std::string_view bytes);
  void Resize(std::uint64_t connection, std::uint16_t columns, std::uint16_t rows);
  void Signal(std::uint64_t connection, int number);

  const std::string cwd_;
  const std::string command_;
  const Surroundings around_;
  // Held while the client is told something, which may take as long as the client takes; so nothing
  // is printed between a replay and what follows it. Taken before mutex_.
  std::timed_mutex telling_;
  Ptys::Client* client_ = nullptr;  // by telling_

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  OutputLog output_;  // by mutex_, as all below; appended with telling_ as well
  bool running_ = false;
  bool ended_ = false;
  bool terminal_ = false;
  pid_t pid_ = -1;
  UniqueFd stop_;     // eventfd(2) of what runs or starts: readable, it is killed and let go
  UniqueFd channel_;  // to pty_shell, while a terminal runs
  std::shared_ptr<const UniqueFd> input_;  // of whoever writes to it
  std::uint64_t connection_ = 0;           // of client_; 0: none
  std::uint64_t last_connection_ = 0;

  std::thread thread_;  // follows the process; by telling_
};

}  // namespace forkbox::execd
