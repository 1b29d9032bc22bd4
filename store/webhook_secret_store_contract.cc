#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "store/store_contract.h"

namespace forkbox::store {
namespace {

using schema::OwnerId;
using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> Active(WebhookSecretStore& store, const std::string& owner,
                                std::int64_t now) {
  std::vector<std::string> secrets;
  const auto active = store.ActiveSecrets(OwnerId(owner), now);
  if (!active) return {active.error().message};
  for (const WebhookSecret& secret : *active) {
    secrets.push_back(secret.secret);
  }
  return secrets;
}

TEST_P(WebhookSecretStoreContract, TheOneBeforeStaysForAWhile) {
  const OwnerId owner("owner-1");
  EXPECT_THAT(Active(webhook_secrets(), "owner-1", 1'000), IsEmpty());
  ASSERT_TRUE(webhook_secrets().AddSecret(owner, "first", 1'000, 2'000).has_value());
  EXPECT_THAT(Active(webhook_secrets(), "owner-1", 99'000), ElementsAre("first"));
  ASSERT_TRUE(webhook_secrets().AddSecret(owner, "second", 5'000, 6'000).has_value());
  Reopen();
  const auto both = webhook_secrets().ActiveSecrets(owner, 5'999);
  ASSERT_EQ(both->size(), 2U);
  EXPECT_EQ(both->at(0).secret, "second");
  EXPECT_EQ(both->at(0).created_unix_ms, 5'000);
  EXPECT_EQ(both->at(0).expires_unix_ms, 0);
  EXPECT_EQ(both->at(1).secret, "first");
  EXPECT_EQ(both->at(1).expires_unix_ms, 6'000);
  EXPECT_THAT(Active(webhook_secrets(), "owner-1", 6'000), ElementsAre("second"));

  // Within the same millisecond, and while the first would still be active.
  ASSERT_TRUE(webhook_secrets().AddSecret(owner, "third", 5'000, 9'000).has_value());
  EXPECT_THAT(Active(webhook_secrets(), "owner-1", 5'000), ElementsAre("third", "second"));
}

TEST_P(WebhookSecretStoreContract, AnOwnerHasItsOwn) {
  ASSERT_TRUE(webhook_secrets().AddSecret(OwnerId("a"), "of-a", 1, 2).has_value());
  ASSERT_TRUE(webhook_secrets().AddSecret(OwnerId(""), "of-none", 1, 2).has_value());
  EXPECT_THAT(Active(webhook_secrets(), "a", 1), ElementsAre("of-a"));
  EXPECT_THAT(Active(webhook_secrets(), "", 1), ElementsAre("of-none"));
  EXPECT_THAT(Active(webhook_secrets(), "b", 1), IsEmpty());
}

TEST_P(WebhookSecretStoreContract, WhatIsNoTextIsRefused) {
  for (const std::string& text : {std::string("a\0b", 3), std::string("\xFF")}) {
    EXPECT_THAT(Active(webhook_secrets(), text, 1), IsEmpty());
    EXPECT_EQ(webhook_secrets().AddSecret(OwnerId(text), "secret", 1, 2).error().code,
              ErrorCode::kInvalidArgument);
    EXPECT_EQ(webhook_secrets().AddSecret(OwnerId("a"), text, 1, 2).error().code,
              ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace forkbox::store
