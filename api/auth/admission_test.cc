#include "api/auth/admission.h"

#include <gtest/gtest.h>

#include <future>

#include "api/testing_fakes.h"

namespace forkbox::api {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

KeyEntry Key(std::string_view key) {
  KeyEntry entry;
  entry.digest = KeyDigest::Of(key);
  return entry;
}

http::Fields Bearer(const std::string& key) { return {{"authorization", "Bearer " + key}}; }

class AdmissionTest : public ::testing::Test {
 protected:
  AdmissionTest() {
    for (const char* key : {"zb_live_first_1234", "zb_demo_1", "zb_demo_2", "short"}) Know(key);
  }
  // As the gate does before anybody is asked.
  void Know(const std::string& key) {
    std::promise<void> known;
    ring_.Prepare(key, [&] { known.set_value(); });
    known.get_future().wait();
  }

  FakeClock clock_;
  Authenticator authenticator_{
      {Key("zb_live_first_1234"), Key("zb_demo_1"), Key("zb_demo_2"), Key("short")}};
  testing::FakeKeys store_;
  KeyRing ring_{{}, authenticator_, store_, clock_, Log::Null()};
  Admission admission_{{}, ring_, clock_};
};

TEST_F(AdmissionTest, AnswersInZerobootsWords) {
  const auto nobody = admission_.Admit({}, "10.0.0.1", Right::kExecute);
  ASSERT_FALSE(nobody);
  EXPECT_EQ(nobody.error().status, 401);
  EXPECT_EQ(nobody.error().message, "Missing Authorization header");
  for (const std::string value : {"bearer short", "Basic c2hvcnQ=", "Bearer", "short", ""}) {
    EXPECT_EQ(admission_.Admit({{"Authorization", value}}, "", Right::kExecute).error().message,
              "Missing Authorization header")
        << value;
  }
  for (const std::string key : {"unknown", "", "shor", "short ", "shorts"}) {
    EXPECT_EQ(admission_.Admit(Bearer(key), "", Right::kExecute).error().message, "Invalid API key")
        << key;
  }
}

TEST_F(AdmissionTest, KnowsTheOwnerAndHidesTheKey) {
  const auto identity = admission_.Admit(Bearer("zb_live_first_1234"), "10.0.0.1", Right::kExecute);
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->owner.str(), KeyDigest::Of("zb_live_first_1234").Hex().substr(0, 16));
  EXPECT_EQ(identity->label, "zb_l…1234");
  EXPECT_FALSE(identity->is_demo);
  EXPECT_EQ(admission_.Admit(Bearer("short"), "", Right::kExecute)->label, "***");
}

TEST_F(AdmissionTest, AKeyMayComeInAHeaderOfItsOwn) {
  const auto admit = [&](const http::Fields& fields) {
    return admission_.AdmitByHeader("x-api-key", fields, "10.0.0.1", Right::kExecute);
  };
  EXPECT_EQ(admit({{"X-Api-Key", "short"}})->owner,
            admission_.Admit(Bearer("short"), "", Right::kExecute)->owner);
  EXPECT_TRUE(admit(Bearer("short")));
  EXPECT_TRUE(admit({{"authorization", "Bearer wrong"}, {"x-api-key", "short"}}));
  for (const http::Fields& fields :
       {http::Fields{}, http::Fields{{"x-api-key", ""}}, http::Fields{{"x-api-key", "wrong"}},
        http::Fields{{"x-api-key", "Bearer short"}}, http::Fields{{"api-key", "short"}},
        http::Fields{{"x-api-key", "wrong"}, {"authorization", "Bearer short"}}}) {
    const auto refused = admit(fields);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().status, 401);
  }
  // One bucket for each key, whatever the header.
  int admitted = 0;
  while (admitted < 1000 && admit(Bearer("short"))) ++admitted;
  EXPECT_EQ(admit({{"x-api-key", "short"}}).error().status, 429);
}

// On Exec0's paths: its own header first, the scheme in any case or none at all.
TEST_F(AdmissionTest, Exec0TakesKeysInMoreWays) {
  const auto ask = [&](const http::Fields& fields) {
    return admission_.IdentifyAndMeter(fields, "10.0.0.1", Right::kExecute);
  };
  for (const http::Fields& fields :
       {http::Fields{{"authorization", "Bearer short"}},
        http::Fields{{"AUTHORIZATION", "bearer short"}},
        http::Fields{{"authorization", "BEARER   short"}}, http::Fields{{"authorization", "short"}},
        http::Fields{{"X-API-Key", "short"}},
        http::Fields{{"authorization", "Bearer wrong"}, {"x-api-key", "short"}}}) {
    EXPECT_TRUE(ask(fields)) << fields[0].second;
  }
  for (const http::Fields& fields :
       {http::Fields{}, http::Fields{{"authorization", ""}},
        http::Fields{{"authorization", "Bearer"}}, http::Fields{{"authorization", "Bearer  "}}}) {
    EXPECT_EQ(ask(fields).error().message, "Missing API key");
  }
  for (const http::Fields& fields :
       {http::Fields{{"authorization", "Bearer wrong"}},
        http::Fields{{"authorization", "Basic short"}},
        http::Fields{{"authorization", "Bearershort"}}, http::Fields{{"x-api-key", ""}},
        http::Fields{{"x-api-key", "wrong"}, {"authorization", "Bearer short"}}}) {
    const auto refused = ask(fields);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().status, 401);
    EXPECT_EQ(refused.error().message, "Invalid API key");
    EXPECT_EQ(*http::FindField(refused.error().headers, "WWW-Authenticate"), "Bearer");
  }
  // Every call takes a token, whether or not the store would count it.
  clock_.Advance(seconds(1));
  int admitted = 0;
  while (admitted < 1000 && ask(Bearer("short"))) ++admitted;
  EXPECT_EQ(admitted, 100);
  EXPECT_EQ(ask(Bearer("short")).error().limit, 100U);
  // A key that everybody has is metered by address.
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(ask(Bearer("zb_demo_1")));
  EXPECT_EQ(ask(Bearer("zb_demo_1")).error().status, 429);
}

