#include "runner/presence.h"

#include <utility>

namespace forkbox::runner {

Presence::Presence(PresenceOptions options, store::ExecutionStore& store,
                   store::RunnerRegistry& registry, std::function<Now()> look, const Clock& clock,
                   Log log)
    : options_(std::move(options)),
      store_(store),
      registry_(registry),
      look_(std::move(look)),
      clock_(clock),
      log_(std::move(log)),
      started_unix_ms_(clock_.UnixMillis()) {
  Beat();
  thread_ = std::jthread([this](const std::stop_token& stop) {
    std::unique_lock lock(mu_);
    const auto stopped = [&] { return stop.stop_requested(); };
    while (!wake_.wait_for(lock, stop, options_.interval, stopped) && !stopped()) Beat();
  });
}

Presence::~Presence() {
  thread_.request_stop();
  thread_.join();
  if (const auto left = registry_.Leave(options_.runner_id); !left) {
    log_.Warn("runner.leave_failed", {{"error", left.error().message}});
  }
}

void Presence::Beat() {
  const Now now = look_();
  const std::int64_t time = clock_.UnixMillis();
  // First what keeps others from our work.
  Result<void> result;
  if (now.holds_claims) {
    const auto renewed =
        store_.RenewClaims(options_.runner_id, time + options_.claim_lease.count());
    if (!renewed) result = Fail(renewed.error());
  }
  const Result<void> beaten = registry_.Beat({.id = options_.runner_id,
                                              .host = options_.host,
                                              .slots = options_.slots,
                                              .busy = now.busy,
                                              .started_unix_ms = started_unix_ms_,
                                              .seen_unix_ms = time,
                                              .details_json = RunnerDetailsToJson(now.details)});
  if (result && !beaten) result = Fail(beaten.error());
  if (!result && !failing_) {
    log_.Warn("runner.heartbeat_failed", {{"error", result.error().message}});
  }
  if (result && failing_) log_.Info("runner.heartbeat_back");
  failing_ = !result;
}

}  // namespace forkbox::runner
