#include "store/execution_store_contract.h"

#include <gmock/gmock.h>

#include <atomic>
#include <future>
#include <thread>
#include <utility>
#include <vector>

#include "base/uuid.h"

namespace forkbox::store {

using schema::Execution;
using schema::ExecutionId;
using schema::Outcome;
using schema::OwnerId;
using schema::Reason;
using schema::State;
using testing::ElementsAre;
using testing::IsEmpty;

Execution NewExecution(std::string code, std::int64_t created_unix_ms) {
  Execution execution;
  execution.id = ExecutionId(NewUuidV7());
  execution.owner = OwnerId("owner-1");
  execution.dialect = "zeroboot";
  execution.language = "python";
  execution.source.code = std::move(code);
  execution.created_unix_ms = created_unix_ms;
  return execution;
}

Outcome CompletedWith(std::string stdout_text) {
  Outcome outcome;
  outcome.state = State::kCompleted;
  outcome.reason = Reason::kExited;
  outcome.exit_code = 0;
  outcome.stdout_text = std::move(stdout_text);
  return outcome;
}

namespace {

ClaimRequest ClaimBy(const ExecutionId& id, std::string runner, std::int64_t now_unix_ms = 2'000,
                     std::int64_t expires_unix_ms = 3'000) {
  return {id, std::move(runner), now_unix_ms, expires_unix_ms, 3};
}

TEST_P(ExecutionStoreContract, ARowLivesFromQueuedToDone) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store().Insert(execution).has_value());
  Result<ExecutionRecord> record = store().Get(execution.id, std::nullopt);
  ASSERT_TRUE(record.has_value()) << record.error().message;
  EXPECT_EQ(record->state, State::kQueued);
  EXPECT_EQ(record->attempts, 0);
  EXPECT_EQ(record->runner, "");
  EXPECT_EQ(record->started_unix_ms, 0);
  EXPECT_EQ(record->finished_unix_ms, 0);
  EXPECT_FALSE(record->outcome.has_value());