TEST_F(AdmissionTest, SaysWhatIsWrongWithAKeyThatOnceWasGood) {
  struct Row {
    const char* name;
    store::ApiKey key;
    Right right;
    int status;
    const char* message;
  };
  const auto key = [](store::KeyPermissions permissions) {
    store::ApiKey made;
    made.permissions = permissions;
    return made;
  };
  store::ApiKey revoked = key(kFullAccess);
  revoked.revoked_unix_ms = 1;
  revoked.enabled = false;
  store::ApiKey expired = key(kFullAccess);
  expired.expires_unix_ms = clock_.UnixMillis();
  store::ApiKey disabled = key(kFullAccess);
  disabled.enabled = false;
  int number = 0;
  for (const Row& row : {Row{"revoked", revoked, Right::kExecute, 401, "API key has been revoked"},
                         Row{"expired", expired, Right::kExecute, 401, "API key has expired"},
                         Row{"disabled", disabled, Right::kExecute, 403, "API key is disabled"},
                         Row{"reads", key({.read_only = true}), Right::kExecute, 403,
                             "this API key lacks the permission: full_access or execute_only"},
                         Row{"executes", key(kExecuteOnly), Right::kManageKeys, 403,
                             "this API key lacks the permission: full_access"}}) {
    SCOPED_TRACE(row.name);
    store::ApiKey put = row.key;
    put.id = schema::KeyId("key_" + std::to_string(++number));
    const std::string text = "any text " + std::to_string(number);
    ring_.Put(KeyDigest::Of(text), put);
    Know(text);
    // In every dialect.
    for (const auto& refused :
         {admission_.Admit(Bearer(text), "", row.right),
          admission_.AdmitByHeader("x-api-key", {{"x-api-key", text}}, "", row.right),
          admission_.IdentifyAndMeter(Bearer(text), "", row.right)}) {
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().status, row.status);
      EXPECT_EQ(refused.error().message, row.message);
    }
  }
}

TEST_F(AdmissionTest, AnOrdinaryKeyHasAHundredASecond) {
  for (int i = 0; i < 100; ++i)
    ASSERT_TRUE(admission_.Admit(Bearer("short"), "10.0.0.1", Right::kExecute)) << i;
  const auto refused = admission_.Admit(Bearer("short"), "10.0.0.2", Right::kExecute);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().status, 429);
  EXPECT_EQ(refused.error().message, "Rate limit exceeded (100 req/s)");
  EXPECT_EQ(*http::FindField(refused.error().headers, "Retry-After"), "1");
  EXPECT_EQ(*http::FindField(refused.error().headers, "X-RateLimit-Limit"), "100");
  EXPECT_EQ(*http::FindField(refused.error().headers, "X-RateLimit-Remaining"), "0");
  EXPECT_EQ(*http::FindField(refused.error().headers, "X-RateLimit-Reset"),
            std::to_string(clock_.UnixMillis() + 10));
  EXPECT_TRUE(admission_.Admit(Bearer("zb_live_first_1234"), "10.0.0.1", Right::kExecute))
      << "a bucket of its own";

  clock_.Advance(milliseconds(20));
  EXPECT_TRUE(admission_.Admit(Bearer("short"), "", Right::kExecute));
  EXPECT_TRUE(admission_.Admit(Bearer("short"), "", Right::kExecute));
  EXPECT_FALSE(admission_.Admit(Bearer("short"), "", Right::kExecute));
}

TEST_F(AdmissionTest, DemoKeysShareOneBucketForEachAddress) {
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(admission_.Admit(Bearer(i % 2 == 0 ? "zb_demo_1" : "zb_demo_2"), "10.0.0.1",
                                 Right::kExecute));
  }
  const auto refused = admission_.Admit(Bearer("zb_demo_2"), "10.0.0.1", Right::kExecute);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "Rate limit exceeded (10 req/min for demo keys)");
  EXPECT_EQ(*http::FindField(refused.error().headers, "Retry-After"), "6");
  EXPECT_TRUE(admission_.Admit(Bearer("zb_demo_1"), "10.0.0.2", Right::kExecute));
  clock_.Advance(seconds(6));
  EXPECT_TRUE(admission_.Admit(Bearer("zb_demo_1"), "10.0.0.1", Right::kExecute));
  EXPECT_FALSE(admission_.Admit(Bearer("zb_demo_1"), "10.0.0.1", Right::kExecute));
}

