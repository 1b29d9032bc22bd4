#include "runner/sandbox/process_sandbox.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "runner/sandbox/answer.h"
#include "runner/sandbox/artefact_bounds.h"
#include "runner/sandbox/capped_output.h"
#include "runner/sandbox/cgroup_numbers.h"
#include "runner/sandbox/cpu_watch.h"
#include "runner/sandbox/feed.h"
#include "runner/sandbox/heap_size.h"
#include "runner/sandbox/protocol.h"
#include "runner/sandbox/template/job_wire.h"
#include "runner/sandbox/wire.h"
#include "schema/utf8.h"

namespace forkbox::sandbox {
namespace {

using schema::Reason;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How long a killed cell may take to be gone before we stop waiting for its last words.
constexpr milliseconds kBurialTime{5000};

// A pipe holds 64 KiB unless it was made larger. What is left after this many reads is read once
// nobody can write any more.
constexpr int kMaxLastReads = 16;

microseconds Since(steady_clock::time_point start) {
  return std::chrono::duration_cast<microseconds>(steady_clock::now() - start);
}

// Keeps the head of what comes through a pipe or socket and goes on emptying it.
class Capture {
 public:
  Capture(UniqueFd pipe, std::uint64_t cap, schema::EventKind kind, const EventSink& sink)
      : pipe_(std::move(pipe)), output_(cap, kind, sink) {
    ::fcntl(pipe_.get(), F_SETFL, O_NONBLOCK);
  }

  [[nodiscard]] bool open() const { return pipe_.valid(); }
  [[nodiscard]] int fd() const { return pipe_.get(); }
  [[nodiscard]] bool truncated() const { return output_.truncated(); }
  std::string Take() { return output_.Take(); }

  // Reads what is there, at most a little at a time so that a flood starves nothing else. False
  // when there is nothing more now.
  bool Pump() {
    std::array<char, 64 * 1024> buffer;
    if (!pipe_) return false;
    const ssize_t n = ::read(pipe_.get(), buffer.data(), buffer.size());
    if (n < 0) {
      if (errno != EAGAIN && errno != EINTR) pipe_.Reset();
      return errno == EINTR;
    }
    if (n == 0) {
      pipe_.Reset();
      return false;
    }
    output_.Add({buffer.data(), static_cast<std::size_t>(n)});
    return true;
  }

 private:
  UniqueFd pipe_;
  CappedOutput output_;
};

// One run's loop: everything that can happen is an event on one of the descriptors or a deadline.
class Running {
 public:
  // `answer`: our end of the channel, to be read; invalid for programs that have nothing to answer.
  // `announces`: what may come there is AnnounceExit().
  Running(ReadyFork* fork, const schema::Limits& limits, int cancel_fd, std::string frame,
          UniqueFd answer, std::size_t answer_bytes, bool announces, std::string stdin_data,
          const EventSink& sink)
      : limits_(limits),
        announces_(announces),
        cancel_fd_(cancel_fd),
        status_(fork->status.get()),
        cpu_(fork->cpu_usage.get(), limits.cpu),
        out_(std::move(fork->stdout_pipe), limits.output_bytes, schema::EventKind::kStdout, sink),
        err_(std::move(fork->stderr_pipe), limits.output_bytes, schema::EventKind::kStderr, sink),
        answer_(std::move(answer), answer_bytes, schema::EventKind::kValue, no_sink_),
        job_(std::move(fork->channel), std::move(frame)),
        stdin_(std::move(fork->stdin_pipe), std::move(stdin_data)) {}

  void UntilEnd() {
    start_ = steady_clock::now();
    deadline_ = start_ + limits_.wall;
    cpu_.Start(start_);
    job_.Pump();
    stdin_.Pump();
    if (limits_.wall.count() <= 0) Kill(Reason::kWallTimeout);
    while (!ended_) Turn();
    exec_time_ = Since(start_);
    Drain();
  }

