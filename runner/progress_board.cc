#include "runner/progress_board.h"

#include <algorithm>

#include "base/check.h"
#include "base/uuid.h"

namespace forkbox::runner {

using schema::EventKind;
using schema::ExecutionId;
using std::chrono::steady_clock;

namespace {

// Beyond so many changes between the streams within one interval, their order among each other is
// given up: all of stdout, then all of stderr.
constexpr std::size_t kMaxSegments = 1'024;

// The longest head of `text` with at most `most` bytes, `text` being valid UTF-8.
std::string_view HeadOf(std::string_view text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0U) == 0x80U) --most;
  return text.substr(0, most);
}

}  // namespace

// ---- one run ------------------------------------------------------------------------------------

ProgressBoard::Run::Run(ProgressBoard& board, ExecutionId id) : board_(board), id_(std::move(id)) {}

void ProgressBoard::Run::On(const schema::Event& event) {
  const std::lock_guard lock(mutex_);
  const bool is_state = event.kind == EventKind::kState;
  if (is_state) {
    if (state_ == event.data) return;
    state_ = event.data;
  } else if (event.kind == EventKind::kStdout) {
    stdout_.Append(event.data);
  } else if (event.kind == EventKind::kStderr) {
    stderr_.Append(event.data);
  } else {
    return;  // a value counts once the program has ended, and is in the outcome then
  }
  if (watchers_.empty()) return;
  Advance();
  const SteadyTime now = steady_clock::now();
  if (is_state || now >= flushed_at_ + board_.options_.interval) return SendAll(now);
  if (std::exchange(flush_is_due_, true)) return;
  board_.FlushAt(flushed_at_ + board_.options_.interval, weak_from_this());
}

// Notes what has become text since the last time.
void ProgressBoard::Run::Advance() {
  std::uint64_t known_stdout = flushed_stdout_;
  std::uint64_t known_stderr = flushed_stderr_;
  for (const Segment& one : fresh_) (one.is_stderr ? known_stderr : known_stdout) += one.bytes;
  const auto note = [this](bool is_stderr, std::uint64_t bytes) {
    if (bytes == 0) return;
    if (!fresh_.empty() && fresh_.back().is_stderr == is_stderr) {
      fresh_.back().bytes += bytes;
    } else {
      fresh_.push_back({is_stderr, bytes});
    }
  };
  note(false, stdout_.Text().size() - known_stdout);
  note(true, stderr_.Text().size() - known_stderr);
  if (fresh_.size() <= kMaxSegments) return;
  fresh_ = {{false, stdout_.Text().size() - flushed_stdout_},
            {true, stderr_.Text().size() - flushed_stderr_}};
}

void ProgressBoard::Run::Flush() {
  const std::lock_guard lock(mutex_);
  flush_is_due_ = false;
  if (!watchers_.empty()) SendAll(steady_clock::now());
}

void ProgressBoard::Run::SendAll(SteadyTime now) {
  std::erase_if(watchers_, [now](const Watcher& one) { return one.until <= now; });
  for (Watcher& watcher : watchers_) SendTo(watcher, /*finished=*/false);
  flushed_stdout_ = stdout_.Text().size();
  flushed_stderr_ = stderr_.Text().size();
  fresh_.clear();
  flushed_at_ = now;
}

// Everything the watcher has not got: what was flushed before he came, then what is fresh, in the
// order in which it was printed.
void ProgressBoard::Run::SendTo(Watcher& watcher, bool finished) {
  queue::Progress progress;
  std::size_t bytes = 0;
  const auto next = [&] {
    progress = {.id = id_, .to = watcher.to, .run = token_, .state = state_, .pieces = {}};
    bytes = 0;
  };
  next();
  const auto tell = [&](bool is_stderr, std::uint64_t until) {
    std::uint64_t& at = is_stderr ? watcher.stderr_at : watcher.stdout_at;
    const std::string& text = (is_stderr ? stderr_ : stdout_).Text();
    while (at < until) {
      const std::string_view head =
          HeadOf(std::string_view(text).substr(at, until - at), queue::kMaxProgressText - bytes);
      if (head.empty()) {  // no room for one more character
        board_.broker_.SendProgress(std::move(progress));
        next();
        continue;
      }
      progress.pieces.push_back({is_stderr, at, std::string(head)});
      at += head.size();
      bytes += head.size();
    }
  };
  tell(false, flushed_stdout_);
  tell(true, flushed_stderr_);
  std::uint64_t known_stdout = flushed_stdout_;
  std::uint64_t known_stderr = flushed_stderr_;
  for (const Segment& one : fresh_) {
    std::uint64_t& known = one.is_stderr ? known_stderr : known_stdout;
    known += one.bytes;
    tell(one.is_stderr, known);
  }
  progress.caught_up = true;
  progress.finished = finished;
  board_.broker_.SendProgress(std::move(progress));
}

