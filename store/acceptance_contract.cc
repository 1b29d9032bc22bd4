// Accepting under terms: exact, across any number of stores on one database.
#include <gmock/gmock.h>

#include <algorithm>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "store/calendar.h"
#include "store/store_contract.h"

namespace forkbox::store {

using schema::Execution;
using schema::ExecutionId;
using schema::KeyId;
using schema::OwnerId;
using schema::State;

namespace {

// 2026-11-20T10:00:00Z, and the start of a minute.
constexpr std::int64_t kNow = 1'795'168'800'000;

Execution Asked(std::string owner = "a", std::string key = "key-1", std::int64_t at = kNow) {
  Execution execution = NewExecution("print(1)", at);
  execution.owner = OwnerId(std::move(owner));
  execution.key_id = KeyId(std::move(key));
  execution.client_address = "192.0.2.1";
  execution.request_id = "req-1";
  return execution;
}

Execution Idempotent(std::string key, std::string owner = "a") {
  Execution execution = Asked(std::move(owner));
  execution.idempotency_key = std::move(key);
  return execution;
}

std::future<Result<Acceptance>> Begin(ExecutionStore& executions, Execution execution,
                                      AcceptTerms terms) {
  auto promise = std::make_shared<std::promise<Result<Acceptance>>>();
  executions.AcceptAsync(std::move(execution), std::move(terms),
                         [promise](Result<Acceptance> got) { promise->set_value(std::move(got)); });
  return promise->get_future();
}

Acceptance Accept(ExecutionStore& executions, const Execution& execution, AcceptTerms terms) {
  Result<Acceptance> got = Begin(executions, execution, std::move(terms)).get();
  EXPECT_TRUE(got.has_value()) << got.error().message;
  return got.value_or(Acceptance{});
}

AcceptVerdict VerdictOf(ExecutionStore& executions, const Execution& execution, AcceptTerms terms) {
  return Accept(executions, execution, std::move(terms)).verdict;
}

TEST_P(AcceptanceContract, CountsAndSaysHowFarItIs) {
  const Execution first = Asked();
  const Acceptance one =
      Accept(executions(), first, {.per_minute = 5, .concurrency = 5, .monthly_quota = 5});
  EXPECT_EQ(one.verdict, AcceptVerdict::kAccepted);
  EXPECT_EQ(one.id, first.id);
  EXPECT_EQ(one.used_this_minute, 1U);
  EXPECT_EQ(one.used_this_month, 1U);
  EXPECT_EQ(one.unfinished, 1U);
  EXPECT_EQ(one.minute_ends_unix_ms, kNow + 60'000);
  EXPECT_EQ(one.month_ends_unix_ms, 1'796'083'200'000) << "2026-12-01";

  // By another key, in the next minute.
  const Acceptance two = Accept(executions(), Asked("a", "key-2", kNow + 60'000),
                                {.per_minute = 5, .concurrency = 5, .monthly_quota = 5});
  EXPECT_EQ(two.used_this_minute, 1U);
  EXPECT_EQ(two.used_this_month, 2U);
  EXPECT_EQ(two.unfinished, 2U);
  // Another account, without terms: counted because it has a key.
  const Acceptance other = Accept(executions(), Asked("b", "key-3"), {});
  EXPECT_EQ(other.used_this_month, 1U);
  EXPECT_EQ(other.unfinished, 0U) << "no such limit";

  EXPECT_EQ(usage().AcceptedThisMonth(OwnerId("a"), kNow), 2U);
  EXPECT_EQ(usage().AcceptedThisMonth(OwnerId("a"), one.month_ends_unix_ms), 0U);
  EXPECT_EQ(usage().AcceptedThisMinute(KeyId("key-1"), kNow + 59'999), 1U);
  EXPECT_EQ(usage().AcceptedThisMinute(KeyId("key-1"), kNow + 60'000), 0U);
  EXPECT_EQ(executions().Get(first.id, OwnerId("a"))->execution.key_id, KeyId("key-1"));
}

TEST_P(AcceptanceContract, EachTermRefusesAndLeavesNothing) {
  const struct {
    const char* what;
    AcceptTerms terms;
    std::string other_key;  // that could still go on; "" when the whole account may not
    std::int64_t other_time;
    AcceptVerdict verdict;
  } cases[] = {
      {"minute", {.per_minute = 2}, "key-2", kNow, AcceptVerdict::kRateLimited},
      {"next minute", {.per_minute = 2}, "key-1", kNow + 60'000, AcceptVerdict::kRateLimited},
      {"concurrency", {.concurrency = 2}, "", kNow, AcceptVerdict::kTooManyAtOnce},
      {"month", {.monthly_quota = 2}, "key-1", kNow + 31 * kDayMs, AcceptVerdict::kQuotaSpent},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.what);
    const std::string owner = std::string("owner of ") + one.what;
    const std::string key = owner + "key-1";
    const Execution first = Asked(owner, key);
    EXPECT_EQ(VerdictOf(executions(), first, one.terms), AcceptVerdict::kAccepted);
    EXPECT_EQ(VerdictOf(executions(), Asked(owner, key), one.terms), AcceptVerdict::kAccepted);
    const Execution refused = Asked(owner, key);
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(VerdictOf(executions(), refused, one.terms), one.verdict);
    }
    EXPECT_EQ(executions().Get(refused.id, std::nullopt).error().code, ErrorCode::kNotFound);
    EXPECT_EQ(usage().AcceptedThisMonth(OwnerId(owner), kNow), 2U);
    EXPECT_EQ(audit().List(OwnerId(owner), 0, 10)->size(), 2U);
    EXPECT_EQ(VerdictOf(executions(), Asked(owner + "'s neighbour", key + "'s"), one.terms),
              AcceptVerdict::kAccepted);
    if (one.other_key.empty()) {
      EXPECT_EQ(executions().Finish(first.id, CompletedWith(""), kNow), true);
      EXPECT_EQ(VerdictOf(executions(), refused, one.terms), AcceptVerdict::kAccepted);
    } else {
      EXPECT_EQ(
          VerdictOf(executions(), Asked(owner, owner + one.other_key, one.other_time), one.terms),
          AcceptVerdict::kAccepted);
    }
  }
}

// Otherwise twenty queued jobs would lock an account out of what it does by hand.
TEST_P(AcceptanceContract, WorkThatWaitsInTheBackgroundTakesNoPlace) {
  const AcceptTerms terms = {.concurrency = 2};
  const auto background = [] {
    Execution execution = Asked();
    execution.priority = schema::Priority::kBackground;
    return execution;
  };
  std::vector<Execution> waiting;
  for (int i = 0; i < 30; ++i) {
    waiting.push_back(background());
    const Acceptance accepted = Accept(executions(), waiting.back(), terms);
    EXPECT_EQ(accepted.verdict, AcceptVerdict::kAccepted);
    EXPECT_EQ(accepted.unfinished, 0U);
  }
  const Execution by_hand = Asked();
  EXPECT_EQ(Accept(executions(), by_hand, terms).unfinished, 1U);
  // One that runs takes a place, until it ends or goes back.
  ASSERT_EQ(executions().Claim({waiting[0].id, "r", kNow, kNow + 1, 3}), ClaimVerdict::kClaimed);
  EXPECT_EQ(VerdictOf(executions(), Asked(), terms), AcceptVerdict::kTooManyAtOnce);
  EXPECT_EQ(VerdictOf(executions(), background(), terms), AcceptVerdict::kAccepted)
      << "it only waits";
  ASSERT_TRUE(executions().Release(waiting[0].id, "r").has_value());
  EXPECT_EQ(VerdictOf(executions(), Asked(), terms), AcceptVerdict::kAccepted);
  EXPECT_EQ(VerdictOf(executions(), Asked(), terms), AcceptVerdict::kTooManyAtOnce);
  EXPECT_EQ(executions().Finish(by_hand.id, CompletedWith(""), kNow), true);
  ASSERT_EQ(executions().Claim({waiting[1].id, "r", kNow, kNow + 1, 3}), ClaimVerdict::kClaimed);
  EXPECT_EQ(VerdictOf(executions(), Asked(), terms), AcceptVerdict::kTooManyAtOnce);
  EXPECT_EQ(executions().Finish(waiting[1].id, CompletedWith(""), kNow), true);
  EXPECT_EQ(VerdictOf(executions(), Asked(), terms), AcceptVerdict::kAccepted);
}

TEST_P(AcceptanceContract, AnIdempotencyKeyIsOneRequestOfOneOwner) {
  const Execution first = Idempotent("k");
  const AcceptTerms terms = {.per_minute = 1, .request_digest = "digest"};
  EXPECT_EQ(VerdictOf(executions(), first, terms), AcceptVerdict::kAccepted);
  const Acceptance again = Accept(executions(), Idempotent("k"), terms);
  EXPECT_EQ(again.verdict, AcceptVerdict::kRepeated) << "though the minute is full";
  EXPECT_EQ(again.id, first.id);
  const Acceptance other =
      Accept(executions(), Idempotent("k"), {.per_minute = 1, .request_digest = "another"});
  EXPECT_EQ(other.verdict, AcceptVerdict::kOtherRequest);
  EXPECT_EQ(VerdictOf(executions(), Idempotent("l"), terms), AcceptVerdict::kRateLimited);
  Execution elsewhere = Idempotent("k", "b");
  elsewhere.key_id = KeyId("key-2");
  EXPECT_EQ(VerdictOf(executions(), elsewhere, terms), AcceptVerdict::kAccepted);
  // Without authentication the same holds.
  Execution nobody = Idempotent("k", "");
  nobody.key_id = KeyId();
  EXPECT_EQ(VerdictOf(executions(), nobody, {}), AcceptVerdict::kAccepted);
  nobody.id = ExecutionId(NewUuidV7());
  EXPECT_EQ(VerdictOf(executions(), nobody, {}), AcceptVerdict::kRepeated);
}

TEST_P(AcceptanceContract, AWithdrawnOneGivesBackWhatItTook) {
  const AcceptTerms terms = {
      .per_minute = 1, .concurrency = 1, .monthly_quota = 1, .request_digest = "d"};
  const Execution first = Idempotent("k");
  EXPECT_EQ(VerdictOf(executions(), first, terms), AcceptVerdict::kAccepted);
  std::promise<Result<bool>> withdrawn;
  executions().WithdrawAsync(first.id, CompletedWith(""), kNow + 1,
                             [&](Result<bool> done) { withdrawn.set_value(std::move(done)); });
  EXPECT_EQ(withdrawn.get_future().get(), true);
  EXPECT_EQ(VerdictOf(executions(), Idempotent("k"), terms), AcceptVerdict::kAccepted);
  EXPECT_EQ(usage().AcceptedThisMonth(OwnerId("a"), kNow), 1U);
  EXPECT_EQ(usage().List(OwnerId("a"), 0, 10)->size(), 0U);
  EXPECT_EQ(executions().CountHistory({.owner = OwnerId("a")}, 10), 1U);

  std::vector<std::string> actions;
  const auto entries = audit().List(OwnerId("a"), 0, 10);
  for (const AuditEntry& entry : *entries) actions.push_back(entry.action);
  EXPECT_THAT(actions, testing::UnorderedElementsAre("execution.accepted", "execution.withdrawn",
                                                     "execution.accepted"));
  EXPECT_EQ(entries->back().client_address, "192.0.2.1");
  EXPECT_EQ(entries->back().request_id, "req-1");
  EXPECT_EQ(entries->back().key_id, KeyId("key-1"));
}

// Calls whose rate is not limited leave the minute of their key to those whose is.
TEST_P(AcceptanceContract, TheMinuteCountsOnlyWhatItLimits) {
  std::vector<Execution> unlimited;
  for (int i = 0; i < 5; ++i) {
    unlimited.push_back(Asked());
    EXPECT_EQ(VerdictOf(executions(), unlimited.back(), {.concurrency = 100}),
              AcceptVerdict::kAccepted);
  }
  EXPECT_EQ(usage().AcceptedThisMinute(KeyId("key-1"), kNow), 0U);
  EXPECT_EQ(usage().AcceptedThisMonth(OwnerId("a"), kNow), 5U);
  EXPECT_EQ(Accept(executions(), Asked(), {.per_minute = 2}).used_this_minute, 1U);
  EXPECT_EQ(Accept(executions(), Asked(), {.per_minute = 2}).used_this_minute, 2U);
  EXPECT_EQ(VerdictOf(executions(), Asked(), {.per_minute = 2}), AcceptVerdict::kRateLimited);
  // One that did not take of the minute gives nothing back to it.
  std::promise<Result<bool>> withdrawn;
  executions().WithdrawAsync(unlimited[0].id, CompletedWith(""), kNow + 1,
                             [&](Result<bool> done) { withdrawn.set_value(std::move(done)); });
  EXPECT_EQ(withdrawn.get_future().get(), true);
  EXPECT_EQ(usage().AcceptedThisMinute(KeyId("key-1"), kNow), 2U);
  EXPECT_EQ(usage().AcceptedThisMonth(OwnerId("a"), kNow), 6U);
  EXPECT_EQ(VerdictOf(executions(), Asked(), {.per_minute = 2}), AcceptVerdict::kRateLimited);
}

TEST_P(AcceptanceContract, BadOnesAmongGoodOnesFailAlone) {
  const Execution taken = Asked();
  ASSERT_EQ(VerdictOf(executions(), taken, {}), AcceptVerdict::kAccepted);
  Execution no_language = Asked();
  no_language.language = "a b";
  Execution no_text = Asked();
  no_text.idempotency_key = std::string(1, '\0');
  auto good = Begin(executions(), Asked(), {.per_minute = 10});
  auto conflict = Begin(executions(), taken, {.per_minute = 10});
  auto nameless = Begin(executions(), no_language, {});
  auto binary = Begin(executions(), no_text, {});
  auto good_too = Begin(executions(), Asked(), {.per_minute = 10});
  EXPECT_EQ(good.get()->verdict, AcceptVerdict::kAccepted);
  EXPECT_EQ(conflict.get().error().code, ErrorCode::kConflict);
  EXPECT_EQ(nameless.get().error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(binary.get().error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(good_too.get()->verdict, AcceptVerdict::kAccepted);
  EXPECT_EQ(usage().AcceptedThisMonth(OwnerId("a"), kNow), 3U);
}

// Two processes, four threads each, all at once.
std::map<AcceptVerdict, int> Race(Store& one, Store& two, int each,
                                  const std::function<Execution(int)>& make,
                                  const AcceptTerms& terms) {
  std::mutex mutex;
  std::map<AcceptVerdict, int> verdicts;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      std::vector<std::future<Result<Acceptance>>> asked;
      ExecutionStore& executions = (i % 2 == 0 ? one : two).executions();
      asked.reserve(static_cast<std::size_t>(each));
      for (int j = 0; j < each; ++j) asked.push_back(Begin(executions, make(j), terms));
      for (auto& one_asked : asked) {
        const Result<Acceptance> got = one_asked.get();
        EXPECT_TRUE(got.has_value()) << got.error().message;
        const std::lock_guard lock(mutex);
        if (got) ++verdicts[got->verdict];
      }
    });
  }
  for (auto& thread : threads) thread.join();
  return verdicts;
}

TEST_P(AcceptanceContract, TheTermsHoldAcrossProcesses) {
  const std::unique_ptr<Store> another = OpenAnother();
  const std::unique_ptr<Store> third = OpenAnother();
  const struct {
    const char* what;
    AcceptTerms terms;
    AcceptVerdict refused;
  } cases[] = {
      {"minute", {.per_minute = 13}, AcceptVerdict::kRateLimited},
      {"concurrency", {.concurrency = 13}, AcceptVerdict::kTooManyAtOnce},
      {"month", {.monthly_quota = 13}, AcceptVerdict::kQuotaSpent},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.what);
    // Of two accounts in turns, so that batches meet in both.
    const auto verdicts = Race(
        *third, *another, 12,
        [&](int i) {
          const std::string name = one.what + std::to_string(i % 2);
          return Asked(name, name);
        },
        one.terms);
    EXPECT_EQ(verdicts.at(AcceptVerdict::kAccepted), 26);
    EXPECT_EQ(verdicts.at(one.refused), 8 * 12 - 26);
    EXPECT_EQ(usage().AcceptedThisMonth(OwnerId(std::string(one.what) + "0"), kNow), 13U);
  }
}

TEST_P(AcceptanceContract, OfManyWithOneIdempotencyKeyOneIsAccepted) {
  const std::unique_ptr<Store> another = OpenAnother();
  const std::unique_ptr<Store> third = OpenAnother();
  for (int round = 0; round < 5; ++round) {
    const std::string key = "k" + std::to_string(round);
    const auto verdicts = Race(*third, *another, 2, [&](int) { return Idempotent(key); },
                               {.per_minute = 100, .request_digest = "d"});
    EXPECT_EQ(verdicts.at(AcceptVerdict::kAccepted), 1);
    EXPECT_EQ(verdicts.at(AcceptVerdict::kRepeated), 15);
  }
  EXPECT_EQ(executions().CountHistory({.owner = OwnerId("a")}, 100), 5U);
}

}  // namespace
}  // namespace forkbox::store
