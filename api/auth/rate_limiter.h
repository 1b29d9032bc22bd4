// RateLimiter: token buckets that start full, one for each name, in bounded memory.
//
// A bucket is one point in time, the moment it will be full again (the generic cell rate
// algorithm), so there is nothing to refill and a full bucket need not be kept. When `max_buckets`
// are partly empty at once, names without one share a single bucket until some are full again:
// many made-up names cannot buy more than memory for one.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/clock.h"

namespace forkbox::api {

struct RateDecision {
  bool allowed = false;
  std::uint64_t limit = 0;                  // the bucket's size
  std::uint64_t remaining = 0;              // whole tokens left
  std::chrono::nanoseconds retry_after{0};  // until there is a token; 0 when allowed
};

class RateLimiter {
 public:
  struct Options {
    std::uint64_t burst = 100;                    // tokens in a full bucket
    std::chrono::nanoseconds refill{10'000'000};  // time for one token to come back
    std::size_t max_buckets = 10'000;
  };

  RateLimiter(Options options, const Clock& clock);  // the clock must outlive it

  // Takes one token of the bucket of that name, if there is one.
  RateDecision Take(const std::string& name);

  [[nodiscard]] std::size_t buckets() const;

 private:
  SteadyTime& FullAt(const std::string& name, SteadyTime now);  // mutex_ held
  void DropFull(SteadyTime now);                                // mutex_ held

  const Options options_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::unordered_map<std::string, SteadyTime> full_at_;  // guarded by mutex_
  SteadyTime shared_full_at_{};                          // guarded by mutex_
  SteadyTime next_drop_{};                               // guarded by mutex_
};

}  // namespace forkbox::api
