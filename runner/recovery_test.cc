#include "runner/recovery.h"

#include <gtest/gtest.h>

#include "runner/testing_fakes.h"

namespace forkbox::runner {
namespace {

using namespace std::chrono_literals;

class RecoveryTest : public ::testing::Test {
 protected:
  // Ids carry the real time of their making; so does the clock of these tests.
  class MovableClock final : public Clock {
   public:
    SteadyTime Now() const override { return system_.Now(); }
    std::int64_t UnixMillis() const override { return system_.UnixMillis() + ahead_.count(); }
    void Advance(std::chrono::milliseconds by) { ahead_ += by; }

   private:
    SystemClock system_;
    std::chrono::milliseconds ahead_{0};
  };

  schema::Execution Insert(bool claimed = false) {
    schema::Execution execution;
    execution.id = schema::ExecutionId(NewUuidV7());
    execution.owner = schema::OwnerId("somebody");
    execution.priority = schema::Priority::kBackground;
    execution.created_unix_ms = clock_.UnixMillis();
    EXPECT_TRUE(store_.Insert(execution));
    if (claimed) {
      EXPECT_TRUE(store_.Claim({.id = execution.id,
                                .runner = "runner-1",
                                .now_unix_ms = clock_.UnixMillis(),
                                .expires_unix_ms = clock_.UnixMillis() + 60'000}));
    }
    return execution;
  }

  testing::FakeStore store_;
  testing::FakeBroker broker_;
  MovableClock clock_;
  Recovery recovery_{{.runner_id = "runner-1"}, store_, broker_, clock_, Log::Null()};
};

TEST_F(RecoveryTest, PublishesWhatADeadProcessLeft) {
  const auto queued = Insert();
  const auto running = Insert(/*claimed=*/true);
  const auto finished = Insert();
  schema::Outcome outcome;
  outcome.state = schema::State::kCompleted;
  ASSERT_TRUE(store_.Finish(finished.id, outcome, 1));

  EXPECT_EQ(recovery_.AtStart(), 2U);
  auto first = broker_.Next(std::chrono::steady_clock::now(), false);
  ASSERT_NE(*first, nullptr);
  EXPECT_EQ((*first)->message().id, queued.id) << "oldest first";
  EXPECT_EQ((*first)->message().owner, queued.owner);
  EXPECT_EQ((*first)->message().lane, schema::Priority::kBackground);
  EXPECT_EQ((*first)->message().execution, nullptr) << "it must be claimed before it runs";
  auto second = broker_.Next(std::chrono::steady_clock::now(), false);
  ASSERT_NE(*second, nullptr);
  EXPECT_EQ((*second)->message().id, running.id);
}

TEST_F(RecoveryTest, AFullQueueAtStartIsNoFailure) {
  for (int i = 0; i < 5; ++i) Insert();
  broker_.limit = 3;
  EXPECT_EQ(recovery_.AtStart(), 3U);
}

TEST_F(RecoveryTest, ARowWithoutDispatchIsPublishedAtTheSecondLook) {
  Insert();
  EXPECT_EQ(recovery_.Sweep(), 0U) << "it may be about to be published";
  clock_.Advance(10s);
  EXPECT_EQ(recovery_.Sweep(), 0U);
  EXPECT_EQ(recovery_.Sweep(), 1U);
  EXPECT_EQ(recovery_.Sweep(), 0U) << "now it waits in the queue";
  EXPECT_EQ(recovery_.Sweep(), 0U);
}

TEST_F(RecoveryTest, WhatWaitsInTheQueueIsLeftThere) {
  const auto execution = Insert();
  ASSERT_TRUE(broker_.Publish({.id = execution.id,
                               .owner = execution.owner,
                               .lane = execution.priority,
                               .enqueued_unix_ms = execution.created_unix_ms,
                               .dispatched_unix_ms = execution.created_unix_ms,
                               .execution = nullptr}));
  clock_.Advance(1h);
  EXPECT_EQ(recovery_.Sweep(), 0U);
  EXPECT_EQ(recovery_.Sweep(), 0U);
}

TEST_F(RecoveryTest, AnExpiredClaimComesBack) {
  Insert(/*claimed=*/true);
  clock_.Advance(30s);
  EXPECT_EQ(recovery_.Sweep(), 0U);
  EXPECT_EQ(recovery_.Sweep(), 0U) << "still held";
  clock_.Advance(40s);
  EXPECT_EQ(recovery_.Sweep(), 0U);
  EXPECT_EQ(recovery_.Sweep(), 1U);
}

}  // namespace
}  // namespace forkbox::runner
