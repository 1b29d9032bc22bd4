#include "cli/data_dir.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace forkbox::cli {
namespace {

namespace fs = std::filesystem;

class DataDirTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forkbox-data-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override { fs::remove_all(root_); }
  fs::path root_;
};

TEST_F(DataDirTest, IsMadeWithItsParentsAndForNobodyElse) {
  const fs::path path = root_ / "a/b";
  const auto dir = DataDir::Open(path.string(), std::nullopt);
  ASSERT_TRUE(dir) << dir.error().message;
  EXPECT_EQ(dir->path(), path.string());
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
}

TEST_F(DataDirTest, BelongsToOneAtATimeAndSaysWho) {
  const fs::path path = root_ / "data";
  {
    const auto first = DataDir::Open(path.string(), std::nullopt);
    ASSERT_TRUE(first);
    const auto second = DataDir::Open(path.string(), std::nullopt);
    ASSERT_FALSE(second);
    EXPECT_EQ(second.error().code, ErrorCode::kConflict);
    EXPECT_NE(second.error().message.find(std::to_string(::getpid())), std::string::npos);
  }
  EXPECT_TRUE(DataDir::Open(path.string(), std::nullopt));
}

// `--data-dir /tmp` must not take /tmp away from everybody.
TEST_F(DataDirTest, SomebodyElsesDirectoryIsLeftAlone) {
  std::ofstream(root_ / "letter.txt") << "dear";
  ASSERT_EQ(::chmod(root_.c_str(), 0755), 0);
  const auto refused = DataDir::Open(root_.string(), std::nullopt);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  struct stat info {};
  ASSERT_EQ(::stat(root_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0755U);
  EXPECT_FALSE(fs::exists(root_ / "forkbox.lock"));
}

TEST_F(DataDirTest, OneWithOnlyKeysInItIsOurs) {
  std::ofstream(root_ / "api_keys.json") << "[]";
  EXPECT_TRUE(DataDir::Open(root_.string(), std::nullopt));
}

TEST_F(DataDirTest, AFileIsNotADirectory) {
  std::ofstream(root_ / "file") << "x";
  EXPECT_FALSE(DataDir::Open((root_ / "file").string(), std::nullopt));
}

TEST_F(DataDirTest, IsHandedToItsOwnerWithoutWhatIsNotOurs) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to give files away";
  std::ofstream(root_ / "forkbox.db") << "x";
  std::ofstream(root_ / "other") << "x";
  const auto dir = DataDir::Open(root_.string(), FileOwner{12345, 12346});
  ASSERT_TRUE(dir) << dir.error().message;
  const auto uid = [&](const fs::path& path) {
    struct stat info {};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0);
    return info.st_uid;
  };
  EXPECT_EQ(uid(root_), 12345U);
  EXPECT_EQ(uid(root_ / "forkbox.db"), 12345U);
  EXPECT_EQ(uid(root_ / "other"), 0U);
}

}  // namespace
}  // namespace forkbox::cli
