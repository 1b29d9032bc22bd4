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
#include "api/timer.h"
#include "base/uuid.h"

namespace forkbox::api {
namespace {

using schema::ExecutionId;
using schema::Outcome;
using std::chrono::milliseconds;

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

// The errors of OnAnswer for what the store did not take.
tl::unexpected<Error> RefusedBy(const store::Acceptance& acceptance,
                                const store::AcceptTerms& terms) {
  using store::AcceptVerdict;
  switch (acceptance.verdict) {
    case AcceptVerdict::kRateLimited:
      return Fail(ErrorCode::kQueueFull, "too many executions of this key in this minute, limit " +
                                             std::to_string(terms.per_minute));
    case AcceptVerdict::kTooManyAtOnce:
      return Fail(ErrorCode::kQueueFull, "too many executions of this account at once, limit " +
                                             std::to_string(terms.concurrency));
    case AcceptVerdict::kQuotaSpent:
      return Fail(ErrorCode::kQueueFull, "the monthly quota of this account is used up, limit " +
                                             std::to_string(terms.monthly_quota));
    case AcceptVerdict::kRepeated:
      return Fail(ErrorCode::kConflict, "this request was accepted before");
    case AcceptVerdict::kOtherRequest:
      return Fail(ErrorCode::kConflict,
                  "the Idempotency-Key was used before, with another request");
    case AcceptVerdict::kAccepted:
      break;
  }
  return Fail(ErrorCode::kInternal, "no refusal");
}

// A program's result may reach its client a moment before the store: whoever then asks for the next
// one at once is not yet over his limit of executions at a time.
constexpr milliseconds kSecondThoughts[] = {milliseconds(15), milliseconds(60)};
// Between later questions of those who may wait for longer.
constexpr milliseconds kPatientPause{250};

// Messages of outcomes of rows withdrawn.
constexpr std::string_view kRefusedByQueue = "refused by the queue";
constexpr std::string_view kNotTakenByQueue = "not taken by the queue: ";

constexpr milliseconds kFirstAwaitPause{20};
constexpr milliseconds kLongestAwaitPause{1'000};

std::string QueueFullText(const queue::Depth& depth) {
  return "queue is full: " + std::to_string(depth.waiting) + " executions waiting, limit " +
         std::to_string(depth.limit);
}

}  // namespace

std::optional<Error> RefusalOfQueue(const Outcome& outcome) {
  if (outcome.reason != schema::Reason::kCancelled) return std::nullopt;
  if (outcome.message == kRefusedByQueue) return Error{ErrorCode::kQueueFull, "queue is full"};
  if (outcome.message.starts_with(kNotTakenByQueue)) {
    return Error{ErrorCode::kUnavailable, outcome.message.substr(kNotTakenByQueue.size())};
  }
  return std::nullopt;
}

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

  ExecutionId Submit(schema::Execution execution, store::AcceptTerms terms, OnAnswer on_answer,
                     milliseconds patience);
  ExecutionId Enqueue(schema::Execution execution, store::AcceptTerms terms,
                      std::uint64_t max_waiting, OnTaken on_taken);
  AccountRoom::Minute MinuteOf(const schema::KeyId& key) {
    return room_.MinuteOf(key, clock_.UnixMillis());
  }
  void Await(ExecutionId id, std::optional<schema::OwnerId> owner, milliseconds at_most,
             std::function<bool()> wanted,
             std::function<void(Result<store::ExecutionRecord>)> done);
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
    AccountRoom::Account account;
    store::AcceptTerms terms;
    bool asks = false;  // the store accepts it under terms; else it is merely inserted
    std::chrono::steady_clock::time_point patient_until;
    Log log;
    OnAnswer on_answer;            // taken by whoever settles
    store::Acceptance acceptance;  // once the store has said so
    bool settled = false;
    std::optional<Outcome> outcome;  // the reply, while the row is not durable yet
    bool durable = false;
    bool insert_over = false;
    std::optional<Outcome> finish_as;  // to be written into the row as soon as it is there
    bool withdraw = false;             // and so that nothing of it counts
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

