#include "runner/sandbox/vm/vm_sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <limits>
#include <optional>
#include <utility>

#include "runner/sandbox/capped_output.h"
#include "runner/sandbox/cgroup_numbers.h"
#include "runner/sandbox/cpu_watch.h"
#include "runner/sandbox/feed.h"
#include "runner/sandbox/process_sandbox.h"
#include "runner/sandbox/protocol.h"
#include "runner/sandbox/vm/agent_protocol.h"
#include "runner/sandbox/vm/fresh_awakening.h"
#include "runner/sandbox/wire.h"
#include "schema/utf8.h"

namespace forkbox::sandbox::vm {
namespace {

using schema::Outcome;
using schema::Reason;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// What a guest says once it has a job is never part of a message of ours: that ends in our log.
constexpr const char* kBrokeProtocol = "the agent in the virtual machine broke the protocol";
constexpr const char* kAgentFailed = "the agent in the virtual machine failed";
constexpr const char* kCouldNotRun = "the agent in the virtual machine could not run the program";

// A machine whose agent has hung up is about to end; how long its status may take to say so.
constexpr milliseconds kBurialTime{5000};
// The socket holds a few hundred KiB. What a machine sends on while that is read is not waited for.
constexpr int kMaxLastReads = 16;
constexpr std::size_t kReadBytes = 64U << 10;

// What QEMU complains about: taken, so that it never waits for us, and thrown away. A guest that
// has got into QEMU writes there what it likes, and what we say ends in our log.
class Complaints {
 public:
  explicit Complaints(UniqueFd pipe) : pipe_(std::move(pipe)) {
    ::fcntl(pipe_.get(), F_SETFL, O_NONBLOCK);
  }
  [[nodiscard]] int fd() const { return pipe_.get(); }

  void Pump() {
    std::array<char, 4096> buffer;
    const ssize_t n = ::read(pipe_.get(), buffer.data(), buffer.size());
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) pipe_.Reset();
  }

 private:
  UniqueFd pipe_;
};

std::string EndOf(int wait_status) {
  if (WIFSIGNALED(wait_status)) return "signal " + std::to_string(WTERMSIG(wait_status));
  return "exit code " + std::to_string(WEXITSTATUS(wait_status));
}

// One run's loop: everything that can happen is an event on one of the descriptors or a deadline.
// Whatever the machine sends, there is an end to it, and no more is kept than the outcome holds.
class MachineRun {
 public:
  // `answers`: a descriptor of the channel to read from; the fork's own is closed once the job is
  // in it.
  MachineRun(ReadyFork* fork, const schema::Limits& limits, schema::EntryKind entry, int cpu_factor,
             milliseconds compile_time, int cancel_fd, std::string job, UniqueFd answers,
             const EventSink& sink)
      : limits_(limits),
        entry_(entry),
        compile_time_(compile_time),
        cancel_fd_(cancel_fd),
        status_(fork->status.get()),
        memory_events_(fork->memory_events.get()),
        sink_(sink),
        cpu_(fork->cpu_usage.get(), limits.cpu * cpu_factor),
        job_(std::move(fork->channel), std::move(job)),
        answers_(std::move(answers)),
        complaints_(std::move(fork->stderr_pipe)),
        out_(limits.output_bytes, schema::EventKind::kStdout, sink),
        err_(limits.output_bytes, schema::EventKind::kStderr, sink),
        start_(steady_clock::now()),
        run_start_(start_),
        deadline_(start_ + limits.wall) {
    ::fcntl(answers_.get(), F_SETFL, O_NONBLOCK);
    cpu_.Start(start_);
  }

  Outcome UntilEnd() {
    if (limits_.wall.count() <= 0) {
      EndBecause(Reason::kWallTimeout);
    } else {
      job_.Pump();
    }
    while (!ended_) Turn();
    return Finish();
  }

 private:
  enum class Phase { kSent, kCompiling, kRunning };

  void EndBecause(Reason reason, std::string message = {}) {
    if (ended_) return;
    ended_ = true;
    outcome_.reason = reason;
    outcome_.message = std::move(message);
    end_ = steady_clock::now();
  }

