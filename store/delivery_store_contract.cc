#include <gmock/gmock.h>

#include <atomic>
#include <map>
#include <mutex>
#include <thread>
#include <vector>

#include "store/store_contract.h"

namespace forkbox::store {
namespace {

using schema::Execution;
using schema::ExecutionId;
using schema::OwnerId;
using testing::ElementsAre;
using testing::IsEmpty;

// An execution whose webhook is owed from `now_unix_ms` on.
Execution Owed(ExecutionStore& executions, std::int64_t now_unix_ms = 1'000) {
  Execution execution = NewExecutionWithWebhook();
  EXPECT_TRUE(executions.Insert(execution).has_value());
  EXPECT_EQ(executions.Finish(execution.id, CompletedWith(""), now_unix_ms), true);
  return execution;
}

std::vector<ExecutionId> ExecutionsOf(const Result<std::vector<Delivery>>& due) {
  std::vector<ExecutionId> ids;
  if (!due) return {ExecutionId(due.error().message)};
  for (const Delivery& delivery : *due) ids.push_back(delivery.execution_id);
  return ids;
}

AttemptResult Attempt(int number, int status, DeliveryState state, std::int64_t next = 0) {
  return {{number, 2'000 * number, 30, status, status == 200 ? "" : "refused"}, state, next};
}

TEST(DeliveryStateTest, HasItsWords) {
  const std::pair<DeliveryState, std::string_view> words[] = {
      {DeliveryState::kPending, "pending"},
      {DeliveryState::kDelivered, "delivered"},
      {DeliveryState::kDead, "dead"}};
  for (const auto& [state, word] : words) {
    EXPECT_EQ(ToString(state), word);
    EXPECT_EQ(ParseDeliveryState(word), state);
  }
  EXPECT_EQ(ParseDeliveryState("lost"), std::nullopt);
}

TEST_P(DeliveryStoreContract, IsRetriedUntilItIsDelivered) {
  const Execution execution = Owed(executions());
  auto due = deliveries().ClaimDue("s1", 1'000, 2'000, 10);
  ASSERT_EQ(due->size(), 1U);
  const DeliveryId id = due->at(0).id;
  EXPECT_EQ(deliveries().FixBody(id, R"({"first":1})"), R"({"first":1})");
  EXPECT_EQ(deliveries().FixBody(id, R"({"second":2})"), R"({"first":1})");
  ASSERT_TRUE(deliveries()
                  .RecordAttempt(id, "s1", Attempt(1, 503, DeliveryState::kPending, 5'000))
                  .has_value());

  EXPECT_THAT(ExecutionsOf(deliveries().ClaimDue("s1", 4'999, 9'000, 10)), IsEmpty());
  Reopen();
  due = deliveries().ClaimDue("s2", 5'000, 9'000, 10);
  ASSERT_EQ(due->size(), 1U);
  EXPECT_EQ(due->at(0).id, id);
  EXPECT_EQ(due->at(0).attempts, 1);
  EXPECT_EQ(due->at(0).body, R"({"first":1})");
  ASSERT_TRUE(
      deliveries().RecordAttempt(id, "s2", Attempt(2, 200, DeliveryState::kDelivered)).has_value());
  EXPECT_THAT(ExecutionsOf(deliveries().ClaimDue("s2", 99'000, 99'999, 10)), IsEmpty());

  const auto list = deliveries().ListDeliveries(execution.id, execution.owner);
  ASSERT_TRUE(list.has_value()) << list.error().message;
  ASSERT_EQ(list->size(), 1U);
  const Delivery& delivery = list->at(0).delivery;
  EXPECT_EQ(delivery.id, id);
  EXPECT_EQ(delivery.state, DeliveryState::kDelivered);
  EXPECT_EQ(delivery.attempts, 2);
  EXPECT_EQ(delivery.created_unix_ms, 1'000);
  EXPECT_EQ(delivery.next_attempt_unix_ms, 0);
  EXPECT_EQ(delivery.finished_unix_ms, 4'030);
  const std::vector<DeliveryAttempt>& attempts = list->at(0).attempts;
  ASSERT_EQ(attempts.size(), 2U);
  EXPECT_EQ(attempts[0].number, 1);
  EXPECT_EQ(attempts[0].started_unix_ms, 2'000);
  EXPECT_EQ(attempts[0].duration_ms, 30);
  EXPECT_EQ(attempts[0].status, 503);
  EXPECT_EQ(attempts[0].error, "refused");
  EXPECT_EQ(attempts[1].number, 2);
  EXPECT_EQ(attempts[1].error, "");
}

TEST_P(DeliveryStoreContract, LongestDueComesFirst) {
  const Execution third = Owed(executions(), 3'000);
  const Execution first = Owed(executions(), 1'000);
  const Execution second = Owed(executions(), 2'000);
  EXPECT_THAT(ExecutionsOf(deliveries().ClaimDue("s1", 9'000, 9'999, 0)), IsEmpty());
  EXPECT_THAT(ExecutionsOf(deliveries().ClaimDue("s1", 9'000, 9'999, 2)),
              ElementsAre(first.id, second.id));
  EXPECT_THAT(ExecutionsOf(deliveries().ClaimDue("s1", 9'000, 9'999, 2)), ElementsAre(third.id));
}

// A backlog for a receiver that hangs is claimed over and over; what is new does not wait for it.
TEST_P(DeliveryStoreContract, WhatWasClaimedInVainComesBehindTheRest) {
  const Execution hanging = Owed(executions(), 1'000);
  EXPECT_THAT(ExecutionsOf(deliveries().ClaimDue("s1", 1'000, 5'000, 1)), ElementsAre(hanging.id));
  EXPECT_EQ(deliveries().ListDeliveries(hanging.id, {})->at(0).delivery.next_attempt_unix_ms,
            5'000);
  const Execution fresh = Owed(executions(), 4'000);
  EXPECT_THAT(ExecutionsOf(deliveries().ClaimDue("s1", 6'000, 9'000, 1)), ElementsAre(fresh.id));
  EXPECT_THAT(ExecutionsOf(deliveries().ClaimDue("s1", 6'000, 9'000, 1)), ElementsAre(hanging.id));
}

TEST_P(DeliveryStoreContract, AClaimIsExclusiveUntilItExpiresOrIsReleased) {
  const Execution execution = Owed(executions());
  const auto claim = [&](std::string sender, std::int64_t now, std::int64_t expires) {
    const auto due = deliveries().ClaimDue(sender, now, expires, 10);
    return due->empty() ? DeliveryId() : due->at(0).id;
  };
  const DeliveryId id = claim("s1", 1'000, 2'000);
  ASSERT_FALSE(id.empty());
  EXPECT_TRUE(claim("s2", 1'999, 9'000).empty());
  EXPECT_TRUE(claim("s1", 1'999, 9'000).empty());
  EXPECT_EQ(deliveries().ReleaseDelivery(id, "s2").error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(deliveries().ReleaseDelivery(id, "s1").has_value());
  EXPECT_EQ(deliveries().ReleaseDelivery(id, "s1").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(claim("s2", 1'500, 2'000), id);

  // Too late: another has taken over. Nothing is recorded for the first.
  EXPECT_EQ(claim("s3", 2'000, 9'000), id);
  EXPECT_EQ(
      deliveries().RecordAttempt(id, "s2", Attempt(1, 200, DeliveryState::kDelivered)).error().code,
      ErrorCode::kNotFound);
  EXPECT_THAT(deliveries().ListDeliveries(execution.id, std::nullopt)->at(0).attempts, IsEmpty());
  ASSERT_TRUE(
      deliveries().RecordAttempt(id, "s3", Attempt(1, 410, DeliveryState::kDead)).has_value());
  EXPECT_EQ(
      deliveries().RecordAttempt(id, "s3", Attempt(2, 410, DeliveryState::kDead)).error().code,
      ErrorCode::kNotFound);
  EXPECT_EQ(deliveries().ListDeliveries(execution.id, std::nullopt)->at(0).attempts.size(), 1U);
}

// As of several machines: each connection chooses before any has committed.
TEST_P(DeliveryStoreContract, OfManySendersEachDeliveryGoesToOne) {
  constexpr int kDeliveries = 200;
  for (int i = 0; i < kDeliveries; ++i) Owed(executions());
  std::mutex mutex;
  std::map<DeliveryId, int> taken;
  std::vector<std::unique_ptr<Store>> stores;
  std::vector<std::thread> senders;
  for (int i = 0; i < 4; ++i) stores.push_back(OpenAnother());
  for (std::size_t i = 0; i < stores.size(); ++i) {
    senders.emplace_back([&, i] {
      // What others were quicker to take does not come back: some calls bring less than asked for.
      for (int empty = 0; empty < 20;) {
        const auto due = stores[i]->deliveries().ClaimDue("s" + std::to_string(i), 2'000, 9'000, 7);
        ASSERT_TRUE(due.has_value()) << due.error().message;
        empty = due->empty() ? empty + 1 : 0;
        const std::lock_guard lock(mutex);
        for (const Delivery& delivery : *due) ++taken[delivery.id];
      }
    });
  }
  for (auto& sender : senders) sender.join();
  EXPECT_EQ(taken.size(), static_cast<std::size_t>(kDeliveries));
  for (const auto& [id, times] : taken) EXPECT_EQ(times, 1) << id.str();
}

TEST_P(DeliveryStoreContract, IsSeenByTheOwnerOfTheExecution) {
  const Execution execution = Owed(executions());
  const Execution without = NewExecution();
  ASSERT_TRUE(executions().Insert(without).has_value());
  EXPECT_EQ(deliveries().ListDeliveries(execution.id, execution.owner)->size(), 1U);
  EXPECT_EQ(deliveries().ListDeliveries(execution.id, std::nullopt)->size(), 1U);
  EXPECT_TRUE(deliveries().ListDeliveries(without.id, std::nullopt)->empty());
  for (const std::string& owner : {std::string("owner-2"), std::string(), std::string(1, '\0')}) {
    EXPECT_EQ(deliveries().ListDeliveries(execution.id, OwnerId(owner)).error().code,
              ErrorCode::kNotFound);
    EXPECT_EQ(deliveries().Redeliver(execution.id, OwnerId(owner), 5).error().code,
              ErrorCode::kNotFound);
  }
  for (const std::string& id : {std::string("unknown"), std::string(), std::string(1, '\0')}) {
    EXPECT_EQ(deliveries().ListDeliveries(ExecutionId(id), std::nullopt).error().code,
              ErrorCode::kNotFound);
    EXPECT_EQ(deliveries().Redeliver(ExecutionId(id), std::nullopt, 5).error().code,
              ErrorCode::kNotFound);
    EXPECT_EQ(deliveries().FixBody(DeliveryId(id), "{}").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(deliveries().ReleaseDelivery(DeliveryId(id), "s").error().code, ErrorCode::kNotFound);
    EXPECT_EQ(deliveries().RecordAttempt(DeliveryId(id), "s", {}).error().code,
              ErrorCode::kNotFound);
  }
}

TEST_P(DeliveryStoreContract, IsOwedAgainWhenAskedForOneAtATime) {
  const Execution execution = Owed(executions());
  const auto code = [&](const Execution& of) {
    const auto again = deliveries().Redeliver(of.id, of.owner, 7'000);
    return again ? ErrorCode::kInternal : again.error().code;
  };
  EXPECT_EQ(code(execution), ErrorCode::kConflict);  // pending
  const DeliveryId first = deliveries().ClaimDue("s1", 1'000, 2'000, 1)->at(0).id;
  EXPECT_EQ(code(execution), ErrorCode::kConflict);
  ASSERT_TRUE(
      deliveries().RecordAttempt(first, "s1", Attempt(1, 404, DeliveryState::kDead)).has_value());

  const auto second = deliveries().Redeliver(execution.id, execution.owner, 7'000);
  ASSERT_TRUE(second.has_value()) << second.error().message;
  EXPECT_EQ(code(execution), ErrorCode::kConflict);
  const auto list = deliveries().ListDeliveries(execution.id, std::nullopt);
  ASSERT_EQ(list->size(), 2U);
  EXPECT_EQ(list->at(0).delivery.id, first);
  EXPECT_EQ(list->at(1).delivery.id, *second);
  EXPECT_EQ(list->at(1).delivery.state, DeliveryState::kPending);
  EXPECT_EQ(list->at(1).delivery.url, execution.webhook_url);
  EXPECT_EQ(list->at(1).delivery.next_attempt_unix_ms, 7'000);

  const Execution queued = NewExecutionWithWebhook();
  const Execution without = NewExecution();
  ASSERT_TRUE(executions().Insert(queued).has_value());
  ASSERT_TRUE(executions().Insert(without).has_value());
  ASSERT_EQ(executions().Finish(without.id, CompletedWith(""), 5), true);
  EXPECT_EQ(code(queued), ErrorCode::kConflict);
  EXPECT_EQ(code(without), ErrorCode::kConflict);
}

TEST_P(DeliveryStoreContract, ManyAskAtOnceAndOneIsOwed) {
  const Execution execution = Owed(executions());
  const DeliveryId first = deliveries().ClaimDue("s1", 1'000, 2'000, 1)->at(0).id;
  ASSERT_TRUE(deliveries()
                  .RecordAttempt(first, "s1", Attempt(1, 200, DeliveryState::kDelivered))
                  .has_value());
  const std::unique_ptr<Store> another = OpenAnother();
  DeliveryStore* const stores[] = {&deliveries(), &another->deliveries()};
  std::atomic<int> owed = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      owed += stores[i % 2]->Redeliver(execution.id, std::nullopt, 5).has_value() ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(owed, 1);
}

TEST_P(DeliveryStoreContract, Counts) {
  EXPECT_EQ(deliveries().CountDeliveries()->oldest_due_unix_ms, 0);
  Owed(executions(), 1'000);
  Owed(executions(), 2'000);
  Owed(executions(), 3'000);
  EXPECT_EQ(deliveries().CountDeliveries()->pending, 3U);
  EXPECT_EQ(deliveries().CountDeliveries()->oldest_due_unix_ms, 1'000);
  const auto due = deliveries().ClaimDue("s1", 9'000, 9'999, 2);
  ASSERT_EQ(due->size(), 2U);
  ASSERT_TRUE(deliveries()
                  .RecordAttempt(due->at(0).id, "s1", Attempt(1, 410, DeliveryState::kDead))
                  .has_value());
  ASSERT_TRUE(deliveries()
                  .RecordAttempt(due->at(1).id, "s1", Attempt(1, 200, DeliveryState::kDelivered))
                  .has_value());
  const auto counts = deliveries().CountDeliveries();
  EXPECT_EQ(counts->pending, 1U);
  EXPECT_EQ(counts->dead, 1U);
  EXPECT_EQ(counts->oldest_due_unix_ms, 3'000);
}

TEST_P(DeliveryStoreContract, WordsOfAnErrorAreMended) {
  const Execution execution = Owed(executions());
  const DeliveryId id = deliveries().ClaimDue("s1", 1'000, 2'000, 1)->at(0).id;
  EXPECT_EQ(deliveries().FixBody(id, std::string("a\0b", 3)).error().code,
            ErrorCode::kInvalidArgument);
  AttemptResult result = Attempt(1, 0, DeliveryState::kDead);
  result.attempt.error = std::string("a\0b\xFF", 4);
  ASSERT_TRUE(deliveries().RecordAttempt(id, "s1", result).has_value());
  EXPECT_EQ(deliveries().ListDeliveries(execution.id, std::nullopt)->at(0).attempts.at(0).error,
            "a b\xEF\xBF\xBD");
}

}  // namespace
}  // namespace forkbox::store