  // How it ended: one of ours if we killed it, else as the kernel says.
  std::optional<Reason> killed_for_;
  bool lost_ = false;  // the template or forkserver died under it
  int wait_status_ = 0;
  microseconds cpu_self_{0};
  microseconds exec_time_{0};

  Capture& out() { return out_; }
  Capture& err() { return err_; }
  Capture& answer() { return answer_; }
  [[nodiscard]] microseconds Cpu() const { return cpu_.Used().value_or(cpu_self_); }

 private:
  void Kill(Reason reason) {
    if (killed_for_) return;
    killed_for_ = reason;
    give_up_at_ = steady_clock::now() + kBurialTime;
    KillCell();
  }

  void KillCell() const {
    const StatusCommand command;
    (void)SendPacket(status_, &command, sizeof command);
  }

  void Turn() {
    const auto now = steady_clock::now();
    if (killed_for_ && now >= give_up_at_) {
      ended_ = lost_ = true;  // the cell's owner is stuck; its result is ours all the same
      return;
    }
    if (!killed_for_ && now >= deadline_) Kill(Reason::kWallTimeout);
    if (!killed_for_ && now >= cpu_.next_check() && cpu_.IsOver(now)) Kill(Reason::kCpuTimeout);
    const auto until = killed_for_ ? give_up_at_ : std::min(deadline_, cpu_.next_check());
    const auto wait = std::chrono::duration_cast<microseconds>(until - now);
    const timespec timeout{wait.count() <= 0 ? 0 : wait.count() / 1'000'000,
                           wait.count() <= 0 ? 0 : wait.count() % 1'000'000 * 1000};
    // Negative descriptors are skipped (poll(2)).
    std::array<pollfd, 7> polled{{{status_, POLLIN, 0},
                                  {out_.fd(), POLLIN, 0},
                                  {err_.fd(), POLLIN, 0},
                                  {job_.fd(), POLLOUT, 0},
                                  {stdin_.fd(), POLLOUT, 0},
                                  {killed_for_ ? -1 : cancel_fd_, POLLIN, 0},
                                  {answer_.fd(), POLLIN, 0}}};
    if (::ppoll(polled.data(), polled.size(), &timeout, nullptr) <= 0) return;
    if (polled[1].revents != 0) out_.Pump();
    if (polled[2].revents != 0) err_.Pump();
    if (polled[3].revents != 0) job_.Pump();
    if (polled[4].revents != 0) stdin_.Pump();
    if (polled[5].revents != 0) Kill(Reason::kCancelled);
    if (polled[6].revents != 0) answer_.Pump();
    if (polled[0].revents != 0) HearStatus();
    if (announces_ && !ended_ && polled[6].revents != 0) HearAnnouncement();
  }

  // Of a program that is over, and whose process has yet to come down.
  void HearAnnouncement() {
    announced_ += answer_.Take();
    const auto code = ReadAnnouncement(announced_);
    if (!code) return;
    ended_ = true;
    wait_status_ = W_EXITCODE(*code, 0);
  }

  void HearStatus() {
    StatusMessage message;
    const ssize_t n = RecvPacket(status_, &message, sizeof message, nullptr, nullptr);
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) return;
    ended_ = true;
    if (n != sizeof message || message.kind != StatusKind::kExited) {
      lost_ = true;
      return;
    }
    wait_status_ = message.wait_status;
    cpu_self_ = microseconds(message.cpu_us);
  }

  // The program has ended; what it wrote is in the pipes. Whoever of its children still holds them
  // open is not waited for but killed, and what those go on writing is not read to its end.
  void Drain() {
    for (Capture* capture : {&out_, &err_, &answer_}) {
      for (int reads = 0; reads < kMaxLastReads && capture->Pump(); ++reads) {
      }
    }
    if (!out_.open() && !err_.open()) return;
    if (announces_ && !killed_for_) return;  // whoever is left ends with the machine
    KillCell();
    const auto give_up = steady_clock::now() + kBurialTime;
    while ((out_.open() || err_.open()) && steady_clock::now() < give_up) {
      std::array<pollfd, 2> polled{{{out_.fd(), POLLIN, 0}, {err_.fd(), POLLIN, 0}}};
      ::poll(polled.data(), polled.size(), 100);
      out_.Pump();
      err_.Pump();
    }
  }

