#include "api/execution_service.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "api/call_pool.h"
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
        reads_(options_.reader_threads, options_.max_waiting_reads),
        housekeeper_([this](const std::stop_token& stop) { KeepHouse(stop); }) {}

  ExecutionId Submit(schema::Execution execution, OnDone on_done);
  ExecutionId Enqueue(schema::Execution execution, std::uint64_t max_waiting,
                      OnAccepted on_accepted);
  // `read` on a thread of ours, `done` with what it returns.
  template <class T>
  void Ask(std::function<Result<T>(store::ExecutionStore&)> read,
           std::function<void(Result<T>)> done);
  void FreshDepth(schema::Priority lane, std::function<void(Result<queue::Depth>)> done) {
    broker_.FreshDepth(lane, std::move(done));
  }
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
    schema::OwnerId owner;
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

  // One execution on its way to being accepted; handed from callback to callback.
  struct Admission;
  using AdmissionPtr = std::shared_ptr<Admission>;

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

  // Takes a place in the lane for an execution that is not in the queue yet. False: it is full.
  // While the queue is away the last depth known is good enough.
  bool Reserve(const Result<queue::Depth>& fresh, const AdmissionPtr& admission);
  void InsertThenPublish(const AdmissionPtr& admission);
  void OnQueueAnswer(const AdmissionPtr& admission, const Result<void>& published);
  void Accept(const AdmissionPtr& admission, Result<void> result, queue::Depth depth);

  void Publish(const WaitPtr& wait, queue::Message message);
  void OnInserted(const WaitPtr& wait, const Result<void>& inserted, bool published);
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
  std::unordered_map<schema::OwnerId, std::size_t> waits_of_;  // as many as in waits_; no zeros
  std::uint64_t reserved_interactive_ = 0;  // between Reserve() and the queue's answer
  std::uint64_t reserved_background_ = 0;
  std::uint64_t undispatched_ = 0;  // accepted while the queue was away, until it is back
  queue::Depth depth_interactive_;  // as last heard
  queue::Depth depth_background_;
  std::deque<std::function<void()>> tasks_;
  bool asleep_ = false;  // the housekeeper has nobody to watch; else it looks at intervals anyway
  int visitors_ = 0;
  bool closed_ = false;
  std::atomic<bool> store_failing_{false};  // the last insert that was answered failed
  CallPool reads_;
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

  execution.reply_to = broker_.ReplyAddress();
  const SteadyTime now = clock_.Now();
  auto wait =
      std::make_shared<Wait>(Wait{.id = id,
                                  .owner = execution.owner,
                                  .language = execution.language,
                                  .log = log,
                                  .on_done = std::move(on_done),
                                  .outcome = {},
                                  .finish_as = {},
                                  .look_at = now + options_.look_interval,
                                  .give_up_at = now + execution.limits.wall + options_.max_wait});
  {
    std::unique_lock lock(mutex_);
    std::size_t& waits = waits_of_[execution.owner];
    if (options_.max_waits_per_owner != 0 && !execution.owner.empty() &&
        waits >= options_.max_waits_per_owner) {
      lock.unlock();
      log.Warn("execution.refused", {{"cause", "owner_limit"}});
      wait->on_done(Fail(ErrorCode::kQueueFull, "too many executions of this key at once, limit " +
                                                    std::to_string(options_.max_waits_per_owner)));
      return id;
    }
    ++waits;
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
                         .dispatched_unix_ms = execution.created_unix_ms,
                         .execution = std::make_shared<const schema::Execution>(execution)};
  // Side by side, unless the store is failing: then messages without rows would only pile up.
  if (store_failing_) {
    store_.InsertAsync(std::move(execution),
                       [core = weak_from_this(), wait, message](const Result<void>& inserted) {
                         const auto self = core.lock();
                         if (self == nullptr) return;
                         self->OnInserted(wait, inserted, /*published=*/false);
                         if (inserted) self->Publish(wait, message);
                       });
  } else {
    store_.InsertAsync(std::move(execution),
                       [core = weak_from_this(), wait](const Result<void>& inserted) {
                         const auto self = core.lock();
                         if (self != nullptr) self->OnInserted(wait, inserted, /*published=*/true);
                       });
    Publish(wait, std::move(message));
  }
  return id;
}

void ExecutionService::Core::Publish(const WaitPtr& wait, queue::Message message) {
  const Visit visit(*this);
  if (!visit) return;
  broker_.PublishAsync(std::move(message),
                       [core = weak_from_this(), wait](const Result<void>& published) {
                         if (published) return;
                         if (const auto self = core.lock()) {
                           self->OnPublishRefused(wait, published.error());
                         }
                       });
}

// ---- accepted without anybody waiting ----------------------------------------------------------

