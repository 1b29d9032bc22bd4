#include "runner/execd/metrics_sampler.h"

#include <gtest/gtest.h>

namespace forkbox::execd {
namespace {

using namespace std::chrono_literals;

class CountedBox final : public sandbox::Box {
 public:
  Result<sandbox::BoxProcess> Start(const sandbox::BoxProgram&) override {
    return Fail(ErrorCode::kUnavailable, "none");
  }
  Result<void> Freeze() override { return {}; }
  Result<void> Thaw() override { return {}; }
  void End() override {}
  [[nodiscard]] sandbox::BoxUsage Usage() const override { return usage; }
  [[nodiscard]] bool Alive() const override { return true; }

  sandbox::BoxUsage usage;
};

TEST(MetricsSampler, ProcessorShareIsThatOfTheLastHalfSecondOrMore) {
  CountedBox box;
  FakeClock clock;
  MetricsSampler sampler(box, 2, clock);
  // Before anything has happened, and before half a second is over: since the box was opened.
  EXPECT_EQ(sampler.Sample().cpu_used_pct, 0);
  clock.Advance(100ms);
  box.usage.cpu_us = 100'000;
  EXPECT_DOUBLE_EQ(sampler.Sample().cpu_used_pct, 50);  // one of two cores
  clock.Advance(900ms);
  box.usage.cpu_us = 500'000;
  EXPECT_DOUBLE_EQ(sampler.Sample().cpu_used_pct, 25);
  // Too soon for another number.
  clock.Advance(499ms);
  box.usage.cpu_us = 1'400'000;
  EXPECT_DOUBLE_EQ(sampler.Sample().cpu_used_pct, 25);
  clock.Advance(1ms);
  EXPECT_DOUBLE_EQ(sampler.Sample().cpu_used_pct, 90);
  clock.Advance(10s);
  EXPECT_DOUBLE_EQ(sampler.Sample().cpu_used_pct, 0);
}

TEST(MetricsSampler, NumbersStayWithinTheirBounds) {
  CountedBox box;
  FakeClock clock;
  MetricsSampler sampler(box, 1, clock);
  clock.Advance(1s);
  box.usage = {.cpu_us = 5'000'000,
               .memory_bytes = 3U << 20,
               .memory_peak_bytes = 0,
               .memory_limit_bytes = 2U << 20,
               .oom_kills = 0};
  const Metrics metrics = sampler.Sample();
  EXPECT_EQ(metrics.cpu_used_pct, 100);
  EXPECT_EQ(metrics.cpu_count, 1);
  EXPECT_EQ(metrics.mem_total_mib, 2);
  EXPECT_EQ(metrics.mem_used_mib, 2);
  EXPECT_EQ(metrics.timestamp_unix_ms, clock.UnixMillis());
  clock.Advance(1s);
  box.usage.cpu_us = 1;  // a counter that went back says nothing
  EXPECT_EQ(sampler.Sample().cpu_used_pct, 0);
  EXPECT_EQ(MetricsSampler(box, 0, clock).Sample().cpu_used_pct, 0);
}

}  // namespace
}  // namespace forkbox::execd
