#include "runner/sandbox/cpu_watch.h"

#include <algorithm>
#include <thread>

#include "runner/sandbox/cgroup_numbers.h"

namespace forkbox::sandbox {
namespace {

using std::chrono::microseconds;

// It cannot burn time any faster than on all cores at once.
unsigned Cores() { return std::max(1U, std::thread::hardware_concurrency()); }

}  // namespace

void CpuWatch::Start(SteadyTime now) {
  before_ = CpuUsed(usage_fd_);
  next_check_ = now + limit_ / Cores();
}

std::optional<microseconds> CpuWatch::Used() const {
  const auto now = CpuUsed(usage_fd_);
  if (!now || !before_) return std::nullopt;
  return *now - *before_;
}

bool CpuWatch::IsOver(SteadyTime now) {
  const microseconds left = limit_ - Used().value_or(microseconds(0));
  if (left.count() <= 0) return true;
  next_check_ = now + std::max(left / Cores(), microseconds(5000));
  return false;
}

}  // namespace forkbox::sandbox
