#include "runner/worker.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "runner/worker_job.h"

namespace forkbox::runner {

namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Ids of cancelled executions that are remembered without having been seen: 36 bytes each.
constexpr std::size_t kMaxCancelledIds = 16'384;
constexpr milliseconds kMaxRetryDelayWhileStopping{200};
constexpr milliseconds kFirstRowDelay{1};
constexpr milliseconds kLongestRowDelay{100};

}  // namespace

Worker::Worker(WorkerOptions options, store::ExecutionStore& store, queue::Broker& broker,
               sandbox::DriverSet drivers, Clock& clock, Log log, OnFinished on_finished)
    : options_([&options] {
        options.slots = std::max<std::size_t>(options.slots, 1);
        options.interactive_reserved = std::min(options.interactive_reserved, options.slots - 1);
        options.max_attempts = std::max(options.max_attempts, 1);
        return std::move(options);
      }()),
      store_(store),
      broker_(broker),
      drivers_(std::move(drivers)),
      clock_(clock),
      log_(std::move(log)),
      on_finished_(std::move(on_finished)),
      max_settling_(4 * options_.slots + 64),
      board_({}, broker),
      room_({.pause = 5 * options_.retry_delay}, store, broker, clock, log_,
            [this](schema::Isolation isolation, const std::string& language) {
              return drivers_.ReadinessOf(isolation, language) == sandbox::Readiness::kReady;
            }) {
  cancel_subscription_ =
      broker_.OnCancel([this](const schema::ExecutionId& id) { OnCancelBroadcast(id); });
  chore_thread_ = std::jthread([this](const std::stop_token& stop) { ChoreLoop(stop); });
  live_slots_ = options_.slots;
  for (std::size_t i = 0; i < options_.slots; ++i) {
    const bool interactive_only = i < options_.interactive_reserved;
    slots_.emplace_back([this, interactive_only] { SlotLoop(interactive_only); });
  }
}

Worker::~Worker() {
  Drain(steady_clock::now());
  cancel_subscription_.reset();
  {
    // The store calls back for everything it was given; until then its callbacks point here.
    std::unique_lock lock(mu_);
    changed_.wait(lock, [this] { return jobs_.empty() && returning_ == 0; });
  }
  chore_thread_.request_stop();
}

std::size_t Worker::Running() const {
  const std::lock_guard lock(mu_);
  return busy_;
}

std::size_t Worker::Settling() const {
  const std::lock_guard lock(mu_);
  return settling_;
}

void Worker::Drain(Deadline deadline) {
  std::unique_lock lock(mu_);
  stopping_ = true;
  drain_deadline_ = std::min(drain_deadline_, deadline);
  changed_.notify_all();
  room_.Close();

  while (live_slots_ != 0 && steady_clock::now() < drain_deadline_) {
    changed_.wait_until(lock, drain_deadline_);
  }
  if (live_slots_ != 0) {
    std::vector<JobPtr> victims;
    for (const auto& [id, job] : jobs_) {
      if (!job->on_slot) continue;
      job->abandoned = true;
      victims.push_back(job);
    }
    lock.unlock();
    for (const JobPtr& job : victims) job->Kill();
    lock.lock();
    changed_.wait(lock, [this] { return live_slots_ == 0; });
  }
  const Deadline settled_by = steady_clock::now() + kSettleGrace;
  changed_.wait_until(lock, settled_by, [this] { return jobs_.empty() && returning_ == 0; });
  if (!jobs_.empty()) {
    log_.Error("worker.drain_incomplete", {{"unsettled", jobs_.size()}});
    giving_up_ = true;
  }
  lock.unlock();
  (void)room_.WaitUntilEmpty(settled_by);
  const std::lock_guard chores_lock(chores_mu_);
  chores_changed_.notify_all();
}

// ---- one slot -------------------------------------------------------------------------------

