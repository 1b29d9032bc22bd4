#include "api/execution_service.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/uuid.h"

namespace forkbox::api {
namespace {

using schema::ExecutionId;
using schema::Outcome;

Outcome Ended(schema::Reason reason, std::string message) {
  Outcome outcome;
  outcome.reason = reason;
  outcome.state = schema::StateOf(reason, std::nullopt);
  outcome.message = std::move(message);
  return outcome;
}

double Milliseconds(std::chrono::microseconds time) {
  return static_cast<double>(time.count()) / 1000.0;
}

std::string QueueFullText(const queue::Depth& depth) {
  return "queue is full: " + std::to_string(depth.waiting) + " executions waiting, limit " +
         std::to_string(depth.limit);
}

}  // namespace

class ExecutionService::Core : public std::enable_shared_from_this<Core> {
 public:
  Core(Options options, store::ExecutionStore& store, queue::Broker& broker, Metrics& metrics,
       const Clock& clock, Log log)
      : options_(options),
        store_(store),
        broker_(broker),
        metrics_(metrics),
        clock_(clock),
        log_(std::move(log)),
        housekeeper_([this](const std::stop_token& stop) { KeepHouse(stop); }) {}

  ExecutionId Submit(schema::Execution execution, OnDone on_done);
  void Cancel(const ExecutionId& id);
  Result<queue::Depth> Depth(schema::Priority lane) { return broker_.GetDepth(lane); }
  std::size_t waiting() const {
    const std::lock_guard lock(mutex_);
    return waits_.size();
  }
  void Close();

 private:
  // One execution somebody waits for. All but the constant part is guarded by mutex_.
  struct Wait {
    ExecutionId id;
    std::string language;
    Log log;
    OnDone on_done;  // taken by whoever settles
    bool settled = false;
    std::optional<Outcome> outcome;  // the reply, while the row is not durable yet
    bool durable = false;
    bool insert_over = false;
    std::optional<Outcome> finish_as;  // to be written into the row as soon as it is there
    SteadyTime look_at;
    SteadyTime give_up_at;
  };
  using WaitPtr = std::shared_ptr<Wait>;

  // Marks a callback that is inside, so that Close() can wait for it. False: closed, stay out.
  class Visit {
   public:
    explicit Visit(Core& core) : core_(core) {
      const std::lock_guard lock(core_.mutex_);
      inside_ = !core_.closed_;
      if (inside_) ++core_.visitors_;
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    ~Visit() {
      if (!inside_) return;
      const std::lock_guard lock(core_.mutex_);
      if (--core_.visitors_ == 0) core_.left_.notify_all();
    }
    explicit operator bool() const { return inside_; }

   private:
    Core& core_;
    bool inside_ = false;
  };

  void OnInserted(const WaitPtr& wait, const Result<void>& inserted);
  void OnReply(const WaitPtr& wait, Outcome outcome);
  void OnPublishRefused(const WaitPtr& wait, Error error);
  // Answers, unless somebody has already. Never with mutex_ held.
  void Settle(const WaitPtr& wait, Result<Outcome> result);
  void Answer(const Wait& wait, const OnDone& on_done, Result<Outcome> result);
  // Makes the row terminal, now or as soon as it exists.
  void FinishRow(const WaitPtr& wait, Outcome outcome);
  void WriteFinish(const ExecutionId& id, Outcome outcome, const Log& log);

  void KeepHouse(const std::stop_token& stop);
  void Look(const WaitPtr& wait);

  const Options options_;
  store::ExecutionStore& store_;
  queue::Broker& broker_;
  Metrics& metrics_;
  const Clock& clock_;
  const Log log_;

