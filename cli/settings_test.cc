#include "cli/settings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cli/server_config.h"

namespace forkbox::cli {
namespace {

// Parses a command line the way `forkbox serve` does, with the environment and file of the test.
class SettingsTest : public ::testing::Test {
 protected:
  SettingsTest()
      : path_(std::filesystem::temp_directory_path() /
              ("forkbox-settings-" + std::to_string(::getpid()))) {}
  ~SettingsTest() override {
    std::filesystem::remove(path_);
    for (const std::string& name : variables_) ::unsetenv(name.c_str());
  }

  void Env(const std::string& name, const std::string& value) {
    ::setenv(name.c_str(), value.c_str(), 1);
    variables_.push_back(name);
  }
  void File(const std::string& text) {
    std::ofstream(path_) << text;
    Env("FORKBOX_CONFIG", path_.string());
  }

  // The error's text, or "" when all went well.
  std::string Parse(const std::string& line) {
    CLI::App app("test");
    Settings settings(app, "serve");
    config_ = {};
    config_ = ServerConfig();
    config_.AddTo(settings, roles_);
    try {
      app.parse(line);
    } catch (const CLI::ParseError& error) {
      return error.what();
    }
    if (auto complete = settings.Complete(); !complete) return complete.error().message;
    if (auto resolved = config_.Resolve(roles_); !resolved) return resolved.error().message;
    printed_ = settings.Print();
    return "";
  }