  const schema::Limits& limits_;
  const bool announces_;
  std::string announced_;
  const int cancel_fd_;
  const int status_;
  CpuWatch cpu_;
  Capture out_;
  Capture err_;
  const EventSink no_sink_;  // an answer is an event once it is known to be a value
  Capture answer_;
  Feed job_;
  Feed stdin_;
  steady_clock::time_point start_;
  steady_clock::time_point deadline_;
  steady_clock::time_point give_up_at_;
  bool ended_ = false;
};

// These point into the source.
std::vector<JobFile> FilesOf(const schema::Source& source) {
  std::vector<JobFile> files;
  files.reserve(source.files.size());
  for (const auto& file : source.files) files.push_back({file.path, file.content, file.executable});
  return files;
}

}  // namespace

ProcessSandbox::ProcessSandbox(ReadyFork fork, RunPlan plan, const schema::Limits& limits,
                               microseconds fork_time)
    : fork_(std::move(fork)),
      plan_(std::move(plan)),
      limits_(limits),
      fork_time_(fork_time),
      cancel_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

void ProcessSandbox::Cancel() {
  const std::uint64_t one = 1;
  (void)!::write(cancel_.get(), &one, sizeof one);
}

std::string NoSuchEntry(const std::string& language, schema::EntryKind entry) {
  return language + " has no " + std::string(schema::ToString(entry)) + " entry here";
}

std::vector<std::string> CommandOf(const RunPlan& plan, const schema::Source& source,
                                   const schema::Limits& limits) {
  std::vector<std::string> command;
  // A name that looks like an option or a list of options is not to be taken for one.
  const auto add_path = [&](const std::string& path) {
    const bool plain = path.empty() || (path[0] != '-' && path[0] != '@');
    command.push_back(plain ? path : "./" + path);
  };
  for (const std::string& word : plan.command) {
    if (word == "{file}") {
      command.push_back(plan.file_name);
    } else if (word == "{sources}") {
      command.push_back(plan.file_name);
      for (const schema::SourceFile& file : source.files) {
        const bool taken = std::any_of(
            plan.extensions.begin(), plan.extensions.end(),
            [&](const std::string& extension) { return file.path.ends_with(extension); });
        if (taken && file.path != plan.file_name) add_path(file.path);
      }
    } else {
      command.push_back(WithHeapSize(word, limits.memory_bytes));
    }
  }
  return command;
}

schema::Outcome ProcessSandbox::RunProgram(std::shared_ptr<const schema::Source> program,
                                           const schema::Source& input, const EventSink& sink) {
  const schema::EntryKind entry = program->entry;
  if (!plan_.Runs(entry)) {
    schema::Outcome refused;  // kSandboxFailed
    refused.message = NoSuchEntry(plan_.language, entry);
    return refused;
  }
  std::string frame = EncodeJob(JobOf(*program, input), FilesOf(*program));
  program.reset();

  const bool answers = entry != schema::EntryKind::kScript;
  Compiled run = RunJob(std::move(frame), input.stdin_data, answers ? kMaxAnswerBytes : 0, sink);
  if (!answers) return std::move(run.outcome);
  ApplyAnswer(run.answer, run.cut, &run.outcome);
  if (sink && run.outcome.value_json) {
    sink({schema::EventKind::kValue, *run.outcome.value_json});
  }
  return std::move(run.outcome);
}

ChildJob ProcessSandbox::JobOf(const schema::Source& program, const schema::Source& input) const {
  ChildJob job;
  job.entry = static_cast<ChildJob::Entry>(program.entry);
  job.file_name = plan_.file_name;
  if (!job.file_name.empty()) job.code = program.code;
  job.args = input.args;
  job.command = CommandOf(plan_, program, limits_);
  std::map<std::string, std::string> env = plan_.env;
  for (const auto& [name, value] : input.env) env[name] = value;
  job.env.assign(env.begin(), env.end());
  job.reseed = plan_.runs_once;
  return job;
}

