#include "api/auth/permission.h"

#include <gtest/gtest.h>

namespace forkbox::api {
namespace {

// The matrix of the specification, word for word.
TEST(PermissionTest, TheMatrix) {
  struct Row {
    Right right;
    bool full_access, execute_only, read_only;
  };
  const store::KeyPermissions full{.full_access = true};
  const store::KeyPermissions execute{.execute_only = true};
  const store::KeyPermissions read{.read_only = true};
  for (const Row& row :
       {Row{Right::kExecute, true, true, false}, Row{Right::kReadExecutions, true, true, true},
        Row{Right::kReadUsage, true, false, true}, Row{Right::kReadAccount, true, true, true},
        Row{Right::kManageKeys, true, false, false}}) {
    SCOPED_TRACE(static_cast<int>(row.right));
    EXPECT_EQ(Allows(full, row.right), row.full_access);
    EXPECT_EQ(Allows(execute, row.right), row.execute_only);
    EXPECT_EQ(Allows(read, row.right), row.read_only);
    EXPECT_FALSE(Allows({}, row.right));
    // Several allow what any of them does.
    EXPECT_EQ(Allows({.execute_only = true, .read_only = true}, row.right),
              row.execute_only || row.read_only);
    EXPECT_TRUE(Allows({.full_access = true, .execute_only = true, .read_only = true}, row.right));
    // The words of a refusal name those that would do.
    const std::string_view named = PermissionsFor(row.right);
    EXPECT_EQ(named.find("execute_only") != std::string_view::npos, row.execute_only);
    EXPECT_EQ(named.find("read_only") != std::string_view::npos, row.read_only);
  }
}

TEST(PermissionTest, NamesGoBothWays) {
  store::KeyPermissions permissions;
  for (const std::string_view name : {"full_access", "execute_only", "read_only"}) {
    EXPECT_TRUE(AddPermission(name, &permissions));
    EXPECT_EQ(NamesOf(permissions).back(), name);
  }
  EXPECT_EQ(NamesOf(permissions).size(), 3U);
  EXPECT_FALSE(AddPermission("admin", &permissions));
  EXPECT_FALSE(AddPermission("", &permissions));
  EXPECT_TRUE(NamesOf({}).empty());
}

}  // namespace
}  // namespace forkbox::api
