#include "api/store_probe.h"

#include <utility>

namespace forkbox::api {

StoreProbe::StoreProbe(Options options, store::ExecutionStore& store, const Clock& clock)
    : options_(options), store_(store), clock_(clock), answered_at_(clock.Now()) {
  Ping();
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

Result<void> StoreProbe::Status() const {
  const std::lock_guard lock(mutex_);
  if (!last_) return Fail(ErrorCode::kUnavailable, last_.error().message);
  if (clock_.Now() - answered_at_ > options_.stale_after) {
    return Fail(ErrorCode::kUnavailable, "the store does not answer");
  }
  return {};
}

void StoreProbe::Ping() {
  Result<void> answer = store_.Ping();
  const std::lock_guard lock(mutex_);
  last_ = std::move(answer);
  answered_at_ = clock_.Now();
}

void StoreProbe::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, options_.interval, [] { return false; });
    }
    if (!stop.stop_requested()) Ping();
  }
}

}  // namespace forkbox::api
