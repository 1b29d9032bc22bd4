// The worker's promise, case by case: one result for every execution, whatever fails between the
// lease and the acknowledgement.
#include "runner/worker.h"

#include <gtest/gtest.h>

#include <map>
#include <thread>

#include "queue/embedded_broker.h"
#include "runner/testing_fakes.h"

namespace forkbox::runner {
namespace {

using namespace std::chrono_literals;
using sandbox::Readiness;
using schema::Delivery;
using schema::Reason;
using schema::State;

class WorkerTest : public ::testing::Test {
 protected:
  void Start(std::size_t slots = 2, std::size_t reserved = 0) {
    WorkerOptions options;
    options.slots = slots;
    options.interactive_reserved = reserved;
    options.runner_id = "runner-1";
    options.retry_delay = 1ms;
    options.poll = 20ms;
    options.only_runner = only_runner_;
    options.patience = kPatience;
    sandbox::DriverSet drivers(driver_);
    if (has_machines_) {
      drivers.Add(schema::Isolation::kVm, machines_,
                  [this](const std::string&) { return readiness_.load(); });
    }
    worker_ = std::make_unique<Worker>(
        options, store_, broker(), drivers, clock_, Log::Null(),
        [this](const schema::Execution&, const schema::Outcome&) { ++counted_; });
  }

  static schema::Execution Make(std::string code, Delivery delivery = Delivery::kWait) {
    schema::Execution execution;
    execution.id = schema::ExecutionId(NewUuidV7());
    execution.language = "python";
    execution.source.code = std::move(code);
    execution.delivery = delivery;
    return execution;
  }

  // As the API does: row, then message; `carried` is the synchronous class's short cut.
  void Submit(const schema::Execution& execution, bool carried = true) {
    ASSERT_TRUE(store_.Insert(execution));
    ASSERT_TRUE(Publish(execution, carried));
  }
  Result<void> Publish(const schema::Execution& execution, bool carried) {
    return broker().Publish(
        {.id = execution.id,
         .owner = execution.owner,
         .lane = execution.priority,
         .enqueued_unix_ms = clock_.UnixMillis(),
         .execution = carried ? std::make_shared<const schema::Execution>(execution) : nullptr});
  }

  template <class Condition>
  static ::testing::AssertionResult Eventually(Condition condition) {
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (!condition()) {
      if (std::chrono::steady_clock::now() > until) {
        return ::testing::AssertionFailure() << "did not happen within 20 s";
      }
      std::this_thread::sleep_for(1ms);
    }
    return ::testing::AssertionSuccess();
  }
  State StateOf(const schema::Execution& execution) {
    return store_.Get(execution.id, std::nullopt)->state;
  }
  std::optional<schema::Outcome> OutcomeOf(const schema::Execution& execution) {
    return store_.Get(execution.id, std::nullopt)->outcome;
  }

  queue::Broker& broker() {
    return embedded_ != nullptr ? static_cast<queue::Broker&>(*embedded_) : broker_;
  }
  // Neither in the queue nor here, nor between the two.
  bool NothingWaits() {
    return broker_.Waiting() == 0 && worker_->Waiting() == 0 && broker_.Waiting() == 0;
  }

