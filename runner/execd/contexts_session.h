// ContextSession: one interpreter of a box, from outside: its channel (session_wire.h), its output
// and its end.
//
// RunCell, Fork, AwaitReady and HasEnded: one thread at a time. Interrupt and End: any thread, any
// time.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/execd/byte_budget.h"
#include "runner/execd/event.h"
#include "runner/execd/files.h"
#include "runner/execd/session_wire.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

class ContextSession {
 public:
  // All must outlive it. The process has its channel; its standard input is closed. `frame_room`:
  // for frames of all sessions of the box, see FrameReader.
  ContextSession(sandbox::BoxProcess process, const sandbox::Box& box, Files& files,
                 const Clock& clock, ByteBudget& frame_room);
  ContextSession(const ContextSession&) = delete;
  ContextSession& operator=(const ContextSession&) = delete;

  // kUnavailable, with why, when it does not say "ready" in time.
  Result<void> AwaitReady(Deadline deadline);
  [[nodiscard]] bool forks() const { return forks_; }

  // Puts what a cell says, with a kPing at once and then every 3 s, up to and without its
  // kExecutionComplete: kStatus and kError go before it, and all output before those. Drains and
  // drops once the sink listens no more, and not faster than 100 MiB a second then. Why the session
  // has ended, if it has.
  std::optional<std::string> RunCell(const std::string& code, EventSink& sink);

  // A copy of it that is ready. kUnavailable: the session cannot, and says why, or has ended.
  Result<std::unique_ptr<ContextSession>> Fork(Deadline deadline);

  // It is gone, or has hung up.
  [[nodiscard]] bool HasEnded();
  // In words: "exited with 3", "killed: out of memory". Once it has ended.
  std::string WhyEnded();

  // SIGINT to its process group, once the cell that somebody is about to run has been sent. Fine
  // when there is none any more.
  Result<void> Interrupt();
  // Nobody runs anything now: an interrupt that was too early for a cell is none for the next.
  void ForgetInterrupt();
  // Closes the conversation, so that RunCell returns; a session that runs nothing ends by that.
  // Does not wait for anything.
  void HangUp();
  // Kills its process group, as far as the box lets us. False: it does not, and kept us waiting.
  bool Kill();
  // Both.
  void End();

 private:
  struct Output {
    UniqueFd pipe;
    Event::Type type = Event::Type::kStdout;
    std::string held;  // the beginning of a character whose end has not come yet
  };
  class Listener;

  // kFrame, or why there is none: kDeadlineExceeded, or kUnavailable when it has ended.
  Result<nlohmann::json> NextFrame(Deadline deadline);
  // At most so much of what is there. False: the channel has come to its end.
  bool ReadChannel(std::size_t most);
  std::string FindWhyEnded();
  Result<void> SendInterrupt();
  // How many bytes came.
  static std::size_t Drain(Output& output, Listener& listener);
  // False: it breaks the rules of the wire.
  static bool Handle(nlohmann::json message, Listener& listener, bool* done,
                     std::optional<Event>* error);
  // It has been sending a large frame for long and says nothing more, while room is scarce.
  bool StallsAFrame();

  const sandbox::Box& box_;
  Files& files_;
  const Clock& clock_;
  ByteBudget& frame_room_;
  const UniqueFd status_;  // none for copies
  const UniqueFd channel_;
  pid_t pid_;
  Output stdout_;
  Output stderr_;
  FrameReader frames_;
  std::optional<SteadyTime> frame_began_;  // that HoldsPart()
  bool forks_ = false;
  bool broken_ = false;
  std::string why_ended_;
  std::uint64_t oom_kills_seen_;
  std::atomic<bool> ended_by_us_{false};
  std::mutex interrupt_mutex_;
  bool cell_is_there_ = false;     // by interrupt_mutex_
  bool interrupt_wanted_ = false;  // by interrupt_mutex_
};

}  // namespace forkbox::execd