  EXPECT_EQ(store().Claim(ClaimBy(execution.id, "r1")), ClaimVerdict::kClaimed);
  record = store().Get(execution.id, std::nullopt);
  EXPECT_EQ(record->state, State::kRunning);
  EXPECT_EQ(record->attempts, 1);
  EXPECT_EQ(record->runner, "r1");
  EXPECT_EQ(record->claim_expires_unix_ms, 3'000);
  EXPECT_EQ(record->started_unix_ms, 2'000);

  EXPECT_EQ(store().Finish(execution.id, CompletedWith("2\n"), 2'500), true);
  Reopen();
  record = store().Get(execution.id, std::nullopt);
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
  ASSERT_TRUE(store().Insert(execution).has_value());
  execution.source.code = "second";
  const Result<void> again = store().Insert(execution);
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  EXPECT_EQ(store().Get(execution.id, std::nullopt)->execution.source.code, "first");
}

TEST_P(ExecutionStoreContract, AnOwnerSeesOnlyItsOwn) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store().Insert(execution).has_value());
  EXPECT_TRUE(store().Get(execution.id, OwnerId("owner-1")).has_value());
  EXPECT_EQ(store().Get(execution.id, OwnerId("owner-2")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(store().Get(execution.id, OwnerId("")).error().code, ErrorCode::kNotFound);
}

TEST_P(ExecutionStoreContract, AnUnknownIdIsUnknownEverywhere) {
  for (const std::string& text :
       {std::string("019cf684-1fd5-73c0-9299-52253f9aa79c"), std::string(), std::string("\0", 1),
        std::string("\xFF\xFE"), std::string("x' OR '1'='1"), std::string(1'000'000, 'x')}) {
    const ExecutionId id(text);
    EXPECT_EQ(store().Get(id, std::nullopt).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store().Claim(ClaimBy(id, "r1")), ClaimVerdict::kUnknown);
    EXPECT_EQ(store().Finish(id, CompletedWith(""), 1).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(store().Release(id, "r1").error().code, ErrorCode::kNotFound);
  }
}

TEST_P(ExecutionStoreContract, AnIdThatIsNoneIsRefused) {
  for (const std::string& text :
       {std::string(), std::string("a\0b", 3), std::string("a b"), std::string(129, 'x')}) {
    Execution execution = NewExecution();
    execution.id = ExecutionId(text);
    EXPECT_EQ(store().Insert(execution).error().code, ErrorCode::kInvalidArgument);
  }
}

TEST_P(ExecutionStoreContract, AClaimIsExclusiveUntilItExpires) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store().Insert(execution).has_value());
  EXPECT_EQ(store().Claim(ClaimBy(execution.id, "r1", 2'000, 3'000)), ClaimVerdict::kClaimed);
  EXPECT_EQ(store().Claim(ClaimBy(execution.id, "r2", 2'999, 4'000)), ClaimVerdict::kHeld);
  EXPECT_EQ(store().Claim(ClaimBy(execution.id, "r1", 2'999, 4'000)), ClaimVerdict::kHeld);
  EXPECT_EQ(store().Claim(ClaimBy(execution.id, "r2", 3'000, 4'000)), ClaimVerdict::kClaimed);
  const Result<ExecutionRecord> record = store().Get(execution.id, std::nullopt);
  EXPECT_EQ(record->runner, "r2");
  EXPECT_EQ(record->attempts, 2);
  EXPECT_EQ(record->started_unix_ms, 2'000);  // the first claim's
}

TEST_P(ExecutionStoreContract, WhatIsFinishedCannotBeClaimed) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store().Insert(execution).has_value());
  ASSERT_EQ(store().Finish(execution.id, CompletedWith(""), 5), true);
  EXPECT_EQ(store().Claim(ClaimBy(execution.id, "r1")), ClaimVerdict::kFinished);
  EXPECT_EQ(store().Release(execution.id, "r1").error().code, ErrorCode::kNotFound);
}

TEST_P(ExecutionStoreContract, ThreeDeadRunnersMakeItLost) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store().Insert(execution).has_value());
  std::int64_t now = 2'000;
  for (int i = 0; i < 3; ++i, now += 1'000) {
    EXPECT_EQ(store().Claim(ClaimBy(execution.id, "r", now, now + 1'000)), ClaimVerdict::kClaimed);
  }
  EXPECT_EQ(store().Claim(ClaimBy(execution.id, "r", now - 1, now)), ClaimVerdict::kHeld);
  EXPECT_EQ(store().Claim(ClaimBy(execution.id, "r", now, now + 1'000)), ClaimVerdict::kExhausted);
  const Result<ExecutionRecord> record = store().Get(execution.id, std::nullopt);
  EXPECT_EQ(record->state, State::kLost);
  EXPECT_EQ(record->attempts, 3);
  EXPECT_EQ(record->finished_unix_ms, now);
  ASSERT_TRUE(record->outcome.has_value());
  EXPECT_EQ(record->outcome->state, State::kLost);
  EXPECT_EQ(record->outcome->reason, Reason::kRunnerLost);
  EXPECT_EQ(store().Claim(ClaimBy(execution.id, "r", now, now + 1)), ClaimVerdict::kFinished);
  EXPECT_EQ(store().Finish(execution.id, CompletedWith("late"), now + 5), false);
}

TEST_P(ExecutionStoreContract, AReleaseGivesTheAttemptBack) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store().Insert(execution).has_value());
  for (int i = 0; i < 5; ++i) {
    ASSERT_EQ(store().Claim(ClaimBy(execution.id, "r1")), ClaimVerdict::kClaimed);
    EXPECT_EQ(store().Release(execution.id, "r2").error().code, ErrorCode::kNotFound);
    ASSERT_TRUE(store().Release(execution.id, "r1").has_value());
    EXPECT_EQ(store().Release(execution.id, "r1").error().code, ErrorCode::kNotFound);
  }
  const Result<ExecutionRecord> record = store().Get(execution.id, std::nullopt);
  EXPECT_EQ(record->state, State::kQueued);
  EXPECT_EQ(record->attempts, 0);
  EXPECT_EQ(record->runner, "");
  EXPECT_EQ(record->claim_expires_unix_ms, 0);
  EXPECT_EQ(record->started_unix_ms, 0);
}

TEST_P(ExecutionStoreContract, TheFirstTerminalWriteWins) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store().Insert(execution).has_value());
  EXPECT_EQ(store().Finish(execution.id, CompletedWith("first"), 10), true);
  Outcome cancelled;
  cancelled.state = State::kCancelled;
  cancelled.reason = Reason::kCancelled;
  EXPECT_EQ(store().Finish(execution.id, cancelled, 20), false);
  const Result<ExecutionRecord> record = store().Get(execution.id, std::nullopt);
  EXPECT_EQ(record->state, State::kCompleted);
  EXPECT_EQ(record->outcome->stdout_text, "first");
  EXPECT_EQ(record->finished_unix_ms, 10);
}

TEST_P(ExecutionStoreContract, AnOutcomeMustBeTerminal) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store().Insert(execution).has_value());
  Outcome outcome;
  outcome.state = State::kRunning;
  EXPECT_EQ(store().Finish(execution.id, outcome, 10).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(store().Get(execution.id, std::nullopt)->state, State::kQueued);
}

TEST_P(ExecutionStoreContract, UnfinishedIsOldestFirstAndLeavesLiveClaimsAlone) {
  const Execution third = NewExecution("", 3'000);
  const Execution first = NewExecution("", 1'000);
  const Execution second = NewExecution("", 2'000);
  const Execution live = NewExecution("", 500);
  const Execution done = NewExecution("", 400);
  for (const Execution* execution : {&third, &first, &second, &live, &done}) {
    ASSERT_TRUE(store().Insert(*execution).has_value());
  }
  ASSERT_EQ(store().Claim(ClaimBy(second.id, "r1", 2'000, 5'000)), ClaimVerdict::kClaimed);
  ASSERT_EQ(store().Claim(ClaimBy(live.id, "r1", 2'000, 9'000)), ClaimVerdict::kClaimed);
  ASSERT_EQ(store().Finish(done.id, CompletedWith(""), 3'000), true);

  EXPECT_THAT(*store().Unfinished(4'999, 10), ElementsAre(first.id, third.id));
  EXPECT_THAT(*store().Unfinished(5'000, 10), ElementsAre(first.id, second.id, third.id));
  EXPECT_THAT(*store().Unfinished(5'000, 2), ElementsAre(first.id, second.id));
  EXPECT_THAT(*store().Unfinished(5'000, 0), IsEmpty());
  EXPECT_THAT(*store().Unfinished(9'000, 1), ElementsAre(live.id));
  const Result<ExecutionStore::Counts> counts = store().CountUnfinished();
  EXPECT_EQ(counts->queued, 2U);
  EXPECT_EQ(counts->running, 2U);
}

TEST_P(ExecutionStoreContract, VoidingFreesTheRunnersClaimsAndKeepsTheCount) {
  const Execution mine = NewExecution();
  const Execution others = NewExecution();
  const Execution done = NewExecution();
  for (const Execution* execution : {&mine, &others, &done}) {
    ASSERT_TRUE(store().Insert(*execution).has_value());
  }
  ASSERT_EQ(store().Claim(ClaimBy(mine.id, "r1")), ClaimVerdict::kClaimed);
  ASSERT_EQ(store().Claim(ClaimBy(others.id, "r2")), ClaimVerdict::kClaimed);
  ASSERT_EQ(store().Claim(ClaimBy(done.id, "r1")), ClaimVerdict::kClaimed);
  ASSERT_EQ(store().Finish(done.id, CompletedWith(""), 5), true);
  EXPECT_EQ(store().VoidClaims("r1"), 1U);
  EXPECT_EQ(store().VoidClaims("r1"), 0U);
  EXPECT_EQ(store().Get(mine.id, std::nullopt)->state, State::kQueued);
  EXPECT_EQ(store().Get(mine.id, std::nullopt)->attempts, 1);
  EXPECT_EQ(store().Get(others.id, std::nullopt)->state, State::kRunning);
  EXPECT_EQ(store().Get(done.id, std::nullopt)->state, State::kCompleted);
  EXPECT_EQ(store().Claim(ClaimBy(mine.id, "r1")), ClaimVerdict::kClaimed);
}

TEST_P(ExecutionStoreContract, AsyncCallsTakeEffectInTheirOrder) {
  std::vector<Execution> executions;
  std::vector<std::future<std::string>> verdicts;
  for (int i = 0; i < 200; ++i) {
    executions.push_back(NewExecution());
    auto verdict = std::make_shared<std::promise<std::string>>();
    auto text = std::make_shared<std::string>();
    verdicts.push_back(verdict->get_future());
    const ExecutionId& id = executions.back().id;
    store().InsertAsync(executions.back(), [text](Result<void> inserted) {
      *text += inserted ? "inserted " : inserted.error().message;
    });
    store().ClaimAsync(ClaimBy(id, "r1"), [text](Result<ClaimVerdict> claimed) {
      *text += claimed == ClaimVerdict::kClaimed ? "claimed " : "not claimed ";
    });
    store().FinishAsync(id, CompletedWith("x"), 5,
                        [text](Result<bool> won) { *text += won == true ? "won " : "lost "; });
    store().FinishAsync(id, CompletedWith("y"), 6, [text, verdict](Result<bool> won) {
      *text += won == false ? "late" : "twice";
      verdict->set_value(*text);
    });
  }
  for (auto& verdict : verdicts) EXPECT_EQ(verdict.get(), "inserted claimed won late");
}

TEST_P(ExecutionStoreContract, BadCallsAmongGoodOnesFailAlone) {
  const Execution taken = NewExecution();
  ASSERT_TRUE(store().Insert(taken).has_value());
  std::vector<std::future<ErrorCode>> bad;
  std::vector<std::future<bool>> good;
  std::vector<Execution> executions;
  for (int i = 0; i < 50; ++i) {
    auto failed = std::make_shared<std::promise<ErrorCode>>();
    bad.push_back(failed->get_future());
    store().InsertAsync(taken, [failed](Result<void> inserted) {
      failed->set_value(inserted ? ErrorCode::kInternal : inserted.error().code);
    });
    executions.push_back(NewExecution());
    auto worked = std::make_shared<std::promise<bool>>();
    good.push_back(worked->get_future());
    store().InsertAsync(executions.back(), [worked](Result<void> inserted) {
      worked->set_value(inserted.has_value());
    });
  }
  for (auto& code : bad) EXPECT_EQ(code.get(), ErrorCode::kConflict);
  for (auto& worked : good) EXPECT_TRUE(worked.get());
  EXPECT_EQ(store().CountUnfinished()->queued, 51U);
}

TEST_P(ExecutionStoreContract, OfManyClaimsForOneRowOneWins) {
  for (int round = 0; round < 20; ++round) {
    const Execution execution = NewExecution();
    ASSERT_TRUE(store().Insert(execution).has_value());
    std::atomic<int> claimed = 0;
    std::atomic<int> held = 0;
    std::vector<std::thread> runners;
    for (int i = 0; i < 4; ++i) {
      runners.emplace_back([&, i] {
        const auto verdict = store().Claim(ClaimBy(execution.id, "r" + std::to_string(i)));
        claimed += verdict == ClaimVerdict::kClaimed ? 1 : 0;
        held += verdict == ClaimVerdict::kHeld ? 1 : 0;
      });
    }
    for (auto& runner : runners) runner.join();
    EXPECT_EQ(claimed, 1);
    EXPECT_EQ(held, 3);
    EXPECT_EQ(store().Get(execution.id, std::nullopt)->attempts, 1);
  }
}

TEST_P(ExecutionStoreContract, OfManyFinishesOneWinsAndItsOutcomeStays) {
  for (int round = 0; round < 20; ++round) {
    const Execution execution = NewExecution();
    ASSERT_TRUE(store().Insert(execution).has_value());
    std::atomic<int> wins = 0;
    std::atomic<int> winner = -1;
    std::vector<std::thread> runners;
    for (int i = 0; i < 4; ++i) {
      runners.emplace_back([&, i] {
        if (store().Finish(execution.id, CompletedWith(std::to_string(i)), 5) == true) {
          ++wins;
          winner = i;
        }
      });
    }
    for (auto& runner : runners) runner.join();
    EXPECT_EQ(wins, 1);
    EXPECT_EQ(store().Get(execution.id, std::nullopt)->outcome->stdout_text,
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
    ASSERT_TRUE(store().Insert(execution).has_value());
    const Result<ExecutionRecord> record = store().Get(execution.id, std::nullopt);
    ASSERT_TRUE(record.has_value()) << record.error().message;
    EXPECT_TRUE(record->execution.source.code == text);
    EXPECT_TRUE(record->execution.source.stdin_data == text);
    EXPECT_TRUE(record->execution.source.files.at(0).content == text);
  }
  // What is text by contract is mended where it is not.
  Execution execution = NewExecution();
  execution.client_reference = std::string("\xFF\0", 2);
  ASSERT_TRUE(store().Insert(execution).has_value());
  ASSERT_EQ(store().Finish(execution.id, CompletedWith(std::string("a\0\xFF", 3)), 5), true);
  const Result<ExecutionRecord> record = store().Get(execution.id, std::nullopt);
  ASSERT_TRUE(record.has_value()) << record.error().message;
  EXPECT_EQ(record->execution.client_reference, std::string("\xEF\xBF\xBD\0", 4));
  EXPECT_EQ(record->outcome->stdout_text, std::string("a\0\xEF\xBF\xBD", 5));
}

TEST_P(ExecutionStoreContract, ClosingAnswersWhatWasAsked) {
  std::atomic<int> inserted = 0;
  for (int i = 0; i < 300; ++i) {
    store().InsertAsync(NewExecution(), [&](Result<void> result) { inserted += result ? 1 : 0; });
  }
  Reopen();
  EXPECT_EQ(inserted, 300);
  EXPECT_EQ(store().CountUnfinished()->queued, 300U);
}

TEST_P(ExecutionStoreContract, Pings) { EXPECT_TRUE(store().Ping().has_value()); }

}  // namespace
}  // namespace forkbox::store