  static constexpr std::chrono::milliseconds kPatience{900'000};  // of a clock that stands still
  testing::FakeStore store_;
  testing::FakeBroker broker_;
  std::unique_ptr<queue::EmbeddedBroker> embedded_;  // instead of broker_, where there is one
  testing::FakeDriver driver_;
  testing::FakeDriver machines_;  // of another isolation
  bool has_machines_ = false;
  bool only_runner_ = false;
  std::atomic<Readiness> readiness_{Readiness::kReady};  // of machines_
  FakeClock clock_;
  std::atomic<int> counted_{0};
  std::unique_ptr<Worker> worker_;  // last: goes first
};

// Every delivery class, with and without the execution in the message, ends the same way.
struct Way {
  const char* name;
  Delivery delivery;
  bool carried;
  const char* code;
  State state;
};
class WorkerWays : public WorkerTest, public ::testing::WithParamInterface<Way> {};
TEST_P(WorkerWays, OneResultOneReplyOneAck) {
  const Way& way = GetParam();
  const schema::Execution execution = Make(way.code, way.delivery);
  Submit(execution, way.carried);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(StateOf(execution), way.state);
  EXPECT_EQ(broker_.Replies().size(), 1U);
  EXPECT_EQ(broker_.Replies()[0].outcome.state, way.state);
  EXPECT_EQ(store_.results, 1);
  EXPECT_EQ(counted_, 1);
  EXPECT_EQ(broker_.returned, 0);
}
INSTANTIATE_TEST_SUITE_P(
    Deliveries, WorkerWays,
    ::testing::Values(Way{"waiting", Delivery::kWait, true, "hello", State::kCompleted},
                      Way{"waiting_from_row", Delivery::kWait, false, "hello", State::kCompleted},
                      Way{"polling", Delivery::kPoll, true, "exit 3", State::kError},
                      Way{"polling_from_row", Delivery::kPoll, false, "hello", State::kCompleted},
                      Way{"webhook", Delivery::kWebhook, true, "hello", State::kCompleted}),
    [](const auto& way) { return way.param.name; });

TEST_F(WorkerTest, WaitersAreAnsweredBeforeTheResultIsWritten) {
  Start();
  const auto execution = Make("hello");
  Submit(execution);
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  store_.HoldAsync();
  const auto second = Make("again");
  Submit(second);
  ASSERT_TRUE(Eventually([&] { return store_.Held() == 1; }));  // its claim
  ASSERT_TRUE(Eventually([&] { return worker_->Settling() == 1; }));
  EXPECT_EQ(broker_.Replies().size(), 1U) << "an unclaimed outcome must not be given out";
  store_.LetGo();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 2; }));
  EXPECT_EQ(broker_.Replies().size(), 2U);
}

TEST_F(WorkerTest, PollersHearOfItOnlyOnceItIsDurable) {
  const auto execution = Make("hello", Delivery::kPoll);
  Submit(execution, /*carried=*/false);
  store_.HoldAsync();
  Start();
  ASSERT_TRUE(Eventually([&] { return store_.Held() == 1; }));  // its result
  EXPECT_TRUE(broker_.Replies().empty());
  EXPECT_EQ(broker_.acked, 0);
  store_.LetGo();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(broker_.Replies().size(), 1U);
}

TEST_F(WorkerTest, ASlowDiskDoesNotHoldASlot) {
  store_.HoldAsync();
  Start(1);
  for (int i = 0; i < 5; ++i) Submit(Make("hello"));
  ASSERT_TRUE(Eventually([&] { return driver_.runs == 5; }));
  EXPECT_EQ(broker_.acked, 0);
  store_.LetGo();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 5; }));
  EXPECT_EQ(store_.results, 5);
}

// What the store says when asked for the claim, and what becomes of the delivery.
TEST_F(WorkerTest, AFinishedRowIsNotRunAgainAndItsWaiterGetsTheRow) {
  const auto execution = Make("hello");
  ASSERT_TRUE(store_.Insert(execution));
  schema::Outcome outcome;
  outcome.state = State::kCancelled;
  outcome.reason = Reason::kCancelled;
  ASSERT_TRUE(store_.Finish(execution.id, outcome, 1));
  ASSERT_TRUE(Publish(execution, /*carried=*/false));
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(driver_.runs, 0);
  ASSERT_EQ(broker_.Replies().size(), 1U);
  EXPECT_EQ(broker_.Replies()[0].outcome.state, State::kCancelled);
  EXPECT_EQ(counted_, 0);
}

TEST_F(WorkerTest, ARunThatTurnsOutFinishedIsKilledAndDoesNotCount) {
  const auto execution = Make("block");
  ASSERT_TRUE(store_.Insert(execution));
  store_.HoldAsync();
  ASSERT_TRUE(Publish(execution, /*carried=*/true));
  Start();
  ASSERT_TRUE(Eventually([&] { return driver_.running == 1 && store_.Held() == 1; }));
  schema::Outcome outcome;
  outcome.state = State::kCancelled;
  outcome.reason = Reason::kCancelled;
  ASSERT_TRUE(store_.Finish(execution.id, outcome, 1));
  store_.LetGo();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(store_.results, 1);
  EXPECT_EQ(counted_, 0);
}

