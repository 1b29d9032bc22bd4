// ForkserverClient: starts forkbox-forkserver and asks it for forks. The unprivileged side of
// protocol.h. Thread-safe once Connect() has been called.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/sandbox/box.h"
#include "runner/sandbox/forkserver/config.h"
#include "runner/sandbox/protocol.h"
#include "schema/execution.h"

namespace forkbox::sandbox {

// A forked, isolated child that waits for its job. Closing `status` has it torn down.
struct ReadyFork {
  UniqueFd status;
  UniqueFd channel;
  UniqueFd stdin_pipe;
  UniqueFd stdout_pipe;
  UniqueFd stderr_pipe;
  UniqueFd cpu_usage;
  UniqueFd memory_peak;
  UniqueFd memory_events;
};

// A fork in a box that waits for its job: of the fields the first five.
struct JoinedFork {
  ReadyFork fork;
  pid_t pid = -1;  // as programs in the box see it
};

// A box as the forkserver gives it. Closing `lease` has it torn down.
struct OpenedBox {
  std::uint64_t number = 0;  // its name in requests
  UniqueFd lease;
  UniqueFd cpu_usage;
  UniqueFd memory_peak;
  UniqueFd memory_events;
  UniqueFd memory_now;
};

class ForkserverClient {
 public:
  // Starts the process with the caller's privileges; call before they are dropped and before
  // there are threads. As root the forkserver gets root's, else those of a user namespace.
  static Result<std::unique_ptr<ForkserverClient>> Start(const std::string& executable,
                                                         ForkserverConfig config);
  // The forkserver ends, and everything it ever forked with it.
  ~ForkserverClient();
  ForkserverClient(const ForkserverClient&) = delete;
  ForkserverClient& operator=(const ForkserverClient&) = delete;

  // Has the forkserver end: whoever waits for anything of it hears that soon, as kUnavailable.
  void HangUp();

  // Waits for the forkserver's word that it stands and starts the thread that listens to it.
  Result<void> Connect(Deadline deadline);

  struct TemplateState {
    bool ready = false;
    bool known = false;       // it has been heard of at all
    std::string reason;       // last failure
    std::uint64_t heard = 0;  // how often
  };
  [[nodiscard]] TemplateState StateOf(std::size_t template_index) const;
  // Waits until the template is ready or has failed; false at the deadline.
  bool WaitForTemplate(std::size_t template_index, Deadline deadline) const;

  // The template is started, again if it runs, whatever became of it before. StateOf() tells what
  // comes of that from here on. `variant`: 16 hex digits at most, see kVariant.
  Result<void> RestartTemplate(std::size_t template_index, Deadline deadline,
                               std::string_view variant = {});
  // It ends, with what is forked from it, and nothing but RestartTemplate() starts it. Where it
  // ran, the state's reason are its last words.
  Result<void> StopTemplate(std::size_t template_index, Deadline deadline);

  // A fork that has reported itself ready. kUnavailable when the template or forkserver is not.
  // One that is lazy is started and waited for.
  Result<ReadyFork> Fork(std::size_t template_index, const schema::Limits& limits,
                         Deadline deadline);

  Result<OpenedBox> OpenBox(const BoxLimits& limits, Deadline deadline);
  // As Fork(), into a box. A template that is being started, lazy or again, is waited for.
  Result<JoinedFork> Join(std::uint64_t box, std::size_t template_index, Deadline deadline);
  // Returns once all of the box stands still.
  Result<void> Freeze(std::uint64_t box, Deadline deadline);
  Result<void> Thaw(std::uint64_t box, Deadline deadline);

  // Protection bits (protocol.h).
  [[nodiscard]] std::uint32_t protections() const { return protections_; }
  [[nodiscard]] bool alive() const;
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  struct Waiting {
    bool answered = false;
    ControlMessage message;
    std::vector<UniqueFd> fds;
  };

  ForkserverClient() = default;
  void Listen();
  // A successful answer with `fd_count` descriptors.
  Result<Waiting> Ask(ForkRequest request, std::size_t fd_count, Deadline deadline);
  Result<void> Order(RequestKind kind, std::size_t template_index, std::string_view variant,
                     Deadline deadline);
  Waiting AskOnce(ForkRequest* request, Deadline deadline);

  pid_t pid_ = -1;
  UniqueFd control_;
  std::uint32_t protections_ = 0;
  std::mutex send_mutex_;
  mutable std::mutex mutex_;  // guards all below
  mutable std::condition_variable changed_;
  bool gone_ = false;
  std::uint64_t next_request_ = 0;
  std::map<std::uint64_t, Waiting> waiting_;
  std::vector<TemplateState> templates_;
  std::thread listener_;
};

}  // namespace forkbox::sandbox
