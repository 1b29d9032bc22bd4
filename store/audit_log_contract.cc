#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "store/store_contract.h"

namespace forkbox::store {

using schema::KeyId;
using schema::OwnerId;

namespace {

TEST_P(AuditLogContract, KeepsWhoDidWhatNewestFirst) {
  const OwnerId owner("acc-1");
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(audit()
                    .Append({.time_unix_ms = 1'000 + i / 2,
                             .owner = owner,
                             .key_id = KeyId("key-1"),
                             .action = "key.created",
                             .target = std::to_string(i),
                             .client_address = "2001:db8::1",
                             .request_id = std::string("a\0\xFF", 3)})
                    .has_value());
  }
  ASSERT_TRUE(audit().Append({.time_unix_ms = 1'000, .owner = OwnerId("b")}).has_value());
  EXPECT_EQ(audit().Append({.owner = OwnerId(std::string(1, '\0'))}).error().code,
            ErrorCode::kInvalidArgument);
  Reopen();
  const auto targets = [&](std::int64_t before, std::size_t limit) {
    std::string all;
    const auto entries = audit().List(owner, before, limit);
    for (const AuditEntry& entry : *entries) all += entry.target;
    return all;
  };
  EXPECT_EQ(targets(0, 10), "43210");
  EXPECT_EQ(targets(0, 2), "43");
  EXPECT_EQ(targets(1'001, 10), "10");
  const AuditEntry entry = audit().List(owner, 0, 1)->at(0);
  EXPECT_EQ(entry.time_unix_ms, 1'002);
  EXPECT_EQ(entry.owner, owner);
  EXPECT_EQ(entry.key_id, KeyId("key-1"));
  EXPECT_EQ(entry.action, "key.created");
  EXPECT_EQ(entry.client_address, "2001:db8::1");
  EXPECT_EQ(entry.request_id, "a \xEF\xBF\xBD");

  EXPECT_EQ(audit().Prune(1'001), 3U);
  EXPECT_EQ(audit().Prune(1'001), 0U);
  EXPECT_EQ(targets(0, 10), "432");
}

}  // namespace
}  // namespace forkbox::store