TEST_F(WorkerTest, AHeldClaimIsLeftToItsHolder) {
  const auto execution = Make("hello");
  ASSERT_TRUE(store_.Insert(execution));
  ASSERT_TRUE(store_.Claim({.id = execution.id,
                            .runner = "runner-2",
                            .now_unix_ms = clock_.UnixMillis(),
                            .expires_unix_ms = clock_.UnixMillis() + 1'000}));
  ASSERT_TRUE(Publish(execution, /*carried=*/false));
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(driver_.runs, 0);
  EXPECT_EQ(StateOf(execution), State::kRunning);
}

TEST_F(WorkerTest, AfterThreeDeadRunnersItIsLost) {
  const auto execution = Make("hello");
  ASSERT_TRUE(store_.Insert(execution));
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(store_.Claim({.id = execution.id, .runner = "gone", .expires_unix_ms = 0}),
              store::ClaimVerdict::kClaimed);
  }
  ASSERT_TRUE(Publish(execution, /*carried=*/false));
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(driver_.runs, 0);
  EXPECT_EQ(StateOf(execution), State::kLost);
  ASSERT_EQ(broker_.Replies().size(), 1U);
  EXPECT_EQ(broker_.Replies()[0].outcome.reason, Reason::kRunnerLost);
}

TEST_F(WorkerTest, AMessageThatOvertookItsRowWaitsForIt) {
  const auto execution = Make("hello");
  ASSERT_TRUE(Publish(execution, /*carried=*/false));
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.returned > 2; }));
  ASSERT_TRUE(store_.Insert(execution));
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(StateOf(execution), State::kCompleted);
}

TEST_F(WorkerTest, AMessageWithoutARowIsDroppedInTheEnd) {
  const auto execution = Make("hello");
  ASSERT_TRUE(Publish(execution, /*carried=*/true));
  clock_.Advance(1min);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_TRUE(broker_.Replies().empty());
}

// Its publisher writes the row beside the message, and from another machine.
TEST_F(WorkerTest, AMessageMayOvertakeItsRow) {
  const auto execution = Make("hello");
  ASSERT_TRUE(Publish(execution, /*carried=*/true));
  Start();
  ASSERT_TRUE(Eventually([&] { return driver_.runs == 1 && store_.claims >= 3; }));
  EXPECT_TRUE(broker_.Replies().empty()) << "nothing counts without a claim";
  ASSERT_TRUE(store_.Insert(execution));
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(StateOf(execution), State::kCompleted);
  EXPECT_EQ(driver_.runs, 1) << "and it ran only once";
}

TEST_F(WorkerTest, ASecondDeliveryOfARunningOneIsDropped) {
  const auto execution = Make("block");
  Submit(execution);
  Start();
  ASSERT_TRUE(Eventually([&] { return driver_.running == 1; }));
  ASSERT_TRUE(Publish(execution, /*carried=*/true));
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  driver_.Unblock();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 2; }));
  EXPECT_EQ(driver_.runs, 1);
  EXPECT_EQ(store_.results, 1);
}

// Failures of ours.
TEST_F(WorkerTest, AForkThatFailsForNowIsTriedAgain) {
  driver_.fork_failures = 2;
  const auto execution = Make("hello");
  Submit(execution);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(StateOf(execution), State::kCompleted);
  EXPECT_EQ(driver_.forks, 3);
}

TEST_F(WorkerTest, AForkThatKeepsFailingIsOurFaultAndSaysSo) {
  driver_.fork_failures = 100;
  const auto execution = Make("hello");
  Submit(execution);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(OutcomeOf(execution)->reason, Reason::kSandboxFailed);
  EXPECT_EQ(OutcomeOf(execution)->message, "no fork today");
  EXPECT_EQ(driver_.forks, 3);
}

TEST_F(WorkerTest, AnUnknownLanguageIsNotRetried) {
  auto execution = Make("hello");
  execution.language = "cobol";
  Submit(execution);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(OutcomeOf(execution)->reason, Reason::kSandboxFailed);
  EXPECT_EQ(driver_.forks, 1);
}

