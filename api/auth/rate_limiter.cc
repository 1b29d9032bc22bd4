#include "api/auth/rate_limiter.h"

#include <algorithm>

namespace forkbox::api {

RateLimiter::RateLimiter(Options options, const Clock& clock) : options_(options), clock_(clock) {}

RateDecision RateLimiter::Take(const std::string& name) {
  const auto capacity = options_.refill * static_cast<std::int64_t>(options_.burst);
  const std::lock_guard lock(mutex_);
  const SteadyTime now = clock_.Now();
  SteadyTime& full_at = FullAt(name, now);
  const SteadyTime next = std::max(full_at, now) + options_.refill;
  RateDecision decision;
  decision.limit = options_.burst;
  decision.allowed = next - now <= capacity;
  if (decision.allowed) {
    full_at = next;
    decision.remaining = static_cast<std::uint64_t>((capacity - (next - now)) / options_.refill);
  } else {
    decision.retry_after = next - now - capacity;
  }
  return decision;
}

std::size_t RateLimiter::buckets() const {
  const std::lock_guard lock(mutex_);
  return full_at_.size();
}

SteadyTime& RateLimiter::FullAt(const std::string& name, SteadyTime now) {
  if (const auto found = full_at_.find(name); found != full_at_.end()) return found->second;
  if (full_at_.size() >= options_.max_buckets && now >= next_drop_) DropFull(now);
  if (full_at_.size() >= options_.max_buckets) return shared_full_at_;
  return full_at_.emplace(name, now).first->second;
}

void RateLimiter::DropFull(SteadyTime now) {
  std::erase_if(full_at_, [now](const auto& bucket) { return bucket.second <= now; });
  // Looking through all of them costs too much to do it for every newcomer.
  next_drop_ = now + std::chrono::milliseconds(100);
}

}  // namespace forkbox::api
