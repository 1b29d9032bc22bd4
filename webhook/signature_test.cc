#include "webhook/signature.h"

#include <gtest/gtest.h>

#include "schema/base64.h"

namespace forkbox::webhook {
namespace {

std::string SecretOf(std::size_t key_bytes) {
  return "whsec_" + schema::EncodeBase64(std::string(key_bytes, 'k'));
}

// The first is the example that implementations of Standard Webhooks share. All were checked with
// printf '%s' "$id.$seconds.$body" | openssl dgst -sha256 -mac HMAC -macopt hexkey:… -binary |
// base64
TEST(SignatureTest, IsWhatReceiversCompute) {
  const std::string shared = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const std::string id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
  EXPECT_EQ(Sign(shared, id, 1614265330, R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  EXPECT_EQ(Sign(shared, id, 1614265330, ""), "v1,v48jdbgvh29KJz2Qc+ghw8G6vG3nAKnujWBg8oM/62A=");
  EXPECT_EQ(Sign(SecretOf(64), "d", 0, "\xC3\xA9"),
            "v1,3mMG+w/aoJOIIqGRmWkwtqZnyRX4R+4nnT2eOETCYTU=");
}

TEST(SignatureTest, TakesNothingButSecrets) {
  for (const std::string& good : {SecretOf(24), SecretOf(25), SecretOf(64)}) {
    EXPECT_TRUE(IsSecret(good)) << good;
  }
  for (const std::string& bad : {std::string(), std::string("whsec_"), SecretOf(23), SecretOf(65),
                                 SecretOf(32).substr(6), SecretOf(32) + "=", SecretOf(32) + " ",
                                 " " + SecretOf(32), "WHSEC_" + SecretOf(32).substr(6),
                                 "whsec_" + std::string(44, '-'), SecretOf(32).substr(0, 40)}) {
    EXPECT_FALSE(IsSecret(bad)) << bad;
    const auto signature = Sign(bad, "id", 1, "body");
    ASSERT_FALSE(signature.has_value());
    EXPECT_EQ(signature.error().code, ErrorCode::kInvalidArgument);
    if (!bad.empty()) {
      EXPECT_EQ(signature.error().message.find(bad), std::string::npos) << "tells the secret";
    }
  }
}

TEST(SignatureTest, NewSecretsAreSecretsAndNew) {
  const std::string one = NewSecret();
  const std::string two = NewSecret();
  EXPECT_TRUE(IsSecret(one)) << one;
  EXPECT_NE(one, two);
  EXPECT_NE(*Sign(one, "id", 1, "body"), *Sign(two, "id", 1, "body"));
}

}  // namespace
}  // namespace forkbox::webhook