// Of two drivers, an execution has the one it was accepted for, or none.
schema::Execution InMachine(schema::Execution execution) {
  execution.isolation = schema::Isolation::kVm;
  return execution;
}

TEST_F(WorkerTest, EachRunsInWhatItWasAcceptedFor) {
  has_machines_ = true;
  const auto process = Make("a process");
  const auto machine = InMachine(Make("a machine", Delivery::kPoll));
  auto series = InMachine(Make("stdin"));
  series.source.cases = {{"1", "1"}, {"2", "2"}, {"3", "4"}};
  Submit(process);
  Submit(machine, /*carried=*/false);
  Submit(series);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 3; }));
  EXPECT_EQ(driver_.runs, 1);
  EXPECT_EQ(machines_.runs, 1 + 3) << "each case is a fork";
  EXPECT_EQ(OutcomeOf(process)->isolation, schema::Isolation::kProcess);
  EXPECT_EQ(OutcomeOf(process)->accelerator, "");
  EXPECT_EQ(OutcomeOf(machine)->isolation, schema::Isolation::kVm);
  EXPECT_EQ(OutcomeOf(machine)->stdout_text, "a machine");
  EXPECT_EQ(OutcomeOf(series)->isolation, schema::Isolation::kVm);
  EXPECT_EQ(OutcomeOf(series)->cases[2].verdict, schema::Verdict::kWrongOutput);
}

// In which ways a driver may not be here, and whether that is waited for.
struct Lack {
  const char* name;
  bool has_machines;
  bool only_runner;
  Readiness readiness;
};
class WorkerLacks : public WorkerTest, public ::testing::WithParamInterface<Lack> {
 protected:
  void SetUp() override {
    has_machines_ = GetParam().has_machines;
    only_runner_ = GetParam().only_runner;
    readiness_ = GetParam().readiness;
    machines_.fork_failures = 1'000'000;
  }
};
TEST_P(WorkerLacks, ItWaitsWithoutASlotAndNotForever) {
  std::vector<schema::Execution> waiting;
  for (const bool carried : {true, false, true}) {
    waiting.push_back(InMachine(Make("hello", carried ? Delivery::kWait : Delivery::kPoll)));
    Submit(waiting.back(), carried);
  }
  Start(1);
  ASSERT_TRUE(Eventually([&] { return broker_.acked > 20; })) << "they go round";
  const auto process = Make("runs meanwhile");
  Submit(process);
  ASSERT_TRUE(Eventually([&] { return StateOf(process) == State::kCompleted; }));
  EXPECT_EQ(store_.claims, 1) << "nobody claims what waits";
  EXPECT_EQ(machines_.forks, 0);
  for (const auto& execution : waiting) EXPECT_EQ(StateOf(execution), State::kQueued);

  clock_.Advance(kPatience + 1s);
  ASSERT_TRUE(Eventually([&] { return store_.results == 4 && NothingWaits(); }));
  for (const auto& execution : waiting) {
    EXPECT_EQ(OutcomeOf(execution)->reason, Reason::kSandboxFailed);
    EXPECT_NE(OutcomeOf(execution)->message.find(GetParam().has_machines ? "no fork today"
                                                                         : "isolation vm"),
              std::string::npos);
  }
  EXPECT_EQ(driver_.runs, 1) << "never in less";
  EXPECT_EQ(broker_.Replies().size(), 4U);
}
TEST_P(WorkerLacks, ItEndsByItsDeadlineByACancelAndByAnothersHand) {
  auto late = InMachine(Make("late"));
  late.queue_deadline_unix_ms = clock_.UnixMillis() + 1'000;
  const auto cancelled = InMachine(Make("nobody wants it"));
  const auto finished = InMachine(Make("elsewhere"));
  for (const auto& execution : {late, cancelled, finished}) Submit(execution);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked > 20; }));
  ASSERT_TRUE(broker_.Cancel(cancelled.id));
  ASSERT_TRUE(Eventually([&] { return StateOf(cancelled) == State::kCancelled; }));
  schema::Outcome outcome;
  outcome.reason = Reason::kExited;
  outcome.state = State::kCompleted;
  ASSERT_EQ(store_.Finish(finished.id, outcome, 1), true);
  clock_.Advance(2s);
  ASSERT_TRUE(Eventually([&] { return NothingWaits() && store_.results == 3; }));
  EXPECT_EQ(OutcomeOf(late)->reason, Reason::kQueueDeadline);
  EXPECT_EQ(OutcomeOf(finished)->reason, Reason::kExited);
  EXPECT_EQ(machines_.forks, 0);
  EXPECT_EQ(broker_.Replies().size(), 3U);
}
TEST_P(WorkerLacks, AtTheEndItIsInTheQueueForTheNext) {
  const auto kept = InMachine(Make("for the next start", Delivery::kPoll));
  Submit(kept, /*carried=*/false);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked > 3; }));
  worker_.reset();
  EXPECT_EQ(StateOf(kept), State::kQueued);
  EXPECT_EQ(broker_.Waiting(), 1U);

  has_machines_ = true;
  readiness_ = Readiness::kReady;
  machines_.fork_failures = 0;
  Start();
  ASSERT_TRUE(Eventually([&] { return StateOf(kept) == State::kCompleted; }));
  EXPECT_EQ(store_.Get(kept.id, std::nullopt)->attempts, 1);
}
INSTANTIATE_TEST_SUITE_P(Ways, WorkerLacks,
                         ::testing::Values(Lack{"othersHaveIt", false, false, Readiness::kReady},
                                           Lack{"itsImageIsStale", false, true, Readiness::kReady},
                                           Lack{"itBoots", true, false, Readiness::kComing},
                                           Lack{"itBootsAndIsAlone", true, true,
                                                Readiness::kComing},
                                           Lack{"itFailedHere", true, false, Readiness::kNever}),
                         [](const auto& lack) { return std::string(lack.param.name); });

