// LostRunners: fails the sandboxes of runners that nobody has seen for a while, and only of those.
//
// While the store is away no runner can be seen, and when it is back each needs a moment to show
// up. So nobody is lost before the store has answered without a gap for as long as a runner may
// stay unseen.
//
// One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/result.h"
#include "store/sandbox_store.h"

namespace forkbox::sandboxes {

class LostRunners {
 public:
  // Both must outlive it.
  LostRunners(std::chrono::milliseconds lost_after, store::SandboxStore& store, const Clock& clock)
      : lost_after_(lost_after), store_(store), clock_(clock) {}

  // To be called every second or so. How many it failed; else the error of the store.
  Result<std::uint64_t> Look();

 private:
  // Of looks; longer, and nobody knows whether the store was there.
  static constexpr std::chrono::milliseconds kLongestGap{5'000};

  const std::chrono::milliseconds lost_after_;
  store::SandboxStore& store_;
  const Clock& clock_;
  std::optional<SteadyTime> good_since_;
  SteadyTime looked_at_;
};

}  // namespace forkbox::sandboxes