void Worker::SlotLoop(bool interactive_only) {
  milliseconds delay = options_.retry_delay;
  while (true) {
    {
      // A store that cannot keep up slows the taking, so that nothing piles up in memory.
      std::unique_lock lock(mu_);
      changed_.wait(lock, [this] { return stopping_ || settling_ < max_settling_; });
      if (stopping_) break;
    }
    const Deadline until = steady_clock::now() + options_.poll;
    auto lease = broker_.Next(until, interactive_only);
    if (!lease) {
      log_.Warn("worker.lease_failed", {{"error", lease.error().message}});
      PauseFor(delay);
      delay = std::min(delay * 2, kMaxRetryDelay);
      continue;
    }
    delay = options_.retry_delay;
    if (*lease != nullptr) {
      Process(std::move(*lease));
    } else if (steady_clock::now() < until) {
      PauseFor(options_.poll);  // a closed broker answers at once, which is no reason to spin
    }
  }
  const std::lock_guard lock(mu_);
  --live_slots_;
  changed_.notify_all();
}

void Worker::Process(std::unique_ptr<queue::Lease> lease) {
  auto job = std::make_shared<Job>();
  job->id = lease->message().id;
  job->leased_at = steady_clock::now();
  job->lease = std::move(lease);
  {
    const std::lock_guard lock(mu_);
    if (stopping_) return;  // the lease goes back by itself
    if (!jobs_.emplace(job->id, job).second) {
      // A second delivery of what this worker already has in hand.
      if (auto acked = job->lease->Ack(); !acked) {
        log_.Debug("worker.ack_failed", {{"error", acked.error().message}});
      }
      return;
    }
    ++busy_;
    if (cancelled_.erase(job->id) != 0) job->cancelled = true;
  }

  const queue::Message& message = job->lease->message();
  const bool runs_at_once = message.execution != nullptr && !job->lease->redelivered() &&
                            message.waits_since_unix_ms == 0;
  Result<void> loaded = LoadHead(*job);
  if (loaded && ShouldWait(*job)) {
    LetWait(job);
  } else if (runs_at_once) {
    ClaimBesideTheRun(job, kFirstRowDelay);
    OnOutcome(job, RunOne(*job));
  } else if (loaded = loaded ? LoadWhole(*job) : loaded; !loaded) {
    const bool unknown = loaded.error().code == ErrorCode::kNotFound;
    Refuse(job, unknown ? Result<store::ClaimVerdict>(store::ClaimVerdict::kUnknown)
                        : Fail(loaded.error()));
  } else if (const Result<store::ClaimVerdict> verdict = store_.Claim(MakeClaim(*job->execution));
             verdict && *verdict == store::ClaimVerdict::kClaimed) {
    OnVerdict(job, verdict);
    OnOutcome(job, RunOne(*job));
  } else {
    Refuse(job, verdict);
  }

  const std::lock_guard lock(mu_);
  job->on_slot = false;
  --busy_;
  if (!job->discarded) ++settling_;
  changed_.notify_all();
}

void Worker::ClaimBesideTheRun(const JobPtr& job, milliseconds delay) {
  store_.ClaimAsync(
      MakeClaim(*job->execution), [this, job, delay](Result<store::ClaimVerdict> verdict) {
        const bool unknown = verdict && *verdict == store::ClaimVerdict::kUnknown;
        const std::int64_t age_ms = clock_.UnixMillis() - job->lease->message().enqueued_unix_ms;
        // By our own time, too: its clock may be ahead of ours.
        const bool soon = steady_clock::now() - job->leased_at < milliseconds(kRowMayFollowMs);
        if (unknown && age_ms < kRowMayFollowMs && soon) {
          // Another process is still writing the row; the program runs on meanwhile.
          Later(delay, [this, job, delay] {
            ClaimBesideTheRun(job, std::min(2 * delay, kLongestRowDelay));
          });
          return;
        }
        OnVerdict(job, std::move(verdict));
      });
}

store::ClaimRequest Worker::MakeClaim(const schema::Execution& execution) const {
  const std::int64_t now = clock_.UnixMillis();
  return {.id = execution.id,
          .runner = options_.runner_id,
          .now_unix_ms = now,
          .expires_unix_ms = now + options_.claim_lease.count(),
          .max_attempts = options_.max_attempts};
}

