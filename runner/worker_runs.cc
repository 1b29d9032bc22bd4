// What a worker's slot does with an execution: whether it is run now, and the run itself.
#include <algorithm>
#include <utility>

#include "runner/case_series.h"
#include "runner/worker.h"
#include "runner/worker_job.h"

namespace forkbox::runner {

namespace {

using std::chrono::duration_cast;
using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

schema::Outcome Ended(schema::Reason reason, std::string message) {
  schema::Outcome outcome;
  outcome.reason = reason;
  outcome.state = schema::StateOf(reason, std::nullopt);
  outcome.message = std::move(message);
  return outcome;
}

}  // namespace

bool Worker::HasTime(const Job& job) const {
  const std::int64_t now_ms = clock_.UnixMillis();
  const std::optional<std::int64_t>& deadline = job.execution->queue_deadline_unix_ms;
  if (deadline && now_ms > *deadline) return false;
  const std::int64_t since_ms = job.lease->message().waits_since_unix_ms;
  return since_ms == 0 || milliseconds(now_ms - since_ms) < options_.patience;
}

bool Worker::ShouldWait(const Job& job) {
  const schema::Execution& execution = *job.execution;
  const auto readiness = drivers_.ReadinessOf(execution.isolation, execution.language);
  if (readiness == sandbox::Readiness::kReady) return false;
  if (readiness == sandbox::Readiness::kNever) {
    // The driver can say itself why nobody will ever run it. Where there is none at all, somebody
    // may be about to see to it: after an update of forkbox its image must be made anew.
    if (options_.only_runner && drivers_.Of(execution.isolation) != nullptr) return false;
    if (!lack_told_.exchange(true)) {
      log_.Warn("worker.lacks_driver", {{"execution_id", execution.id.str()},
                                        {"isolation", schema::ToString(execution.isolation)},
                                        {"language", execution.language},
                                        {"patience_ms", options_.patience.count()}});
    }
  }
  const std::lock_guard lock(mu_);
  return !job.cancelled && HasTime(job);
}

schema::Outcome Worker::RunOne(Job& job) {
  const schema::Execution& execution = *job.execution;
  const std::int64_t now_ms = clock_.UnixMillis();
  // Two readings of a clock of milliseconds: a difference of one says nothing.
  const std::int64_t waited_ms = now_ms - job.lease->message().enqueued_unix_ms;
  const microseconds queued = waited_ms > 1 ? milliseconds(waited_ms) : milliseconds(0);

  job.progress = board_.Begin(job.id);
  schema::Outcome outcome = RunInSandbox(job, now_ms);
  outcome.isolation = execution.isolation;
  outcome.timings.queue = queued;
  outcome.timings.total = queued + duration_cast<microseconds>(steady_clock::now() - job.leased_at);
  log_.Debug("execution.ran", {{"execution_id", execution.id.str()},
                               {"request_id", execution.request_id},
                               {"reason", schema::ToString(outcome.reason)}});
  return outcome;
}

schema::Outcome Worker::RunInSandbox(Job& job, std::int64_t now_ms) {
  const schema::Execution& execution = *job.execution;
  if (execution.queue_deadline_unix_ms && now_ms > *execution.queue_deadline_unix_ms) {
    return Ended(schema::Reason::kQueueDeadline, "not started within its queue deadline");
  }
  ProgressBoard::Run& progress = *job.progress;
  if (!execution.source.cases.empty()) {
    // What the cases print is judged, and nobody's to watch.
    const sandbox::EventSink states = [&progress](const schema::Event& event) {
      if (event.kind == schema::EventKind::kState) progress.On(event);
    };
    return RunCaseSeries(execution.source, execution.limits,
                         [&](const schema::Source& source, const schema::Limits& limits) {
                           return RunOnce(job, source, limits, states);
                         });
  }
  return RunOnce(job, execution.source, execution.limits,
                 [&progress](const schema::Event& event) { progress.On(event); });
}

schema::Outcome Worker::RunOnce(Job& job, const schema::Source& source,
                                const schema::Limits& limits, const sandbox::EventSink& sink) {
  const schema::Execution& execution = *job.execution;
  sandbox::Driver* const driver = drivers_.Of(execution.isolation);
  if (driver == nullptr) {
    const std::lock_guard lock(mu_);
    if (job.cancelled) return Ended(schema::Reason::kCancelled, "cancelled before it ran");
    return Ended(schema::Reason::kSandboxFailed,
                 "nobody had what it takes to run it with isolation " +
                     std::string(schema::ToString(execution.isolation)) +
                     ", however long it waited: see /health, `forkbox vm build` and --vm");
  }
  milliseconds delay = options_.retry_delay;
  for (int attempt = 1;; ++attempt) {
    {
      const std::lock_guard lock(mu_);
      if (job.cancelled) return Ended(schema::Reason::kCancelled, "cancelled before it ran");
      if (stopping_ && attempt > 1) {
        job.abandoned = true;
        return Ended(schema::Reason::kCancelled, "the runner shut down");
      }
    }
    const SteadyTime fork_start = steady_clock::now();
    auto sandbox = driver->ForkFor(execution.language, limits, source.code, source.entry);
    const SteadyTime run_start = steady_clock::now();
    if (!sandbox) {
      const Error& error = sandbox.error();
      const bool temporary = error.code == ErrorCode::kUnavailable;
      if (temporary && drivers_.Tells(execution.isolation) && HasTime(job) &&
          (!options_.only_runner || drivers_.ReadinessOf(execution.isolation, execution.language) !=
                                        sandbox::Readiness::kNever)) {
        // Not here: a slot must not stand still until a machine is free, or boots.
        const std::lock_guard lock(mu_);
        job.abandoned = true;
        job.waits = true;
        return Ended(schema::Reason::kCancelled, error.message);
      }
      log_.Warn("sandbox.fork_failed", {{"execution_id", execution.id.str()},
                                        {"request_id", execution.request_id},
                                        {"language", execution.language},
                                        {"isolation", schema::ToString(execution.isolation)},
                                        {"attempt", attempt},
                                        {"error", error.message}});
      if (!temporary || attempt >= options_.max_attempts) {
        return Ended(schema::Reason::kSandboxFailed, error.message);
      }
      std::unique_lock lock(mu_);
      changed_.wait_for(lock, delay, [&] { return stopping_ || job.cancelled; });
      delay = std::min(delay * 2, kMaxRetryDelay);
      continue;
    }

    {
      const std::lock_guard lock(job.sandbox_mu);
      if (job.kill) return Ended(schema::Reason::kCancelled, "cancelled before it ran");
      job.running = sandbox->get();
    }
    schema::Outcome outcome = (*sandbox)->Run(source, sink);
    {
      const std::lock_guard lock(job.sandbox_mu);
      job.running = nullptr;
    }
    // A driver that measured these itself knows better than we do from outside.
    if (outcome.timings.fork == microseconds(0)) {
      outcome.timings.fork = duration_cast<microseconds>(run_start - fork_start);
    }
    if (outcome.timings.exec == microseconds(0) &&
        outcome.reason != schema::Reason::kCompileFailed) {  // that one ran nothing
      outcome.timings.exec = duration_cast<microseconds>(steady_clock::now() - run_start);
    }
    return outcome;
  }
}

}  // namespace forkbox::runner
