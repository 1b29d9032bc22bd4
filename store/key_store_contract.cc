#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "store/store_contract.h"

namespace forkbox::store {

using schema::KeyId;
using schema::OwnerId;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

const OwnerId kOwner("acc-1");

ApiKey NewKey(std::string id, std::int64_t created_unix_ms = 1'000) {
  ApiKey key;
  key.id = KeyId(std::move(id));
  key.owner = kOwner;
  key.name = "ci";
  key.prefix = "fb_ab";
  key.permissions.execute_only = true;
  key.created_unix_ms = created_unix_ms;
  return key;
}

std::string Digest(char c) { return std::string(64, c); }

std::vector<std::string> Ids(const std::vector<ApiKey>& keys) {
  std::vector<std::string> ids;
  for (const ApiKey& key : keys) ids.push_back(key.id.str());
  return ids;
}

TEST_P(KeyStoreContract, AKeyIsFoundByItsDigestAndListedForItsOwner) {
  ASSERT_TRUE(keys().Create(NewKey("k1"), Digest('a')).has_value());
  ApiKey second = NewKey("k2", 2'000);
  second.description = "for \xFF tests";
  second.expires_unix_ms = 9'000;
  ASSERT_TRUE(keys().Create(second, Digest('b')).has_value());
  EXPECT_EQ(keys().Create(NewKey("k1"), Digest('c')).error().code, ErrorCode::kConflict);
  EXPECT_EQ(keys().Create(NewKey("k3"), Digest('a')).error().code, ErrorCode::kConflict);
  EXPECT_EQ(keys().Create(NewKey("k3"), "short").error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(keys().Create(NewKey(""), Digest('c')).error().code, ErrorCode::kInvalidArgument);

  Reopen();
  const auto found = keys().FindByDigest(Digest('b'));
  ASSERT_TRUE(found.has_value() && found->has_value());
  EXPECT_EQ((*found)->id, KeyId("k2"));
  EXPECT_EQ((*found)->owner, kOwner);
  EXPECT_EQ((*found)->name, "ci");
  EXPECT_EQ((*found)->description, "for \xEF\xBF\xBD tests");
  EXPECT_EQ((*found)->prefix, "fb_ab");
  EXPECT_EQ((*found)->permissions, KeyPermissions{.execute_only = true});
  EXPECT_TRUE((*found)->enabled);
  EXPECT_EQ((*found)->created_unix_ms, 2'000);
  EXPECT_EQ((*found)->expires_unix_ms, 9'000);
  EXPECT_FALSE(keys().FindByDigest(Digest('c'))->has_value());
  EXPECT_FALSE(keys().FindByDigest(std::string(1, '\0'))->has_value());
  EXPECT_THAT(Ids(*keys().List(kOwner, 10)), ElementsAre("k2", "k1"));
  EXPECT_THAT(Ids(*keys().List(kOwner, 1)), ElementsAre("k2"));
  EXPECT_THAT(Ids(*keys().List(OwnerId("acc-2"), 10)), IsEmpty());
}

TEST_P(KeyStoreContract, OnlyItsOwnerChangesItAndOnlyWhileItIsNotRevoked) {
  ASSERT_TRUE(keys().Create(NewKey("k1"), Digest('a')).has_value());
  KeyChange change;
  change.name = "new";
  change.permissions = KeyPermissions{.read_only = true};
  change.enabled = false;
  const Result<ApiKey> changed = keys().Change(kOwner, KeyId("k1"), change, 2'000);
  ASSERT_TRUE(changed.has_value()) << changed.error().message;
  EXPECT_EQ(changed->name, "new");
  EXPECT_EQ(changed->permissions, KeyPermissions{.read_only = true});
  EXPECT_FALSE(changed->enabled);
  EXPECT_EQ(changed->expires_unix_ms, 0);
  change = {};
  change.expires_unix_ms = 7'000;
  EXPECT_EQ(keys().Change(kOwner, KeyId("k1"), change, 2'000)->name, "new");

  const auto code = [&](const OwnerId& owner, const char* id) {
    return keys().Change(owner, KeyId(id), change, 2'000).error().code;
  };
  EXPECT_EQ(code(OwnerId("acc-2"), "k1"), ErrorCode::kNotFound);
  EXPECT_EQ(code(kOwner, "k2"), ErrorCode::kNotFound);
  EXPECT_EQ(code(kOwner, "\n"), ErrorCode::kNotFound);
  EXPECT_EQ(keys().Revoke(OwnerId("acc-2"), KeyId("k1"), 3'000).error().code, ErrorCode::kNotFound);
  ASSERT_TRUE(keys().Revoke(kOwner, KeyId("k1"), 3'000).has_value());
  EXPECT_EQ(keys().Revoke(kOwner, KeyId("k1"), 3'000).error().code, ErrorCode::kConflict);
  EXPECT_EQ(code(kOwner, "k1"), ErrorCode::kConflict);
  EXPECT_EQ((*keys().FindByDigest(Digest('a')))->revoked_unix_ms, 3'000);
}

TEST_P(KeyStoreContract, ARotationIsWholeOrNotAtAll) {
  ASSERT_TRUE(keys().Create(NewKey("k1"), Digest('a')).has_value());
  ASSERT_TRUE(keys().Create(NewKey("k2"), Digest('b')).has_value());
  EXPECT_EQ(keys().Rotate(kOwner, KeyId("k1"), NewKey("k3"), Digest('b'), 2'000).error().code,
            ErrorCode::kConflict);
  EXPECT_EQ((*keys().FindByDigest(Digest('a')))->revoked_unix_ms, 0);
  ASSERT_TRUE(keys().Rotate(kOwner, KeyId("k1"), NewKey("k3", 2'000), Digest('c'), 2'000));
  const auto old = keys().FindByDigest(Digest('a'));
  EXPECT_EQ((*old)->revoked_unix_ms, 2'000);
  EXPECT_EQ((*old)->rotated_to, KeyId("k3"));
  EXPECT_EQ((*keys().FindByDigest(Digest('c')))->revoked_unix_ms, 0);
  EXPECT_EQ(keys().Rotate(kOwner, KeyId("k1"), NewKey("k4"), Digest('d'), 3'000).error().code,
            ErrorCode::kConflict);
}

TEST_P(KeyStoreContract, CachesLearnOfWhatChanged) {
  ASSERT_TRUE(keys().Create(NewKey("k1", 1'000), Digest('a')).has_value());
  ASSERT_TRUE(keys().Create(NewKey("k2", 2'000), Digest('b')).has_value());
  const auto since = [&](std::int64_t unix_ms) {
    std::vector<std::string> digests;
    const auto changed = keys().ChangedSince(unix_ms);
    for (const auto& [digest, key] : *changed) digests.push_back(digest);
    std::sort(digests.begin(), digests.end());
    return digests;
  };
  EXPECT_THAT(since(0), ElementsAre(Digest('a'), Digest('b')));
  EXPECT_THAT(since(2'000), ElementsAre(Digest('b')));
  ASSERT_TRUE(keys().Revoke(kOwner, KeyId("k1"), 3'000).has_value());
  EXPECT_THAT(since(2'001), ElementsAre(Digest('a')));

  ASSERT_TRUE(keys().NoteUse({{KeyId("k2"), 5'000}, {KeyId("gone"), 5'000}, {KeyId(""), 1}}));
  ASSERT_TRUE(keys().NoteUse({{KeyId("k2"), 4'000}}));
  ASSERT_TRUE(keys().NoteUse({}));
  EXPECT_EQ((*keys().FindByDigest(Digest('b')))->last_used_unix_ms, 5'000);
  EXPECT_THAT(since(3'001), IsEmpty()) << "use is no change";
}

TEST_P(KeyStoreContract, AnAccountHasTheDefaultsUntilItHasItsOwn) {
  EXPECT_EQ(*keys().LimitsOf(kOwner), AccountLimits{});
  const AccountLimits own = {
      .executions_per_minute = 0, .concurrency = 7, .monthly_quota = 1U << 31};
  ASSERT_TRUE(keys().SetLimits(kOwner, {.concurrency = 3}, 1'000).has_value());
  ASSERT_TRUE(keys().SetLimits(kOwner, own, 2'000).has_value());
  EXPECT_EQ(*keys().LimitsOf(kOwner), own);
  EXPECT_EQ(*keys().LimitsOf(OwnerId("acc-2")), AccountLimits{});
}

}  // namespace
}  // namespace forkbox::store