void ProgressBoard::Run::Watched(const queue::Watch& watch) {
  const std::lock_guard lock(mutex_);
  const SteadyTime now = steady_clock::now();
  std::erase_if(watchers_, [now](const Watcher& one) { return one.until <= now; });
  auto found = std::find_if(watchers_.begin(), watchers_.end(),
                            [&](const Watcher& one) { return one.to == watch.to; });
  if (watch.stop) {
    if (found != watchers_.end()) watchers_.erase(found);
    return;
  }
  if (found == watchers_.end()) {
    if (watchers_.size() >= board_.options_.max_watchers) return;
    if (watchers_.empty()) {  // nothing was noted while nobody watched
      flushed_stdout_ = stdout_.Text().size();
      flushed_stderr_ = stderr_.Text().size();
      fresh_.clear();
    }
    found = watchers_.insert(watchers_.end(), Watcher{.to = watch.to, .until = {}});
  }
  found->until = now + board_.options_.watch_life;
  if (token_.empty()) token_ = NewUuidV7();
  const bool same_run = watch.run == token_;
  found->stdout_at =
      same_run ? std::min<std::uint64_t>(watch.stdout_from, stdout_.Text().size()) : 0;
  found->stderr_at =
      same_run ? std::min<std::uint64_t>(watch.stderr_from, stderr_.Text().size()) : 0;
  Advance();
  SendTo(*found, /*finished=*/false);
}

void ProgressBoard::Run::Finish() {
  const std::lock_guard lock(mutex_);
  for (Watcher& watcher : watchers_) SendTo(watcher, /*finished=*/true);
  watchers_.clear();
}

// ---- all of them --------------------------------------------------------------------------------

ProgressBoard::ProgressBoard(Options options, queue::Broker& broker)
    : options_(options), broker_(broker) {
  subscription_ = broker_.OnWatch([this](const queue::Watch& watch) { OnWatch(watch); });
  flusher_ = std::jthread([this](const std::stop_token& stop) { FlushLoop(stop); });
}

ProgressBoard::~ProgressBoard() {
  subscription_.reset();
  FORKBOX_CHECK(runs_.empty());
}

std::size_t ProgressBoard::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

std::shared_ptr<ProgressBoard::Run> ProgressBoard::Begin(const ExecutionId& id) {
  auto run = std::make_shared<Run>(*this, id);
  Waiting waiting;
  {
    const std::lock_guard lock(mutex_);
    FORKBOX_CHECK(runs_.emplace(id, run).second);
    if (const auto found = waiting_.find(id); found != waiting_.end()) {
      waiting = std::move(found->second);
      waiting_.erase(found);
    }
  }
  if (!waiting.watches.empty() && steady_clock::now() < waiting.until) {
    for (const queue::Watch& watch : waiting.watches) run->Watched(watch);
  }
  return run;
}

void ProgressBoard::End(const ExecutionId& id, bool finished) {
  decltype(runs_)::node_type ended;
  {
    const std::lock_guard lock(mutex_);
    ended = runs_.extract(id);
  }
  if (ended && finished) ended.mapped()->Finish();
}

void ProgressBoard::OnWatch(const queue::Watch& watch) {
  if (watch.to.empty()) return;
  std::shared_ptr<Run> run;
  {
    const std::lock_guard lock(mutex_);
    const auto found = runs_.find(watch.id);
    if (found == runs_.end()) return Remember(watch, steady_clock::now());
    run = found->second;
  }
  run->Watched(watch);
}

void ProgressBoard::Remember(const queue::Watch& watch, SteadyTime now) {
  const auto [found, is_new] = waiting_.try_emplace(watch.id);
  std::vector<queue::Watch>& watches = found->second.watches;
  std::erase_if(watches, [&](const queue::Watch& one) { return one.to == watch.to; });
  if (!watch.stop && watches.size() < options_.max_watchers) watches.push_back(watch);
  found->second.until = now + options_.watch_life;
  if (is_new) waiting_order_.push_back(watch.id);
  if (watches.empty()) waiting_.erase(found);
  while (waiting_.size() > options_.max_waiting ||
         waiting_order_.size() > 2 * options_.max_waiting) {
    waiting_.erase(waiting_order_.front());
    waiting_order_.pop_front();
  }
}

void ProgressBoard::FlushAt(SteadyTime when, std::weak_ptr<Run> run) {
  {
    const std::lock_guard lock(due_mutex_);
    due_.emplace(when, std::move(run));
  }
  due_changed_.notify_one();
}

void ProgressBoard::FlushLoop(const std::stop_token& stop) {
  std::unique_lock lock(due_mutex_);
  while (!stop.stop_requested()) {
    if (due_.empty()) {
      due_changed_.wait(lock, stop, [this] { return !due_.empty(); });
    } else if (const SteadyTime when = due_.begin()->first; when > steady_clock::now()) {
      due_changed_.wait_until(lock, stop, when, [&] { return due_.begin()->first < when; });
    } else {
      const std::shared_ptr<Run> run = due_.begin()->second.lock();
      due_.erase(due_.begin());
      lock.unlock();
      if (run != nullptr) run->Flush();
      lock.lock();
    }
  }
}

}  // namespace forkbox::runner
