#include "runner/sandboxes/lost_runners.h"

namespace forkbox::sandboxes {

Result<std::uint64_t> LostRunners::Look() {
  const SteadyTime begun = clock_.Now();
  if (!good_since_ || begun - looked_at_ > kLongestGap) good_since_ = begun;
  const std::int64_t now = clock_.UnixMillis();
  // Rows made before 0 there are none: that only asks whether the store is there.
  const std::int64_t before = begun - *good_since_ >= lost_after_ ? now - lost_after_.count() : 0;
  Result<std::uint64_t> failed = store_.FailOfLostRunners(before, now);
  looked_at_ = clock_.Now();
  if (!failed || looked_at_ - begun > kLongestGap) good_since_.reset();
  return failed;
}

}  // namespace forkbox::sandboxes
