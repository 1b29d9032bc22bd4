#include "api/execution_service.h"

#include <gtest/gtest.h>

#include <future>
#include <optional>
#include <thread>

#include "api/testing_fakes.h"
#include "base/uuid.h"

namespace forkbox::api {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::FakeBroker;
using testing::FakeStore;

schema::Outcome Printed(const std::string& text) {
  schema::Outcome outcome;
  outcome.reason = schema::Reason::kExited;
  outcome.exit_code = 0;
  outcome.state = schema::State::kCompleted;
  outcome.stdout_text = text;
  return outcome;
}

schema::Execution Job(const std::string& code) {
  schema::Execution execution;
  execution.dialect = "test";
  execution.language = "python";
  execution.source.code = code;
  return execution;
}

// A submitted execution and the answer to it, as soon as there is one. More than one is an error.
class Waiter {
 public:
  ExecutionService::OnDone OnDone() {
    return [state = state_](Result<schema::Outcome> result) {
      EXPECT_FALSE(state->answered.exchange(true)) << "answered twice";
      state->promise.set_value(std::move(result));
    };
  }
  [[nodiscard]] bool Answered() const { return state_->answered; }
  Result<schema::Outcome> Answer() { return state_->promise.get_future().get(); }

 private:
  struct State {
    std::atomic<bool> answered{false};
    std::promise<Result<schema::Outcome>> promise;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();  // shared with the callback
};

class ExecutionServiceTest : public ::testing::Test {
 protected:
  FakeStore store_;
  FakeBroker broker_;
  Metrics metrics_;
  FakeClock clock_;
  std::optional<ExecutionService> service_{
      std::in_place,
      ExecutionService::Options{.look_interval = seconds(5), .watch_interval = milliseconds(2)},
      store_,
      broker_,
      metrics_,
      clock_,
      Log::Null()};
};

TEST_F(ExecutionServiceTest, AnswersOnceTheOutcomeIsInAndTheRowDurable) {
  Waiter waiter;
  const schema::ExecutionId id = service_->Submit(Job("print(2)"), waiter.OnDone());
  EXPECT_TRUE(IsUuid(id.str()));
  EXPECT_EQ(id.str()[14], '7');
  ASSERT_EQ(broker_.published().size(), 1U);
  const queue::Message message = broker_.published()[0];
  EXPECT_EQ(message.id, id);
  EXPECT_EQ(message.execution->source.code, "print(2)");
  EXPECT_EQ(message.execution->created_unix_ms, clock_.UnixMillis());
  EXPECT_TRUE(store_.Has(id));
  EXPECT_EQ(service_->waiting(), 1U);

  broker_.SendReply({id, "", Printed("2\n")});
  EXPECT_EQ(waiter.Answer()->stdout_text, "2\n");
  EXPECT_EQ(service_->waiting(), 0U);
  EXPECT_EQ(broker_.expected(), 0U);
}

TEST_F(ExecutionServiceTest, ARunFasterThanTheDiskWaitsForIt) {
  store_.Hold();
  Waiter waiter;
  const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
  broker_.SendReply({id, "", Printed("fast")});
  EXPECT_FALSE(waiter.Answered());
  store_.LetGo();
  EXPECT_EQ(waiter.Answer()->stdout_text, "fast");
}

TEST_F(ExecutionServiceTest, ADiskFasterThanTheRunIsTheOrdinaryCase) {
  store_.Hold();
  Waiter waiter;
  const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
  store_.LetGo();
  EXPECT_FALSE(waiter.Answered());
  broker_.SendReply({id, "", Printed("slow")});
  EXPECT_EQ(waiter.Answer()->stdout_text, "slow");
}

TEST_F(ExecutionServiceTest, WhatTheStoreDidNotTakeWasNotAccepted) {
  store_.away = true;
  Waiter waiter;
  const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
  EXPECT_EQ(waiter.Answer().error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(broker_.cancelled(), std::vector{id}) << "it must not run on for nobody";
  EXPECT_EQ(broker_.expected(), 0U);
  EXPECT_EQ(service_->waiting(), 0U);
}

// Even when the outcome came first: a result that would not survive is not given out.
TEST_F(ExecutionServiceTest, AnOutcomeWithoutARowIsNoAnswer) {
  store_.Hold();
  Waiter waiter;
  const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
  broker_.SendReply({id, "", Printed("never shown")});
  store_.away = true;
  store_.LetGo();
  EXPECT_EQ(waiter.Answer().error().code, ErrorCode::kUnavailable);
}

TEST_F(ExecutionServiceTest, AFullLaneRefusesBeforeAnythingIsWritten) {
  broker_.set_depth({.waiting = 64, .leased = 2, .limit = 64});
  Waiter waiter;
  const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
  const Error error = waiter.Answer().error();
  EXPECT_EQ(error.code, ErrorCode::kQueueFull);
  EXPECT_EQ(error.message, "queue is full: 64 executions waiting, limit 64");
  EXPECT_FALSE(store_.Has(id));
  EXPECT_TRUE(broker_.published().empty());
  EXPECT_EQ(broker_.expected(), 0U);
}

// The lane filled up between the look and the publish: the row is there and must not run later.
TEST_F(ExecutionServiceTest, ARefusedPublishLeavesACancelledRow) {
  for (const bool slow_disk : {false, true}) {
    if (slow_disk) store_.Hold();
    broker_.set_refusal(Error{ErrorCode::kQueueFull, "full"});
    Waiter waiter;
    const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
    EXPECT_EQ(waiter.Answer().error().code, ErrorCode::kQueueFull);
    store_.LetGo();
    EXPECT_EQ(store_.Get(id, std::nullopt)->state, schema::State::kCancelled);
    EXPECT_EQ(broker_.expected(), 0U);
  }
}

TEST_F(ExecutionServiceTest, CancelEndsItInTheQueueAndWhereItRuns) {
  for (const bool slow_disk : {false, true}) {
    if (slow_disk) store_.Hold();
    Waiter waiter;
    const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
    service_->Cancel(id);
    EXPECT_EQ(waiter.Answer()->reason, schema::Reason::kCancelled);
    store_.LetGo();
    EXPECT_EQ(store_.Get(id, std::nullopt)->state, schema::State::kCancelled);
    EXPECT_EQ(broker_.cancelled().back(), id);
    broker_.SendReply({id, "", Printed("too late")});
    service_->Cancel(id);
    EXPECT_EQ(broker_.cancelled().size(), slow_disk ? 2U : 1U) << "once answered, nothing to do";
  }
}

TEST_F(ExecutionServiceTest, NoTimeAtAllIsATimeoutWithoutARun) {
  schema::Execution job = Job("1");
  job.limits.wall = milliseconds(0);
  Waiter waiter;
  service_->Submit(std::move(job), waiter.OnDone());
  const auto outcome = waiter.Answer();
  EXPECT_EQ(outcome->reason, schema::Reason::kWallTimeout);
  EXPECT_EQ(outcome->state, schema::State::kTimeout);
  EXPECT_TRUE(broker_.published().empty());
}

// A runner wrote the result and died before it could say so.
TEST_F(ExecutionServiceTest, ALostReplyIsFoundInTheStore) {
  Waiter waiter;
  const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
  ASSERT_TRUE(*store_.Finish(id, Printed("kept"), 0));
  clock_.Advance(seconds(4));  // it looks every 5 s
  std::this_thread::sleep_for(milliseconds(10));
  EXPECT_FALSE(waiter.Answered());
  clock_.Advance(seconds(2));
  EXPECT_EQ(waiter.Answer()->stdout_text, "kept");
  EXPECT_EQ(broker_.expected(), 0U);
}

TEST_F(ExecutionServiceTest, ALongQueueIsWaitedForButNotForEver) {
  Waiter waiter;
  const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
  clock_.Advance(seconds(600));
  std::this_thread::sleep_for(milliseconds(10));
  EXPECT_FALSE(waiter.Answered()) << "the row says it is still queued";
  clock_.Advance(seconds(60));
  EXPECT_EQ(waiter.Answer().error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(broker_.cancelled(), std::vector{id});
  EXPECT_EQ(store_.Get(id, std::nullopt)->state, schema::State::kCancelled);
}

// While the database is away nothing is known, so nothing is decided.
TEST_F(ExecutionServiceTest, AStoreThatIsAwayDoesNotEndAWait) {
  Waiter waiter;
  const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
  store_.away = true;
  clock_.Advance(seconds(100));
  std::this_thread::sleep_for(milliseconds(10));
  EXPECT_FALSE(waiter.Answered());
  store_.away = false;
  broker_.SendReply({id, "", Printed("after all")});
  EXPECT_EQ(waiter.Answer()->stdout_text, "after all");
}

TEST_F(ExecutionServiceTest, ABigAnswerIsGivenFromItsOwnThread) {
  std::promise<std::thread::id> answered_by;
  const schema::ExecutionId id =
      service_->Submit(Job("1"), [&](const Result<schema::Outcome>& outcome) {
        EXPECT_EQ(outcome->stdout_text.size(), 1'000'000U);
        answered_by.set_value(std::this_thread::get_id());
      });
  broker_.SendReply({id, "", Printed(std::string(1'000'000, 'x'))});
  EXPECT_NE(answered_by.get_future().get(), std::this_thread::get_id());
}

TEST_F(ExecutionServiceTest, ShuttingDownAnswersWhoeverStillWaits) {
  store_.Hold();
  Waiter waiter;
  Waiter durable;
  service_->Submit(Job("1"), waiter.OnDone());
  store_.LetGo();
  store_.Hold();
  const schema::ExecutionId id = service_->Submit(Job("2"), durable.OnDone());
  service_.reset();
  EXPECT_EQ(waiter.Answer().error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(durable.Answer().error().code, ErrorCode::kUnavailable);
  store_.LetGo();  // a callback that comes too late reaches nobody
  broker_.SendReply({id, "", Printed("late")});
}

TEST_F(ExecutionServiceTest, CountsWhatItDoes) {
  Waiter waiter;
  const schema::ExecutionId id = service_->Submit(Job("1"), waiter.OnDone());
  EXPECT_NE(metrics_.Render({}).find("forkbox_executions_in_flight 1\n"), std::string::npos);
  broker_.SendReply({id, "", Printed("")});
  const std::string text = metrics_.Render({});
  EXPECT_NE(text.find("forkbox_executions_in_flight 0\n"), std::string::npos);
  EXPECT_NE(text.find("zeroboot_total_executions{status=\"success\"} 1\n"), std::string::npos);
}

TEST_F(ExecutionServiceTest, WhileTheStoreFailsNoMessagesPileUp) {
  store_.away = true;
  for (int i = 0; i < 10; ++i) {
    Waiter waiter;
    service_->Submit(Job("x"), waiter.OnDone());
    EXPECT_EQ(waiter.Answer().error().code, ErrorCode::kUnavailable);
  }
  EXPECT_EQ(broker_.published().size(), 1U) << "that of the first, who could not know";
  store_.away = false;
  Waiter again;
  const auto id = service_->Submit(Job("x"), again.OnDone());
  ASSERT_EQ(broker_.published().size(), 2U);
  broker_.SendReply({id, "", Printed("back")});
  EXPECT_EQ(again.Answer()->stdout_text, "back");
}

// ---- accepted for later -----------------------------------------------------------------------

// What Enqueue said, and when.
class Ticket {
 public:
  ExecutionService::OnAccepted OnAccepted() {
    return [state = state_](Result<void> result, queue::Depth depth) {
      EXPECT_FALSE(state->answered.exchange(true)) << "answered twice";
      state->promise.set_value({std::move(result), depth});
    };
  }
  [[nodiscard]] bool Answered() const { return state_->answered; }
  std::pair<Result<void>, queue::Depth> Answer() { return state_->promise.get_future().get(); }

 private:
  struct State {
    std::atomic<bool> answered{false};
    std::promise<std::pair<Result<void>, queue::Depth>> promise;
  };
  std::shared_ptr<State> state_ = std::make_shared<State>();  // shared with the callback
};

schema::Execution LaterJob() {
  schema::Execution execution = Job("print(2)");
  execution.delivery = schema::Delivery::kWebhook;
  execution.priority = schema::Priority::kBackground;
  execution.webhook_url = "https://example.com/hook";
  return execution;
}

TEST_F(ExecutionServiceTest, TheRowComesBeforeTheMessage) {
  store_.Hold();
  Ticket ticket;
  const schema::ExecutionId id = service_->Enqueue(LaterJob(), 0, ticket.OnAccepted());
  EXPECT_TRUE(broker_.published().empty());
  EXPECT_FALSE(ticket.Answered());
  broker_.set_depth({.waiting = 7, .limit = 10});
  store_.LetGo();
  const auto [accepted, depth] = ticket.Answer();
  EXPECT_TRUE(accepted);
  EXPECT_EQ(depth.waiting, 7U);
  ASSERT_EQ(broker_.published().size(), 1U);
  EXPECT_EQ(broker_.published()[0].lane, schema::Priority::kBackground);
  EXPECT_EQ(store_.Get(id, std::nullopt)->execution.webhook_url, "https://example.com/hook");
  EXPECT_EQ(store_.Get(id, std::nullopt)->execution.reply_to, "") << "nobody waits";
}

TEST_F(ExecutionServiceTest, WaitingExecutionsAreCountedAgainstBothLimits) {
  struct Case {
    std::uint64_t waiting, lane_limit, max_waiting;
    bool accepted;
  };
  for (const Case& c : {Case{9, 10, 0, true},
                        {10, 10, 0, false},
                        {10, 0, 0, true},
                        {1, 10, 2, true},
                        {2, 10, 2, false},
                        {2, 0, 2, false},
                        {5, 3, 9, false}}) {
    broker_.set_depth({.waiting = c.waiting, .limit = c.lane_limit});
    Ticket ticket;
    const std::size_t rows = store_.rows();
    service_->Enqueue(LaterJob(), c.max_waiting, ticket.OnAccepted());
    const auto [accepted, depth] = ticket.Answer();
    EXPECT_EQ(accepted.has_value(), c.accepted) << c.waiting << " " << c.max_waiting;
    EXPECT_EQ(depth.waiting, c.waiting);
    EXPECT_EQ(!accepted && accepted.error().code == ErrorCode::kQueueFull, !c.accepted);
    EXPECT_EQ(store_.rows() - rows, c.accepted ? 1U : 0U) << "refusing costs the store nothing";
  }
}

TEST_F(ExecutionServiceTest, ThoseOnTheirWayCountToo) {
  broker_.set_depth({.waiting = 0, .limit = 100});
  store_.Hold();
  Ticket first, second, third;
  service_->Enqueue(LaterJob(), 2, first.OnAccepted());
  service_->Enqueue(LaterJob(), 2, second.OnAccepted());
  service_->Enqueue(LaterJob(), 2, third.OnAccepted());
  EXPECT_EQ(third.Answer().first.error().code, ErrorCode::kQueueFull);
  store_.LetGo();
  EXPECT_TRUE(first.Answer().first);
  EXPECT_TRUE(second.Answer().first);
}

TEST_F(ExecutionServiceTest, AQueueThatRefusesTakesTheRowBack) {
  broker_.set_refusal(Error{ErrorCode::kQueueFull, "full"});
  Ticket ticket;
  const schema::ExecutionId id = service_->Enqueue(LaterJob(), 0, ticket.OnAccepted());
  EXPECT_EQ(ticket.Answer().first.error().code, ErrorCode::kQueueFull);
  EXPECT_EQ(store_.Get(id, std::nullopt)->state, schema::State::kCancelled);
  EXPECT_EQ(store_.withdrawn(), 1U) << "and owes no webhook";
}

TEST_F(ExecutionServiceTest, AQueueThatIsAwayDefersTheDispatch) {
  for (const ErrorCode code : {ErrorCode::kUnavailable, ErrorCode::kDeadlineExceeded}) {
    broker_.set_refusal(Error{code, "away"});
    Ticket ticket;
    const schema::ExecutionId id = service_->Enqueue(LaterJob(), 0, ticket.OnAccepted());
    EXPECT_TRUE(ticket.Answer().first);
    EXPECT_EQ(store_.Get(id, std::nullopt)->state, schema::State::kQueued);
  }
}

TEST_F(ExecutionServiceTest, WhatIsDeferredIsBoundedByTheLane) {
  broker_.set_depth({.waiting = 0, .limit = 3});
  broker_.set_refusal(Error{ErrorCode::kUnavailable, "away"});
  int accepted = 0;
  for (int i = 0; i < 5; ++i) {
    Ticket ticket;
    service_->Enqueue(LaterJob(), 0, ticket.OnAccepted());
    accepted += ticket.Answer().first ? 1 : 0;
  }
  EXPECT_EQ(accepted, 3);
}

TEST_F(ExecutionServiceTest, WhenTheQueueIsBackItIsThatCounts) {
  broker_.set_depth({.waiting = 0, .limit = 2});
  broker_.set_refusal(Error{ErrorCode::kUnavailable, "away"});
  const auto accepted = [&] {
    Ticket ticket;
    service_->Enqueue(LaterJob(), 0, ticket.OnAccepted());
    return ticket.Answer().first.has_value();
  };
  EXPECT_TRUE(accepted());
  EXPECT_TRUE(accepted());
  EXPECT_FALSE(accepted());
  broker_.set_refusal(std::nullopt);
  EXPECT_TRUE(accepted()) << "refused for good by what it no longer owes";
}

// A queue that is not connected does not even know how full it was.
TEST_F(ExecutionServiceTest, TheLimitHoldsWhileTheQueueCannotBeAsked) {
  broker_.set_depth({.waiting = 1, .limit = 2});
  Ticket before, during, beyond;
  service_->Enqueue(LaterJob(), 0, before.OnAccepted());
  ASSERT_TRUE(before.Answer().first);
  broker_.set_refusal(Error{ErrorCode::kUnavailable, "away"});
  broker_.forget_depth();
  service_->Enqueue(LaterJob(), 0, during.OnAccepted());
  EXPECT_TRUE(during.Answer().first);
  service_->Enqueue(LaterJob(), 0, beyond.OnAccepted());
  EXPECT_EQ(beyond.Answer().first.error().code, ErrorCode::kQueueFull);
}

TEST_F(ExecutionServiceTest, WhatRanBeforeItCouldBeTakenBackWasAccepted) {
  store_.finished_before_withdrawn = true;
  broker_.set_refusal(Error{ErrorCode::kQueueFull, "full"});
  Ticket ticket;
  service_->Enqueue(LaterJob(), 0, ticket.OnAccepted());
  EXPECT_TRUE(ticket.Answer().first);
}

TEST_F(ExecutionServiceTest, AStoreThatIsAwayAcceptsNothing) {
  store_.away = true;
  Ticket ticket;
  service_->Enqueue(LaterJob(), 0, ticket.OnAccepted());
  EXPECT_EQ(ticket.Answer().first.error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(broker_.published().empty());
}

TEST_F(ExecutionServiceTest, ClosingWaitsForWhatIsBeingAccepted) {
  store_.Hold();
  Ticket during, after;
  service_->Enqueue(LaterJob(), 0, during.OnAccepted());
  std::jthread closer([&] { service_->Close(); });
  std::this_thread::sleep_for(milliseconds(20));
  EXPECT_FALSE(during.Answered());
  store_.LetGo();
  closer.join();
  EXPECT_TRUE(during.Answer().first);
  service_->Enqueue(LaterJob(), 0, after.OnAccepted());
  EXPECT_EQ(after.Answer().first.error().code, ErrorCode::kUnavailable);
}

TEST_F(ExecutionServiceTest, FindsForTheOwnerAndAfterCloseForNobody) {
  Ticket ticket;
  const schema::ExecutionId id = service_->Enqueue(LaterJob(), 0, ticket.OnAccepted());
  ASSERT_TRUE(ticket.Answer().first);
  const auto find = [&](const schema::ExecutionId& which) {
    auto answer = std::make_shared<std::promise<Result<store::ExecutionRecord>>>();
    service_->Find(which, std::nullopt,
                   [answer](Result<store::ExecutionRecord> r) { answer->set_value(std::move(r)); });
    return answer->get_future().get();
  };
  EXPECT_EQ(find(id)->execution.id, id);
  EXPECT_EQ(find(schema::ExecutionId("x")).error().code, ErrorCode::kNotFound);
  service_->Close();
  EXPECT_EQ(find(id).error().code, ErrorCode::kUnavailable);
}

TEST_F(ExecutionServiceTest, OneOwnerCannotWaitForEverything) {
  service_.emplace(ExecutionService::Options{.max_waits_per_owner = 2}, store_, broker_, metrics_,
                   clock_, Log::Null());
  const auto submit = [&](const char* owner, Waiter& waiter) {
    schema::Execution job = Job("x");
    job.owner = schema::OwnerId(owner);
    return service_->Submit(std::move(job), waiter.OnDone());
  };
  Waiter first, second, third, other, again;
  const auto id = submit("greedy", first);
  submit("greedy", second);
  submit("greedy", third);
  EXPECT_EQ(third.Answer().error().code, ErrorCode::kQueueFull);
  submit("modest", other);
  EXPECT_FALSE(other.Answered());
  broker_.SendReply({id, "", Printed("1")});
  EXPECT_TRUE(first.Answer());
  submit("greedy", again);
  EXPECT_FALSE(again.Answered());
}

// Replies, inserts, cancels and the end of the service, all at once: everyone gets one answer.
TEST_F(ExecutionServiceTest, EveryoneGetsExactlyOneAnswerWhateverHappens) {
  constexpr int kThreads = 4;
  constexpr int kJobs = 500;
  std::atomic<int> answers{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int i = 0; i < kJobs; ++i) {
          const schema::ExecutionId id = service_->Submit(
              Job("x"), [&](const Result<schema::Outcome>&) { answers.fetch_add(1); });
          std::jthread other;
          if (i % 50 == 0) other = std::jthread([&, id] { service_->Cancel(id); });
          if ((i + t) % 7 != 0) broker_.SendReply({id, "", Printed("x")});
        }
      });
    }
  }
  service_.reset();
  EXPECT_EQ(answers, kThreads * kJobs);
}

// ---- under the terms of an account
// ---------------------------------------------------------------

class TermsTest : public ExecutionServiceTest {
 protected:
  struct Answer {
    Result<schema::Outcome> outcome;
    store::Acceptance account;
  };
  static schema::Execution KeyedJob() {
    schema::Execution execution = Job("print(2)");
    execution.owner = schema::OwnerId("owner");
    execution.key_id = schema::KeyId("key");
    return execution;
  }
  Answer Submitted(schema::Execution execution) {
    auto promise = std::make_shared<std::promise<Answer>>();
    service_->Submit(std::move(execution), terms_,
                     [promise](Result<schema::Outcome> outcome, const store::Acceptance& account) {
                       promise->set_value({std::move(outcome), account});
                     });
    return promise->get_future().get();
  }
  void RunEverything() {
    broker_.set_runner([](FakeBroker& broker, const queue::Message& message) {
      broker.SendReply({message.id, message.execution->reply_to, Printed("2")});
    });
  }
  static store::Acceptance Refusal(store::AcceptVerdict verdict) {
    store::Acceptance refusal;
    refusal.verdict = verdict;
    return refusal;
  }