TEST_F(AdmissionTest, WithNoKeysEverybodyComesInUnlimited) {
  const Authenticator off{{}};
  KeyRing ring({}, off, store_, clock_, Log::Null());
  Admission open({}, ring, clock_);
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(open.Admit({}, "10.0.0.1", Right::kExecute));
  EXPECT_EQ(open.Admit(Bearer("anything"), "", Right::kExecute)->owner.str(), "");
}

TEST(RateLimiterTest, KeepsABoundedNumberOfBucketsAndForgetsFullOnes) {
  FakeClock clock;
  RateLimiter limiter({.burst = 2, .refill = seconds(1), .max_buckets = 10}, clock);
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(limiter.Take("client " + std::to_string(i)).allowed);
  EXPECT_EQ(limiter.buckets(), 10U);
  // Made-up names beyond the bound share one bucket: two of them get through, not two thousand.
  int allowed = 0;
  for (int i = 0; i < 1000; ++i) allowed += limiter.Take("flood " + std::to_string(i)).allowed;
  EXPECT_EQ(allowed, 2);
  EXPECT_EQ(limiter.buckets(), 10U);
  EXPECT_TRUE(limiter.Take("client 3").allowed) << "who has a bucket is not concerned";
  clock.Advance(seconds(2));
  EXPECT_TRUE(limiter.Take("a newcomer").allowed);
  EXPECT_EQ(limiter.buckets(), 1U);
}

TEST(RateLimiterTest, SaysWhatIsLeftAndWhenToComeBack) {
  FakeClock clock;
  RateLimiter limiter({.burst = 3, .refill = milliseconds(100), .max_buckets = 10}, clock);
  EXPECT_EQ(limiter.Take("a").remaining, 2U);
  EXPECT_EQ(limiter.Take("a").remaining, 1U);
  EXPECT_EQ(limiter.Take("a").remaining, 0U);
  clock.Advance(milliseconds(40));
  EXPECT_EQ(limiter.Take("a").retry_after, milliseconds(60));
  clock.Advance(milliseconds(3600'000));
  EXPECT_EQ(limiter.Take("a").remaining, 2U) << "it does not save up beyond full";
}

struct AddressCase {
  std::string name;
  http::Fields fields;
  std::string peer;
  ProxyTrust trust;
  std::string address;
};

class ClientAddressTest : public ::testing::TestWithParam<AddressCase> {};

TEST_P(ClientAddressTest, BelievesWhomItShould) {
  EXPECT_EQ(ClientAddress(GetParam().fields, GetParam().peer, GetParam().trust),
            GetParam().address);
}

const http::Fields kBoth = {{"X-Forwarded-For", " 203.0.113.7 , 10.0.0.1"},
                            {"cf-connecting-ip", "203.0.113.9"}};
const http::Fields kForwarded = {{"X-Forwarded-For", "203.0.113.7, 10.0.0.1"},
                                 {"CF-Connecting-IP", ""}};

INSTANTIATE_TEST_SUITE_P(
    Cases, ClientAddressTest,
    ::testing::Values(
        AddressCase{"a_stranger_cannot_choose", kBoth, "198.51.100.1", ProxyTrust::kLoopback,
                    "198.51.100.1"},
        AddressCase{"our_own_proxy_is_believed", kBoth, "127.0.0.1", ProxyTrust::kLoopback,
                    "203.0.113.9"},
        AddressCase{"over_ipv6_too", kForwarded, "::1", ProxyTrust::kLoopback, "203.0.113.7"},
        AddressCase{"and_mapped", kForwarded, "::ffff:127.0.0.1", ProxyTrust::kLoopback,
                    "203.0.113.7"},
        AddressCase{"never_is_never", kBoth, "127.0.0.1", ProxyTrust::kNever, "127.0.0.1"},
        AddressCase{"always_is_always", kBoth, "198.51.100.1", ProxyTrust::kAlways, "203.0.113.9"},
        AddressCase{"no_headers", {}, "127.0.0.1", ProxyTrust::kLoopback, "127.0.0.1"},
        AddressCase{"absurdly_long",
                    {{"CF-Connecting-IP", std::string(5000, 'x')}},
                    "127.0.0.1",
                    ProxyTrust::kAlways,
                    "127.0.0.1"}),
    [](const auto& test) { return test.param.name; });

TEST(LoopbackTest, IsTheWholeNetButNothingElse) {
  for (const char* yes : {"127.0.0.1", "127.9.8.7", "::1", "[::1]", "localhost"}) {
    EXPECT_TRUE(IsLoopback(yes)) << yes;
  }
  for (const char* no : {"0.0.0.0", "::", "10.0.0.1", "128.0.0.1", "", "127.0.0.1.example"}) {
    EXPECT_FALSE(IsLoopback(no)) << no;
  }
}

}  // namespace
}  // namespace forkbox::api
