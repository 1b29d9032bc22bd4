#include "runner/sandbox/vm/snapshot.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include "runner/sandbox/protocol.h"
#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/vm/launch/launch_qemu.h"
#include "runner/sandbox/vm/qmp.h"
#include "runner/sandbox/wire.h"
#include "schema/utf8.h"

namespace forkbox::sandbox::vm {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kLastWords = 2048;  // that are kept of a stream
constexpr milliseconds kLookAgain{2};     // at how the saving goes: it takes some 10 ms
constexpr milliseconds kEndingTime{5000};
constexpr off_t kMaxStateBytes = 64 << 20;

// Of a pipe the end of what came out of it.
class LastWords {
 public:
  explicit LastWords(const UniqueFd& pipe) : pipe_(pipe.get()) {
    ::fcntl(pipe_, F_SETFL, O_NONBLOCK);
  }
  [[nodiscard]] int fd() const { return open_ ? pipe_ : -1; }

  void Drain() {
    std::array<char, 4096> buffer;
    // A flood is somebody else's turn after a while.
    for (int reads = 0; open_ && reads < 64; ++reads) {
      const ssize_t n = ::read(pipe_, buffer.data(), buffer.size());
      if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
      if (n <= 0) {
        open_ = false;
        return;
      }
      said_.append(buffer.data(), static_cast<std::size_t>(n));
      if (said_.size() > kLastWords) said_.erase(0, said_.size() - kLastWords);
    }
  }
  [[nodiscard]] bool Has(std::string_view words) const {
    return said_.find(words) != std::string::npos;
  }
  [[nodiscard]] std::string Text() const {
    std::string text = schema::ToValidUtf8(said_);
    while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
    return text;
  }

