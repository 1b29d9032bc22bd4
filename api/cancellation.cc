#include "api/cancellation.h"

#include <algorithm>
#include <utility>

namespace forkbox::api {

using schema::ExecutionId;
using schema::OwnerId;
using schema::State;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Its place inside the gate keeps Close() waiting until it has been answered, which store and
// service do in any case.
struct Cancellation::Attempt {
  Attempt(Gate::Pass inside, std::atomic<std::size_t>& counter)
      : pass(std::move(inside)), under_way(counter) {}
  Attempt(const Attempt&) = delete;
  Attempt& operator=(const Attempt&) = delete;
  ~Attempt() { --under_way; }

  const Gate::Pass pass;
  std::atomic<std::size_t>& under_way;
  ExecutionId id;
  OwnerId owner;
  OnDone on_done;
  SteadyTime began = steady_clock::now();
  SteadyTime told_at = SteadyTime::min();  // the runners, the last time
  milliseconds pause{0};
  bool asked = false;  // it had not ended when we began
};

Cancellation::Cancellation(Options options, ExecutionService& service, store::ExecutionStore& store,
                           queue::Broker& broker, const Clock& clock, Log log)
    : options_(options),
      service_(service),
      store_(store),
      broker_(broker),
      clock_(clock),
      log_(std::move(log)) {}

Cancellation::~Cancellation() { Close(); }

void Cancellation::Close() {
  closed_ = true;
  timer_.Close();
  gate_.Close();
}

void Cancellation::Cancel(const ExecutionId& id, const OwnerId& owner, OnDone on_done) {
  Gate::Pass pass = gate_.Enter();
  if (!pass || closed_) {
    return on_done(Fail(ErrorCode::kUnavailable, "the server is shutting down"));
  }
  if (++under_way_ > options_.max_at_once) {
    --under_way_;
    return on_done(Fail(ErrorCode::kUnavailable, "too many executions are being cancelled"));
  }
  const auto attempt = std::make_shared<Attempt>(std::move(pass), under_way_);
  attempt->id = id;
  attempt->owner = owner;
  attempt->on_done = std::move(on_done);
  attempt->pause = options_.first_look;
  Look(attempt);
}

void Cancellation::Look(const AttemptPtr& attempt) {
  service_.Find(attempt->id, attempt->owner,
                [this, attempt](Result<store::ExecutionRecord> record) {
                  OnRecord(attempt, std::move(record));
                });
}

void Cancellation::OnRecord(const AttemptPtr& attempt, Result<store::ExecutionRecord> record) {
  if (!record) return attempt->on_done(Fail(record.error()));
  if (record->outcome) {
    // Cancelled before we came is finished, like any other end.
    const bool ours = attempt->asked && record->state == State::kCancelled;
    log_.Info("execution.cancel_answered", {{"execution_id", attempt->id.str()},
                                            {"state", ToString(record->state)},
                                            {"in_time", ours}});
    return attempt->on_done(
        Answer{ours ? Verdict::kCancelled : Verdict::kFinished, *std::move(record)});
  }
  const auto waited = steady_clock::now() - attempt->began;
  if (closed_ || waited >= options_.give_up) {
    return attempt->on_done(Answer{Verdict::kUnderWay, *std::move(record)});
  }
  attempt->asked = true;
  Broadcast(attempt);
  if (waited >= options_.patience) return FinishRow(attempt, Row::kAnyOpen);
  if (record->state == State::kQueued) return FinishRow(attempt, Row::kQueued);
  LookLater(attempt);
}

// Told again while it goes on, for a runner that was not listening: seldom, since all hear it.
void Cancellation::Broadcast(const AttemptPtr& attempt) {
  const SteadyTime now = steady_clock::now();
  if (attempt->told_at != SteadyTime::min() && now < attempt->told_at + options_.longest_look)
    return;
  attempt->told_at = now;
  if (Result<void> sent = broker_.Cancel(attempt->id); !sent) {
    log_.Warn("execution.cancel_failed",
              {{"execution_id", attempt->id.str()}, {"error", sent.error().message}});
  }
}

void Cancellation::FinishRow(const AttemptPtr& attempt, Row row) {
  schema::Outcome outcome;
  outcome.reason = schema::Reason::kCancelled;
  outcome.state = State::kCancelled;
  outcome.message = "cancelled by its owner";
  const auto done = [this, attempt](const Result<bool>& finished) {
    OnRowFinished(attempt, finished);
  };
  if (row == Row::kAnyOpen) {
    store_.FinishAsync(attempt->id, std::move(outcome), clock_.UnixMillis(), done);
  } else {
    // A runner may have begun it since we looked: then it is the runner's to end.
    store_.FinishQueuedAsync(attempt->id, std::move(outcome), clock_.UnixMillis(), done);
  }
}

void Cancellation::OnRowFinished(const AttemptPtr& attempt, const Result<bool>& finished) {
  if (!finished) return attempt->on_done(Fail(finished.error()));
  // Whoever has begun it since was not told yet.
  if (!*finished) attempt->told_at = SteadyTime::min();
  // Whoever won, the row says how it stands now.
  service_.Find(
      attempt->id, attempt->owner,
      [this, attempt, won = *finished](Result<store::ExecutionRecord> record) {
        if (won && record && record->outcome) {
          // Somebody may be waiting for it; to hear it now spares him the next look.
          broker_.SendReply({record->execution.id, record->execution.reply_to, *record->outcome});
        }
        OnRecord(attempt, std::move(record));
      });
}

void Cancellation::LookLater(const AttemptPtr& attempt) {
  const milliseconds pause = attempt->pause;
  attempt->pause = std::min(2 * attempt->pause, options_.longest_look);
  // A timer that is closed looks at once, and that look is the last.
  if (!timer_.After(pause, [this, attempt] { Look(attempt); })) Look(attempt);
}

}  // namespace forkbox::api
