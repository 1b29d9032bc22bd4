#include "runner/recovery.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "base/uuid.h"

namespace forkbox::runner {

std::int64_t UuidV7Millis(std::string_view uuid) {
  if (!IsUuid(uuid) || uuid[14] != '7') return 0;
  std::int64_t millis = 0;
  for (const char c : uuid.substr(0, 13)) {
    if (c == '-') continue;
    const int digit = c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
    millis = millis * 16 + digit;
  }
  return millis;
}

Recovery::Recovery(RecoveryOptions options, store::ExecutionStore& store, queue::Broker& broker,
                   Clock& clock, Log log)
    : options_(std::move(options)),
      store_(store),
      broker_(broker),
      clock_(clock),
      log_(std::move(log)) {}

Result<bool> Recovery::Publish(const schema::ExecutionId& id) {
  Result<store::ExecutionRecord> record = store_.Get(id, std::nullopt);
  if (!record) {
    if (record.error().code == ErrorCode::kNotFound) return false;
    return Fail(record.error());
  }
  if (schema::IsTerminal(record->state)) return false;
  const schema::Execution& execution = record->execution;
  // Its age is that of its acceptance; and without the execution inside, the runner claims the row
  // before it runs anything.
  Result<void> published = broker_.Publish({.id = id,
                                            .owner = execution.owner,
                                            .lane = execution.priority,
                                            .enqueued_unix_ms = execution.created_unix_ms,
                                            .execution = nullptr});
  if (!published) return Fail(published.error());
  return true;
}

Result<std::size_t> Recovery::AtStart() {
  const Result<std::size_t> voided = store_.VoidClaims(options_.runner_id);
  if (!voided) return Fail(voided.error());
  auto ids = store_.Unfinished(clock_.UnixMillis(), options_.start_batch);
  if (!ids) return Fail(ids.error());
  std::size_t published = 0;
  for (const schema::ExecutionId& id : *ids) {
    const Result<bool> one = Publish(id);
    if (!one && one.error().code == ErrorCode::kQueueFull) break;
    if (!one) return Fail(one.error());
    published += *one ? 1 : 0;
  }
  if (!ids->empty() || *voided != 0) {
    log_.Info("recovery.started",
              {{"interrupted", *voided}, {"unfinished", ids->size()}, {"published", published}});
  }
  return published;
}

Result<std::size_t> Recovery::Sweep() {
  const std::int64_t now = clock_.UnixMillis();
  auto ids = store_.Unfinished(now, options_.batch);
  if (!ids) return Fail(ids.error());

  // Each lane is first in, first out, so a row older than everything that waits does not wait.
  std::int64_t oldest_waiting = std::numeric_limits<std::int64_t>::max();
  for (const auto lane : {schema::Priority::kInteractive, schema::Priority::kBackground}) {
    const Result<queue::Depth> depth = broker_.GetDepth(lane);
    if (!depth) return Fail(depth.error());
    if (depth->waiting != 0) {
      oldest_waiting = std::min(oldest_waiting, depth->oldest_enqueued_unix_ms);
    }
  }
  const std::int64_t before = std::min(oldest_waiting, now) - options_.margin.count();

  std::unordered_set<schema::ExecutionId> suspects;
  std::size_t published = 0;
  for (const schema::ExecutionId& id : *ids) {
    if (UuidV7Millis(id.str()) >= before) continue;
    if (!suspects_.contains(id)) {
      suspects.insert(id);
      continue;
    }
    const Result<bool> one = Publish(id);
    if (!one && one.error().code == ErrorCode::kQueueFull) {
      suspects.insert(id);
      break;
    }
    if (!one) return Fail(one.error());
    published += *one ? 1 : 0;
  }
  suspects_ = std::move(suspects);
  if (published != 0) log_.Warn("recovery.republished", {{"executions", published}});
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