  std::filesystem::path path_;
  std::vector<std::string> variables_;
  Roles roles_{.api = true, .runner = true, .webhook = true};
  ServerConfig config_;
  std::string printed_;
};

TEST_F(SettingsTest, FlagsBeatTheEnvironmentWhichBeatsTheFile) {
  File("slots = 5\nqueue-limit = 55\nlog-level = \"warn\"\n");
  Env("FORKBOX_SLOTS", "6");
  Env("FORKBOX_QUEUE_LIMIT", "66");
  ASSERT_EQ(Parse("--slots 7"), "");
  EXPECT_EQ(config_.slots, 7U);
  EXPECT_EQ(config_.queue_limit, 66U);
  EXPECT_EQ(config_.log_level, "warn");
  EXPECT_EQ(config_.level, LogLevel::kWarn);
}

TEST_F(SettingsTest, AFileMayHaveASectionAndOtherCommandsSections) {
  File("# ours\n[serve]\nslots = 5\ninsecure-no-auth = true\n[bench]\nruns = 3\n");
  ASSERT_EQ(Parse(""), "");
  EXPECT_EQ(config_.slots, 5U);
  EXPECT_TRUE(config_.insecure_no_auth);
}

TEST_F(SettingsTest, WhatIsPrintedCanBeReadBack) {
  ASSERT_EQ(Parse("--slots 9 --listen [::1]:0 --data-dir /x/y --insecure-no-auth"), "");
  const std::string printed = printed_;
  File(printed);
  ASSERT_EQ(Parse(""), "");
  EXPECT_EQ(printed_, printed);
  EXPECT_EQ(config_.address.host, "::1");
  EXPECT_EQ(config_.database, "sqlite:/x/y/forkbox.db");
}

TEST_F(SettingsTest, APartAloneNeedsItsServers) {
  constexpr const char* kServers = "--database postgres://h/d --broker amqp://h ";
  const struct {
    Roles roles;
    const char* line;
    const char* says;  // "" when it is right
  } cases[] = {
      {{.api = true}, "", "--broker"},
      {{.api = true}, "--broker amqp://h", "--database"},
      {{.runner = true}, "--database sqlite:x --broker amqp://h", "--database"},
      {{.runner = true}, "--database postgres://h/d --broker embedded:", "--broker"},
      {{.api = true}, kServers, ""},
      {{.runner = true}, kServers, ""},
      {{.webhook = true}, kServers, ""},
      {{.api = true}, "--slots 3", "--slots"},
      {{.webhook = true}, "--listen 127.0.0.1:1", "--listen"},
      {{.api = true, .runner = true, .webhook = true}, kServers, ""},
  };
  for (const auto& c : cases) {
    roles_ = c.roles;
    const std::string error = Parse(c.line);
    if (std::string(c.says).empty()) {
      EXPECT_EQ(error, "") << c.line;
      EXPECT_FALSE(config_.embedded);
      EXPECT_EQ(config_.runner_name, config_.process_name);
    } else {
      EXPECT_NE(error.find(c.says), std::string::npos) << error;
    }
  }
}

TEST_F(SettingsTest, TheToolkitsQueueLimitIsUnderstood) {
  Env("MAX_QUEUE_LENGTH", "7");
  ASSERT_EQ(Parse(""), "");
  EXPECT_EQ(config_.nca_max_queue_length, 7U);
  ASSERT_EQ(Parse("--nca-max-queue-length 3"), "");
  EXPECT_EQ(config_.nca_max_queue_length, 3U);
  Env("MAX_QUEUE_LENGTH", "many");
  EXPECT_NE(Parse("").find("MAX_QUEUE_LENGTH"), std::string::npos);
}

TEST_F(SettingsTest, WhatMustBeAMachineIsOneByDefault) {
  ASSERT_EQ(Parse(""), "");
  EXPECT_EQ(config_.isolation, "process");
  EXPECT_TRUE(config_.sandboxes);
  for (const char* isolation : {"process", "auto", "vm"}) {
    ASSERT_EQ(Parse("--isolation-floor vm --isolation " + std::string(isolation)), "");
    EXPECT_EQ(config_.isolation, "vm");
    EXPECT_FALSE(config_.sandboxes) << "they are processes";
  }
}

struct Wrong {
  const char* name;
  const char* line;
  const char* env;  // value of FORKBOX_SLOTS
  const char* file;
  const char* says;  // somewhere in the message
};
class WrongSettings : public SettingsTest, public ::testing::WithParamInterface<Wrong> {};
TEST_P(WrongSettings, AreNamed) {
  if (GetParam().env != nullptr) Env("FORKBOX_SLOTS", GetParam().env);
  if (GetParam().file != nullptr) File(GetParam().file);
  const std::string error = Parse(GetParam().line);
  EXPECT_NE(error.find(GetParam().says), std::string::npos) << error;
  EXPECT_EQ(error.find('\n'), std::string::npos) << "one line";
}
INSTANTIATE_TEST_SUITE_P(
    Cases, WrongSettings,
    ::testing::Values(
        Wrong{"not_a_number", "--slots many", nullptr, nullptr, "--slots"},
        Wrong{"out_of_range", "--slots 5000", nullptr, nullptr, "--slots"},
        Wrong{"negative", "--slots -1", nullptr, nullptr, "--slots"},
        Wrong{"unknown_flag", "--slotz 1", nullptr, nullptr, "--slotz"},
        Wrong{"variable", "", "many", nullptr, "FORKBOX_SLOTS"},
        Wrong{"file_key", "", nullptr, "slotz = 1\n", "slotz"},
        Wrong{"file_value", "", nullptr, "slots = 99999\n", "slots"},
        Wrong{"file_missing", "--config /nowhere/x", nullptr, nullptr, "/nowhere/x"},
        Wrong{"level", "--log-level loud", nullptr, nullptr, "--log-level"},
        Wrong{"listen", "--listen 8080", nullptr, nullptr, "--listen"},
        Wrong{"port", "--listen 127.0.0.1:99999", nullptr, nullptr, "--listen"},
        Wrong{"rabbit_alone", "--broker amqp://h", nullptr, nullptr, "--database"},
        Wrong{"postgres_alone", "--database postgres://h/d", nullptr, nullptr, "--broker"},
        Wrong{"file_and_rabbit", "--database sqlite:x --broker amqp://h", nullptr, nullptr,
              "--database"},
        Wrong{"allow", "--webhook-allow 10.0.0.0/33", nullptr, nullptr, "--webhook-allow"},
        Wrong{"prefix", "--queue-prefix é", nullptr, nullptr, "--queue-prefix"},
        Wrong{"machine_memory", "--vm-memory-mb 512", nullptr, nullptr, "--vm-memory-mb"},
        Wrong{"floor", "--isolation-floor auto", nullptr, nullptr, "--isolation-floor"},
        Wrong{"floor_without", "--isolation-floor vm --vm off", nullptr, nullptr, "--vm is off"},
        Wrong{"broker", "--broker sqlite:x", nullptr, nullptr, "--broker"},
        Wrong{"reserve", "--slots 2 --interactive-slots 2", nullptr, nullptr,
              "--interactive-slots"}),
    [](const auto& wrong) { return wrong.param.name; });

TEST(MaskUrlPassword, HidesOnlyThePassword) {
  EXPECT_EQ(MaskUrlPassword("postgres://me:secret@host/db"), "postgres://me:***@host/db");
  EXPECT_EQ(MaskUrlPassword("amqp://me:p@ss@host"), "amqp://me:***@host");
  EXPECT_EQ(MaskUrlPassword("postgres://me@host/db"), "postgres://me@host/db");
  EXPECT_EQ(MaskUrlPassword("sqlite:/var/x.db"), "sqlite:/var/x.db");
  EXPECT_EQ(MaskUrlPassword("http://host:80/a@b"), "http://host:80/a@b");
  EXPECT_EQ(MaskUrlPassword("postgres://host/db?password=x&user=me&sslpassword=y"),
            "postgres://host/db?password=***&user=me&sslpassword=***");
}

}  // namespace
}  // namespace forkbox::cli