 private:
  const int pipe_;
  bool open_ = true;
  std::string said_;
};

int MillisUntil(Deadline deadline) {
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

// The machine while it boots and is saved.
class Booting {
 public:
  explicit Booting(ReadyFork fork)
      : fork_(std::move(fork)), console_(fork_.stdout_pipe), errors_(fork_.stderr_pipe) {}

  [[nodiscard]] const ReadyFork& fork() const { return fork_; }

  Result<void> UntilReady(Deadline deadline) {
    for (;;) {
      if (auto said = HearAgent(); !said || *said) {
        return said ? Result<void>() : Failed(said.error().code, said.error().message);
      }
      if (ended_) return Failed(ErrorCode::kUnavailable, "QEMU ended before the machine was ready");
      // It should end then (-no-reboot), but on a busy host was seen to boot again and again.
      if (console_.Has("Kernel panic")) {
        return Failed(ErrorCode::kUnavailable, "the guest's kernel panicked");
      }
      if (!Poll(deadline)) {
        return Failed(ErrorCode::kDeadlineExceeded, "the machine was not ready in time");
      }
    }
  }

  Result<void> Save(int monitor, const UniqueFd& state, Deadline deadline) {
    Qmp qmp(monitor);
    if (auto greeted = qmp.Greet(deadline); !greeted) return Failed(greeted.error());
    // Not stopped before: the state would say so, and its forks would stay so.
    struct Step {
      const char* command;
      nlohmann::json arguments;
      std::optional<int> fd;
    };
    const Step steps[] = {
        {"migrate-set-capabilities",
         {{"capabilities", {{{"capability", "x-ignore-shared"}, {"state", true}}}}},
         std::nullopt},
        // By name: a number that QEMU has inherited is taken for what comes in, not for this.
        {"getfd", {{"fdname", "state"}}, state.get()},
        {"migrate", {{"uri", "fd:state"}}, std::nullopt},
    };
    for (const Step& step : steps) {
      auto answer = qmp.Execute(step.command, step.arguments, deadline, step.fd);
      if (!answer) return Failed(answer.error());
    }
    for (;;) {
      auto answer = qmp.Execute("query-migrate", nullptr, deadline);
      if (!answer) return Failed(answer.error());
      const auto status = answer->find("status");
      if (status != answer->end() && *status == "completed") break;
      if (status != answer->end() && (*status == "failed" || *status == "cancelled")) {
        return Failed(ErrorCode::kUnavailable, "QEMU could not save the machine");
      }
      if (steady_clock::now() >= deadline) {
        return Failed(ErrorCode::kDeadlineExceeded, "the machine was not saved in time");
      }
      console_.Drain();
      std::this_thread::sleep_for(kLookAgain);
    }
    (void)qmp.Execute("quit", nullptr, deadline);  // whether it was heard is seen by its end
    channel_open_ = false;                         // the agent has no more to say
    while (!ended_) {
      if (!Poll(deadline)) return Failed(ErrorCode::kDeadlineExceeded, "QEMU does not end");
    }
    return {};
  }

 private:
  // True once it has said that it is ready.
  Result<bool> HearAgent() {
    std::array<char, 4096> buffer;
    for (;;) {
      const ssize_t n =
          channel_open_ ? ::recv(fork_.channel.get(), buffer.data(), buffer.size(), MSG_DONTWAIT)
                        : 0;
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 && errno == EAGAIN) return false;
      if (n <= 0) {
        channel_open_ = false;  // the end of QEMU itself is told by the status socket
        return false;
      }
      auto fed = reader_.Feed(std::string_view(buffer.data(), static_cast<std::size_t>(n)));
      if (!fed) return Fail(ErrorCode::kUnavailable, "the agent: " + fed.error().message);
      const auto frame = reader_.Next();
      if (!frame) continue;
      if (frame->kind == FrameKind::kFailed) {
        auto why = DecodeFailed(frame->body);
        return Fail(ErrorCode::kUnavailable,
                    "the agent: " + (why ? *why : std::string("failed without a reason")));
      }
      if (frame->kind != FrameKind::kReady) {
        return Fail(ErrorCode::kUnavailable, "the agent did not say that it is ready");
      }
      auto ready = DecodeReady(frame->body);
      if (!ready) return Fail(ErrorCode::kUnavailable, "the agent: " + ready.error().message);
      return true;
    }
  }

  // Waits until something is to be heard, and hears what is not the agent's. False at the deadline.
  bool Poll(Deadline deadline) {
    std::array<pollfd, 4> polled{{{channel_open_ ? fork_.channel.get() : -1, POLLIN, 0},
                                  {fork_.status.get(), POLLIN, 0},
                                  {console_.fd(), POLLIN, 0},
                                  {errors_.fd(), POLLIN, 0}}};
    const int ready = ::poll(polled.data(), polled.size(), MillisUntil(deadline));
    if (ready == 0) return false;
    console_.Drain();
    errors_.Drain();
    if (polled[1].revents != 0) {
      StatusMessage status;
      const ssize_t n = RecvPacket(fork_.status.get(), &status, sizeof status, nullptr, nullptr);
      if (n != sizeof status || status.kind != StatusKind::kReady) ended_ = true;
    }
    return true;
  }

  tl::unexpected<Error> Failed(const Error& error) { return Failed(error.code, error.message); }
  tl::unexpected<Error> Failed(ErrorCode code, std::string message) {
    // What it dies of is often said after the socket has been closed, or in the lines that follow.
    const bool more = !channel_open_ || console_.Has("Kernel panic");
    const Deadline soon = steady_clock::now() + (more ? milliseconds(500) : milliseconds(0));
    channel_open_ = false;
    while (!ended_ && Poll(soon)) {
      if (steady_clock::now() >= soon) break;
    }
    console_.Drain();
    errors_.Drain();
    if (const std::string said = errors_.Text(); !said.empty()) message += "; QEMU: " + said;
    if (const std::string said = console_.Text(); !said.empty()) message += "; console: " + said;
    return Fail(code, std::move(message));
  }

  ReadyFork fork_;
  LastWords console_;
  LastWords errors_;
  FrameReader reader_{Reads::kAnswers};
  bool channel_open_ = true;
  bool ended_ = false;
};

Result<UniqueFd> MemoryFile(const char* name, std::uint64_t bytes) {
  UniqueFd file(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file || ::ftruncate(file.get(), static_cast<off_t>(bytes)) != 0) {
    return FailErrno("a memory file");
  }
  return file;
}

Result<void> Seal(const UniqueFd& file) {
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) !=
      0) {
    return FailErrno("seal the template");  // EBUSY: somebody has it mapped for writing
  }
  return {};
}

}  // namespace

Result<Snapshot> TakeSnapshot(ForkserverClient& client, std::size_t launcher_index,
                              const schema::Limits& cell, const Machine& machine,
                              Deadline deadline) {
  auto ram = MemoryFile("machine", machine.ram_bytes);
  if (!ram) return Fail(ram.error());
  auto state = MemoryFile("state", 0);
  if (!state) return Fail(state.error());
  auto fork = client.Fork(launcher_index, cell, deadline);
  if (!fork) return Fail(fork.error());
  Booting booting(std::move(*fork));
  auto monitor = LaunchQemu(booting.fork(), BootCommand(machine, kLaunchedFds, kSnapshotSandbox),
                            ram->get(), state->get());
  if (!monitor) return Fail(monitor.error());
  if (auto ready = booting.UntilReady(deadline); !ready) return Fail(ready.error());
  const Deadline saved_by = std::max(deadline, steady_clock::now() + kEndingTime);
  if (auto saved = booting.Save(monitor->get(), *state, saved_by); !saved)
    return Fail(saved.error());

  struct stat info {};
  if (::fstat(state->get(), &info) != 0 || info.st_size == 0 || info.st_size > kMaxStateBytes) {
    return Fail(ErrorCode::kUnavailable, "QEMU saved a state of an unlikely size");
  }
  for (const auto* file : {&*ram, &*state}) {
    if (auto sealed = Seal(*file); !sealed) return Fail(sealed.error());
  }
  return Snapshot{std::move(*ram), std::move(*state)};
}

}  // namespace forkbox::sandbox::vm
