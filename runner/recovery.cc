#include "runner/recovery.h"

#include <limits>
#include <optional>
#include <utility>
#include <vector>

namespace forkbox::runner {
namespace {

constexpr schema::Priority kLanes[] = {schema::Priority::kInteractive,
                                       schema::Priority::kBackground};

}  // namespace

Recovery::Recovery(RecoveryOptions options, store::ExecutionStore& store, queue::Broker& broker,
                   Clock& clock, Log log)
    : options_(std::move(options)),
      store_(store),
      broker_(broker),
      clock_(clock),
      log_(std::move(log)) {}

Result<bool> Recovery::Publish(const store::Undispatched& row) {
  Result<store::ExecutionRecord> record = store_.Get(row.id, std::nullopt);
  if (!record) {
    if (record.error().code == ErrorCode::kNotFound) return false;
    return Fail(record.error());
  }
  if (schema::IsTerminal(record->state)) return false;
  const std::int64_t now = clock_.UnixMillis();
  const Result<bool> noted = store_.NoteDispatch(row, now);
  if (!noted || !*noted) return noted;
  const schema::Execution& execution = record->execution;
  // Its age is that of its acceptance; and without the execution inside, the runner claims the row
  // before it runs anything.
  Result<void> published = broker_.Publish({.id = row.id,
                                            .owner = execution.owner,
                                            .lane = execution.priority,
                                            .enqueued_unix_ms = execution.created_unix_ms,
                                            .dispatched_unix_ms = now,
                                            .execution = nullptr});
  if (!published) return Fail(published.error());
  return true;
}

Result<std::size_t> Recovery::AtStart() {
  const Result<std::size_t> voided = store_.VoidClaims(options_.runner_id);
  if (!voided) return Fail(voided.error());
  std::size_t unfinished = 0;
  std::size_t published = 0;
  for (const schema::Priority lane : kLanes) {
    const auto rows = store_.FindUndispatched(
        lane, clock_.UnixMillis(), std::numeric_limits<std::int64_t>::max(), options_.start_batch);
    if (!rows) return Fail(rows.error());
    unfinished += rows->size();
    for (const store::Undispatched& row : *rows) {
      const Result<bool> one = Publish(row);
      if (!one && one.error().code == ErrorCode::kQueueFull) break;
      if (!one) return Fail(one.error());
      published += *one ? 1 : 0;
    }
  }
  if (unfinished != 0 || *voided != 0) {
    log_.Info("recovery.started",
              {{"interrupted", *voided}, {"unfinished", unfinished}, {"published", published}});
  }
  return published;
}

Result<std::size_t> Recovery::Sweep() {
  const std::int64_t now = clock_.UnixMillis();
  std::unordered_set<schema::ExecutionId> suspects;
  std::size_t published = 0;
  for (const schema::Priority lane : kLanes) {
    const Result<std::size_t> swept = SweepLane(lane, now, suspects);
    if (!swept) return swept;
    published += *swept;
  }
  suspects_ = std::move(suspects);
  if (published != 0) log_.Warn("recovery.republished", {{"executions", published}});
  return published;
}

Result<std::size_t> Recovery::SweepLane(schema::Priority lane, std::int64_t now,
                                        std::unordered_set<schema::ExecutionId>& suspects) {
  const auto rows =
      store_.FindUndispatched(lane, now, now - options_.margin.count(), options_.batch);
  if (!rows) return Fail(rows.error());
  if (rows->empty()) return std::size_t{0};  // the usual case: the broker is not even asked

  // The lane is first in, first out: what was dispatched before its head does not wait in it.
  const Result<std::optional<std::int64_t>> head = broker_.OldestDispatch(lane);
  if (!head) return Fail(head.error());
  const std::int64_t before = head->value_or(now) - options_.margin.count();

  std::size_t published = 0;
  for (const store::Undispatched& row : *rows) {
    if (row.dispatched_unix_ms >= before) break;  // and so are all that follow
    if (!suspects_.contains(row.id)) {
      suspects.insert(row.id);
      continue;
    }
    const Result<bool> one = Publish(row);
    if (!one && one.error().code == ErrorCode::kQueueFull) break;
    if (!one) return Fail(one.error());
    published += *one ? 1 : 0;
  }
  return published;
}

void Recovery::StartSweeping() {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    std::unique_lock lock(mu_);
    while (!wake_.wait_for(lock, stop, options_.interval, [&] { return stop.stop_requested(); })) {
      if (stop.stop_requested()) return;
      const Result<std::size_t> swept = Sweep();
      if (!swept) log_.Warn("recovery.sweep_failed", {{"error", swept.error().message}});
    }
  });
}

}  // namespace forkbox::runner
