#include "api/auth/key_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "api/auth/authenticator.h"
#include "base/uuid.h"

namespace forkbox::api {
namespace {

namespace fs = std::filesystem;

class KeyFileTest : public testing::Test {
 protected:
  KeyFileTest() : folder_(fs::temp_directory_path() / ("forkbox-keys-" + NewUuidV7())) {
    fs::create_directory(folder_);
  }
  ~KeyFileTest() override { fs::remove_all(folder_); }

  [[nodiscard]] std::string Path() const { return folder_ / "keys.json"; }
  void Write(const std::string& text) const { std::ofstream(Path()) << text; }
  [[nodiscard]] std::string Read() const {
    std::stringstream text;
    text << std::ifstream(Path()).rdbuf();
    return text.str();
  }

  fs::path folder_;
};

TEST_F(KeyFileTest, ReadsZerobootsPlainArray) {
  Write(R"(["zb_live_1", "zb_demo_2"])");
  const auto keys = LoadKeyFile(Path());
  ASSERT_TRUE(keys) << keys.error().message;
  ASSERT_EQ(keys->size(), 2U);
  EXPECT_TRUE((*keys)[0].digest.Equals(KeyDigest::Of("zb_live_1")));
  EXPECT_FALSE((*keys)[0].hashed);
}

TEST_F(KeyFileTest, AnEmptyArraySwitchesKeysOff) {
  Write("[]");
  const auto keys = LoadKeyFile(Path());
  ASSERT_TRUE(keys);
  EXPECT_FALSE(Authenticator(*keys).enabled());
}

struct BadFile {
  std::string name;
  std::string text;
  std::string complaint;
};

class BadKeyFileTest : public KeyFileTest, public testing::WithParamInterface<BadFile> {};

// Each of these once meant, elsewhere, a server that let everybody in.
TEST_P(BadKeyFileTest, IsRefused) {
  Write(GetParam().text);
  const auto keys = LoadKeyFile(Path());
  ASSERT_FALSE(keys);
  EXPECT_EQ(keys.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(keys.error().message.find(GetParam().complaint), std::string::npos)
      << keys.error().message;
  EXPECT_EQ(keys.error().message.find("secret"), std::string::npos) << keys.error().message;
}

INSTANTIATE_TEST_SUITE_P(
    Files, BadKeyFileTest,
    testing::Values(
        BadFile{"empty", "", "not a JSON array"}, BadFile{"cut_short", R"(["secret)", "not a JSON"},
        BadFile{"an_object", R"({"key":"secret"})", "not a JSON array"},
        BadFile{"an_empty_key", R"(["a",""])", "entry 2 is an empty string"},
        BadFile{"repeated", R"(["secret","b","secret"])", "entry 3 repeats"},
        BadFile{"a_number", "[7]", "entry 1 is neither"},
        BadFile{"a_line_break", "[\"secret\\n\"]", "entry 1 has a control character"},
        BadFile{"a_blank_at_the_end", "[\"secret \"]", "entry 1 has a control character"},
        BadFile{"no_hash", R"([{"label":"secret"}])", "entry 1 has no `sha256`"},
        BadFile{"a_short_hash", R"([{"sha256":"00ff"}])", "entry 1 has no `sha256`"},
        BadFile{"nested_without_end", std::string(3'000'000, '['), "not a JSON array"},
        BadFile{"huge", "[\"" + std::string(5 << 20, 'a') + "\"]", "larger than 4 MiB"}),
    [](const auto& test) { return test.param.name; });

TEST_F(KeyFileTest, AMissingFileIsAnErrorOnceItWasNamed) {
  const auto keys = LoadKeyFile(Path());
  ASSERT_FALSE(keys);
  EXPECT_EQ(keys.error().code, ErrorCode::kNotFound);
  EXPECT_EQ(LoadKeyFile(folder_).error().code, ErrorCode::kInternal);  // a folder
}

TEST_F(KeyFileTest, TheFirstSettingWins) {
  EXPECT_EQ(FindKeyFile("/a", "/b"), "/a");
  EXPECT_EQ(FindKeyFile("", "/b"), "/b");
}

TEST_F(KeyFileTest, ACreatedKeyWorksAndIsNotInTheFile) {
  Write(R"(["zb_live_1"])");
  const auto created = CreateKey(Path(), "ci", FakeClock());
  ASSERT_TRUE(created) << created.error().message;
  EXPECT_EQ(created->entry.created_at, "2023-11-14T22:13:20Z");
  EXPECT_EQ(Read().find(created->key), std::string::npos);
  EXPECT_NE(Read().find("zb_live_1"), std::string::npos) << "the other entries stay as they were";

  const auto keys = LoadKeyFile(Path());
  ASSERT_TRUE(keys) << keys.error().message;
  const Authenticator authenticator(*keys);
  const auto identity = authenticator.Find(KeyDigest::Of(created->key), created->key);
  ASSERT_TRUE(identity);
  EXPECT_EQ(identity->owner.str(), created->entry.id);
}

TEST_F(KeyFileTest, ANewFileIsForItsOwnerAloneAndAnOldOneKeepsItsMode) {
  ASSERT_TRUE(CreateKey(Path(), "", FakeClock()));
  struct stat info {};
  ASSERT_EQ(::stat(Path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  ASSERT_EQ(::chmod(Path().c_str(), 0640), 0);
  ASSERT_TRUE(CreateKey(Path(), "", FakeClock()));
  ASSERT_EQ(::stat(Path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640U);
}

TEST_F(KeyFileTest, RevokesPlainAndHashedKeysById) {
  Write(R"(["zb_live_1"])");
  const auto created = CreateKey(Path(), "", FakeClock());
  ASSERT_TRUE(created);
  ASSERT_TRUE(RevokeKey(Path(), created->entry.id));
  ASSERT_TRUE(RevokeKey(Path(), KeyDigest::Of("zb_live_1").ShortId()));
  EXPECT_TRUE(LoadKeyFile(Path())->empty());
  EXPECT_EQ(RevokeKey(Path(), created->entry.id).error().code, ErrorCode::kNotFound);
}

TEST_F(KeyFileTest, AnInvalidFileIsNotOverwritten) {
  Write("not json");
  EXPECT_FALSE(CreateKey(Path(), "", FakeClock()));
  EXPECT_EQ(Read(), "not json");
}

TEST_F(KeyFileTest, WritersDoNotLoseEachOthersKeys) {
  {
    std::vector<std::jthread> writers;
    for (int i = 0; i < 4; ++i) {
      writers.emplace_back([&] {
        for (int k = 0; k < 5; ++k) EXPECT_TRUE(CreateKey(Path(), "", FakeClock()));
      });
    }
  }
  EXPECT_EQ(LoadKeyFile(Path())->size(), 20U);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1) << "no temporary file is left";
}

}  // namespace
}  // namespace forkbox::api