Result<void> Worker::LoadHead(Job& job) {
  job.execution = job.lease->message().execution;
  if (job.execution != nullptr) return {};
  Result<store::ExecutionRecord> record = store_.GetHead(job.id, std::nullopt);
  if (!record) return Fail(record.error());
  job.execution = std::make_shared<const schema::Execution>(std::move(record->execution));
  return {};
}

Result<void> Worker::LoadWhole(Job& job) {
  if (job.lease->message().execution != nullptr) return {};
  Result<store::ExecutionRecord> record = store_.Get(job.id, std::nullopt);
  if (!record) return Fail(record.error());
  job.execution = std::make_shared<const schema::Execution>(std::move(record->execution));
  return {};
}

// Nothing is claimed: the room has the lease from here on, and this worker has forgotten it.
void Worker::LetWait(const JobPtr& job) {
  log_.Debug("execution.waits", {{"execution_id", job->id.str()},
                                 {"isolation", schema::ToString(job->execution->isolation)},
                                 {"language", job->execution->language}});
  if (job->progress != nullptr) board_.End(job->id, /*finished=*/false);
  std::unique_ptr<queue::Lease> lease = std::move(job->lease);
  bool until_it_comes = false;
  {
    const std::lock_guard lock(mu_);
    until_it_comes = !job->waits;  // else the driver is there, and all it has are taken
    job->discarded = true;
    jobs_.erase(job->id);
    if (job->cancelled) RememberCancelled(job->id);
    if (!job->on_slot) --settling_;
    ++returning_;
  }
  room_.Enter(std::move(lease), *job->execution, until_it_comes);
  const std::lock_guard lock(mu_);
  --returning_;
  changed_.notify_all();
}

// ---- verdict and outcome meet -----------------------------------------------------------------

void Worker::OnVerdict(const JobPtr& job, Result<store::ClaimVerdict> verdict) {
  const bool ours = verdict && *verdict == store::ClaimVerdict::kClaimed;
  {
    const std::lock_guard lock(mu_);
    job->verdict = std::move(verdict);
  }
  if (!ours) job->Kill();  // whatever it says will not count
  SettleIfComplete(job);
}

void Worker::OnOutcome(const JobPtr& job, schema::Outcome outcome) {
  {
    const std::lock_guard lock(mu_);
    job->outcome = std::move(outcome);
  }
  SettleIfComplete(job);
}

void Worker::SettleIfComplete(const JobPtr& job) {
  {
    const std::lock_guard lock(mu_);
    if (!job->verdict || !job->outcome || job->complete) return;
    job->complete = true;
  }
  // From here on one thread at a time has the job: this one, then the store's or the chores'.
  if (!*job->verdict || **job->verdict != store::ClaimVerdict::kClaimed) {
    Refuse(job, *job->verdict);
    return;
  }
  bool give_back = false;
  {
    const std::lock_guard lock(mu_);
    // A program that ended by itself before our kill reached it has a result like any other.
    give_back =
        job->abandoned && !job->cancelled && job->outcome->reason == schema::Reason::kCancelled;
  }
  if (give_back) return GiveBack(job, options_.retry_delay);
  if (job->execution->delivery == schema::Delivery::kWait) Announce(*job);
  WriteResult(job, options_.retry_delay);
}