  store::AcceptTerms terms_{
      .per_minute = 100, .concurrency = 20, .monthly_quota = 0, .request_digest = ""};
};

TEST_F(TermsTest, AStrangerIsAskedAboutBeforeAnythingRuns) {
  RunEverything();
  store_.set_refusal(Refusal(store::AcceptVerdict::kRateLimited));
  const Answer refused = Submitted(KeyedJob());
  ASSERT_FALSE(refused.outcome);
  EXPECT_EQ(refused.outcome.error().code, ErrorCode::kQueueFull);
  EXPECT_EQ(refused.account.verdict, store::AcceptVerdict::kRateLimited);
  EXPECT_TRUE(broker_.published().empty());
  EXPECT_EQ(service_->waiting(), 0U);

  store_.set_refusal(std::nullopt);
  const Answer ran = Submitted(KeyedJob());
  ASSERT_TRUE(ran.outcome) << ran.outcome.error().message;
  EXPECT_EQ(ran.outcome->stdout_text, "2");
}

TEST_F(TermsTest, OneWithPlentyOfRoomRunsAtOnceAndIsStoppedIfTheStoreRefuses) {
  RunEverything();
  ASSERT_TRUE(Submitted(KeyedJob()).outcome);  // from now on he is known
  store_.set_refusal(Refusal(store::AcceptVerdict::kQuotaSpent));
  const Answer refused = Submitted(KeyedJob());
  ASSERT_FALSE(refused.outcome) << "whatever the program printed";
  EXPECT_EQ(refused.account.verdict, store::AcceptVerdict::kQuotaSpent);
  EXPECT_EQ(broker_.published().size(), 2U);
  EXPECT_EQ(broker_.cancelled().size(), 1U);
}

TEST_F(TermsTest, TooManyAtOnceIsAskedAgainBeforeItIsBelieved) {
  RunEverything();
  store_.set_refusal(Refusal(store::AcceptVerdict::kTooManyAtOnce));
  auto promise = std::make_shared<std::promise<bool>>();
  service_->Submit(KeyedJob(), terms_,
                   [promise](const Result<schema::Outcome>& outcome, const store::Acceptance&) {
                     promise->set_value(outcome.has_value());
                   });
  store_.set_refusal(std::nullopt);  // what was finishing has finished
  EXPECT_TRUE(promise->get_future().get());

  store_.set_refusal(Refusal(store::AcceptVerdict::kTooManyAtOnce));
  schema::Execution careful = KeyedJob();
  careful.idempotency_key = "k";
  EXPECT_EQ(Submitted(careful).account.verdict, store::AcceptVerdict::kTooManyAtOnce);
}

TEST_F(TermsTest, TheNamelessOwnerIsNotAskedAbout) {
  RunEverything();
  store_.set_refusal(Refusal(store::AcceptVerdict::kRateLimited));
  terms_ = {};
  EXPECT_TRUE(Submitted(Job("print(2)")).outcome);
}

TEST_F(TermsTest, ARowThatTheQueueRefusedIsTakenBack) {
  broker_.set_refusal(Error{ErrorCode::kQueueFull, "full"});
  schema::Execution execution = KeyedJob();
  execution.idempotency_key = "k";
  EXPECT_FALSE(Submitted(execution).outcome);
  EXPECT_EQ(store_.withdrawn(), 1U) << "or a second try would get the first one's failure";
}

TEST_F(TermsTest, WhatSomebodyElseSubmittedCanBeAwaited) {
  const schema::ExecutionId id(NewUuidV7());
  schema::Execution execution = KeyedJob();
  execution.id = id;
  ASSERT_TRUE(store_.Insert(execution));
  std::promise<Result<store::ExecutionRecord>> promise;
  service_->Await(
      id, execution.owner, seconds(60), [] { return true; },
      [&](Result<store::ExecutionRecord> record) { promise.set_value(std::move(record)); });
  std::this_thread::sleep_for(milliseconds(30));
  ASSERT_TRUE(store_.Finish(id, Printed("there"), 1));
  const auto record = promise.get_future().get();
  ASSERT_TRUE(record);
  EXPECT_EQ(record->outcome->stdout_text, "there");

  const auto at_once = [&](const schema::ExecutionId& wanted, bool still) {
    std::promise<Result<store::ExecutionRecord>> answer;
    service_->Await(
        wanted, execution.owner, seconds(60), [still] { return still; },
        [&](Result<store::ExecutionRecord> known) { answer.set_value(std::move(known)); });
    return answer.get_future().get();
  };
  EXPECT_EQ(at_once(schema::ExecutionId("none"), true).error().code, ErrorCode::kNotFound);
  execution.id = schema::ExecutionId(NewUuidV7());
  ASSERT_TRUE(store_.Insert(execution));
  EXPECT_FALSE(at_once(execution.id, false)->outcome) << "nobody wants to know any more";
}

TEST_F(TermsTest, OneAccountDoesNotTakeAllPlacesToAwait) {
  schema::Execution execution = KeyedJob();
  execution.id = schema::ExecutionId(NewUuidV7());
  ASSERT_TRUE(store_.Insert(execution));
  std::atomic<int> answered{0};
  std::atomic<int> refused{0};
  const auto await = [&] {
    service_->Await(
        execution.id, execution.owner, seconds(60), [] { return true; },
        [&](const Result<store::ExecutionRecord>& record) {
          if (!record && record.error().code == ErrorCode::kQueueFull) ++refused;
          ++answered;
        });
  };
  for (int i = 0; i < 25; ++i) await();
  EXPECT_EQ(refused, 5);
  ASSERT_TRUE(store_.Finish(execution.id, Printed("there"), 1));
  while (answered < 25) std::this_thread::sleep_for(milliseconds(1));
  await();
  while (answered < 26) std::this_thread::sleep_for(milliseconds(1));
  EXPECT_EQ(refused, 5) << "places become free";
}

TEST(RefusalOfQueueTest, OnlyOurOwnRefusalsAreOnes) {
  schema::Outcome outcome;
  outcome.reason = schema::Reason::kCancelled;
  outcome.message = "refused by the queue";
  ASSERT_TRUE(RefusalOfQueue(outcome));
  EXPECT_EQ(RefusalOfQueue(outcome)->code, ErrorCode::kQueueFull);
  outcome.message = "cancelled by its owner";
  EXPECT_FALSE(RefusalOfQueue(outcome));
  outcome.message = "refused by the queue";
  outcome.reason = schema::Reason::kExited;
  EXPECT_FALSE(RefusalOfQueue(outcome));
}

}  // namespace
}  // namespace forkbox::api
