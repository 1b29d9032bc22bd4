// CpuWatch: the processor time that a cell has taken since a moment, and when to look at it again
// so that a limit is met soon. Time is given to it, never asked for. One thread.
#pragma once

#include <chrono>
#include <optional>

#include "base/clock.h"

namespace forkbox::sandbox {

class CpuWatch {
 public:
  // `usage_fd`: see CpuUsed(); not owned.
  CpuWatch(int usage_fd, std::chrono::microseconds limit) : usage_fd_(usage_fd), limit_(limit) {}

  // Counts from here, and anew when called again.
  void Start(SteadyTime now);

  // Nothing where the host does not count it.
  [[nodiscard]] std::optional<std::chrono::microseconds> Used() const;

  // Before then the limit cannot be met.
  [[nodiscard]] SteadyTime next_check() const { return next_check_; }
  // Whether the limit is met; to be asked from next_check() on.
  bool IsOver(SteadyTime now);

 private:
  const int usage_fd_;
  const std::chrono::microseconds limit_;
  std::optional<std::chrono::microseconds> before_;
  SteadyTime next_check_;
};

}  // namespace forkbox::sandbox