TEST_F(WorkerTest, WhatTheOnlyRunnerWillNeverHaveFailsAtOnceAndSaysWhy) {
  has_machines_ = only_runner_ = true;
  readiness_ = Readiness::kNever;
  machines_.fork_failures = 1'000'000;
  const auto none = InMachine(Make("its template has failed"));
  Submit(none);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(OutcomeOf(none)->reason, Reason::kSandboxFailed);
  EXPECT_EQ(OutcomeOf(none)->message, "no fork today");
}

TEST_F(WorkerTest, WhereAllMachinesAreTakenNoAttemptIsSpent) {
  has_machines_ = true;
  machines_.fork_failures = 7;
  const auto execution = InMachine(Make("hello"));
  Submit(execution);
  Start();
  ASSERT_TRUE(Eventually([&] { return StateOf(execution) == State::kCompleted; }));
  EXPECT_EQ(machines_.forks, 8);
  EXPECT_EQ(store_.Get(execution.id, std::nullopt)->attempts, 1);
  EXPECT_EQ(store_.results, 1);
}

// Somebody was killed between publishing it anew and acknowledging it.
TEST_F(WorkerTest, OfSeveralMessagesThatWaitOneGoesOn) {
  has_machines_ = true;
  readiness_ = Readiness::kComing;
  const auto execution = InMachine(Make("hello"));
  Submit(execution);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked > 5; }));
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(Publish(execution, i % 2 == 0));
  const int before = broker_.acked;
  ASSERT_TRUE(Eventually([&] { return broker_.acked > before + 20; }));
  EXPECT_LE(broker_.Waiting() + worker_->Waiting(), 2U) << "of one: it may be on its way";
  readiness_ = Readiness::kReady;
  ASSERT_TRUE(
      Eventually([&] { return StateOf(execution) == State::kCompleted && NothingWaits(); }));
  EXPECT_EQ(store_.results, 1);
  EXPECT_EQ(machines_.runs, 1);
}

