#include <gmock/gmock.h>

#include <future>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "store/store_contract.h"

namespace forkbox::store {

using schema::Execution;
using schema::ExecutionId;
using schema::OwnerId;

namespace {

class Kept {
 public:
  explicit Kept(ExecutionStore& executions) : executions_(executions) {}

  // Finished at the time it was accepted, unless `open`.
  ExecutionId Add(std::int64_t at, std::string owner = "a", bool open = false,
                  std::string webhook = "") {
    Execution execution = NewExecutionAt(at);
    execution.owner = OwnerId(std::move(owner));
    execution.webhook_url = std::move(webhook);
    EXPECT_TRUE(executions_.Insert(execution).has_value());
    if (!open) {
      EXPECT_EQ(executions_.Finish(execution.id, CompletedWith(""), at), true);
    }
    return execution.id;
  }
  bool Has(const ExecutionId& id) { return executions_.Get(id, std::nullopt).has_value(); }
  std::uint64_t Of(std::string owner) {
    return executions_.CountHistory({.owner = OwnerId(std::move(owner))}, 1'000).value_or(0);
  }
  // Until nothing is left to do; returns how many went.
  std::size_t PruneAll(const RetentionRule& rule, std::size_t limit) {
    std::size_t all = 0;
    for (;;) {
      const Result<std::size_t> some = executions_.Prune(rule, limit);
      EXPECT_TRUE(some.has_value()) << some.error().message;
      if (!some || *some == 0) return all;
      EXPECT_LE(*some, limit);
      all += *some;
    }
  }

 private:
  ExecutionStore& executions_;
};

TEST_P(RetentionContract, ByAgeOnlyWhatIsFinishedAndDelivered) {
  Kept kept(executions());
  const std::int64_t cutoff = 1'000'000'000;
  std::vector<ExecutionId> old;
  for (int i = 0; i < 25; ++i) old.push_back(kept.Add(cutoff - 1 - i));
  const ExecutionId open = kept.Add(1'000, "a", /*open=*/true);
  const ExecutionId pending = kept.Add(1'001, "a", false, "https://receiver.example/");
  const ExecutionId fresh = kept.Add(cutoff);

  EXPECT_EQ(executions().Prune({}, 100), 0U) << "no rule";
  EXPECT_EQ(executions().Prune({.finished_before_unix_ms = cutoff}, 0), 0U);
  EXPECT_EQ(executions().Prune({.finished_before_unix_ms = cutoff - 1'000}, 10), 0U);
  EXPECT_EQ(kept.PruneAll({.finished_before_unix_ms = cutoff}, 10), 25U);
  for (const ExecutionId& id : old) EXPECT_FALSE(kept.Has(id));
  EXPECT_TRUE(kept.Has(open));
  EXPECT_TRUE(kept.Has(pending));
  EXPECT_TRUE(kept.Has(fresh));

  // Once it is delivered, or given up, it goes with its deliveries.
  const auto due = deliveries().ClaimDue("s", 2'000, 3'000, 10);
  ASSERT_EQ(due->size(), 1U);
  AttemptResult result;
  result.attempt.number = 1;
  result.attempt.started_unix_ms = 2'000;
  result.state = DeliveryState::kDead;
  ASSERT_TRUE(deliveries().RecordAttempt(due->at(0).id, "s", result).has_value());
  EXPECT_EQ(deliveries().CountDeliveries()->dead, 1U);
  EXPECT_EQ(kept.PruneAll({.finished_before_unix_ms = cutoff}, 10), 1U);
  EXPECT_FALSE(kept.Has(pending));
  EXPECT_EQ(deliveries().CountDeliveries()->dead, 0U);
  EXPECT_EQ(usage().List(OwnerId("a"), 0, 100)->size(), 27U) << "usage outlives them";
}

TEST_P(RetentionContract, ByCountTheNewestOfEachOwnerStay) {
  Kept kept(executions());
  std::vector<ExecutionId> of_a;
  for (int i = 0; i < 12; ++i) of_a.push_back(kept.Add(1'000 + i, "a"));
  for (int i = 0; i < 3; ++i) kept.Add(1'000 + i, "b");
  for (int i = 0; i < 9; ++i) kept.Add(1'000 + i, "");
  kept.Add(1, "", /*open=*/true);
  EXPECT_EQ(kept.PruneAll({.keep_per_owner = 5}, 3), 7U + 4U);
  EXPECT_EQ(kept.Of("a"), 5U);
  EXPECT_EQ(kept.Of("b"), 3U);
  EXPECT_EQ(kept.Of(""), 6U);
  for (std::size_t i = 0; i < of_a.size(); ++i) EXPECT_EQ(kept.Has(of_a[i]), i >= 7) << i;
  EXPECT_EQ(kept.PruneAll({.keep_per_owner = 5}, 3), 0U);
  // Both rules at once.
  EXPECT_EQ(kept.PruneAll({.finished_before_unix_ms = 1'008, .keep_per_owner = 2}, 100), 8U + 2U);
  EXPECT_EQ(kept.Of("a"), 2U);
}

TEST_P(RetentionContract, AnIdempotencyKeyIsFreeAgain) {
  const auto accept = [&] {
    Execution execution = NewExecutionAt(1'000);
    execution.idempotency_key = "k";
    std::promise<Acceptance> got;
    executions().AcceptAsync(execution, {}, [&](Result<Acceptance> acceptance) {
      got.set_value(acceptance.value_or(Acceptance{}));
    });
    return got.get_future().get();
  };
  const Acceptance first = accept();
  ASSERT_EQ(first.verdict, AcceptVerdict::kAccepted);
  ASSERT_EQ(accept().verdict, AcceptVerdict::kRepeated);
  ASSERT_EQ(executions().Finish(first.id, CompletedWith(""), 1'000), true);
  EXPECT_EQ(executions().Prune({.finished_before_unix_ms = 2'000}, 10), 1U);
  EXPECT_EQ(accept().verdict, AcceptVerdict::kAccepted);
}

}  // namespace
}  // namespace forkbox::store