struct ExecutionService::Core::Admission {
  Admission(Core& core, schema::Execution accepted, std::uint64_t most, OnAccepted answer)
      : visit(core),
        id(accepted.id),
        lane(accepted.priority),
        max_waiting(most),
        log(core.log_.With({{"request_id", accepted.request_id},
                            {"execution_id", accepted.id.str()},
                            {"dialect", accepted.dialect},
                            {"language", accepted.language}})),
        on_accepted(std::move(answer)),
        execution(std::make_shared<const schema::Execution>(std::move(accepted))) {}

  const Visit visit;  // Close() waits for its end, which store and broker bound
  const ExecutionId id;
  const schema::Priority lane;
  const std::uint64_t max_waiting;
  const Log log;
  const OnAccepted on_accepted;
  const std::shared_ptr<const schema::Execution> execution;  // shared with the message
  queue::Depth depth;
  bool reserved = false;
};

ExecutionId ExecutionService::Core::Enqueue(schema::Execution execution, std::uint64_t max_waiting,
                                            OnAccepted on_accepted) {
  if (execution.id.empty()) execution.id = ExecutionId(NewUuidV7());
  execution.created_unix_ms = clock_.UnixMillis();
  const ExecutionId id = execution.id;
  // Shared by the callbacks of store and broker, one after the other.
  const auto admission =
      std::make_shared<Admission>(*this, std::move(execution), max_waiting, std::move(on_accepted));
  if (!admission->visit) {
    admission->on_accepted(Fail(ErrorCode::kUnavailable, "the server is shutting down"), {});
    return id;
  }
  broker_.FreshDepth(
      admission->lane, [self = shared_from_this(), admission](const Result<queue::Depth>& depth) {
        if (!self->Reserve(depth, admission)) {
          admission->log.Warn("execution.refused",
                              {{"cause", "queue_full"}, {"depth", admission->depth.waiting}});
          return admission->on_accepted(
              Fail(ErrorCode::kQueueFull, QueueFullText(admission->depth)), admission->depth);
        }
        self->InsertThenPublish(admission);
      });
  return id;
}

bool ExecutionService::Core::Reserve(const Result<queue::Depth>& fresh,
                                     const AdmissionPtr& admission) {
  const bool takes = fresh && broker_.Status();
  const std::lock_guard lock(mutex_);
  const bool interactive = admission->lane == schema::Priority::kInteractive;
  std::uint64_t& reserved = interactive ? reserved_interactive_ : reserved_background_;
  queue::Depth& depth = interactive ? depth_interactive_ : depth_background_;
  if (fresh) depth = *fresh;
  // The sweep dispatches those now. To go on counting them could refuse everybody for good.
  if (takes) undispatched_ = 0;
  admission->depth = depth;
  const std::uint64_t ahead = depth.waiting + reserved + undispatched_;
  if (depth.limit != 0 && ahead >= depth.limit) return false;
  if (admission->max_waiting != 0 && ahead >= admission->max_waiting) return false;
  ++reserved;
  admission->reserved = true;
  return true;
}

void ExecutionService::Core::InsertThenPublish(const AdmissionPtr& admission) {
  store_.InsertAsync(*admission->execution,
                     [self = shared_from_this(), admission](const Result<void>& inserted) {
                       if (!inserted) return self->Accept(admission, Fail(inserted.error()), {});
                       const schema::Execution& execution = *admission->execution;
                       self->broker_.PublishAsync({.id = execution.id,
                                                   .owner = execution.owner,
                                                   .lane = execution.priority,
                                                   .enqueued_unix_ms = execution.created_unix_ms,
                                                   .dispatched_unix_ms = execution.created_unix_ms,
                                                   .execution = admission->execution},
                                                  [self, admission](const Result<void>& published) {
                                                    self->OnQueueAnswer(admission, published);
                                                  });
                     });
}

void ExecutionService::Core::OnQueueAnswer(const AdmissionPtr& admission,
                                           const Result<void>& published) {
  if (!published && published.error().code == ErrorCode::kQueueFull) {
    Outcome refused = Ended(schema::Reason::kCancelled, "refused by the queue");
    store_.WithdrawAsync(
        admission->id, std::move(refused), clock_.UnixMillis(),
        [self = shared_from_this(), admission](const Result<bool>& withdrawn) {
          // What could not be taken back is accepted: the sweep will dispatch it, or has already.
          if (!withdrawn || !*withdrawn) return self->Accept(admission, {}, admission->depth);
          self->Accept(admission, Fail(ErrorCode::kQueueFull, QueueFullText(admission->depth)),
                       admission->depth);
        });
    return;
  }
  if (!published) {
    {
      const std::lock_guard lock(mutex_);
      ++undispatched_;
    }
    admission->log.Warn("execution.dispatch_deferred", {{"error", published.error().message}});
    return Accept(admission, {}, admission->depth);
  }
  broker_.FreshDepth(admission->lane,
                     [self = shared_from_this(), admission](const Result<queue::Depth>& depth) {
                       self->Accept(admission, {}, depth ? *depth : admission->depth);
                     });
}