  mutable std::mutex mutex_;
  std::condition_variable_any wake_;  // the housekeeper: something to do, or to watch
  std::condition_variable left_;      // Close(): a visitor has gone
  std::unordered_map<ExecutionId, WaitPtr> waits_;
  std::deque<std::function<void()>> tasks_;
  bool asleep_ = false;  // the housekeeper has nobody to watch; else it looks at intervals anyway
  int visitors_ = 0;
  bool closed_ = false;
  std::jthread housekeeper_;  // last: it uses all of the above
};

ExecutionId ExecutionService::Core::Submit(schema::Execution execution, OnDone on_done) {
  if (execution.id.empty()) execution.id = ExecutionId(NewUuidV7());
  execution.created_unix_ms = clock_.UnixMillis();
  const ExecutionId id = execution.id;
  const Visit visit(*this);
  if (!visit) {
    on_done(Fail(ErrorCode::kUnavailable, "the server is shutting down"));
    return id;
  }
  Log log = log_.With({{"request_id", execution.request_id},
                       {"execution_id", id.str()},
                       {"dialect", execution.dialect},
                       {"language", execution.language}});

  if (execution.limits.wall.count() <= 0) {
    metrics_.ExecutionStarted();
    Outcome outcome = Ended(schema::Reason::kWallTimeout, "no time was given");
    metrics_.ExecutionFinished(execution.language, outcome);
    log.Info("execution.finished", {{"reason", ToString(outcome.reason)}});
    on_done(std::move(outcome));
    return id;
  }

  // Before anything is written: a full queue must cost the store nothing.
  if (const auto depth = broker_.GetDepth(execution.priority);
      depth && depth->limit > 0 && depth->waiting >= depth->limit) {
    log.Warn("execution.refused", {{"cause", "queue_full"}, {"depth", depth->waiting}});
    on_done(Fail(ErrorCode::kQueueFull, QueueFullText(*depth)));
    return id;
  }

  const SteadyTime now = clock_.Now();
  auto wait =
      std::make_shared<Wait>(Wait{.id = id,
                                  .language = execution.language,
                                  .log = log,
                                  .on_done = std::move(on_done),
                                  .outcome = {},
                                  .finish_as = {},
                                  .look_at = now + execution.limits.wall + options_.reply_slack,
                                  .give_up_at = now + execution.limits.wall + options_.max_wait});
  {
    const std::lock_guard lock(mutex_);
    waits_.emplace(id, wait);
    if (asleep_) wake_.notify_all();
  }
  metrics_.ExecutionStarted();
  log.Info("execution.accepted",
           {{"owner", execution.owner.str()}, {"wall_limit_ms", execution.limits.wall.count()}});

  broker_.Expect(id, [core = weak_from_this(), wait](queue::Reply reply) {
    if (const auto self = core.lock()) self->OnReply(wait, std::move(reply.outcome));
  });
  queue::Message message{.id = id,
                         .owner = execution.owner,
                         .lane = execution.priority,
                         .enqueued_unix_ms = execution.created_unix_ms,
                         .execution = std::make_shared<const schema::Execution>(execution)};
  store_.InsertAsync(std::move(execution), [core = weak_from_this(), wait](Result<void> inserted) {
    if (const auto self = core.lock()) self->OnInserted(wait, inserted);
  });
  if (Result<void> published = broker_.Publish(std::move(message)); !published) {
    OnPublishRefused(wait, published.error());
  }
  return id;
}

void ExecutionService::Core::OnInserted(const WaitPtr& wait, const Result<void>& inserted) {
  const Visit visit(*this);
  if (!visit) return;
  std::optional<Outcome> finish_as;
  std::optional<Outcome> outcome;
  {
    const std::lock_guard lock(mutex_);
    wait->insert_over = true;
    wait->durable = inserted.has_value();
    finish_as = std::exchange(wait->finish_as, std::nullopt);
    outcome = std::exchange(wait->outcome, std::nullopt);
  }
  if (!inserted) {
    // Not accepted then; but the message is on its way and must not run on for nobody.
    (void)broker_.Cancel(wait->id);
    Settle(wait, Fail(inserted.error()));
    return;
  }
  if (finish_as) WriteFinish(wait->id, *std::move(finish_as), wait->log);
  if (outcome) Settle(wait, *std::move(outcome));
}

void ExecutionService::Core::OnReply(const WaitPtr& wait, Outcome outcome) {
  const Visit visit(*this);
  if (!visit) return;
  {
    const std::lock_guard lock(mutex_);
    if (!wait->durable) {
      if (!wait->insert_over) wait->outcome = std::move(outcome);
      return;
    }
  }
  Settle(wait, std::move(outcome));
}

void ExecutionService::Core::OnPublishRefused(const WaitPtr& wait, Error error) {
  FinishRow(wait, Ended(schema::Reason::kCancelled, "refused by the queue: " + error.message));
  Settle(wait, Fail(std::move(error)));
}

void ExecutionService::Core::Cancel(const ExecutionId& id) {
  const Visit visit(*this);
  if (!visit) return;
  WaitPtr wait;
  {
    const std::lock_guard lock(mutex_);
    const auto found = waits_.find(id);
    if (found == waits_.end()) return;
    wait = found->second;
  }
  // The broadcast stops it where it runs. The row stops it where it waits: whoever is handed the
  // message finds the execution finished.
  if (Result<void> sent = broker_.Cancel(id); !sent) {
    wait->log.Warn("execution.cancel_failed", {{"error", sent.error().message}});
  }
  Outcome cancelled = Ended(schema::Reason::kCancelled, "nobody waits for it");
  FinishRow(wait, cancelled);
  Settle(wait, std::move(cancelled));
}

void ExecutionService::Core::Settle(const WaitPtr& wait, Result<Outcome> result) {
  OnDone on_done;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(wait->settled, true)) return;
    on_done = std::move(wait->on_done);
    waits_.erase(wait->id);
    if (result &&
        result->stdout_text.size() + result->stderr_text.size() > options_.inline_output_bytes) {
      auto task = [this, wait, on_done = std::move(on_done),
                   held = std::make_shared<Result<Outcome>>(std::move(result))] {
        Answer(*wait, on_done, std::move(*held));
      };
      tasks_.push_back(std::move(task));
      wake_.notify_all();
    }
  }
  broker_.Forget(wait->id);
  if (on_done) Answer(*wait, on_done, std::move(result));
}

