#include "runner/execd/metrics_sampler.h"

#include <algorithm>
#include <chrono>

namespace forkbox::execd {
namespace {

constexpr std::chrono::milliseconds kShortest{500};
constexpr double kMib = 1024.0 * 1024.0;

}  // namespace

MetricsSampler::MetricsSampler(const sandbox::Box& box, double cpu_cores, const Clock& clock)
    : box_(box), cpu_cores_(cpu_cores), clock_(clock), last_(clock.Now()) {}

Metrics MetricsSampler::Sample() {
  const std::lock_guard lock(mutex_);
  const sandbox::BoxUsage usage = box_.Usage();
  const SteadyTime now = clock_.Now();
  const auto elapsed = now - last_;
  if (elapsed >= kShortest || !last_pct_) {
    const double elapsed_us = std::chrono::duration<double, std::micro>(elapsed).count();
    const double used_us =
        usage.cpu_us > last_cpu_us_ ? static_cast<double>(usage.cpu_us - last_cpu_us_) : 0.0;
    const double available_us = std::max(elapsed_us, 1000.0) * cpu_cores_;
    const double pct =
        available_us > 0 ? std::clamp(100.0 * used_us / available_us, 0.0, 100.0) : 0.0;
    if (elapsed < kShortest) return Describe(usage, pct);
    last_pct_ = pct;
    last_cpu_us_ = usage.cpu_us;
    last_ = now;
  }
  return Describe(usage, *last_pct_);
}

Metrics MetricsSampler::Describe(const sandbox::BoxUsage& usage, double cpu_used_pct) const {
  Metrics metrics;
  metrics.cpu_count = cpu_cores_;
  metrics.cpu_used_pct = cpu_used_pct;
  metrics.mem_total_mib = static_cast<double>(usage.memory_limit_bytes) / kMib;
  metrics.mem_used_mib =
      static_cast<double>(std::min(usage.memory_bytes, usage.memory_limit_bytes)) / kMib;
  metrics.timestamp_unix_ms = clock_.UnixMillis();
  return metrics;
}

}  // namespace forkbox::execd