// The verdict was not kClaimed, or there was none.
void Worker::Refuse(const JobPtr& job, const Result<store::ClaimVerdict>& verdict) {
  const std::int64_t age_ms = clock_.UnixMillis() - job->lease->message().enqueued_unix_ms;
  if (!verdict) {
    log_.Warn("worker.claim_failed",
              {{"execution_id", job->id.str()}, {"error", verdict.error().message}});
    // Perhaps we hold it: our heartbeats would then keep it from everybody, ourselves included.
    if (verdict.error().code == ErrorCode::kDeadlineExceeded) {
      return GiveBack(job, options_.retry_delay);
    }
    Later(10 * options_.retry_delay, [this, job] { Discard(job, /*ack=*/false); });
    return;
  }
  switch (*verdict) {
    case store::ClaimVerdict::kClaimed:
      FORKBOX_CHECK(false);
      return;
    case store::ClaimVerdict::kFinished:
    case store::ClaimVerdict::kExhausted:
      Later(milliseconds(0), [this, job] {
        ReplyFromStore(*job);
        Discard(job, /*ack=*/true, /*finished=*/true);
      });
      return;
    case store::ClaimVerdict::kHeld:  // when that claim expires, the sweep publishes it again
      Discard(job, /*ack=*/true);
      return;
    case store::ClaimVerdict::kUnknown:
      if (age_ms < kRowMayFollowMs) {
        Later(options_.retry_delay, [this, job] { Discard(job, /*ack=*/false); });
        return;
      }
      log_.Warn("worker.unknown_execution", {{"execution_id", job->id.str()}});
      Discard(job, /*ack=*/true);
      return;
  }
}

void Worker::Announce(Job& job) {
  const schema::Execution& execution = *job.execution;
  const schema::Outcome& outcome = *job.outcome;
  log_.Info("execution.finished", {{"execution_id", execution.id.str()},
                                   {"request_id", execution.request_id},
                                   {"dialect", execution.dialect},
                                   {"language", execution.language},
                                   {"isolation", schema::ToString(outcome.isolation)},
                                   {"accelerator", outcome.accelerator},
                                   {"state", schema::ToString(outcome.state)},
                                   {"reason", schema::ToString(outcome.reason)},
                                   {"queue_us", outcome.timings.queue.count()},
                                   {"fork_us", outcome.timings.fork.count()},
                                   {"exec_us", outcome.timings.exec.count()},
                                   {"total_us", outcome.timings.total.count()}});
  if (outcome.reason == schema::Reason::kSandboxFailed) {
    log_.Error("sandbox.failed", {{"execution_id", execution.id.str()},
                                  {"request_id", execution.request_id},
                                  {"error", outcome.message}});
  }
  if (on_finished_) on_finished_(execution, outcome);
  broker_.SendReply({execution.id, execution.reply_to, outcome});
}

void Worker::WriteResult(const JobPtr& job, milliseconds next_delay) {
  store_.FinishAsync(job->id, *job->outcome, clock_.UnixMillis(),
                     [this, job, next_delay](Result<bool> written) {
                       OnWritten(job, std::move(written), next_delay);
                     });
}

void Worker::OnWritten(const JobPtr& job, Result<bool> written, milliseconds next_delay) {
  const bool waits = job->execution->delivery == schema::Delivery::kWait;
  if (written) {
    if (*written && !waits) Announce(*job);
    if (!*written) {
      log_.Info("execution.result_dropped", {{"execution_id", job->id.str()}});
    }
    Discard(job, /*ack=*/true, /*finished=*/true);
    return;
  }
  log_.Warn("worker.write_failed",
            {{"execution_id", job->id.str()}, {"error", written.error().message}});
  if (written.error().code == ErrorCode::kNotFound) {  // the row is gone, and nobody can ask for it
    Discard(job, /*ack=*/true);
    return;
  }
  bool stopping = false;
  {
    const std::lock_guard lock(mu_);
    stopping = stopping_;
    if (giving_up_) next_delay = milliseconds(-1);
  }
  if (next_delay < milliseconds(0)) {
    // The claim expires, and it runs again: at least once, and still one result.
    Discard(job, /*ack=*/false);
    return;
  }
  const milliseconds cap = stopping ? kMaxRetryDelayWhileStopping : kMaxRetryDelay;
  Later(std::min(next_delay, cap),
        [this, job, next_delay, cap] { WriteResult(job, std::min(next_delay * 2, cap)); });
}

// The row is terminal by another's hand (a cancel, an earlier delivery, too many attempts); who
// waits for it gets what the row says.
void Worker::ReplyFromStore(Job& job) {
  Result<store::ExecutionRecord> record = store_.Get(job.id, std::nullopt);
  if (record && record->outcome) {
    broker_.SendReply({job.id, record->execution.reply_to, std::move(*record->outcome)});
  }
}