TEST_F(WorkerTest, WhatFindsNoRoomBehindTheOthersIsKept) {
  has_machines_ = true;
  readiness_ = Readiness::kComing;
  const auto execution = InMachine(Make("hello"));
  Submit(execution);
  broker_.limit = 0;
  Start();
  ASSERT_TRUE(Eventually([&] { return worker_->Waiting() == 1 && worker_->Running() == 0; }));
  std::this_thread::sleep_for(50ms);
  EXPECT_EQ(broker_.acked, 0);
  EXPECT_EQ(broker_.returned, 0);
  readiness_ = Readiness::kReady;
  // Its lease is older than its last note, and counts nevertheless.
  ASSERT_TRUE(
      Eventually([&] { return StateOf(execution) == State::kCompleted || broker_.returned > 0; }));
  broker_.limit = 10;
  ASSERT_TRUE(
      Eventually([&] { return StateOf(execution) == State::kCompleted && NothingWaits(); }));
  EXPECT_EQ(store_.results, 1);
}

// More than the worker has hands for, on the real queue.
TEST_F(WorkerTest, TwoHundredThatWaitForATemplateLetAProcessThrough) {
  embedded_ = std::make_unique<queue::EmbeddedBroker>(queue::EmbeddedBroker::Options{});
  has_machines_ = only_runner_ = true;
  readiness_ = Readiness::kComing;
  std::mutex mutex;
  std::map<schema::ExecutionId, int> replies;
  const auto submit = [&](const schema::Execution& execution) {
    embedded_->Expect(execution.id, [&](const queue::Reply& reply) {
      const std::lock_guard lock(mutex);
      ++replies[reply.id];
    });
    Submit(execution);
  };
  const auto replied = [&] {
    const std::lock_guard lock(mutex);
    return replies.size();
  };
  constexpr std::size_t kMany = 200;
  for (std::size_t i = 0; i < kMany; ++i) {
    auto execution = InMachine(Make("hello"));
    execution.created_unix_ms = 0;
    submit(execution);
  }
  Start(4, 1);
  ASSERT_TRUE(Eventually([&] { return worker_->Waiting() > 0; }));
  std::this_thread::sleep_for(100ms);  // some rounds
  for (std::size_t i = 1; i <= 5; ++i) {
    const auto process = Make("a process");
    submit(process);
    ASSERT_TRUE(Eventually([&] { return StateOf(process) == State::kCompleted; }));
    EXPECT_EQ(replied(), i);
  }
  EXPECT_EQ(store_.claims, 5);
  EXPECT_EQ(worker_->Settling(), 0U);

  readiness_ = Readiness::kReady;
  ASSERT_TRUE(Eventually([&] { return replied() == kMany + 5; }));
  ASSERT_TRUE(Eventually([&] {
    const auto depth = embedded_->GetDepth(schema::Priority::kInteractive);
    return worker_->Waiting() == 0 && depth->waiting == 0 && depth->leased == 0;
  }));
  EXPECT_EQ(store_.results, static_cast<int>(kMany) + 5);
  EXPECT_EQ(machines_.runs, static_cast<int>(kMany));
  for (const auto& [id, count] : replies) EXPECT_EQ(count, 1) << id.str();
  worker_.reset();
}

TEST_F(WorkerTest, AResultIsWrittenOnceTheDatabaseIsBack) {
  const auto execution = Make("block", Delivery::kPoll);
  Submit(execution);
  Start();
  ASSERT_TRUE(Eventually([&] { return driver_.running == 1 && store_.claims == 1; }));
  store_.GoAwayForFinishes(4);
  driver_.Unblock();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(StateOf(execution), State::kCompleted);
  EXPECT_EQ(store_.finishes, 5);
  EXPECT_EQ(driver_.runs, 1) << "what ran is not run again because of a slow write";
}

TEST_F(WorkerTest, WithoutADatabaseNothingIsTakenAndNothingForgotten) {
  const auto execution = Make("hello", Delivery::kPoll);
  Submit(execution, /*carried=*/true);
  store_.GoAwayForFinishes(1'000);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.returned > 2; }));
  EXPECT_EQ(broker_.acked, 0);
  store_.GoAwayForFinishes(0);
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(StateOf(execution), State::kCompleted);
}

// Left alone it would last as long as this runner has anything else to do.
TEST_F(WorkerTest, AClaimThatMayHaveBeenMadeIsGivenBack) {
  store_.claims_in_doubt = 2;
  const auto carried = Make("hello");
  const auto from_row = Make("hello", Delivery::kPoll);
  Submit(carried, /*carried=*/true);
  Submit(from_row, /*carried=*/false);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 2; }));
  EXPECT_EQ(StateOf(carried), State::kCompleted);
  EXPECT_EQ(StateOf(from_row), State::kCompleted);
  EXPECT_EQ(store_.releases, 2);
  EXPECT_EQ(store_.Get(carried.id, std::nullopt)->attempts, 1);
}

