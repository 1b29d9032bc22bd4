#include <gmock/gmock.h>

#include <chrono>
#include <future>
#include <string>
#include <utility>
#include <vector>

#include "store/calendar.h"
#include "store/store_contract.h"

namespace forkbox::store {

using schema::Execution;
using schema::KeyId;
using schema::OwnerId;
using schema::State;
using testing::ElementsAre;
using testing::Pair;

namespace {

// 2026-11-20T10:00:00Z
constexpr std::int64_t kNow = 1'795'168'800'000;

TEST_P(UsageStoreContract, EveryEndLeavesOneRecord) {
  const auto insert = [&](const char* language, std::int64_t at) {
    Execution execution = NewExecutionAt(at);
    execution.language = language;
    execution.key_id = KeyId("key-1");
    EXPECT_TRUE(executions().Insert(execution).has_value());
    return execution.id;
  };
  schema::Outcome ran = CompletedWith("");
  ran.usage.wall = std::chrono::milliseconds(1'500);
  const auto first = insert("python", kNow);
  EXPECT_EQ(executions().Finish(first, ran, kNow + 5), true);
  EXPECT_EQ(executions().Finish(first, ran, kNow + 5), false) << "and no second record";
  EXPECT_EQ(executions().Finish(first, CompletedWith("late"), kNow + 6), false);
  const auto second = insert("go", kNow);
  EXPECT_EQ(executions().Finish(second, ran, kNow + kDayMs), true);
  const auto lost = insert("go", kNow);
  ASSERT_EQ(executions().Claim({lost, "r", kNow, kNow + 1, 1}), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Claim({lost, "r", kNow + 2, kNow + 3, 1}), ClaimVerdict::kExhausted);
  insert("python", kNow);  // unfinished

  const OwnerId owner("owner-1");
  const Result<UsageSummary> summary = usage().Summarize(owner, kNow, kNow + kDayMs + 1);
  ASSERT_TRUE(summary.has_value()) << summary.error().message;
  EXPECT_EQ(summary->total, 3U);
  EXPECT_EQ(summary->total_exec_ms, 3'000U);
  EXPECT_THAT(summary->by_day, ElementsAre(Pair("2026-11-20", 2U), Pair("2026-11-21", 1U)));
  EXPECT_THAT(summary->by_language, ElementsAre(Pair("go", 2U), Pair("python", 1U)));
  EXPECT_THAT(summary->by_state, ElementsAre(Pair("completed", 2U), Pair("lost", 1U)));
  EXPECT_EQ(usage().Summarize(owner, kNow, kNow + kDayMs)->total, 2U);
  EXPECT_EQ(usage().Summarize(owner, kNow + 6, kNow + kDayMs)->total, 0U);
  EXPECT_EQ(usage().Summarize(OwnerId("other"), 0, kNow + 2 * kDayMs)->total, 0U);

  const auto records = usage().List(owner, kNow + 3, 10);
  ASSERT_EQ(records->size(), 2U);
  EXPECT_EQ(records->at(0).execution_id, first);
  EXPECT_EQ(records->at(0).key_id, KeyId("key-1"));
  EXPECT_EQ(records->at(0).language, "python");
  EXPECT_EQ(records->at(0).state, State::kCompleted);
  EXPECT_EQ(records->at(0).finished_unix_ms, kNow + 5);
  EXPECT_EQ(records->at(0).exec_ms, 1'500);
  EXPECT_EQ(usage().List(owner, 0, 1)->size(), 1U);

  EXPECT_EQ(usage().Prune(kNow + 5), 1U) << "the lost one";
  EXPECT_EQ(usage().Prune(kNow + 5), 0U);
  EXPECT_EQ(usage().List(owner, 0, 10)->size(), 2U);
}

TEST_P(UsageStoreContract, CountersThatAreLongOverAreForgotten) {
  for (const std::int64_t at : {kNow - 62 * kDayMs, kNow - 2 * 60 * kMinuteMs, kNow}) {
    Execution execution = NewExecutionAt(at);
    execution.key_id = KeyId("key-1");
    std::promise<void> accepted;
    executions().AcceptAsync(execution, {.per_minute = 9}, [&](const Result<Acceptance>& got) {
      EXPECT_TRUE(got.has_value());
      accepted.set_value();
    });
    accepted.get_future().wait();
  }
  const OwnerId owner("owner-1");
  EXPECT_EQ(usage().AcceptedThisMonth(owner, kNow - 62 * kDayMs), 1U);
  EXPECT_EQ(usage().Prune(kNow - 20 * kDayMs), 3U) << "a month and two minutes";
  EXPECT_EQ(usage().AcceptedThisMonth(owner, kNow - 62 * kDayMs), 0U);
  EXPECT_EQ(usage().AcceptedThisMonth(owner, kNow), 2U);
  EXPECT_EQ(usage().AcceptedThisMinute(KeyId("key-1"), kNow), 1U);
  EXPECT_EQ(usage().AcceptedThisMinute(KeyId("key-1"), kNow - 2 * 60 * kMinuteMs), 0U);
}

}  // namespace
}  // namespace forkbox::store