void ExecutionService::Core::Answer(const Wait& wait, const OnDone& on_done,
                                    Result<Outcome> result) {
  if (result) {
    metrics_.ExecutionFinished(wait.language, *result);
    const schema::Timings& t = result->timings;
    wait.log.Info("execution.answered", {{"state", ToString(result->state)},
                                         {"reason", ToString(result->reason)},
                                         {"message", result->message},
                                         {"queue_ms", Milliseconds(t.queue)},
                                         {"fork_ms", Milliseconds(t.fork)},
                                         {"exec_ms", Milliseconds(t.exec)},
                                         {"total_ms", Milliseconds(t.total)}});
  } else {
    metrics_.ExecutionFailed();
    wait.log.Error("execution.failed",
                   {{"code", ToString(result.error().code)}, {"error", result.error().message}});
  }
  on_done(std::move(result));
}

void ExecutionService::Core::FinishRow(const WaitPtr& wait, Outcome outcome) {
  {
    const std::lock_guard lock(mutex_);
    if (!wait->insert_over) {
      wait->finish_as = std::move(outcome);
      return;
    }
    if (!wait->durable) return;  // there is no row
  }
  WriteFinish(wait->id, std::move(outcome), wait->log);
}

void ExecutionService::Core::WriteFinish(const ExecutionId& id, Outcome outcome, const Log& log) {
  store_.FinishAsync(id, std::move(outcome), clock_.UnixMillis(), [log](Result<bool> finished) {
    // The row then stays as it is and is run again by a sweep: wasteful, not wrong.
    if (!finished) log.Warn("execution.finish_failed", {{"error", finished.error().message}});
  });
}

void ExecutionService::Core::KeepHouse(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    if (!tasks_.empty()) {
      auto task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      lock.lock();
      continue;
    }
    std::vector<WaitPtr> due;
    const SteadyTime now = clock_.Now();
    for (const auto& [id, wait] : waits_) {
      if (wait->look_at > now) continue;
      wait->look_at = now + options_.reply_slack;
      due.push_back(wait);
    }
    lock.unlock();
    for (const WaitPtr& wait : due) {
      if (stop.stop_requested()) break;
      Look(wait);
    }
    lock.lock();
    const auto something = [this] { return !tasks_.empty(); };
    if (waits_.empty()) {
      asleep_ = true;
      wake_.wait(lock, stop, [&] { return something() || !waits_.empty(); });
      asleep_ = false;
    } else {
      wake_.wait_for(lock, stop, options_.watch_interval, something);
    }
  }
}

// The reply is overdue. Perhaps it was lost and the row has the outcome; perhaps the execution is
// still in the queue, or was lost with its runner and waits for another one.
void ExecutionService::Core::Look(const WaitPtr& wait) {
  const Result<store::ExecutionRecord> record = store_.Get(wait->id, std::nullopt);
  if (record && record->outcome) {
    wait->log.Warn("execution.reply_lost");
    Settle(wait, *record->outcome);
    return;
  }
  if (clock_.Now() < wait->give_up_at) return;
  (void)broker_.Cancel(wait->id);
  FinishRow(wait, Ended(schema::Reason::kCancelled, "nobody waits that long"));
  Settle(wait, Fail(ErrorCode::kDeadlineExceeded, "the execution did not end in time"));
}

void ExecutionService::Core::Close() {
  if (!housekeeper_.joinable()) return;  // closed before
  housekeeper_.request_stop();
  housekeeper_.join();
  std::vector<WaitPtr> left;
  std::deque<std::function<void()>> tasks;
  {
    std::unique_lock lock(mutex_);
    closed_ = true;
    left_.wait(lock, [this] { return visitors_ == 0; });
    for (const auto& [id, wait] : waits_) left.push_back(wait);
    tasks.swap(tasks_);
  }
  for (const auto& task : tasks) task();
  for (const WaitPtr& wait : left) {
    Settle(wait, Fail(ErrorCode::kUnavailable, "the server is shutting down"));
  }
  const std::lock_guard lock(mutex_);
  tasks_.clear();
}

ExecutionService::ExecutionService(Options options, store::ExecutionStore& store,
                                   queue::Broker& broker, Metrics& metrics, const Clock& clock,
                                   Log log)
    : core_(std::make_shared<Core>(options, store, broker, metrics, clock, std::move(log))) {}

ExecutionService::~ExecutionService() { core_->Close(); }
void ExecutionService::Close() { core_->Close(); }

ExecutionId ExecutionService::Submit(schema::Execution execution, OnDone on_done) {
  return core_->Submit(std::move(execution), std::move(on_done));
}
void ExecutionService::Cancel(const ExecutionId& id) { core_->Cancel(id); }
Result<queue::Depth> ExecutionService::Depth(schema::Priority lane) { return core_->Depth(lane); }
std::size_t ExecutionService::waiting() const { return core_->waiting(); }

}  // namespace forkbox::api