  // One caller that awaits an execution of somebody else.
  struct Awaiting;
  void LookFor(const std::shared_ptr<Awaiting>& awaiting);
  void EndAwaiting(Awaiting& awaiting, Result<store::ExecutionRecord> record);

  // Whether the store must be asked; an execution without terms is only inserted.
  static bool Asks(const schema::Execution& execution, const store::AcceptTerms& terms);
  // Writes the row, under terms if it asks. `taken`: room_ was told that it asks.
  void Write(const std::shared_ptr<const schema::Execution>& execution,
             const store::AcceptTerms& terms, bool asks, bool taken,
             std::function<void(Result<store::Acceptance>)> done);
  // The row first, then the message. `attempt` counts the second thoughts.
  void WriteThenPublish(const WaitPtr& wait, const queue::Message& message, std::size_t attempt);

  void Publish(const WaitPtr& wait, queue::Message message);
  bool IsWaitedFor(const WaitPtr& wait) {
    const std::lock_guard lock(mutex_);
    return !wait->settled;
  }
  void OnWritten(const WaitPtr& wait, const Result<store::Acceptance>& written, bool published);
  void OnReply(const WaitPtr& wait, Outcome outcome);
  void OnPublishRefused(const WaitPtr& wait, Error error);
  // Answers, unless somebody has already. Never with mutex_ held.
  void Settle(const WaitPtr& wait, Result<Outcome> result);
  void Answer(const Wait& wait, const OnAnswer& on_answer, Result<Outcome> result,
              const store::Acceptance& account);
  // Makes the row terminal, now or as soon as it exists. `withdraw`: it was refused after all, so
  // it uses up no quota and its idempotency key is free again.
  void FinishRow(const WaitPtr& wait, Outcome outcome, bool withdraw);
  void WriteFinish(const ExecutionId& id, Outcome outcome, bool withdraw, const Log& log);

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
  AccountRoom room_;
  CallPool reads_;
  Timer timer_;
  std::size_t awaiting_ = 0;                                      // guarded by mutex_
  std::unordered_map<schema::OwnerId, std::size_t> awaiting_of_;  // guarded by mutex_
  std::jthread housekeeper_;                                      // last: it uses all of the above
};

bool ExecutionService::Core::Asks(const schema::Execution& execution,
                                  const store::AcceptTerms& terms) {
  return !execution.key_id.empty() || !execution.idempotency_key.empty() || terms.per_minute != 0 ||
         terms.concurrency != 0 || terms.monthly_quota != 0;
}

ExecutionId ExecutionService::Core::Submit(schema::Execution execution, store::AcceptTerms terms,
                                           OnAnswer on_answer, milliseconds patience) {
  if (execution.id.empty()) execution.id = ExecutionId(NewUuidV7());
  if (execution.created_unix_ms == 0) execution.created_unix_ms = clock_.UnixMillis();
  const ExecutionId id = execution.id;
  const Visit visit(*this);
  if (!visit) {
    on_answer(Fail(ErrorCode::kUnavailable, "the server is shutting down"), {});
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
    on_answer(std::move(outcome), {});
    return id;
  }

  // Before anything is written: a full queue must cost the store nothing.
  if (const auto depth = broker_.GetDepth(execution.priority);
      depth && depth->limit > 0 && depth->waiting >= depth->limit) {
    log.Warn("execution.refused", {{"cause", "queue_full"}, {"depth", depth->waiting}});
    on_answer(Fail(ErrorCode::kQueueFull, QueueFullText(*depth)), {});
    return id;
  }

  const bool asks = Asks(execution, terms);
  const AccountRoom::Account account{execution.owner, execution.key_id};
  execution.reply_to = broker_.ReplyAddress();
  const SteadyTime now = clock_.Now();
  auto wait =
      std::make_shared<Wait>(Wait{.id = id,
                                  .owner = execution.owner,
                                  .language = execution.language,
                                  .account = account,
                                  .terms = std::move(terms),
                                  .asks = asks,
                                  .patient_until = std::chrono::steady_clock::now() + patience,
                                  .log = log,
                                  .on_answer = std::move(on_answer),
                                  .acceptance = {},
                                  .outcome = {},
                                  .finish_as = {},
                                  .look_at = now + options_.look_interval,
                                  .give_up_at = now + execution.limits.wall + options_.max_wait});
  {
    std::unique_lock lock(mutex_);
    const auto known = waits_of_.find(execution.owner);
    const std::size_t waits = known == waits_of_.end() ? 0 : known->second;
    // A request that may be a repetition of one accepted is never refused unasked.
    if (asks && execution.idempotency_key.empty()) {
      if (const auto refusal = room_.CertainRefusal(
              account, wait->terms, patience.count() > 0 ? 0 : waits, execution.created_unix_ms)) {
        lock.unlock();
        const auto error = RefusedBy(*refusal, wait->terms);
        log.Warn("execution.refused", {{"cause", error.value().message}});
        wait->on_answer(error, *refusal);
        return id;
      }
    }
    if (options_.max_waits_per_owner != 0 && !execution.owner.empty() &&
        waits >= options_.max_waits_per_owner) {
      lock.unlock();
      log.Warn("execution.refused", {{"cause", "owner_limit"}});
      wait->on_answer(
          Fail(ErrorCode::kQueueFull, "too many executions of this key at once, limit " +
                                          std::to_string(options_.max_waits_per_owner)),
          {});
      return id;
    }
    ++waits_of_[execution.owner];
    waits_.emplace(id, wait);
    if (asleep_) wake_.notify_all();
  }
  metrics_.ExecutionStarted();
  log.Info("execution.accepted",
           {{"owner", execution.owner.str()}, {"wall_limit_ms", execution.limits.wall.count()}});

  broker_.Expect(id, [core = weak_from_this(), wait](queue::Reply reply) {
    if (const auto self = core.lock()) self->OnReply(wait, std::move(reply.outcome));
  });
  const bool may_be_known = !execution.idempotency_key.empty();
  const auto shared = std::make_shared<const schema::Execution>(std::move(execution));
  queue::Message message{.id = id,
                         .owner = shared->owner,
                         .lane = shared->priority,
                         .enqueued_unix_ms = shared->created_unix_ms,
                         .dispatched_unix_ms = shared->created_unix_ms,
                         .execution = shared};
  // Side by side, unless the store is failing: then messages without rows would only pile up.
  const bool taken = asks && !may_be_known && !store_failing_ &&
                     room_.TakeIfPlenty(account, wait->terms, shared->created_unix_ms);
  if (store_failing_ || (asks && !taken)) {
    WriteThenPublish(wait, message, 0);
  } else {
    Write(shared, wait->terms, asks, taken,
          [core = weak_from_this(), wait](const Result<store::Acceptance>& written) {
            const auto self = core.lock();
            if (self != nullptr) self->OnWritten(wait, written, /*published=*/true);
          });
    Publish(wait, std::move(message));
  }
  return id;
}

void ExecutionService::Core::Write(const std::shared_ptr<const schema::Execution>& execution,
                                   const store::AcceptTerms& terms, bool asks, bool taken,
                                   std::function<void(Result<store::Acceptance>)> done) {
  if (!asks) {
    store_.InsertAsync(
        *execution, [id = execution->id, done = std::move(done)](const Result<void>& inserted) {
          if (!inserted) return done(Fail(inserted.error()));
          done(store::Acceptance{.verdict = store::AcceptVerdict::kAccepted, .id = id});
        });
    return;
  }
  store_.AcceptAsync(
      *execution, terms,
      [core = weak_from_this(), account = AccountRoom::Account{execution->owner, execution->key_id},
       taken, done = std::move(done)](Result<store::Acceptance> written) {
        if (const auto self = core.lock()) {
          if (written) {
            self->room_.Saw(account, *written, taken);
          } else if (taken) {
            self->room_.Unanswered(account);
          }
        }
        done(std::move(written));
      });
}

void ExecutionService::Core::WriteThenPublish(const WaitPtr& wait, const queue::Message& message,
                                              std::size_t attempt) {
  Write(
      message.execution, wait->terms, wait->asks, /*taken=*/false,
      [core = weak_from_this(), wait, message, attempt](const Result<store::Acceptance>& written) {
        const auto self = core.lock();
        if (self == nullptr) return;
        const bool too_many = written && written->verdict == store::AcceptVerdict::kTooManyAtOnce;
        const bool thinks = attempt < std::size(kSecondThoughts);
        if (too_many && self->IsWaitedFor(wait) &&
            (thinks || std::chrono::steady_clock::now() < wait->patient_until) &&
            self->timer_.After(thinks ? kSecondThoughts[attempt] : kPatientPause,
                               [core, wait, message, attempt] {
                                 const auto later = core.lock();
                                 if (later != nullptr)
                                   later->WriteThenPublish(wait, message, attempt + 1);
                               })) {
          return;
        }
        self->OnWritten(wait, written, /*published=*/false);
        if (written && written->verdict == store::AcceptVerdict::kAccepted) {
          self->Publish(wait, message);
        }
      });
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
  Admission(Core& core, schema::Execution accepted, store::AcceptTerms under, std::uint64_t most,
            OnTaken answer)
      : visit(core),
        id(accepted.id),
        lane(accepted.priority),
        asks(Asks(accepted, under)),
        terms(std::move(under)),
        max_waiting(most),
        log(core.log_.With({{"request_id", accepted.request_id},
                            {"execution_id", accepted.id.str()},
                            {"dialect", accepted.dialect},
                            {"language", accepted.language}})),
        on_taken(std::move(answer)),
        execution(std::make_shared<const schema::Execution>(std::move(accepted))) {}

  const Visit visit;  // Close() waits for its end, which store and broker bound
  const ExecutionId id;
  const schema::Priority lane;
  const bool asks;
  const store::AcceptTerms terms;
  const std::uint64_t max_waiting;
  const Log log;
  const OnTaken on_taken;
  const std::shared_ptr<const schema::Execution> execution;  // shared with the message
  queue::Depth depth;
  store::Acceptance acceptance;
  bool reserved = false;
};

ExecutionId ExecutionService::Core::Enqueue(schema::Execution execution, store::AcceptTerms terms,
                                            std::uint64_t max_waiting, OnTaken on_taken) {
  if (execution.id.empty()) execution.id = ExecutionId(NewUuidV7());
  if (execution.created_unix_ms == 0) execution.created_unix_ms = clock_.UnixMillis();
  const ExecutionId id = execution.id;
  // Shared by the callbacks of store and broker, one after the other.
  const auto admission = std::make_shared<Admission>(*this, std::move(execution), std::move(terms),
                                                     max_waiting, std::move(on_taken));
  if (!admission->visit) {
    admission->on_taken(Fail(ErrorCode::kUnavailable, "the server is shutting down"), {}, {});
    return id;
  }
  const schema::Execution& asked = *admission->execution;
  if (admission->asks && asked.idempotency_key.empty()) {
    if (const auto refusal = room_.CertainRefusal({asked.owner, asked.key_id}, admission->terms, 0,
                                                  asked.created_unix_ms)) {
      admission->acceptance = *refusal;
      Accept(admission, RefusedBy(*refusal, admission->terms), {});
      return id;
    }
  }
  broker_.FreshDepth(
      admission->lane, [self = shared_from_this(), admission](const Result<queue::Depth>& depth) {
        if (!self->Reserve(depth, admission)) {
          admission->log.Warn("execution.refused",
                              {{"cause", "queue_full"}, {"depth", admission->depth.waiting}});
          return admission->on_taken(Fail(ErrorCode::kQueueFull, QueueFullText(admission->depth)),
                                     admission->depth, {});
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
  Write(admission->execution, admission->terms, admission->asks, /*taken=*/false,
        [self = shared_from_this(), admission](const Result<store::Acceptance>& written) {
          if (!written) return self->Accept(admission, Fail(written.error()), {});
          admission->acceptance = *written;
          if (written->verdict != store::AcceptVerdict::kAccepted) {
            return self->Accept(admission, RefusedBy(*written, admission->terms), admission->depth);
          }
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
    Outcome refused = Ended(schema::Reason::kCancelled, std::string(kRefusedByQueue));
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
  admission->on_taken(std::move(result), depth, admission->acceptance);
}

// ---- questions to the store ---------------------------------------------------------------------

template <class T>
void ExecutionService::Core::Ask(std::function<Result<T>(store::ExecutionStore&)> read,
                                 std::function<void(Result<T>)> done) {
  // Shared: the pool may drop the call, and `done` must be called all the same.
  const auto answer = std::make_shared<std::function<void(Result<T>)>>(std::move(done));
  const auto refuse = [answer] {
    (*answer)(Fail(ErrorCode::kUnavailable, "the server is shutting down"));
  };
  const bool posted = reads_.Post(
      [this, read = std::move(read), answer, refuse] {
        bool closed = false;
        {
          const std::lock_guard lock(mutex_);
          closed = closed_;
        }
        closed ? refuse() : (*answer)(read(store_));
      },
      refuse);
  if (!posted) (*answer)(Fail(ErrorCode::kUnavailable, "too many questions to the store wait"));
}

// ---- awaiting what somebody else submitted
// --------------------------------------------------------

struct ExecutionService::Core::Awaiting {
  ExecutionId id;
  std::optional<schema::OwnerId> owner;
  std::chrono::steady_clock::time_point until;
  milliseconds pause = kFirstAwaitPause;
  std::function<bool()> wanted;
  std::function<void(Result<store::ExecutionRecord>)> done;
};

void ExecutionService::Core::Await(ExecutionId id, std::optional<schema::OwnerId> owner,
                                   milliseconds at_most, std::function<bool()> wanted,
                                   std::function<void(Result<store::ExecutionRecord>)> done) {
  const auto awaiting =
      std::make_shared<Awaiting>(Awaiting{.id = std::move(id),
                                          .owner = std::move(owner),
                                          .until = std::chrono::steady_clock::now() + at_most,
                                          .wanted = std::move(wanted),
                                          .done = std::move(done)});
  {
    std::unique_lock lock(mutex_);
    if (awaiting_ >= options_.max_awaits) {
      lock.unlock();
      return awaiting->done(Fail(ErrorCode::kUnavailable, "too many callers await an execution"));
    }
    if (const auto& of = awaiting->owner; of && !of->empty()) {
      std::size_t& own = awaiting_of_[*of];
      if (options_.max_awaits_per_owner != 0 && own >= options_.max_awaits_per_owner) {
        lock.unlock();
        return awaiting->done(
            Fail(ErrorCode::kQueueFull, "too many repeated requests of this account wait, limit " +
                                            std::to_string(options_.max_awaits_per_owner)));
      }
      ++own;
    }
    ++awaiting_;
  }
  LookFor(awaiting);
}

void ExecutionService::Core::LookFor(const std::shared_ptr<Awaiting>& awaiting) {
  Ask<store::ExecutionRecord>(
      [awaiting](store::ExecutionStore& store) {
        return store.GetHead(awaiting->id, awaiting->owner);
      },
      [core = weak_from_this(), awaiting](Result<store::ExecutionRecord> record) {
        const auto self = core.lock();
        if (self == nullptr) return awaiting->done(std::move(record));
        const bool over = !record || record->outcome || !awaiting->wanted() ||
                          std::chrono::steady_clock::now() >= awaiting->until;
        if (over) return self->EndAwaiting(*awaiting, std::move(record));
        const milliseconds pause = awaiting->pause;
        awaiting->pause = std::min(kLongestAwaitPause, pause * 3 / 2);
        const bool later = self->timer_.After(pause, [core, awaiting] {
          if (const auto again = core.lock()) again->LookFor(awaiting);
        });
        if (!later) self->EndAwaiting(*awaiting, std::move(record));
      });
}

void ExecutionService::Core::EndAwaiting(Awaiting& awaiting,
                                         Result<store::ExecutionRecord> record) {
  {
    const std::lock_guard lock(mutex_);
    --awaiting_;
    if (const auto& of = awaiting.owner; of && !of->empty()) {
      if (const auto own = awaiting_of_.find(*of); --own->second == 0) awaiting_of_.erase(own);
    }
  }
  awaiting.done(std::move(record));
}

// ---- somebody waits -----------------------------------------------------------------------------

void ExecutionService::Core::OnWritten(const WaitPtr& wait,
                                       const Result<store::Acceptance>& written, bool published) {
  store_failing_ = !written && written.error().code != ErrorCode::kConflict;
  const Visit visit(*this);
  if (!visit) return;
  const bool durable = written && written->verdict == store::AcceptVerdict::kAccepted;
  std::optional<Outcome> finish_as;
  bool withdraw = false;
  std::optional<Outcome> outcome;
  {
    const std::lock_guard lock(mutex_);
    wait->insert_over = true;
    wait->durable = durable;
    if (written) wait->acceptance = *written;
    finish_as = std::exchange(wait->finish_as, std::nullopt);
    withdraw = wait->withdraw;
    outcome = std::exchange(wait->outcome, std::nullopt);
  }
  if (!durable) {
    // Not accepted then; but the message is on its way and must not run on for nobody.
    if (published) (void)broker_.Cancel(wait->id);
    if (written) return Settle(wait, RefusedBy(*written, wait->terms));
    return Settle(wait, Fail(written.error()));
  }
  if (finish_as) WriteFinish(wait->id, *std::move(finish_as), withdraw, wait->log);
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
  FinishRow(wait,
            Ended(schema::Reason::kCancelled, error.code == ErrorCode::kQueueFull
                                                  ? std::string(kRefusedByQueue)
                                                  : std::string(kNotTakenByQueue) + error.message),
            /*withdraw=*/true);
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
  FinishRow(wait, cancelled, /*withdraw=*/false);
  Settle(wait, std::move(cancelled));
}

void ExecutionService::Core::Settle(const WaitPtr& wait, Result<Outcome> result) {
  OnAnswer on_answer;
  store::Acceptance account;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(wait->settled, true)) return;
    account = wait->acceptance;
    on_answer = std::move(wait->on_answer);
    waits_.erase(wait->id);
    if (const auto of = waits_of_.find(wait->owner); --of->second == 0) waits_of_.erase(of);
    if (result &&
        result->stdout_text.size() + result->stderr_text.size() > options_.inline_output_bytes) {
      auto task = [this, wait, account, on_answer = std::move(on_answer),
                   held = std::make_shared<Result<Outcome>>(std::move(result))] {
        Answer(*wait, on_answer, std::move(*held), account);
      };
      tasks_.push_back(std::move(task));
      wake_.notify_all();
    }
  }
  broker_.Forget(wait->id);
  if (on_answer) Answer(*wait, on_answer, std::move(result), account);
}

void ExecutionService::Core::Answer(const Wait& wait, const OnAnswer& on_answer,
                                    Result<Outcome> result, const store::Acceptance& account) {
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
    const Error& error = result.error();
    const bool refused = error.code == ErrorCode::kQueueFull || error.code == ErrorCode::kConflict;
    if (refused) {
      wait.log.Warn("execution.refused", {{"cause", error.message}});
    } else {
      wait.log.Error("execution.failed",
                     {{"code", ToString(error.code)}, {"error", error.message}});
    }
  }
  on_answer(std::move(result), account);
}

void ExecutionService::Core::FinishRow(const WaitPtr& wait, Outcome outcome, bool withdraw) {
  {
    const std::lock_guard lock(mutex_);
    if (!wait->insert_over) {
      wait->finish_as = std::move(outcome);
      wait->withdraw = withdraw;
      return;
    }
    if (!wait->durable) return;  // there is no row
  }
  WriteFinish(wait->id, std::move(outcome), withdraw, wait->log);
}

void ExecutionService::Core::WriteFinish(const ExecutionId& id, Outcome outcome, bool withdraw,
                                         const Log& log) {
  const auto done = [log](const Result<bool>& finished) {
    // The row then stays as it is and is run again by a sweep: wasteful, not wrong.
    if (!finished) log.Warn("execution.finish_failed", {{"error", finished.error().message}});
  };
  if (withdraw) {
    store_.WithdrawAsync(id, std::move(outcome), clock_.UnixMillis(), done);
  } else {
    store_.FinishAsync(id, std::move(outcome), clock_.UnixMillis(), done);
  }
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
  const Result<store::ExecutionRecord> record = store_.GetHead(wait->id, std::nullopt);
  if (record && record->outcome) {
    wait->log.Warn("execution.reply_lost");
    Settle(wait, *record->outcome);
    return;
  }
  if (clock_.Now() < wait->give_up_at) return;
  (void)broker_.Cancel(wait->id);
  FinishRow(wait, Ended(schema::Reason::kCancelled, "nobody waits that long"),
            /*withdraw=*/false);
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
    timer_.Close();
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
  return Submit(
      std::move(execution), {},
      [on_done = std::move(on_done)](Result<schema::Outcome> outcome, const store::Acceptance&) {
        on_done(std::move(outcome));
      });
}
ExecutionId ExecutionService::Submit(schema::Execution execution, store::AcceptTerms terms,
                                     OnAnswer on_answer, milliseconds patience) {
  return core_->Submit(std::move(execution), std::move(terms), std::move(on_answer), patience);
}
ExecutionId ExecutionService::Enqueue(schema::Execution execution, std::uint64_t max_waiting,
                                      OnAccepted on_accepted) {
  return Enqueue(std::move(execution), {}, max_waiting,
                 [on_accepted = std::move(on_accepted)](Result<void> accepted, queue::Depth depth,
                                                        const store::Acceptance&) {
                   on_accepted(std::move(accepted), depth);
                 });
}
ExecutionId ExecutionService::Enqueue(schema::Execution execution, store::AcceptTerms terms,
                                      std::uint64_t max_waiting, OnTaken on_taken) {
  return core_->Enqueue(std::move(execution), std::move(terms), max_waiting, std::move(on_taken));
}
AccountRoom::Minute ExecutionService::MinuteOf(const schema::KeyId& key) {
  return core_->MinuteOf(key);
}
void ExecutionService::Await(ExecutionId id, std::optional<schema::OwnerId> owner,
                             std::chrono::milliseconds at_most, std::function<bool()> wanted,
                             std::function<void(Result<store::ExecutionRecord>)> done) {
  core_->Await(std::move(id), std::move(owner), at_most, std::move(wanted), std::move(done));
}
void ExecutionService::ListHistory(store::HistoryQuery query, std::uint64_t count_at_most,
                                   std::function<void(Result<History>)> shape) {
  core_->Ask<History>(
      [query = std::move(query), count_at_most](store::ExecutionStore& store) -> Result<History> {
        Result<store::HistoryPage> page = store.ListHistory(query);
        if (!page) return Fail(page.error());
        store::HistoryQuery all = query;
        all.before = {};
        all.offset = 0;
        const Result<std::uint64_t> total = store.CountHistory(all, count_at_most);
        if (!total) return Fail(total.error());
        return History{*std::move(page), *total};
      },
      std::move(shape));
}
void ExecutionService::Find(ExecutionId id, std::optional<schema::OwnerId> owner,
                            std::function<void(Result<store::ExecutionRecord>)> done) {
  core_->Ask<store::ExecutionRecord>(
      [id = std::move(id), owner = std::move(owner)](store::ExecutionStore& store) {
        return store.GetHead(id, owner);
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
