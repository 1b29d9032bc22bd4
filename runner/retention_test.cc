#include "runner/retention.h"

#include <gtest/gtest.h>

#include <deque>

#include "runner/testing_fakes.h"

namespace forkbox::runner {
namespace {

using namespace std::chrono_literals;

constexpr std::int64_t kDayMs = 24 * 60 * 60 * 1000;

class SetClock final : public Clock {
 public:
  SteadyTime Now() const override { return std::chrono::steady_clock::now(); }
  std::int64_t UnixMillis() const override { return 1'000 * kDayMs; }
};

// Answers each Prune() with the next number, and then with 0.
class Slices {
 public:
  Result<std::size_t> Next(std::int64_t before_unix_ms) {
    const std::lock_guard lock(mutex_);
    last_before_ = before_unix_ms;
    if (left_.empty()) return std::size_t{0};
    const std::size_t next = left_.front();
    left_.pop_front();
    return next;
  }
  void Set(std::deque<std::size_t> left) {
    const std::lock_guard lock(mutex_);
    left_ = std::move(left);
  }
  std::int64_t last_before() {
    const std::lock_guard lock(mutex_);
    return last_before_;
  }

 private:
  std::mutex mutex_;
  std::deque<std::size_t> left_;
  std::int64_t last_before_ = 0;
};

class FakeUsage final : public store::UsageStore {
 public:
  Slices slices;
  Result<store::UsageSummary> Summarize(const schema::OwnerId&, std::int64_t,
                                        std::int64_t) override {
    return store::UsageSummary{};
  }
  Result<std::vector<store::UsageRecord>> List(const schema::OwnerId&, std::int64_t,
                                               std::size_t) override {
    return std::vector<store::UsageRecord>{};
  }
  Result<std::uint64_t> AcceptedThisMonth(const schema::OwnerId&, std::int64_t) override {
    return std::uint64_t{0};
  }
  Result<std::uint64_t> AcceptedThisMinute(const schema::KeyId&, std::int64_t) override {
    return std::uint64_t{0};
  }
  Result<std::size_t> Prune(std::int64_t before) override { return slices.Next(before); }
};

class FakeAudit final : public store::AuditLog {
 public:
  Slices slices;
  Result<void> Append(const store::AuditEntry&) override { return {}; }
  Result<std::vector<store::AuditEntry>> List(const schema::OwnerId&, std::int64_t,
                                              std::size_t) override {
    return std::vector<store::AuditEntry>{};
  }
  Result<std::size_t> Prune(std::int64_t before) override { return slices.Next(before); }
};

class RetentionTest : public ::testing::Test {
 protected:
  testing::FakeStore executions_;
  FakeUsage usage_;
  FakeAudit audit_;
  SetClock clock_;
};

TEST_F(RetentionTest, SweepsInSlicesUntilNothingIsLeft) {
  executions_.prunable = 250;
  usage_.slices.Set({1'000, 7});
  audit_.slices.Set({3});
  Retention retention({.keep_executions = std::chrono::days(30), .keep_per_owner = 5}, executions_,
                      usage_, audit_, clock_, Log::Null());
  int pauses = 0;
  const Result<Forgotten> swept = retention.Sweep([&] { return ++pauses > 0; });
  ASSERT_TRUE(swept.has_value()) << swept.error().message;
  EXPECT_EQ(swept->executions, 250U);
  EXPECT_EQ(swept->usage, 1'007U);
  EXPECT_EQ(swept->audit, 3U);
  EXPECT_EQ(pauses, 6) << "one after each slice";
  EXPECT_EQ(executions_.last_rule.finished_before_unix_ms, 970 * kDayMs);
  EXPECT_EQ(executions_.last_rule.keep_per_owner, 5U);
  EXPECT_EQ(usage_.slices.last_before(), 910 * kDayMs);
  EXPECT_EQ(audit_.slices.last_before(), 910 * kDayMs);
}

TEST_F(RetentionTest, StopsWhenToldAndKeepsForEver) {
  executions_.prunable = 250;
  Retention retention({.keep_executions = std::chrono::days(0)}, executions_, usage_, audit_,
                      clock_, Log::Null());
  EXPECT_EQ(retention.Sweep([] { return false; })->executions, 100U);
  EXPECT_EQ(executions_.last_rule.finished_before_unix_ms, 0);
}

TEST_F(RetentionTest, AStoreThatIsAwayIsAskedAgainLater) {
  executions_.prunable = 5;
  executions_.GoAwayForFinishes(1);
  Retention retention({.interval = 1ms}, executions_, usage_, audit_, clock_, Log::Null());
  EXPECT_FALSE(retention.Sweep([] { return true; }).has_value());
  retention.Start();
  while (executions_.prunes < 4) std::this_thread::sleep_for(1ms);
  EXPECT_EQ(audit_.slices.last_before(), 0) << "not reached while the store is away";
  EXPECT_FALSE(executions_.Finish(schema::ExecutionId("x"), {}, 1).has_value());  // it is back
  while (audit_.slices.last_before() == 0) std::this_thread::sleep_for(1ms);
}

}  // namespace
}  // namespace forkbox::runner