// Limits in time, and second thoughts.
TEST_F(WorkerTest, PastItsQueueDeadlineItDoesNotRun) {
  auto execution = Make("hello");
  execution.queue_deadline_unix_ms = clock_.UnixMillis() + 100;
  Submit(execution);
  clock_.Advance(101ms);
  Start();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(driver_.forks, 0);
  EXPECT_EQ(OutcomeOf(execution)->reason, Reason::kQueueDeadline);
  EXPECT_EQ(StateOf(execution), State::kTimeout);
  EXPECT_EQ(OutcomeOf(execution)->timings.queue, 101ms);
}

TEST_F(WorkerTest, CancelEndsARunningOne) {
  const auto execution = Make("block");
  Submit(execution);
  Start();
  ASSERT_TRUE(Eventually([&] { return driver_.running == 1; }));
  ASSERT_TRUE(broker_.Cancel(execution.id));
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(StateOf(execution), State::kCancelled);
  EXPECT_EQ(broker_.Replies().size(), 1U);
}

TEST_F(WorkerTest, CancelEndsAQueuedOneBeforeItRuns) {
  Start(1);
  const auto first = Make("block");
  Submit(first);
  ASSERT_TRUE(Eventually([&] { return driver_.running == 1; }));
  const auto second = Make("hello");
  Submit(second);
  ASSERT_TRUE(broker_.Cancel(second.id));
  driver_.Unblock();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 2; }));
  EXPECT_EQ(StateOf(first), State::kCompleted);
  EXPECT_EQ(StateOf(second), State::kCancelled);
  EXPECT_EQ(driver_.runs, 1);
}

TEST_F(WorkerTest, ABacklogLeavesASlotForWhoWaits) {
  Start(2, 1);
  for (int i = 0; i < 4; ++i) {
    auto background = Make("block", Delivery::kPoll);
    background.priority = schema::Priority::kBackground;
    Submit(background);
  }
  ASSERT_TRUE(Eventually([&] { return driver_.running == 1; }));
  const auto interactive = Make("hello");
  Submit(interactive);
  ASSERT_TRUE(Eventually([&] { return StateOf(interactive) == State::kCompleted; }));
  EXPECT_EQ(driver_.running, 1);
  driver_.Unblock();
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 5; }));
}

// Shutting down.
TEST_F(WorkerTest, DrainWaitsForWhatRuns) {
  const auto execution = Make("block");
  Submit(execution);
  Start();
  ASSERT_TRUE(Eventually([&] { return driver_.running == 1; }));
  std::jthread finisher([this] { driver_.Unblock(); });
  worker_->Drain(std::chrono::steady_clock::now() + 20s);
  EXPECT_EQ(StateOf(execution), State::kCompleted);
  EXPECT_EQ(broker_.acked, 1);
}

TEST_F(WorkerTest, DrainGivesBackWhatDoesNotEnd) {
  const auto running = Make("block");
  const auto queued = Make("hello");
  Submit(running);
  Start(1);
  ASSERT_TRUE(Eventually([&] { return driver_.running == 1; }));
  Submit(queued);
  worker_->Drain(std::chrono::steady_clock::now() + 10ms);
  EXPECT_EQ(StateOf(running), State::kQueued);
  EXPECT_EQ(store_.Get(running.id, std::nullopt)->attempts, 0);
  EXPECT_EQ(StateOf(queued), State::kQueued);
  EXPECT_EQ(store_.results, 0);
  EXPECT_EQ(broker_.acked, 0);
  EXPECT_EQ(broker_.Waiting(), 2U);
  EXPECT_TRUE(broker_.Replies().empty());

  // The next process takes both.
  driver_.Unblock();
  Start(1);
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 2; }));
  EXPECT_EQ(StateOf(running), State::kCompleted);
  EXPECT_EQ(StateOf(queued), State::kCompleted);
  EXPECT_EQ(store_.results, 2);
}

