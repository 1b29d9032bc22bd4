#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/uuid.h"
#include "store/store_contract.h"

namespace forkbox::store {

using schema::Execution;
using schema::ExecutionId;
using schema::Outcome;
using schema::OwnerId;
using schema::Priority;
using schema::Reason;
using schema::State;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

ClaimRequest ClaimBy(const ExecutionId& id, std::string runner, std::int64_t now_unix_ms = 2'000,
                     std::int64_t expires_unix_ms = 3'000) {
  return {id, std::move(runner), now_unix_ms, expires_unix_ms, 3};
}

TEST_P(ExecutionStoreContract, ARowLivesFromQueuedToDone) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(executions().Insert(execution).has_value());
  Result<ExecutionRecord> record = executions().Get(execution.id, std::nullopt);
  ASSERT_TRUE(record.has_value()) << record.error().message;
  EXPECT_EQ(record->state, State::kQueued);
  EXPECT_EQ(record->attempts, 0);
  EXPECT_EQ(record->runner, "");
  EXPECT_EQ(record->started_unix_ms, 0);
  EXPECT_EQ(record->finished_unix_ms, 0);
  EXPECT_FALSE(record->outcome.has_value());

  EXPECT_EQ(executions().Claim(ClaimBy(execution.id, "r1")), ClaimVerdict::kClaimed);
  record = executions().Get(execution.id, std::nullopt);
  EXPECT_EQ(record->state, State::kRunning);
  EXPECT_EQ(record->attempts, 1);
  EXPECT_EQ(record->runner, "r1");
  EXPECT_EQ(record->claim_expires_unix_ms, 3'000);
  EXPECT_EQ(record->started_unix_ms, 2'000);

  EXPECT_EQ(executions().Finish(execution.id, CompletedWith("2\n"), 2'500), true);
  Reopen();
  record = executions().Get(execution.id, std::nullopt);
  ASSERT_TRUE(record.has_value()) << record.error().message;
  EXPECT_EQ(record->state, State::kCompleted);
  EXPECT_EQ(record->attempts, 1);
  EXPECT_EQ(record->runner, "");
  EXPECT_EQ(record->claim_expires_unix_ms, 0);
  EXPECT_EQ(record->started_unix_ms, 2'000);
  EXPECT_EQ(record->finished_unix_ms, 2'500);
  ASSERT_TRUE(record->outcome.has_value());
  EXPECT_EQ(record->outcome->stdout_text, "2\n");
  EXPECT_EQ(record->outcome->exit_code, 0);
  EXPECT_EQ(record->execution.source.code, "print(1)");
  EXPECT_EQ(record->execution.limits, execution.limits);
}

TEST_P(ExecutionStoreContract, AnIdIsTakenOnce) {
  Execution execution = NewExecution("first");
  ASSERT_TRUE(executions().Insert(execution).has_value());
  execution.source.code = "second";
  const Result<void> again = executions().Insert(execution);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  EXPECT_EQ(executions().Get(execution.id, std::nullopt)->execution.source.code, "first");
}

TEST_P(ExecutionStoreContract, AnOwnerSeesOnlyItsOwn) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(executions().Insert(execution).has_value());
  EXPECT_TRUE(executions().Get(execution.id, OwnerId("owner-1")).has_value());
  EXPECT_EQ(executions().Get(execution.id, OwnerId("owner-2")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(executions().Get(execution.id, OwnerId("")).error().code, ErrorCode::kNotFound);
}

TEST_P(ExecutionStoreContract, AnUnknownIdIsUnknownEverywhere) {
  for (const std::string& text :
       {std::string("019cf684-1fd5-73c0-9299-52253f9aa79c"), std::string(), std::string("\0", 1),
        std::string("\xFF\xFE"), std::string("x' OR '1'='1"), std::string(1'000'000, 'x')}) {
    const ExecutionId id(text);
    EXPECT_EQ(executions().Get(id, std::nullopt).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(executions().Claim(ClaimBy(id, "r1")), ClaimVerdict::kUnknown);
    EXPECT_EQ(executions().Finish(id, CompletedWith(""), 1).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(executions().Release(id, "r1").error().code, ErrorCode::kNotFound);
  }
}

TEST_P(ExecutionStoreContract, AnIdThatIsNoneIsRefused) {
  for (const std::string& text :
       {std::string(), std::string("a\0b", 3), std::string("a b"), std::string(129, 'x')}) {
    Execution execution = NewExecution();
    execution.id = ExecutionId(text);
    EXPECT_EQ(executions().Insert(execution).error().code, ErrorCode::kInvalidArgument);
  }
}

TEST_P(ExecutionStoreContract, AClaimIsExclusiveUntilItExpires) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(executions().Insert(execution).has_value());
  EXPECT_EQ(executions().Claim(ClaimBy(execution.id, "r1", 2'000, 3'000)), ClaimVerdict::kClaimed);
  EXPECT_EQ(executions().Claim(ClaimBy(execution.id, "r2", 2'999, 4'000)), ClaimVerdict::kHeld);
  EXPECT_EQ(executions().Claim(ClaimBy(execution.id, "r1", 2'999, 4'000)), ClaimVerdict::kHeld);
  EXPECT_EQ(executions().Claim(ClaimBy(execution.id, "r2", 3'000, 4'000)), ClaimVerdict::kClaimed);
  const Result<ExecutionRecord> record = executions().Get(execution.id, std::nullopt);
  EXPECT_EQ(record->runner, "r2");
  EXPECT_EQ(record->attempts, 2);
  EXPECT_EQ(record->started_unix_ms, 2'000);  // the first claim's
}

TEST_P(ExecutionStoreContract, WhatIsFinishedCannotBeClaimed) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(executions().Insert(execution).has_value());
  ASSERT_EQ(executions().Finish(execution.id, CompletedWith(""), 5), true);
  EXPECT_EQ(executions().Claim(ClaimBy(execution.id, "r1")), ClaimVerdict::kFinished);
  EXPECT_EQ(executions().Release(execution.id, "r1").error().code, ErrorCode::kNotFound);
}

TEST_P(ExecutionStoreContract, ThreeDeadRunnersMakeItLost) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(executions().Insert(execution).has_value());
  std::int64_t now = 2'000;
  for (int i = 0; i < 3; ++i, now += 1'000) {
    EXPECT_EQ(executions().Claim(ClaimBy(execution.id, "r", now, now + 1'000)),
              ClaimVerdict::kClaimed);
  }
  EXPECT_EQ(executions().Claim(ClaimBy(execution.id, "r", now - 1, now)), ClaimVerdict::kHeld);
  EXPECT_EQ(executions().Claim(ClaimBy(execution.id, "r", now, now + 1'000)),
            ClaimVerdict::kExhausted);
  const Result<ExecutionRecord> record = executions().Get(execution.id, std::nullopt);
  EXPECT_EQ(record->state, State::kLost);
  EXPECT_EQ(record->attempts, 3);
  EXPECT_EQ(record->finished_unix_ms, now);
  ASSERT_TRUE(record->outcome.has_value());
  EXPECT_EQ(record->outcome->state, State::kLost);
  EXPECT_EQ(record->outcome->reason, Reason::kRunnerLost);
  EXPECT_EQ(executions().Claim(ClaimBy(execution.id, "r", now, now + 1)), ClaimVerdict::kFinished);
  EXPECT_EQ(executions().Finish(execution.id, CompletedWith("late"), now + 5), false);
}

TEST_P(ExecutionStoreContract, AReleaseGivesTheAttemptBack) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(executions().Insert(execution).has_value());
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(executions().Claim(ClaimBy(execution.id, "r1")), ClaimVerdict::kClaimed);
    EXPECT_EQ(executions().Release(execution.id, "r2").error().code, ErrorCode::kNotFound);
    ASSERT_TRUE(executions().Release(execution.id, "r1").has_value());
    EXPECT_EQ(executions().Release(execution.id, "r1").error().code, ErrorCode::kNotFound);
  }
  const Result<ExecutionRecord> record = executions().Get(execution.id, std::nullopt);
  EXPECT_EQ(record->state, State::kQueued);
  EXPECT_EQ(record->attempts, 0);
  EXPECT_EQ(record->runner, "");
  EXPECT_EQ(record->claim_expires_unix_ms, 0);
  EXPECT_EQ(record->started_unix_ms, 0);
}

TEST_P(ExecutionStoreContract, TheFirstTerminalWriteWins) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(executions().Insert(execution).has_value());
  EXPECT_EQ(executions().Finish(execution.id, CompletedWith("first"), 10), true);
  Outcome cancelled;
  cancelled.state = State::kCancelled;
  cancelled.reason = Reason::kCancelled;
  EXPECT_EQ(executions().Finish(execution.id, cancelled, 20), false);
  const Result<ExecutionRecord> record = executions().Get(execution.id, std::nullopt);
  EXPECT_EQ(record->state, State::kCompleted);
  EXPECT_EQ(record->outcome->stdout_text, "first");
  EXPECT_EQ(record->finished_unix_ms, 10);
}

TEST_P(ExecutionStoreContract, AnOutcomeMustBeTerminal) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(executions().Insert(execution).has_value());
  Outcome outcome;
  outcome.state = State::kRunning;
  EXPECT_EQ(executions().Finish(execution.id, outcome, 10).error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_EQ(executions().Get(execution.id, std::nullopt)->state, State::kQueued);
}

Execution NewIn(Priority lane, std::int64_t created_unix_ms) {
  Execution execution = NewExecution("", created_unix_ms);
  execution.priority = lane;
  return execution;
}

std::vector<ExecutionId> IdsOf(const Result<std::vector<Undispatched>>& found) {
  std::vector<ExecutionId> ids;
  if (!found) return {ExecutionId(found.error().message)};
  for (const Undispatched& undispatched : *found) ids.push_back(undispatched.id);
  return ids;
}

TEST_P(ExecutionStoreContract, UndispatchedIsLeastRecentFirstAndLeavesLiveClaimsAlone) {
  const Execution third = NewExecution("", 3'000);
  const Execution first = NewExecution("", 1'000);
  const Execution second = NewExecution("", 2'000);
  const Execution live = NewExecution("", 500);
  const Execution done = NewExecution("", 400);
  const Execution background = NewIn(Priority::kBackground, 300);
  for (const Execution* execution : {&third, &first, &second, &live, &done, &background}) {
    ASSERT_TRUE(executions().Insert(*execution).has_value());
  }
  ASSERT_EQ(executions().Claim(ClaimBy(second.id, "r1", 2'000, 5'000)), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Claim(ClaimBy(live.id, "r1", 2'000, 9'000)), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Finish(done.id, CompletedWith(""), 3'000), true);

  const auto find = [&](std::int64_t now, std::int64_t before, std::size_t limit) {
    return IdsOf(executions().FindUndispatched(Priority::kInteractive, now, before, limit));
  };
  EXPECT_THAT(find(4'999, 9'999, 10), ElementsAre(first.id, third.id));
  EXPECT_THAT(find(5'000, 9'999, 10), ElementsAre(first.id, second.id, third.id));
  EXPECT_THAT(find(5'000, 9'999, 2), ElementsAre(first.id, second.id));
  EXPECT_THAT(find(5'000, 9'999, 0), IsEmpty());
  EXPECT_THAT(find(9'000, 9'999, 1), ElementsAre(live.id));
  EXPECT_THAT(find(5'000, 2'000, 10), ElementsAre(first.id));
  EXPECT_THAT(find(5'000, 2'001, 10), ElementsAre(first.id, second.id));
  EXPECT_THAT(IdsOf(executions().FindUndispatched(Priority::kBackground, 5'000, 9'999, 10)),
              ElementsAre(background.id));
}

TEST_P(ExecutionStoreContract, ADispatchIsNotedByOne) {
  const Execution a = NewExecution("", 1'000);
  const Execution b = NewExecution("", 2'000);
  ASSERT_TRUE(executions().Insert(a).has_value());
  ASSERT_TRUE(executions().Insert(b).has_value());
  const Undispatched seen = {a.id, 1'000};
  EXPECT_EQ(executions().NoteDispatch(seen, 3'000), true);
  EXPECT_EQ(executions().NoteDispatch(seen, 3'000), false);
  const auto found = executions().FindUndispatched(Priority::kInteractive, 0, 9'999, 10);
  EXPECT_THAT(IdsOf(found), ElementsAre(b.id, a.id));
  EXPECT_EQ(found->at(1).dispatched_unix_ms, 3'000);

  // Twice within a millisecond, or with a clock that went back.
  EXPECT_EQ(executions().NoteDispatch({a.id, 3'000}, 3'000), true);
  EXPECT_EQ(executions().NoteDispatch({a.id, 3'000}, 2'000), false);

  ASSERT_EQ(executions().Finish(b.id, CompletedWith(""), 3'000), true);
  EXPECT_EQ(executions().NoteDispatch({b.id, 2'000}, 4'000), false);
  EXPECT_EQ(executions().NoteDispatch({ExecutionId("unknown"), 0}, 4'000), false);
  EXPECT_EQ(executions().NoteDispatch({ExecutionId(std::string(1, '\0')), 0}, 4'000), false);
}

TEST_P(ExecutionStoreContract, CountsByLane) {
  const Execution first = NewIn(Priority::kInteractive, 1'000);
  const Execution second = NewIn(Priority::kInteractive, 2'000);
  const Execution third = NewIn(Priority::kInteractive, 3'000);
  const Execution background = NewIn(Priority::kBackground, 4'000);
  for (const Execution* execution : {&first, &second, &third, &background}) {
    ASSERT_TRUE(executions().Insert(*execution).has_value());
  }
  ASSERT_EQ(executions().Claim(ClaimBy(first.id, "r1")), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().NoteDispatch({second.id, 2'000}, 9'000), true);
  Result<ExecutionStore::Counts> counts = executions().CountUnfinished();
  ASSERT_TRUE(counts.has_value()) << counts.error().message;
  EXPECT_EQ(counts->interactive.queued, 2U);
  EXPECT_EQ(counts->interactive.running, 1U);
  EXPECT_EQ(counts->interactive.oldest_queued_unix_ms, 2'000);
  EXPECT_EQ(counts->background.queued, 1U);
  EXPECT_EQ(counts->background.running, 0U);
  EXPECT_EQ(counts->background.oldest_queued_unix_ms, 4'000);

  for (const Execution* execution : {&first, &second, &third, &background}) {
    ASSERT_EQ(executions().Finish(execution->id, CompletedWith(""), 5'000), true);
  }
  counts = executions().CountUnfinished();
  EXPECT_EQ(counts->interactive.queued + counts->interactive.running, 0U);
  EXPECT_EQ(counts->interactive.oldest_queued_unix_ms, 0);
}

TEST_P(ExecutionStoreContract, ARunnersHeartbeatKeepsItsClaims) {
  const Execution mine = NewExecution();
  const Execution expired = NewExecution();
  const Execution others = NewExecution();
  const Execution done = NewExecution();
  for (const Execution* execution : {&mine, &expired, &others, &done}) {
    ASSERT_TRUE(executions().Insert(*execution).has_value());
  }
  ASSERT_EQ(executions().Claim(ClaimBy(mine.id, "r1", 2'000, 3'000)), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Claim(ClaimBy(expired.id, "r1", 2'000, 2'001)), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Claim(ClaimBy(others.id, "r2", 2'000, 3'000)), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Claim(ClaimBy(done.id, "r1", 2'000, 3'000)), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Finish(done.id, CompletedWith(""), 2'500), true);

  EXPECT_EQ(executions().RenewClaims("r1", 6'000), 2U);
  EXPECT_EQ(executions().RenewClaims("r3", 6'000), 0U);
  EXPECT_EQ(executions().Claim(ClaimBy(mine.id, "r3", 5'999, 9'000)), ClaimVerdict::kHeld);
  EXPECT_EQ(executions().Claim(ClaimBy(expired.id, "r3", 5'999, 9'000)), ClaimVerdict::kHeld);
  EXPECT_EQ(executions().Claim(ClaimBy(others.id, "r3", 5'999, 9'000)), ClaimVerdict::kClaimed);
  EXPECT_EQ(executions().Claim(ClaimBy(mine.id, "r3", 6'000, 9'000)), ClaimVerdict::kClaimed);
  EXPECT_EQ(executions().RenewClaims("r1", 7'000), 1U);  // what is lost stays lost
}

Result<bool> Withdraw(ExecutionStore& store, const ExecutionId& id, std::int64_t now_unix_ms) {
  Outcome outcome;
  outcome.state = State::kCancelled;
  outcome.reason = Reason::kCancelled;
  std::promise<Result<bool>> answer;
  store.WithdrawAsync(id, outcome, now_unix_ms,
                      [&](Result<bool> result) { answer.set_value(std::move(result)); });
  return answer.get_future().get();
}

TEST_P(ExecutionStoreContract, WhatARunnerHasIsNotFinishedAsQueued) {
  const auto finish_queued = [&](const ExecutionId& id) {
    Outcome outcome;
    outcome.state = State::kCancelled;
    outcome.reason = Reason::kCancelled;
    std::promise<Result<bool>> answer;
    executions().FinishQueuedAsync(
        id, outcome, 5'000, [&](Result<bool> result) { answer.set_value(std::move(result)); });
    return answer.get_future().get();
  };
  const Execution queued = NewExecutionWithWebhook();
  const Execution running = NewExecutionWithWebhook();
  for (const Execution* execution : {&queued, &running}) {
    ASSERT_TRUE(executions().Insert(*execution).has_value());
  }
  ASSERT_EQ(executions().Claim(ClaimBy(running.id, "r1", 2'000, 3'000)), ClaimVerdict::kClaimed);
  EXPECT_EQ(finish_queued(queued.id), true);
  EXPECT_EQ(finish_queued(queued.id), false);
  EXPECT_EQ(finish_queued(running.id), false);
  EXPECT_EQ(finish_queued(ExecutionId("unknown")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(executions().Get(running.id, std::nullopt)->state, State::kRunning);
  EXPECT_EQ(executions().Finish(running.id, CompletedWith(""), 6'000), true);
  // Like any end.
  EXPECT_EQ(deliveries().CountDeliveries()->pending, 2U);
  EXPECT_EQ(usage().List(queued.owner, 0, 10)->size(), 2U);
}

TEST_P(ExecutionStoreContract, WhatEndsWithAWebhookOwesOneDelivery) {
  const Execution finished = NewExecutionWithWebhook();
  const Execution without = NewExecution();
  const Execution lost = NewExecutionWithWebhook();
  const Execution withdrawn = NewExecutionWithWebhook();
  const Execution queued = NewExecutionWithWebhook();
  for (const Execution* execution : {&finished, &without, &lost, &withdrawn, &queued}) {
    ASSERT_TRUE(executions().Insert(*execution).has_value());
  }
  EXPECT_EQ(executions().Finish(finished.id, CompletedWith(""), 5'000), true);
  EXPECT_EQ(executions().Finish(finished.id, CompletedWith(""), 5'001), false);
  EXPECT_EQ(executions().Finish(without.id, CompletedWith(""), 5'000), true);
  ClaimRequest claim = ClaimBy(lost.id, "r1", 2'000, 3'000);
  claim.max_attempts = 1;
  EXPECT_EQ(executions().Claim(claim), ClaimVerdict::kClaimed);
  claim.now_unix_ms = 6'000;
  EXPECT_EQ(executions().Claim(claim), ClaimVerdict::kExhausted);
  EXPECT_EQ(executions().Claim(claim), ClaimVerdict::kFinished);
  EXPECT_EQ(Withdraw(executions(), withdrawn.id, 5'000), true);
  EXPECT_EQ(Withdraw(executions(), withdrawn.id, 5'000), false);
  EXPECT_EQ(Withdraw(executions(), ExecutionId("unknown"), 5'000).error().code,
            ErrorCode::kNotFound);
  EXPECT_EQ(executions().Get(withdrawn.id, std::nullopt)->state, State::kCancelled);

  Reopen();
  EXPECT_EQ(deliveries().CountDeliveries()->pending, 2U);
  const auto due = deliveries().ClaimDue("s1", 9'000, 10'000, 10);
  ASSERT_TRUE(due.has_value()) << due.error().message;
  ASSERT_EQ(due->size(), 2U);
  EXPECT_EQ(due->at(0).execution_id, finished.id);
  EXPECT_EQ(due->at(0).owner, finished.owner);
  EXPECT_EQ(due->at(0).url, finished.webhook_url);
  EXPECT_EQ(due->at(0).created_unix_ms, 5'000);
  EXPECT_EQ(due->at(0).next_attempt_unix_ms, 10'000);
  EXPECT_EQ(due->at(0).attempts, 0);
  EXPECT_EQ(due->at(0).body, "");
  EXPECT_EQ(due->at(1).execution_id, lost.id);
  EXPECT_EQ(due->at(1).created_unix_ms, 6'000);
}

TEST_P(ExecutionStoreContract, ListsWhatChangedNewestFirst) {
  const std::int64_t now = SystemClock().UnixMillis();
  const auto insert = [&](std::string dialect, std::string owner, std::int64_t created) {
    Execution execution = NewExecution("", created);
    execution.dialect = std::move(dialect);
    execution.owner = OwnerId(std::move(owner));
    EXPECT_TRUE(executions().Insert(execution).has_value());
    return execution.id;
  };
  const ExecutionId queued = insert("native", "a", now - 900);
  const ExecutionId running = insert("native", "a", now - 9'000);
  const ExecutionId done = insert("native", "a", now - 9'000);
  const ExecutionId before = insert("native", "a", now - 9'000);
  insert("exec0", "a", now);
  insert("native", "b", now);
  ASSERT_EQ(executions().Claim(ClaimBy(running, "r1", now - 800, now)), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Finish(done, CompletedWith(""), now - 700), true);
  ASSERT_EQ(executions().Finish(before, CompletedWith(""), now - 1'001), true);
  // Accepted more than a day before: by its id.
  Execution old = NewExecution("", now);
  old.id = ExecutionId("00000000-0000-7000-8000-000000000000");
  old.owner = OwnerId("a");
  old.dialect = "native";
  ASSERT_TRUE(executions().Insert(old).has_value());

  const auto list = [&](std::string owner, std::int64_t since, std::size_t limit) {
    std::vector<ExecutionId> ids;
    const auto found =
        executions().ListChangedSince(OwnerId(std::move(owner)), "native", since, limit);
    if (!found) return std::vector{ExecutionId(found.error().message)};
    for (const ExecutionSummary& summary : *found) ids.push_back(summary.id);
    return ids;
  };
  EXPECT_THAT(list("a", now - 1'000, 10), ElementsAre(done, running, queued));
  EXPECT_THAT(list("a", now - 1'000, 2), ElementsAre(done, running));
  EXPECT_THAT(list("a", now - 1'001, 10), ElementsAre(before, done, running, queued));
  EXPECT_THAT(list("a", now - 750, 10), ElementsAre(done));
  EXPECT_EQ(list("a", 0, 10).size(), 5U);
  EXPECT_THAT(list("nobody", 0, 10), IsEmpty());
  EXPECT_THAT(list(std::string(1, '\0'), 0, 10), IsEmpty());

  const auto summaries = executions().ListChangedSince(OwnerId("a"), "native", now - 1'000, 10);
  EXPECT_EQ(summaries->at(0).state, State::kCompleted);
  EXPECT_EQ(summaries->at(0).changed_unix_ms, now - 700);
  EXPECT_EQ(summaries->at(1).state, State::kRunning);
  EXPECT_EQ(summaries->at(1).changed_unix_ms, now - 800);
  EXPECT_EQ(summaries->at(2).state, State::kQueued);
  EXPECT_EQ(summaries->at(2).changed_unix_ms, now - 900);
}

TEST_P(ExecutionStoreContract, NamesThatAreNoTextAreRefused) {
  for (const std::string& text : {std::string("a\0b", 3), std::string("\xFF")}) {
    Execution execution = NewExecution();
    execution.owner = OwnerId(text);
    EXPECT_EQ(executions().Insert(execution).error().code, ErrorCode::kInvalidArgument);
    execution = NewExecution();
    execution.webhook_url = text;
    EXPECT_EQ(executions().Insert(execution).error().code, ErrorCode::kInvalidArgument);
    execution = NewExecution();
    ASSERT_TRUE(executions().Insert(execution).has_value());
    EXPECT_EQ(executions().Claim(ClaimBy(execution.id, text)).error().code,
              ErrorCode::kInvalidArgument);
    EXPECT_EQ(executions().Get(execution.id, OwnerId(text)).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(executions().VoidClaims(text), 0U);
    EXPECT_EQ(executions().RenewClaims(text, 1), 0U);
  }
}

// As of two machines: each has its own writer.
TEST_P(ExecutionStoreContract, TwoStoresOnOneDatabaseShareItsTruth) {
  const std::unique_ptr<Store> another = OpenAnother();
  ExecutionStore* const stores[] = {&executions(), &another->executions()};
  for (int round = 0; round < 20; ++round) {
    const Execution execution = NewExecution();
    ASSERT_TRUE(stores[round % 2]->Insert(execution).has_value());
    std::atomic<int> claimed = 0;
    std::atomic<int> held = 0;
    std::atomic<int> won = 0;
    std::vector<std::thread> runners;
    for (int i = 0; i < 4; ++i) {
      runners.emplace_back([&, i] {
        const auto verdict = stores[i % 2]->Claim(ClaimBy(execution.id, "r" + std::to_string(i)));
        claimed += verdict == ClaimVerdict::kClaimed ? 1 : 0;
        held += verdict == ClaimVerdict::kHeld ? 1 : 0;
      });
    }
    for (auto& runner : runners) runner.join();
    EXPECT_EQ(claimed, 1);
    EXPECT_EQ(held, 3);
    runners.clear();
    for (int i = 0; i < 4; ++i) {
      runners.emplace_back([&, i] {
        won += stores[i % 2]->Finish(execution.id, CompletedWith(std::to_string(i)), 5) == true;
      });
    }
    for (auto& runner : runners) runner.join();
    EXPECT_EQ(won, 1);
  }
  EXPECT_EQ(another->executions().CountUnfinished()->interactive.running, 0U);
}

TEST_P(ExecutionStoreContract, VoidingFreesTheRunnersClaimsAndKeepsTheCount) {
  const Execution mine = NewExecution();
  const Execution others = NewExecution();
  const Execution done = NewExecution();
  for (const Execution* execution : {&mine, &others, &done}) {
    ASSERT_TRUE(executions().Insert(*execution).has_value());
  }
  ASSERT_EQ(executions().Claim(ClaimBy(mine.id, "r1")), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Claim(ClaimBy(others.id, "r2")), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Claim(ClaimBy(done.id, "r1")), ClaimVerdict::kClaimed);
  ASSERT_EQ(executions().Finish(done.id, CompletedWith(""), 5), true);
  EXPECT_EQ(executions().VoidClaims("r1"), 1U);
  EXPECT_EQ(executions().VoidClaims("r1"), 0U);
  EXPECT_EQ(executions().Get(mine.id, std::nullopt)->state, State::kQueued);
  EXPECT_EQ(executions().Get(mine.id, std::nullopt)->attempts, 1);
  EXPECT_EQ(executions().Get(others.id, std::nullopt)->state, State::kRunning);
  EXPECT_EQ(executions().Get(done.id, std::nullopt)->state, State::kCompleted);
  EXPECT_EQ(executions().Claim(ClaimBy(mine.id, "r1")), ClaimVerdict::kClaimed);
}

TEST_P(ExecutionStoreContract, AsyncCallsTakeEffectInTheirOrder) {
  std::vector<Execution> made;
  std::vector<std::future<std::string>> verdicts;
  for (int i = 0; i < 200; ++i) {
    made.push_back(NewExecution());
    auto verdict = std::make_shared<std::promise<std::string>>();
    auto text = std::make_shared<std::string>();
    verdicts.push_back(verdict->get_future());
    const ExecutionId& id = made.back().id;
    executions().InsertAsync(made.back(), [text](Result<void> inserted) {
      *text += inserted ? "inserted " : inserted.error().message;
    });
    executions().ClaimAsync(ClaimBy(id, "r1"), [text](Result<ClaimVerdict> claimed) {
      *text += claimed == ClaimVerdict::kClaimed ? "claimed " : "not claimed ";
    });
    executions().FinishAsync(id, CompletedWith("x"), 5,
                             [text](Result<bool> won) { *text += won == true ? "won " : "lost "; });
    executions().FinishAsync(id, CompletedWith("y"), 6, [text, verdict](Result<bool> won) {
      *text += won == false ? "late" : "twice";
      verdict->set_value(*text);
    });
  }
  for (auto& verdict : verdicts) EXPECT_EQ(verdict.get(), "inserted claimed won late");
}

TEST_P(ExecutionStoreContract, BadCallsAmongGoodOnesFailAlone) {
  const Execution taken = NewExecution();
  ASSERT_TRUE(executions().Insert(taken).has_value());
  std::vector<std::future<ErrorCode>> bad;
  std::vector<std::future<bool>> good;
  std::vector<Execution> made;
  for (int i = 0; i < 50; ++i) {
    auto failed = std::make_shared<std::promise<ErrorCode>>();
    bad.push_back(failed->get_future());
    executions().InsertAsync(taken, [failed](Result<void> inserted) {
      failed->set_value(inserted ? ErrorCode::kInternal : inserted.error().code);
    });
    made.push_back(NewExecution());
    auto worked = std::make_shared<std::promise<bool>>();
    good.push_back(worked->get_future());
    executions().InsertAsync(
        made.back(), [worked](Result<void> inserted) { worked->set_value(inserted.has_value()); });
  }
  for (auto& code : bad) EXPECT_EQ(code.get(), ErrorCode::kConflict);
  for (auto& worked : good) EXPECT_TRUE(worked.get());
  EXPECT_EQ(executions().CountUnfinished()->interactive.queued, 51U);
}

TEST_P(ExecutionStoreContract, OfManyClaimsForOneRowOneWins) {
  for (int round = 0; round < 20; ++round) {
    const Execution execution = NewExecution();
    ASSERT_TRUE(executions().Insert(execution).has_value());
    std::atomic<int> claimed = 0;
    std::atomic<int> held = 0;
    std::vector<std::thread> runners;
    for (int i = 0; i < 4; ++i) {
      runners.emplace_back([&, i] {
        const auto verdict = executions().Claim(ClaimBy(execution.id, "r" + std::to_string(i)));
        claimed += verdict == ClaimVerdict::kClaimed ? 1 : 0;
        held += verdict == ClaimVerdict::kHeld ? 1 : 0;
      });
    }
    for (auto& runner : runners) runner.join();
    EXPECT_EQ(claimed, 1);
    EXPECT_EQ(held, 3);
    EXPECT_EQ(executions().Get(execution.id, std::nullopt)->attempts, 1);
  }
}

TEST_P(ExecutionStoreContract, OfManyFinishesOneWinsAndItsOutcomeStays) {
  for (int round = 0; round < 20; ++round) {
    const Execution execution = NewExecution();
    ASSERT_TRUE(executions().Insert(execution).has_value());
    std::atomic<int> wins = 0;
    std::atomic<int> winner = -1;
    std::vector<std::thread> runners;
    for (int i = 0; i < 4; ++i) {
      runners.emplace_back([&, i] {
        if (executions().Finish(execution.id, CompletedWith(std::to_string(i)), 5) == true) {
          ++wins;
          winner = i;
        }
      });
    }
    for (auto& runner : runners) runner.join();
    EXPECT_EQ(wins, 1);
    EXPECT_EQ(executions().Get(execution.id, std::nullopt)->outcome->stdout_text,
              std::to_string(winner));
  }
}

// Users send these; what comes back must be what they sent.
TEST_P(ExecutionStoreContract, HostileTextComesBackAsItWent) {
  std::string megabyte;
  for (std::size_t i = 0; megabyte.size() < (1U << 20); ++i) megabyte += static_cast<char>(i * 7);
  for (const std::string& text :
       {std::string("a\0b\0", 4), std::string("\xFF\xC3(\x80"),
        std::string("'; DROP TABLE executions; --"), std::string("$1 ?1 :x \\ \" \x1b[31m"),
        std::string(1 << 20, 'x'), std::string(1 << 20, '\0'), megabyte}) {
    Execution execution = NewExecution(text);
    execution.source.stdin_data = text;
    execution.source.files.push_back({"f", text});
    ASSERT_TRUE(executions().Insert(execution).has_value());
    const Result<ExecutionRecord> record = executions().Get(execution.id, std::nullopt);
    ASSERT_TRUE(record.has_value()) << record.error().message;
    EXPECT_TRUE(record->execution.source.code == text);
    EXPECT_TRUE(record->execution.source.stdin_data == text);
    EXPECT_TRUE(record->execution.source.files.at(0).content == text);
  }
  // What is text by contract is mended where it is not.
  Execution execution = NewExecution();
  execution.client_reference = std::string("\xFF\0", 2);
  ASSERT_TRUE(executions().Insert(execution).has_value());
  ASSERT_EQ(executions().Finish(execution.id, CompletedWith(std::string("a\0\xFF", 3)), 5), true);
  const Result<ExecutionRecord> record = executions().Get(execution.id, std::nullopt);
  ASSERT_TRUE(record.has_value()) << record.error().message;
  EXPECT_EQ(record->execution.client_reference, std::string("\xEF\xBF\xBD\0", 4));
  EXPECT_EQ(record->outcome->stdout_text, std::string("a\0\xEF\xBF\xBD", 5));
}

TEST_P(ExecutionStoreContract, ClosingAnswersWhatWasAsked) {
  std::atomic<int> inserted = 0;
  for (int i = 0; i < 300; ++i) {
    executions().InsertAsync(NewExecution(),
                             [&](Result<void> result) { inserted += result ? 1 : 0; });
  }
  Reopen();
  EXPECT_EQ(inserted, 300);
  EXPECT_EQ(executions().CountUnfinished()->interactive.queued, 300U);
}

TEST_P(ExecutionStoreContract, Pings) { EXPECT_TRUE(executions().Ping().has_value()); }

}  // namespace
}  // namespace forkbox::store