  void Turn() {
    const auto now = steady_clock::now();
    if (now >= deadline_) return MeetDeadline();
    if (hung_up_ && now >= *hung_up_ + kBurialTime) return MachineIsGone("it does not answer");
    // A compiler has its own limits, and the time it may take bounds it here.
    const bool counts_cpu = phase_ != Phase::kCompiling;
    if (counts_cpu && now >= cpu_.next_check() && cpu_.IsOver(now)) {
      return EndBecause(Reason::kCpuTimeout);
    }
    auto until = deadline_;
    if (counts_cpu) until = std::min(until, cpu_.next_check());
    if (hung_up_) until = std::min(until, *hung_up_ + kBurialTime);
    const auto wait = std::max(std::chrono::duration_cast<microseconds>(until - now).count(),
                               microseconds::rep{0});
    const timespec timeout{wait / 1'000'000, wait % 1'000'000 * 1000};
    // Negative descriptors are skipped (poll(2)).
    std::array<pollfd, 5> polled{{{answers_.get(), POLLIN, 0},
                                  {job_.fd(), POLLOUT, 0},
                                  {complaints_.fd(), POLLIN, 0},
                                  {cancel_fd_, POLLIN, 0},
                                  {status_, POLLIN, 0}}};
    if (::ppoll(polled.data(), polled.size(), &timeout, nullptr) <= 0) return;
    if (polled[3].revents != 0) return EndBecause(Reason::kCancelled);
    if (polled[0].revents != 0) PumpAnswers();
    if (polled[1].revents != 0) job_.Pump();
    if (polled[2].revents != 0) complaints_.Pump();
    if (polled[4].revents != 0) HearStatus();
  }

  void MeetDeadline() {
    if (phase_ != Phase::kCompiling) return EndBecause(Reason::kWallTimeout);
    EndBecause(Reason::kCompileFailed);
    outcome_.exit_code = 1;
    outcome_.compile_output =
        "the compiler was stopped after " +
        std::to_string(std::chrono::duration_cast<std::chrono::seconds>(compile_time_).count()) +
        " s\n";
  }

  // Reads what is there, at most a little at a time so that a flood starves nothing else. False
  // when there is nothing more now.
  bool PumpAnswers() {
    std::array<char, kReadBytes> buffer;
    if (!answers_) return false;
    const ssize_t n = ::read(answers_.get(), buffer.data(), buffer.size());
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR;
    if (n <= 0) {
      answers_.Reset();
      hung_up_ = steady_clock::now();
      return false;
    }
    if (!reader_.Feed({buffer.data(), static_cast<std::size_t>(n)})) {
      EndBecause(Reason::kSandboxFailed, kBrokeProtocol);
      answers_.Reset();
      return false;
    }
    while (const auto frame = reader_.Next()) {
      if (!Hear(*frame)) {
        EndBecause(Reason::kSandboxFailed, kBrokeProtocol);
        answers_.Reset();  // nothing that it says from now on counts
      }
      if (!answers_) return false;
    }
    return true;
  }

  // False when it is no answer to a job, or not one that could come now.
  bool Hear(const Frame& frame) {
    switch (frame.kind) {
      case FrameKind::kOutput:
        return HearOutput(frame.body);
      case FrameKind::kState:
        return HearState(frame.body);
      case FrameKind::kEnd:
        return HearEnd(frame.body);
      case FrameKind::kFailed:
        return HearFailure(frame.body);
      case FrameKind::kJob:
      case FrameKind::kDescribe:
      case FrameKind::kReady:
      case FrameKind::kLanguages:
        return false;
    }
    return false;
  }

  bool HearOutput(std::string_view body) {
    const auto output = DecodeOutput(body);
    if (!output) return false;
    (output->stream == schema::EventKind::kStderr ? err_ : out_).Add(output->piece);
    return true;
  }

  // Compiling comes once where there is a compiler at all, and running once after it.
  bool HearState(std::string_view body) {
    const auto state = DecodeState(body);
    if (!state) return false;
    const Phase next = *state == "compiling" ? Phase::kCompiling : Phase::kRunning;
    const bool compiles = compile_time_.count() > 0;
    if (next <= phase_ || (next == Phase::kCompiling && !compiles)) return false;
    if (ended_) return true;  // it was too late
    if (compiles) {
      run_start_ = steady_clock::now();
      deadline_ = run_start_ + (next == Phase::kCompiling ? compile_time_ : limits_.wall);
      cpu_.Start(run_start_);
    }
    phase_ = next;
    if (sink_) sink_({schema::EventKind::kState, *state});
    return true;
  }