void ExecutionService::Core::Accept(const AdmissionPtr& admission, Result<void> result,
                                    queue::Depth depth) {
  if (admission->reserved) {
    const std::lock_guard lock(mutex_);
    --(admission->lane == schema::Priority::kInteractive ? reserved_interactive_
                                                         : reserved_background_);
  }
  if (result) {
    metrics_.ExecutionAccepted(ToString(admission->execution->delivery));
    admission->log.Info("execution.accepted",
                        {{"owner", admission->execution->owner.str()},
                         {"delivery", ToString(admission->execution->delivery)},
                         {"wall_limit_ms", admission->execution->limits.wall.count()}});
  } else {
    admission->log.Warn("execution.not_accepted", {{"code", ToString(result.error().code)},
                                                   {"error", result.error().message}});
  }
  admission->on_accepted(std::move(result), depth);
}

// ---- questions to the store ---------------------------------------------------------------------

template <class T>
void ExecutionService::Core::Ask(std::function<Result<T>(store::ExecutionStore&)> read,
                                 std::function<void(Result<T>)> done) {
  // Shared: the pool may drop the call, and `done` must be called all the same.
  const auto answer = std::make_shared<std::function<void(Result<T>)>>(std::move(done));
  const bool posted = reads_.Post([this, read = std::move(read), answer] {
    bool closed = false;
    {
      const std::lock_guard lock(mutex_);
      closed = closed_;
    }
    (*answer)(closed ? Fail(ErrorCode::kUnavailable, "the server is shutting down") : read(store_));
  });
  if (!posted) (*answer)(Fail(ErrorCode::kUnavailable, "too many questions to the store wait"));
}

void ExecutionService::Core::OnInserted(const WaitPtr& wait, const Result<void>& inserted,
                                        bool published) {
  store_failing_ = !inserted && inserted.error().code != ErrorCode::kConflict;
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
    if (published) (void)broker_.Cancel(wait->id);
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
  const Visit visit(*this);
  if (!visit) return;
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
    if (const auto of = waits_of_.find(wait->owner); --of->second == 0) waits_of_.erase(of);
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
      wait->look_at = now + options_.look_interval;
      due.push_back(wait);
    }
    lock.unlock();
    for (const WaitPtr& wait : due) {
      // With no room there, the next round asks again.
      (void)reads_.Post([this, wait] { Look(wait); });
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

// No reply so far. Perhaps it was lost and the row has the outcome; most likely the execution still
// runs, or waits for its turn.
void ExecutionService::Core::Look(const WaitPtr& wait) {
  const Visit visit(*this);
  if (!visit) return;
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
    lock.unlock();
    reads_.Close();
    lock.lock();
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
ExecutionId ExecutionService::Enqueue(schema::Execution execution, std::uint64_t max_waiting,
                                      OnAccepted on_accepted) {
  return core_->Enqueue(std::move(execution), max_waiting, std::move(on_accepted));
}
void ExecutionService::Find(ExecutionId id, std::optional<schema::OwnerId> owner,
                            std::function<void(Result<store::ExecutionRecord>)> done) {
  core_->Ask<store::ExecutionRecord>(
      [id = std::move(id), owner = std::move(owner)](store::ExecutionStore& store) {
        return store.Get(id, owner);
      },
      std::move(done));
}
void ExecutionService::ListChangedSince(
    schema::OwnerId owner, std::string dialect, std::int64_t since_unix_ms, std::size_t limit,
    std::function<void(Result<std::vector<store::ExecutionSummary>>)> done) {
  core_->Ask<std::vector<store::ExecutionSummary>>(
      [owner = std::move(owner), dialect = std::move(dialect), since_unix_ms,
       limit](store::ExecutionStore& store) {
        return store.ListChangedSince(owner, dialect, since_unix_ms, limit);
      },
      std::move(done));
}
void ExecutionService::FreshDepth(schema::Priority lane,
                                  std::function<void(Result<queue::Depth>)> done) {
  core_->FreshDepth(lane, std::move(done));
}
void ExecutionService::Cancel(const ExecutionId& id) { core_->Cancel(id); }
Result<queue::Depth> ExecutionService::Depth(schema::Priority lane) { return core_->Depth(lane); }
std::size_t ExecutionService::waiting() const { return core_->waiting(); }

}  // namespace forkbox::api