void Worker::GiveBack(const JobPtr& job, milliseconds next_delay) {
  Later(milliseconds(0), [this, job, next_delay] {
    const Result<void> released = store_.Release(job->id, options_.runner_id);
    bool giving_up = false;
    milliseconds cap = kMaxRetryDelay;
    {
      const std::lock_guard lock(mu_);
      giving_up = giving_up_;
      if (stopping_) cap = kMaxRetryDelayWhileStopping;
    }
    if (!released && released.error().code != ErrorCode::kNotFound && !giving_up) {
      Later(std::min(next_delay, cap),
            [this, job, next_delay, cap] { GiveBack(job, std::min(next_delay * 2, cap)); });
      return;
    }
    if (job->waits && released) return LetWait(job);
    log_.Info("execution.released", {{"execution_id", job->id.str()}, {"ok", bool(released)}});
    Discard(job, /*ack=*/false);
  });
}

void Worker::Discard(const JobPtr& job, bool ack, bool finished) {
  if (job->progress != nullptr) board_.End(job->id, finished);
  if (ack) {
    if (auto acked = job->lease->Ack(); !acked) {
      log_.Warn("worker.ack_failed",
                {{"execution_id", job->id.str()}, {"error", acked.error().message}});
    }
    job->lease.reset();
  }
  // Forgotten here before the lease goes back, or its redelivery would look like a duplicate; and
  // given back outside our lock, since the broker may be calling OnCancelBroadcast() under its own.
  std::unique_ptr<queue::Lease> lease = std::move(job->lease);
  std::unique_lock lock(mu_);
  job->discarded = true;
  jobs_.erase(job->id);
  if (!ack && job->cancelled) RememberCancelled(job->id);
  if (!job->on_slot) --settling_;
  if (lease != nullptr) {
    ++returning_;
    lock.unlock();
    lease.reset();
    lock.lock();
    --returning_;
  }
  changed_.notify_all();  // under the lock: after it, the worker may be gone
}

// ---- cancel -----------------------------------------------------------------------------------

void Worker::OnCancelBroadcast(const schema::ExecutionId& id) {
  JobPtr job;
  {
    const std::lock_guard lock(mu_);
    if (const auto found = jobs_.find(id); found != jobs_.end()) {
      job = found->second;
      job->cancelled = true;
      changed_.notify_all();
    } else {
      RememberCancelled(id);
    }
  }
  if (job != nullptr) {
    job->Kill();
  } else {
    room_.Call(id);
  }
}

// mu_ is held.
void Worker::RememberCancelled(const schema::ExecutionId& id) {
  if (!cancelled_.insert(id).second) return;
  cancelled_order_.push_back(id);
  if (cancelled_order_.size() > kMaxCancelledIds) {
    cancelled_.erase(cancelled_order_.front());
    cancelled_order_.pop_front();
  }
}

// ---- chores -----------------------------------------------------------------------------------

void Worker::PauseFor(milliseconds delay) {
  std::unique_lock lock(mu_);
  changed_.wait_for(lock, delay, [this] { return stopping_; });
}

void Worker::Later(milliseconds delay, std::function<void()> task) {
  const std::lock_guard lock(chores_mu_);
  chores_.emplace_back(steady_clock::now() + delay, std::move(task));
  chores_changed_.notify_one();
}

void Worker::ChoreLoop(const std::stop_token& stop) {
  std::unique_lock lock(chores_mu_);
  while (!stop.stop_requested()) {
    const auto next =
        std::min_element(chores_.begin(), chores_.end(),
                         [](const auto& a, const auto& b) { return a.first < b.first; });
    if (next == chores_.end()) {
      chores_changed_.wait(lock, stop, [this] { return !chores_.empty(); });
    } else if (const SteadyTime due = next->first; due > steady_clock::now()) {
      const std::size_t known = chores_.size();
      chores_changed_.wait_until(lock, stop, due, [&] { return chores_.size() != known; });
    } else {
      const std::function<void()> task = std::move(next->second);
      chores_.erase(next);
      lock.unlock();
      task();
      lock.lock();
    }
  }
}

}  // namespace forkbox::runner