ProcessSandbox::Compiled ProcessSandbox::Compile(const schema::Source& source) {
  ChildJob job;
  job.entry = ChildJob::Entry::kCompile;
  job.file_name = plan_.file_name;
  job.code = source.code;
  job.command = CommandOf(plan_, source, limits_);
  job.env.assign(plan_.env.begin(), plan_.env.end());
  job.artefacts = plan_.artefacts;
  // Neither arguments nor input nor environment of the program are any of the compiler's business.
  return RunJob(EncodeJob(job, FilesOf(source)), {}, kMaxArtefactAnswerBytes, {});
}

// `answer_bytes`: of what the child has to say on the channel; 0 for a program that says nothing.
ProcessSandbox::Compiled ProcessSandbox::RunJob(std::string frame, const std::string& stdin_data,
                                                std::size_t answer_bytes, const EventSink& sink) {
  Compiled result;
  schema::Outcome& outcome = result.outcome;  // kSandboxFailed
  if (frame.size() > kMaxJobFrameBytes) {     // the child would refuse it, and could not say so
    outcome.message = "the program, its files and arguments are too large for a sandbox";
    return result;
  }
  const bool announces = plan_.runs_once && answer_bytes == 0;
  if (announces) answer_bytes = kAnnouncementBytes;
  const bool answers = answer_bytes > 0;
  UniqueFd answer(answers ? ::fcntl(fork_.channel.get(), F_DUPFD_CLOEXEC, 0) : -1);
  if (answer.valid() != answers) {
    outcome.message = "descriptors ran out (RLIMIT_NOFILE)";
    return result;
  }

  Running run(&fork_, limits_, cancel_.get(), std::move(frame), std::move(answer), answer_bytes,
              announces, stdin_data, sink);
  run.UntilEnd();

  const std::uint64_t oom_kills = OomKills(fork_.memory_events.get());
  if (run.killed_for_) {
    outcome.reason = *run.killed_for_;
  } else if (run.lost_) {
    outcome.reason = Reason::kSandboxFailed;
    outcome.message = "the sandbox ended before its program";
  } else if (WIFSIGNALED(run.wait_status_)) {
    outcome.signal = WTERMSIG(run.wait_status_);
    outcome.reason =
        oom_kills > 0 && outcome.signal == SIGKILL ? Reason::kOutOfMemory : Reason::kSignalled;
  } else {
    const int exit_code = WEXITSTATUS(run.wait_status_);
    // The kernel may have picked one of several processes; a program that then reports failure
    // failed for want of memory.
    if (oom_kills > 0 && exit_code != 0) {
      outcome.reason = Reason::kOutOfMemory;
    } else {
      outcome.reason = Reason::kExited;
    }
    outcome.exit_code = exit_code;
  }
  outcome.state = schema::StateOf(outcome.reason, outcome.exit_code);
  outcome.stdout_truncated = run.out().truncated();
  outcome.stderr_truncated = run.err().truncated();
  outcome.stdout_text = schema::ToValidUtf8(run.out().Take());
  outcome.stderr_text = schema::ToValidUtf8(run.err().Take());
  result.cut = run.answer().truncated();
  result.answer = run.answer().Take();
  outcome.usage.cpu = run.Cpu();
  outcome.usage.wall = run.exec_time_;
  outcome.usage.peak_memory_bytes = PlainNumber(fork_.memory_peak.get());
  outcome.timings.fork = fork_time_;
  outcome.timings.exec = run.exec_time_;
  outcome.timings.total = fork_time_ + run.exec_time_;
  // Torn down now, not when the caller gets round to it; unless all ends with this run anyway.
  if (!plan_.runs_once) fork_ = {};
  return result;
}

}  // namespace forkbox::sandbox