  bool HearEnd(std::string_view body) {
    auto end = DecodeEnd(body);
    if (!end) return false;
    answers_.Reset();
    if (ended_) return true;  // it was too late
    EndBecause(end->reason);
    outcome_.exit_code = end->exit_code;
    outcome_.signal = end->signal;
    outcome_.stdout_truncated = end->stdout_truncated;
    outcome_.stderr_truncated = end->stderr_truncated;
    outcome_.compile_output = std::move(end->compile_output);
    CutCompileOutput();
    if (end->reason == Reason::kSandboxFailed) outcome_.message = kCouldNotRun;
    if (entry_ == schema::EntryKind::kFunction && end->reason == Reason::kExited &&
        end->exit_code == 0) {
      outcome_.value_json = std::move(end->value_json);
      // Why there is none is told to nobody but the function's owner.
      if (!outcome_.value_json) outcome_.message = std::move(end->message);
    }
    compile_said_ = end->compile;
    return true;
  }

  void CutCompileOutput() {
    std::string& text = outcome_.compile_output;
    if (text.size() <= limits_.output_bytes) return;
    text.resize(limits_.output_bytes);
    text.resize(text.size() - schema::IncompleteUtf8Suffix(text));
    // Of a program that did not compile it stands for what that printed.
    if (outcome_.reason == Reason::kCompileFailed) outcome_.stderr_truncated = true;
  }

  bool HearFailure(std::string_view body) {
    if (!DecodeFailed(body)) return false;
    answers_.Reset();
    EndBecause(Reason::kSandboxFailed, kAgentFailed);
    return true;
  }

  void HearStatus() {
    StatusMessage message;
    const ssize_t n = RecvPacket(status_, &message, sizeof message, nullptr, nullptr);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    // The last words may still be in the socket.
    ReadTheRest();
    if (n != sizeof message || message.kind != StatusKind::kExited) {
      return MachineIsGone("its cell was torn down");
    }
    MachineIsGone(EndOf(message.wait_status));
  }

  void MachineIsGone(const std::string& how) {
    if (ended_) return;
    if (OomKills(memory_events_) > 0) return EndBecause(Reason::kOutOfMemory);
    EndBecause(Reason::kSandboxFailed, "the virtual machine ended by itself (" + how + ")");
  }

  void ReadTheRest() {
    for (int reads = 0; reads < kMaxLastReads && PumpAnswers(); ++reads) {
    }
  }

  // The guest's word for it, within what the host has seen go by before the program ran; the rest
  // is the program's.
  [[nodiscard]] microseconds CompileTime(microseconds whole) const {
    if (compile_time_.count() == 0) return microseconds(0);
    const Reason reason = outcome_.reason;
    const bool a_program_ended =
        compile_said_ && reason != Reason::kCompileFailed && reason != Reason::kSandboxFailed;
    const microseconds most = phase_ == Phase::kCompiling && !a_program_ended
                                  ? whole
                                  : std::chrono::duration_cast<microseconds>(run_start_ - start_);
    return std::clamp(compile_said_.value_or(most), microseconds(0), most);
  }

  Outcome Finish() {
    ReadTheRest();  // what it printed before it met its limit
    const auto whole = std::chrono::duration_cast<microseconds>(end_ - start_);
    const microseconds compile = CompileTime(whole);
    outcome_.state = schema::StateOf(outcome_.reason, outcome_.exit_code);
    outcome_.stdout_truncated = outcome_.stdout_truncated || out_.truncated();
    outcome_.stderr_truncated = outcome_.stderr_truncated || err_.truncated();
    outcome_.stdout_text = schema::ToValidUtf8(out_.Take());
    outcome_.stderr_text = schema::ToValidUtf8(err_.Take());
    // What was said then was the compiler's, and is its output.
    if (outcome_.reason == Reason::kCompileFailed) outcome_.stderr_text.clear();
    outcome_.usage.cpu = cpu_.Used().value_or(microseconds(0));
    outcome_.usage.wall = whole - compile;
    outcome_.timings.compile = compile;
    outcome_.timings.exec = whole - compile;
    outcome_.timings.total = whole;
    if (sink_ && outcome_.value_json) sink_({schema::EventKind::kValue, *outcome_.value_json});
    return std::move(outcome_);
  }