// What an earlier case ended with does not hide that the series was cut short by us.
TEST_F(WorkerTest, DrainGivesBackASeriesOfCases) {
  auto series = Make("stdin", Delivery::kPoll);
  series.source.cases = {{.stdin_data = "abort", .expected_output = "x"},
                         {.stdin_data = "block", .expected_output = ""},
                         {.stdin_data = "hello", .expected_output = "hello"}};
  Submit(series);
  Start(1);
  ASSERT_TRUE(Eventually([&] { return driver_.runs == 2 && driver_.running == 1; }));
  worker_->Drain(std::chrono::steady_clock::now() + 10ms);
  EXPECT_EQ(StateOf(series), State::kQueued);
  EXPECT_EQ(store_.results, 0);
  EXPECT_EQ(broker_.acked, 0);

  driver_.Unblock();
  Start(1);
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  const auto outcome = OutcomeOf(series);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->reason, Reason::kSignalled);
  ASSERT_EQ(outcome->cases.size(), 3U);
  EXPECT_EQ(outcome->cases[0].verdict, schema::Verdict::kRuntimeError);
  EXPECT_EQ(outcome->cases[1].verdict, schema::Verdict::kPassed);
  EXPECT_EQ(outcome->cases[2].verdict, schema::Verdict::kPassed);
}

TEST_F(WorkerTest, WhatDidNotCompileDidNotRun) {
  const auto execution = Make("compile_failed", Delivery::kPoll);
  Submit(execution);
  Start(1);
  ASSERT_TRUE(Eventually([&] { return broker_.acked == 1; }));
  EXPECT_EQ(OutcomeOf(execution)->reason, Reason::kCompileFailed);
  EXPECT_EQ(OutcomeOf(execution)->timings.exec, 0us);
}

TEST_F(WorkerTest, ASecondDrainIsFaster) {
  const auto running = Make("block");
  Submit(running);
  Start(1);
  ASSERT_TRUE(Eventually([&] { return driver_.running == 1; }));
  std::jthread patient([this] { worker_->Drain(std::chrono::steady_clock::now() + 1h); });
  worker_->Drain(std::chrono::steady_clock::now());
  patient.join();
  EXPECT_EQ(StateOf(running), State::kQueued);
}

TEST_F(WorkerTest, CancelDuringDrainIsACancel) {
  const auto execution = Make("block");
  Submit(execution);
  Start(1);
  ASSERT_TRUE(Eventually([&] { return driver_.running == 1; }));
  ASSERT_TRUE(broker_.Cancel(execution.id));
  worker_->Drain(std::chrono::steady_clock::now());
  EXPECT_EQ(StateOf(execution), State::kCancelled);
}

// Everything at once: duplicates, cancels, a failing fork now and then, four slots. Every row ends
// with exactly one result.
TEST_F(WorkerTest, ManyAtOnceEndOnceEach) {
  Start(4, 1);
  std::vector<schema::Execution> all;
  for (int i = 0; i < 300; ++i) {
    auto execution =
        Make(i % 3 == 0 ? "exit 1" : "hello", i % 2 ? Delivery::kWait : Delivery::kPoll);
    if (i % 5 == 0) execution.priority = schema::Priority::kBackground;
    all.push_back(execution);
    if (i % 7 == 0) driver_.fork_failures = 1;
    Submit(execution, i % 4 != 0);
    if (i % 6 == 0) {
      ASSERT_TRUE(Publish(execution, i % 12 == 0));
    }
    if (i % 11 == 0) {
      ASSERT_TRUE(broker_.Cancel(execution.id));
    }
  }
  ASSERT_TRUE(Eventually([&] { return broker_.acked >= 350; }));
  EXPECT_EQ(store_.results, 300);
  EXPECT_EQ(broker_.Waiting(), 0U);
  ASSERT_TRUE(Eventually([&] { return worker_->Running() == 0 && worker_->Settling() == 0; }));
}

}  // namespace
}  // namespace forkbox::runner
