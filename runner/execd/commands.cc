#include "runner/execd/commands.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <csignal>
#include <deque>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/unique_fd.h"
#include "base/uuid.h"
#include "runner/execd/audience.h"
#include "runner/execd/box_identity.h"
#include "runner/execd/commands_program.h"
#include "runner/execd/ending.h"
#include "runner/execd/leftover_pipes.h"
#include "runner/execd/line_splitter.h"
#include "runner/execd/output_log.h"
#include "runner/execd/process_watch.h"

namespace forkbox::execd {
namespace {

constexpr std::size_t kMaxFinished = 1000;
constexpr std::size_t kMaxBackground = 64;
constexpr std::size_t kLeftoverPipes = 64;
constexpr std::size_t kForegroundDescriptors = 3;  // its end and two pipes
constexpr std::size_t kBackgroundDescriptors = 2;  // its end and one
constexpr std::size_t kContentBytes = 8U << 20;    // of all finished commands
constexpr std::size_t kLogBytes = 16U << 20;       // of one background command
constexpr std::size_t kAllLogBytes = 64U << 20;    // of all of a box: the oldest commands' go first
constexpr std::size_t kLogReplyBytes = 1U << 20;   // of one ReadLogs()
constexpr std::chrono::seconds kTermPatience{3};   // between SIGTERM and SIGKILL (reference 4.7)
constexpr std::chrono::milliseconds kTermLook{50};  // at whether it has ended

// 32 lower-case hexadecimal digits.
std::string NewCommandId() {
  std::string id = NewUuidV7();
  std::erase(id, '-');
  return id;
}

Event ErrorEvent(const Ending& ending) {
  Event event;
  event.type = Event::Type::kError;
  event.ename = "CommandExecError";
  event.evalue = std::to_string(ending.exit_code);
  event.traceback = {ending.error};
  return event;
}

}  // namespace

class Commands::Impl {
 public:
  Impl(sandbox::Box& box, Files& files, const Clock& clock, Log log, DescriptorBudget* budget)
      : box_(box),
        files_(files),
        clock_(clock),
        log_(std::move(log)),
        identity_(box, files),
        budget_(budget != nullptr ? *budget : own_budget_) {}

  ~Impl() {
    {
      std::unique_lock lock(mutex_);
      stopping_ = true;
      const std::uint64_t one = 1;
      if (stop_) (void)!::write(stop_.get(), &one, sizeof one);
      changed_.wait(lock, [this] { return callers_ == 0; });
    }
    for (auto& [id, thread] : threads_) thread.join();
  }

  Result<void> Run(const CommandRequest& request, EventSink& sink);
  Result<void> RunInBackground(const CommandRequest& request, EventSink& sink);
  Result<void> Interrupt(const std::string& id);
  std::optional<CommandStatus> Status(const std::string& id) const;
  Result<Logs> ReadLogs(const std::string& id, std::uint64_t cursor) const;

 private:
  struct Record {
    Record(CommandStatus in_status, pid_t in_pid) : status(std::move(in_status)), pid(in_pid) {}
    CommandStatus status;
    const pid_t pid;
    bool background = false;
    OutputLog log{kLogBytes};
  };
  using RecordPtr = std::shared_ptr<Record>;  // of the table, and of whoever runs or waits for it

  // kUnavailable when it cannot be told to stop.
  Result<void> Prepare();
  // What asked for another user than the box has: told like a command that did not start.
  bool RefusedUser(const CommandRequest& request, EventSink& sink);
  RecordPtr Begin(const CommandRequest& request, pid_t pid, bool background);
  void Finish(const RecordPtr& record, const Ending& ending);
  void Collect(const RecordPtr& record, std::string_view bytes);
  void RunBehind(const RecordPtr& record, sandbox::BoxProcess process,
                 std::chrono::milliseconds timeout);
  RecordPtr Find(const std::string& id) const;
  void JoinEnded();
  void DropFinished();  // with mutex_

  sandbox::Box& box_;
  Files& files_;
  const Clock& clock_;
  const Log log_;
  BoxIdentity identity_;
  DescriptorBudget own_budget_;  // where none is given
  DescriptorBudget& budget_;