  const schema::Limits& limits_;
  const schema::EntryKind entry_;
  const milliseconds compile_time_;
  const int cancel_fd_;
  const int status_;
  const int memory_events_;
  const EventSink& sink_;
  CpuWatch cpu_;
  Feed job_;
  UniqueFd answers_;  // closed when nothing that comes is of interest any more
  FrameReader reader_{Reads::kAnswers};
  Complaints complaints_;
  CappedOutput out_;
  CappedOutput err_;
  const steady_clock::time_point start_;
  steady_clock::time_point run_start_;  // of the phase, where there are phases
  steady_clock::time_point deadline_;
  steady_clock::time_point end_;
  std::optional<steady_clock::time_point> hung_up_;
  Phase phase_ = Phase::kSent;
  std::optional<microseconds> compile_said_;
  bool ended_ = false;
  Outcome outcome_;
};

// Empty when it is more than an agent takes.
std::string JobFrame(const std::string& language, const schema::Limits& limits,
                     const schema::Source& source) {
  Job job;
  job.language = language;
  job.limits = limits;
  // Whatever ends the run, more than may be kept has come when there was more.
  if (job.limits.output_bytes < std::numeric_limits<std::uint64_t>::max()) {
    ++job.limits.output_bytes;
  }
  job.source = source;
  job.source.cases.clear();
  job.awakening = FreshAwakening();
  std::string frame = EncodeJob(job);
  if (frame.size() > kMaxJobBytes) frame.clear();
  return frame;
}

}  // namespace

VmSandbox::VmSandbox(ReadyMachine machine, std::string language, const schema::Limits& limits,
                     int cpu_factor, std::string_view accelerator, microseconds fork_time,
                     milliseconds compile_time, bool functions)
    : machine_(std::move(machine)),
      language_(std::move(language)),
      limits_(limits),
      cpu_factor_(cpu_factor),
      accelerator_(accelerator),
      fork_time_(fork_time),
      compile_time_(compile_time),
      functions_(functions),
      cancel_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void VmSandbox::Cancel() {
  const std::uint64_t one = 1;
  (void)!::write(cancel_.get(), &one, sizeof one);
}

Outcome VmSandbox::Run(const schema::Source& source, const EventSink& sink) {
  Outcome outcome;  // kSandboxFailed
  const auto done = [&] {
    outcome.isolation = schema::Isolation::kVm;
    outcome.accelerator = accelerator_;
    outcome.usage.peak_memory_bytes = PlainNumber(machine_.fork.memory_peak.get());
    outcome.timings.fork = fork_time_;
    outcome.timings.total += fork_time_;
    machine_ = {};  // ended now, not when the caller gets round to it
    return std::move(outcome);
  };
  const bool runs = source.entry == schema::EntryKind::kScript ||
                    (source.entry == schema::EntryKind::kFunction && functions_);
  if (!runs) {
    outcome.message = NoSuchEntry(language_, source.entry);
    return done();
  }
  std::string frame = JobFrame(language_, limits_, source);
  if (frame.empty()) {
    outcome.message = "the program, its files and arguments are too large for a virtual machine";
    return done();
  }
  ReadyFork& fork = machine_.fork;
  fork.stdin_pipe.Reset();
  fork.stdout_pipe.Reset();  // QEMU's own
  UniqueFd answers(::fcntl(fork.channel.get(), F_DUPFD_CLOEXEC, 0));
  if (!answers) {
    outcome.message = "descriptors ran out (RLIMIT_NOFILE)";
    return done();
  }
  if (auto resumed = machine_.Resume(); !resumed) {
    outcome.message = "the virtual machine could not be resumed: " + resumed.error().message;
    return done();
  }
  outcome = MachineRun(&fork, limits_, source.entry, cpu_factor_, compile_time_, cancel_.get(),
                       std::move(frame), std::move(answers), sink)
                .UntilEnd();
  return done();
}

}  // namespace forkbox::sandbox::vm
