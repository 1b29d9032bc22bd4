// Cancelling in every state, against a store and a broker in maps.
#include "api/cancellation.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "api/testing_fakes.h"
#include "base/uuid.h"

namespace forkbox::api {
namespace {

using namespace std::chrono_literals;
using schema::ExecutionId;
using schema::OwnerId;
using schema::Reason;
using schema::State;
using Verdict = Cancellation::Verdict;

class CancellationTest : public ::testing::Test {
 protected:
  ExecutionId Insert(const std::string& owner = "me") {
    schema::Execution execution;
    execution.id = ExecutionId(NewUuidV7());
    execution.owner = OwnerId(owner);
    EXPECT_TRUE(store_.Insert(execution));
    return execution.id;
  }
  bool Finish(const ExecutionId& id, Reason reason) {
    schema::Outcome outcome;
    outcome.reason = reason;
    if (reason == Reason::kExited) outcome.exit_code = 0;
    outcome.state = schema::StateOf(reason, outcome.exit_code);
    return *store_.Finish(id, outcome, 1);
  }
  Result<Cancellation::Answer> Cancel(const ExecutionId& id, const std::string& owner = "me") {
    auto answer = std::make_shared<std::promise<Result<Cancellation::Answer>>>();
    cancellation_.Cancel(id, OwnerId(owner), [answer](Result<Cancellation::Answer> result) {
      answer->set_value(std::move(result));
    });
    return answer->get_future().get();
  }

  FakeClock clock_;
  testing::FakeStore store_;
  testing::FakeBroker broker_;
  Metrics metrics_;
  ExecutionService service_{{}, store_, broker_, metrics_, clock_, Log::Null()};
  Cancellation cancellation_{{.first_look = 1ms, .longest_look = 5ms, .patience = 50ms},
                             service_,
                             store_,
                             broker_,
                             clock_,
                             Log::Null()};
};

TEST_F(CancellationTest, QueuedItEndsAtOnceAndRunnersAreTold) {
  const ExecutionId id = Insert();
  const auto answer = Cancel(id);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->verdict, Verdict::kCancelled);
  EXPECT_EQ(answer->record.state, State::kCancelled);
  EXPECT_EQ(answer->record.outcome->reason, Reason::kCancelled);
  EXPECT_EQ(broker_.cancelled(), std::vector{id});
  // A second one finds it ended.
  EXPECT_EQ(Cancel(id)->verdict, Verdict::kFinished);
}

TEST_F(CancellationTest, WhoeverWaitsForItHearsOfIt) {
  std::promise<schema::Outcome> heard;
  schema::Execution execution;
  execution.owner = OwnerId("me");
  const ExecutionId id = service_.Submit(
      execution, [&](Result<schema::Outcome> outcome) { heard.set_value(*std::move(outcome)); });
  EXPECT_EQ(Cancel(id)->verdict, Verdict::kCancelled);
  EXPECT_EQ(heard.get_future().get().reason, Reason::kCancelled);
}

TEST_F(CancellationTest, FinishedUnknownOrAnothersItIsRefused) {
  const ExecutionId done = Insert();
  ASSERT_TRUE(Finish(done, Reason::kExited));
  const auto answer = Cancel(done);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->verdict, Verdict::kFinished);
  EXPECT_EQ(answer->record.state, State::kCompleted);
  EXPECT_EQ(Cancel(ExecutionId("none")).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(Cancel(Insert(), "somebody else").error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(broker_.cancelled().empty());
}

TEST_F(CancellationTest, RunningItIsTheRunnersToEnd) {
  const ExecutionId id = Insert();
  store_.SetState(id, State::kRunning);
  auto answer = std::async(std::launch::async, [&] { return Cancel(id); });
  broker_.AwaitCancelled(1);
  ASSERT_TRUE(Finish(id, Reason::kCancelled));
  EXPECT_EQ(answer.get()->verdict, Verdict::kCancelled);
}

// Between our look and our write: it is told, and what it had printed is not lost.
TEST_F(CancellationTest, ARunnerThatBeginsItMeanwhileEndsIt) {
  const ExecutionId id = Insert();
  std::atomic<int> told = 0;
  const auto subscription = broker_.OnCancel([&](const ExecutionId& of) {
    if (of != id) return;
    if (++told == 1) {
      store_.SetState(id, State::kRunning);  // heard before it began
      return;
    }
    schema::Outcome outcome;
    outcome.reason = Reason::kCancelled;
    outcome.state = State::kCancelled;
    outcome.stdout_text = "half";
    EXPECT_EQ(store_.Finish(id, outcome, 1), true);
  });
  const auto answer = Cancel(id);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->verdict, Verdict::kCancelled);
  EXPECT_EQ(answer->record.outcome->stdout_text, "half");
  EXPECT_EQ(told, 2);
}

TEST_F(CancellationTest, OneThatEndsByItselfFirstIsToldHonestly) {
  const ExecutionId id = Insert();
  store_.SetState(id, State::kRunning);
  auto answer = std::async(std::launch::async, [&] { return Cancel(id); });
  broker_.AwaitCancelled(1);
  ASSERT_TRUE(Finish(id, Reason::kExited));
  const auto got = answer.get();
  EXPECT_EQ(got->verdict, Verdict::kFinished);
  EXPECT_EQ(got->record.state, State::kCompleted);
}

TEST_F(CancellationTest, ARunnerThatDoesNotAnswerIsNotWaitedForLong) {
  const ExecutionId id = Insert();
  store_.SetState(id, State::kRunning);
  const auto answer = Cancel(id);  // nobody is there
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->verdict, Verdict::kCancelled);
  EXPECT_FALSE(Finish(id, Reason::kExited));  // too late
}

TEST_F(CancellationTest, ManyAtOnceMakeOneEnd) {
  const ExecutionId id = Insert();
  std::atomic<int> cancelled = 0;
  std::atomic<int> finished = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        const auto answer = Cancel(id);
        ASSERT_TRUE(answer);
        EXPECT_EQ(answer->record.state, State::kCancelled);
        ++(answer->verdict == Verdict::kCancelled ? cancelled : finished);
      });
    }
  }
  EXPECT_GE(cancelled, 1);
  EXPECT_EQ(cancelled + finished, 8);
}

TEST_F(CancellationTest, AStoreThatIsAwayIsSaid) {
  const ExecutionId id = Insert();
  store_.away = true;
  EXPECT_EQ(Cancel(id).error().code, ErrorCode::kUnavailable);
  cancellation_.Close();
  store_.away = false;
  EXPECT_EQ(Cancel(id).error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(Finish(id, Reason::kExited));
}

}  // namespace
}  // namespace forkbox::api
