#include "webhook/retry_policy.h"

#include <gtest/gtest.h>

#include <numeric>

namespace forkbox::webhook {
namespace {

using namespace std::chrono_literals;
using store::DeliveryState;
using End = Answer::End;

// Sun, 06 Nov 1994 08:49:37 GMT, and half a second.
constexpr std::int64_t kNow = 784'111'777'500;
constexpr double kNoJitter = 0.5;

Answer Answered(int status, std::string retry_after = "") {
  return {.end = End::kAnswered, .status = status, .retry_after = std::move(retry_after)};
}

TEST(RetryPolicyTest, DecidesFromTheAnswer) {
  struct Case {
    Answer answer;
    DeliveryState state;
    std::string error;
  };
  const Case cases[] = {
      {Answered(200), DeliveryState::kDelivered, ""},
      {Answered(202), DeliveryState::kDelivered, ""},
      {Answered(204), DeliveryState::kDelivered, ""},
      {Answered(299), DeliveryState::kDelivered, ""},
      {Answered(410), DeliveryState::kDead, "the receiver answered 410"},
      {Answered(301), DeliveryState::kPending,
       "the receiver answered 301; redirects are not followed"},
      {Answered(307), DeliveryState::kPending,
       "the receiver answered 307; redirects are not followed"},
      {Answered(400), DeliveryState::kPending, "the receiver answered 400"},
      {Answered(401), DeliveryState::kPending, "the receiver answered 401"},
      {Answered(404), DeliveryState::kPending, "the receiver answered 404"},
      {Answered(408), DeliveryState::kPending, "the receiver answered 408"},
      {Answered(425), DeliveryState::kPending, "the receiver answered 425"},
      {Answered(429), DeliveryState::kPending, "the receiver answered 429"},
      {Answered(500), DeliveryState::kPending, "the receiver answered 500"},
      {Answered(503), DeliveryState::kPending, "the receiver answered 503"},
      {Answered(999), DeliveryState::kPending, "the receiver answered 999"},
      {Answered(0), DeliveryState::kPending, "the receiver answered 0"},
      {{.end = End::kFailed, .error = "broke"}, DeliveryState::kPending, "broke"},
      {{.end = End::kRefused, .error = "private"}, DeliveryState::kPending, "private"},
      {{.end = End::kImpossible, .error = "gone"}, DeliveryState::kDead, "gone"},
  };
  for (const Case& one : cases) {
    const auto verdict = RetryPolicy().Judge(1, one.answer, kNow, kNoJitter);
    EXPECT_EQ(verdict.state, one.state) << one.answer.status;
    EXPECT_EQ(verdict.error, one.error);
    EXPECT_EQ(verdict.next_attempt_unix_ms,
              one.state == DeliveryState::kPending ? kNow + 5'000 : 0);
  }
}

TEST(RetryPolicyTest, WaitsLongerEachTimeAndGivesUpAfterADay) {
  const RetryPolicy policy;
  const auto total =
      std::accumulate(policy.delays.begin(), policy.delays.end(), std::chrono::milliseconds(0));
  EXPECT_GT(total, 27h);
  EXPECT_LT(total, 29h);
  const auto attempts = static_cast<int>(policy.delays.size()) + 1;
  for (int attempt = 1; attempt < attempts; ++attempt) {
    const auto verdict = policy.Judge(attempt, Answered(503), kNow, kNoJitter);
    EXPECT_EQ(verdict.state, DeliveryState::kPending);
    EXPECT_EQ(verdict.next_attempt_unix_ms - kNow,
              policy.delays[static_cast<std::size_t>(attempt - 1)].count());
  }
  for (const int attempt : {attempts, attempts + 1, 1'000'000}) {
    EXPECT_EQ(policy.Judge(attempt, Answered(503), kNow, kNoJitter).state, DeliveryState::kDead);
    EXPECT_EQ(policy.Judge(attempt, Answered(200), kNow, kNoJitter).state,
              DeliveryState::kDelivered);
  }
  EXPECT_EQ(policy.Judge(0, Answered(503), kNow, kNoJitter).next_attempt_unix_ms, kNow + 5'000);

  const Answer refused{.end = End::kRefused};
  EXPECT_EQ(policy.Judge(3, refused, kNow, kNoJitter).state, DeliveryState::kPending);
  EXPECT_EQ(policy.Judge(4, refused, kNow, kNoJitter).state, DeliveryState::kDead);
  EXPECT_EQ(RetryPolicy{.delays = {}}.Judge(1, refused, kNow, kNoJitter).state,
            DeliveryState::kDead);
}

TEST(RetryPolicyTest, ChanceMovesTheDelayByAFifth) {
  const RetryPolicy policy{.delays = {100s}};
  const auto delay = [&](double chance) {
    return policy.Judge(1, Answered(500), kNow, chance).next_attempt_unix_ms - kNow;
  };
  EXPECT_EQ(delay(0), 80'000);
  EXPECT_EQ(delay(0.5), 100'000);
  EXPECT_EQ(delay(1), 120'000);
}

TEST(RetryPolicyTest, WaitsAsLongAsItIsAskedTo) {
  constexpr std::int64_t kDay = 24 * 3'600;
  const std::pair<std::string, std::int64_t> cases[] = {
      // What is asked for, and the seconds until the next attempt, at least 5.
      {"120", 120},
      {" 120 \r\n", 120},
      {"1", 5},
      {"0", 5},
      {"86401", kDay},
      {"9223372036854775807", kDay},
      {"99999999999999999999999999", kDay},
      {"Sun, 06 Nov 1994 08:51:37 GMT", 120},
      {"Sunday, 06-Nov-94 08:51:37 GMT", 120},
      {"Sun Nov  6 08:51:37 1994", 120},
      {"Sun, 06 Nov 1994 08:49:38 GMT", 5},
      {"Sun, 06 Nov 1994 08:00:00 GMT", 5},
      {"Thu, 01 Jan 1970 00:00:00 GMT", 5},
      {"Fri, 31 Dec 9999 23:59:59 GMT", kDay},
      {"Wed, 31 Feb 2999 99:99:99 GMT", 5},
      {"", 5},
      {"\r\n", 5},
      {"-120", 5},
      {"+120", 5},
      {"1e3", 5},
      {"0x78", 5},
      {"120 seconds", 5},
      {"soon", 5},
      {std::string("120\0", 4), 5},
      {"\xFF\xFE", 5},
  };
  for (const auto& [retry_after, seconds] : cases) {
    const auto verdict = RetryPolicy().Judge(1, Answered(429, retry_after), kNow, kNoJitter);
    EXPECT_EQ(verdict.state, DeliveryState::kPending);
    // Of a date, half a second more or less.
    EXPECT_NEAR(static_cast<double>(verdict.next_attempt_unix_ms - kNow),
                static_cast<double>(seconds * 1'000), 1'000)
        << retry_after;
  }
  // It does not bring a delivery back, nor make more attempts of them.
  EXPECT_EQ(RetryPolicy().Judge(1, Answered(410, "60"), kNow, kNoJitter).state,
            DeliveryState::kDead);
  EXPECT_EQ(RetryPolicy().Judge(11, Answered(429, "60"), kNow, kNoJitter).state,
            DeliveryState::kDead);
}

TEST(RetryPolicyTest, OddClocksDoNoHarm) {
  for (const std::int64_t now : {std::int64_t{0}, std::int64_t{-5}, std::int64_t{1} << 60}) {
    for (const char* const asked : {"60", "Sun, 06 Nov 1994 08:51:37 GMT"}) {
      const auto verdict = RetryPolicy().Judge(1, Answered(503, asked), now, kNoJitter);
      EXPECT_GE(verdict.next_attempt_unix_ms, now + 5'000);
      EXPECT_LE(verdict.next_attempt_unix_ms, now + 24 * 3'600'000);
    }
  }
}

}  // namespace
}  // namespace forkbox::webhook