  mutable std::mutex mutex_;
  UniqueFd stop_;  // eventfd(2), readable once we are being destroyed; by mutex_ until it is there
  std::condition_variable changed_;             // a record has finished, a foreground run has left
  std::map<std::string, RecordPtr> records_;    // by mutex_, as all below
  std::deque<std::string> finished_;            // ids, oldest first
  std::deque<std::weak_ptr<Record>> logs_;      // of the background, oldest first
  std::size_t log_bytes_ = 0;                   // in all of them
  std::size_t content_bytes_ = 0;               // of the finished
  std::map<std::string, std::thread> threads_;  // of the background, by id
  std::vector<std::string> ended_threads_;      // to be joined
  std::size_t callers_ = 0;                     // in Run() or Interrupt()
  std::size_t background_ = 0;
  bool stopping_ = false;

  LeftoverPipes leftovers_{kLeftoverPipes};  // ends first: it appends to records
};

bool Commands::Impl::RefusedUser(const CommandRequest& request, EventSink& sink) {
  if (identity_.Allows(request.uid, request.gid)) return false;
  Audience audience(sink);
  audience.Put(Event::Type::kInit, NewCommandId());
  Event event;
  event.type = Event::Type::kError;
  event.ename = "CommandExecError";
  event.evalue = "fork/exec /bin/bash: operation not permitted";
  event.traceback = {event.evalue};
  audience.Put(event);
  return true;
}

Commands::Impl::RecordPtr Commands::Impl::Begin(const CommandRequest& request, pid_t pid,
                                                bool background) {
  CommandStatus status;
  status.id = NewCommandId();
  status.content = CommandText(request);
  status.running = true;
  status.started_unix_ms = clock_.UnixMillis();
  auto record = std::make_shared<Record>(std::move(status), pid);
  record->background = background;
  const std::lock_guard lock(mutex_);
  records_.emplace(record->status.id, record);
  if (background) logs_.emplace_back(record);
  return record;
}

void Commands::Impl::Finish(const RecordPtr& record, const Ending& ending) {
  const std::lock_guard lock(mutex_);
  CommandStatus& status = record->status;
  status.running = false;
  status.exit_code = ending.exit_code;
  status.error = ending.error;
  status.finished_unix_ms = clock_.UnixMillis();
  finished_.push_back(status.id);
  content_bytes_ += status.content.size();
  DropFinished();
  changed_.notify_all();
}

// The newest stays, whatever it is.
void Commands::Impl::DropFinished() {
  while (finished_.size() > 1 &&
         (finished_.size() > kMaxFinished || content_bytes_ > kContentBytes)) {
    const auto oldest = records_.find(finished_.front());
    log_bytes_ -= oldest->second->log.Forget(kLogBytes);
    std::erase_if(logs_, [&](const auto& log) { return log.lock() == oldest->second; });
    content_bytes_ -= oldest->second->status.content.size();
    records_.erase(oldest);
    finished_.pop_front();
  }
}

Result<void> Commands::Impl::Prepare() {
  const std::lock_guard lock(mutex_);
  if (!stop_) stop_.Reset(::eventfd(0, EFD_CLOEXEC));
  if (!stop_) return Fail(ErrorCode::kUnavailable, "no descriptor is left for a command");
  return {};
}

Result<void> Commands::Impl::Run(const CommandRequest& request, EventSink& sink) {
  if (auto valid = CheckCommand(request); !valid) return valid;
  if (auto prepared = Prepare(); !prepared) return prepared;
  auto lease = budget_.Take(kForegroundDescriptors);
  if (!lease) return Fail(lease.error());
  if (RefusedUser(request, sink)) return {};
  auto process = box_.Start(ProgramFor(request, /*merged=*/false));
  if (!process) return Fail(process.error());
  process->stdin_pipe.Reset();
  const SteadyTime started = clock_.Now();
  const RecordPtr record = Begin(request, process->pid, /*background=*/false);
  {
    const std::lock_guard lock(mutex_);
    ++callers_;
  }

  Audience audience(sink);
  audience.Put(Event::Type::kInit, record->status.id);
  audience.Put(Event::Type::kPing, "pong");
  LineSplitter out;
  LineSplitter err;
  const auto put_out = [&](std::string line) {
    audience.Put(Event::Type::kStdout, std::move(line));
  };
  const auto put_err = [&](std::string line) {
    audience.Put(Event::Type::kStderr, std::move(line));
  };
  ProcessWatch watch;
  watch.on_output = [&](bool is_stderr, std::string_view bytes) {
    if (!audience.listening()) return;
    is_stderr ? err.Feed(bytes, put_err) : out.Feed(bytes, put_out);
  };
  watch.on_ping = [&] { audience.Put(Event::Type::kPing, "pong"); };
  watch.paced = [&] { return !audience.listening(); };
  watch.timeout = request.timeout;
  watch.stop_fd = stop_.get();
  const Ending ending = WatchProcess(*process, files_, clock_, watch);
  out.Finish(put_out);
  err.Finish(put_err);
  leftovers_.Add(std::move(process->stdout_pipe));
  leftovers_.Add(std::move(process->stderr_pipe));

  // The record first: whoever reads the last event and asks for the status finds it.
  Finish(record, ending);
  if (ending.Succeeded()) {
    Event event;
    event.type = Event::Type::kExecutionComplete;
    event.execution_time =
        std::chrono::duration_cast<std::chrono::milliseconds>(clock_.Now() - started);
    audience.Put(event);
  } else {
    audience.Put(ErrorEvent(ending));
  }
  const std::lock_guard lock(mutex_);
  --callers_;
  changed_.notify_all();
  return {};
}

Result<void> Commands::Impl::RunInBackground(const CommandRequest& request, EventSink& sink) {
  if (auto valid = CheckCommand(request); !valid) return valid;
  if (auto prepared = Prepare(); !prepared) return prepared;
  if (RefusedUser(request, sink)) return {};
  JoinEnded();
  {
    const std::lock_guard lock(mutex_);
    if (background_ >= kMaxBackground) {
      return Fail(ErrorCode::kQueueFull, "too many background commands run in this sandbox");
    }
    ++background_;
  }
  const auto failed = [this](const Error& error) {
    const std::lock_guard lock(mutex_);
    --background_;
    return Fail(error);
  };
  auto lease = budget_.Take(kBackgroundDescriptors);
  if (!lease) return failed(lease.error());
  auto process = box_.Start(ProgramFor(request, /*merged=*/true));
  if (!process) return failed(process.error());
  process->stdin_pipe.Reset();
  process->stderr_pipe.Reset();  // it makes one stream of the two
  const RecordPtr record = Begin(request, process->pid, /*background=*/true);
  try {
    const std::lock_guard lock(mutex_);
    threads_.emplace(
        record->status.id,
        [this, record, process = std::move(*process), lease = std::move(*lease),
         timeout = request.timeout]() mutable { RunBehind(record, std::move(process), timeout); });
  } catch (const std::system_error&) {
    (void)files_.Signal(record->pid, SIGKILL, /*whole_group=*/true, kSignalPatience);
    Finish(record, DescribeWaitStatus(SIGKILL));
    return failed({ErrorCode::kUnavailable, "no thread is left for a background command"});
  }
  Audience audience(sink);
  audience.Put(Event::Type::kInit, record->status.id);
  audience.Put(Event::Type::kExecutionComplete, "");
  return {};
}

void Commands::Impl::RunBehind(const RecordPtr& record, sandbox::BoxProcess process,
                               std::chrono::milliseconds timeout) {
  ProcessWatch watch;
  watch.on_output = [&](bool, std::string_view bytes) { Collect(record, bytes); };
  watch.paced = [] { return true; };
  watch.timeout = timeout;
  watch.stop_fd = stop_.get();
  const Ending ending = WatchProcess(process, files_, clock_, watch);
  // What it left behind prints into the same log, as it would into upstream's file.
  leftovers_.Add(std::move(process.stdout_pipe),
                 [this, record](std::string_view bytes) { Collect(record, bytes); });
  Finish(record, ending);
  const std::lock_guard lock(mutex_);
  --background_;
  ended_threads_.push_back(record->status.id);
}

void Commands::Impl::Collect(const RecordPtr& record, std::string_view bytes) {
  const std::lock_guard lock(mutex_);
  if (!records_.contains(record->status.id)) return;
  log_bytes_ -= record->log.size();
  record->log.Append(bytes);
  log_bytes_ += record->log.size();
  for (const auto& weak : logs_) {
    if (log_bytes_ <= kAllLogBytes) break;
    if (const RecordPtr old = weak.lock()) log_bytes_ -= old->log.Forget(log_bytes_ - kAllLogBytes);
  }
}

void Commands::Impl::JoinEnded() {
  std::vector<std::thread> ended;
  {
    const std::lock_guard lock(mutex_);
    for (const std::string& id : std::exchange(ended_threads_, {})) {
      ended.push_back(std::move(threads_.extract(id).mapped()));
    }
  }
  for (std::thread& thread : ended) thread.join();
}

Commands::Impl::RecordPtr Commands::Impl::Find(const std::string& id) const {
  const auto found = records_.find(id);
  return found == records_.end() ? nullptr : found->second;
}

Result<void> Commands::Impl::Interrupt(const std::string& id) {
  std::unique_lock lock(mutex_);
  const RecordPtr record = Find(id);
  if (!record) return Fail(ErrorCode::kNotFound, "no such command");
  const auto ended = [&] { return !record->status.running || stopping_; };
  if (ended()) return Fail(ErrorCode::kConflict, "command " + id + " is not running");

  ++callers_;
  // Without the mutex: the command's end is told under it, and signals take their time.
  const auto send = [&](int number) {
    lock.unlock();
    auto sent = files_.Signal(record->pid, number, /*whole_group=*/true, kSignalPatience);
    lock.lock();
    return sent;
  };
  const auto gone = [](const Result<void>& sent) {
    return !sent && sent.error().code == ErrorCode::kNotFound;
  };
  const auto term_until = std::chrono::steady_clock::now() + kTermPatience;
  bool told = false;
  bool nothing_left = false;
  // Until nothing of the group is left: a shell that has gone may leave programs that have not.
  while (std::chrono::steady_clock::now() < term_until && !stopping_) {
    if (!told) told = send(SIGTERM).has_value();
    if (ended()) {
      nothing_left = gone(send(0));
      if (nothing_left) break;
      changed_.wait_for(lock, kTermLook, [&] { return stopping_; });
    } else {
      changed_.wait_for(lock, kTermLook, ended);
    }
  }
  if (!nothing_left) (void)send(SIGKILL);
  // It may not have been sent: then again. Not for ever: the box may keep it from being sent.
  const auto given_up = std::chrono::steady_clock::now() + kDeathPatience;
  while (!changed_.wait_for(lock, std::chrono::seconds(1), ended)) {
    if (!box_.Alive() || std::chrono::steady_clock::now() >= given_up) break;
    (void)send(SIGKILL);
  }
  const bool over = ended() || !box_.Alive();
  --callers_;
  changed_.notify_all();
  if (!over) return Fail(ErrorCode::kUnavailable, "command " + id + " does not end");
  return {};
}

std::optional<CommandStatus> Commands::Impl::Status(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const RecordPtr record = Find(id);
  if (!record) return std::nullopt;
  return record->status;
}

Result<Commands::Logs> Commands::Impl::ReadLogs(const std::string& id, std::uint64_t cursor) const {
  const std::lock_guard lock(mutex_);
  const RecordPtr record = Find(id);
  if (!record) return Fail(ErrorCode::kNotFound, "command not found: " + id);
  if (!record->background) {
    return Fail(ErrorCode::kInvalidArgument, "command " + id + " is not running in background");
  }
  Logs logs;
  std::uint64_t start = 0;
  logs.bytes = record->log.Read(cursor, kLogReplyBytes, &start);
  logs.cursor = start + logs.bytes.size();
  return logs;
}

Commands::Commands(sandbox::Box& box, Files& files, const Clock& clock, Log log,
                   DescriptorBudget* budget)
    : impl_(std::make_unique<Impl>(box, files, clock, std::move(log), budget)) {}
Commands::~Commands() = default;

Result<void> Commands::Run(const CommandRequest& request, EventSink& sink) {
  return impl_->Run(request, sink);
}
Result<void> Commands::RunInBackground(const CommandRequest& request, EventSink& sink) {
  return impl_->RunInBackground(request, sink);
}
Result<void> Commands::Interrupt(const std::string& id) { return impl_->Interrupt(id); }
std::optional<CommandStatus> Commands::Status(const std::string& id) const {
  return impl_->Status(id);
}
Result<Commands::Logs> Commands::ReadLogs(const std::string& id, std::uint64_t cursor) const {
  return impl_->ReadLogs(id, cursor);
}

}  // namespace forkbox::execd
