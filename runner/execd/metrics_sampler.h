// What a box uses, from its cgroup (reference 9).
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "base/clock.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

struct Metrics {
  double cpu_count = 0;
  double cpu_used_pct = 0;  // of cpu_count, 0 to 100
  double mem_total_mib = 0;
  double mem_used_mib = 0;
  std::int64_t timestamp_unix_ms = 0;
};

class MetricsSampler {
 public:
  MetricsSampler(const sandbox::Box& box, double cpu_cores, const Clock& clock);

  // At once: the processor's share is that since the last sample that is at least half a second
  // old, at first since the box was opened.
  Metrics Sample();

 private:
  [[nodiscard]] Metrics Describe(const sandbox::BoxUsage& usage, double cpu_used_pct) const;

  const sandbox::Box& box_;
  const double cpu_cores_;
  const Clock& clock_;
  std::mutex mutex_;
  SteadyTime last_;                 // by mutex_
  std::uint64_t last_cpu_us_ = 0;   // by mutex_
  std::optional<double> last_pct_;  // by mutex_; none before the first half second is over
};

}  // namespace forkbox::execd
