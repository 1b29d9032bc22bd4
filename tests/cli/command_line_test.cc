// What the program says to people: help, mistakes, and the commands that end by themselves.

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/cli/forkbox_process.h"

namespace forkbox::tests {
namespace {

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};
Ran Forkbox(std::vector<std::string> args, const std::string& input = "",
            std::vector<std::string> environment = {}) {
  const TemporaryDirectory directory;
  ForkboxProcess process(directory.path(), std::move(args), input, std::move(environment));
  Ran ran;
  ran.code = process.Wait();
  ran.out = process.Stdout();
  ran.err = process.Stderr();
  return ran;
}

class Help : public ::testing::TestWithParam<const char*> {};
TEST_P(Help, TeachesAndSucceeds) {
  const std::string command = GetParam();
  const Ran ran = command.empty() ? Forkbox({"--help"}) : Forkbox({command, "--help"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_NE(ran.out.find("Usage: forkbox"), std::string::npos);
  EXPECT_EQ(ran.err, "");
}
INSTANTIATE_TEST_SUITE_P(Commands, Help,
                         ::testing::Values("", "serve", "run", "keys", "doctor", "bench"));

TEST(Program, SaysItsVersion) {
  const Ran ran = Forkbox({"--version"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out.rfind("forkbox ", 0), 0U);
}

struct Mistake {
  const char* name;
  std::vector<std::string> args;
  std::vector<std::string> environment;
  const char* names;
};
class Mistakes : public ::testing::TestWithParam<Mistake> {};
TEST_P(Mistakes, AreOneClearLineAndExitCode2) {
  const Ran ran = Forkbox(GetParam().args, "", GetParam().environment);
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
  EXPECT_NE(ran.err.find(GetParam().names), std::string::npos) << ran.err;
  EXPECT_EQ(ran.err.find("secret"), std::string::npos);
}
INSTANTIATE_TEST_SUITE_P(
    Cases, Mistakes,
    ::testing::Values(
        Mistake{"flag", {"serve", "--no-such-flag"}, {}, "--no-such-flag"},
        Mistake{"command", {"sevre"}, {}, "sevre"},
        Mistake{"slots", {"serve", "--slots", "x"}, {}, "--slots"},
        Mistake{"variable", {"serve"}, {"FORKBOX_SLOTS=x"}, "FORKBOX_SLOTS"},
        Mistake{"listen", {"serve", "--listen", "nowhere"}, {}, "--listen"},
        Mistake{"broker", {"serve", "--broker", "kafka://u:secret@h"}, {}, "--broker"},
        Mistake{"database", {"serve", "--database", "mysql://u:secret@h"}, {}, "--database"},
        Mistake{"lone_broker", {"serve", "--broker", "amqp://u:secret@h"}, {}, "--database"},
        Mistake{"lone_database", {"serve", "--database", "postgres://u:secret@h"}, {}, "--broker"},
        Mistake{"config", {"serve", "--config", "none.toml"}, {}, "none.toml"},
        Mistake{"data_dir", {"serve", "--listen", "127.0.0.1:0", "--data-dir", "/usr"}, {}, "/usr"},
        Mistake{"isolation", {"serve", "--isolation", "jail"}, {}, "--isolation"},
        Mistake{"isolation_variable", {"serve"}, {"FORKBOX_ISOLATION=jail"}, "FORKBOX_ISOLATION"},
        Mistake{"isolation_off", {"serve", "--isolation", "vm", "--vm", "off"}, {}, "--isolation"},
        Mistake{"isolation_of_runner", {"runner", "--isolation", "vm"}, {}, "--isolation"},
        Mistake{"vm", {"serve", "--vm", "maybe"}, {}, "--vm"},
        Mistake{"vm_memory", {"serve", "--vm-memory-mb", "1"}, {}, "--vm-memory-mb"},
        Mistake{"isolation_there",
                {"run", "--isolation", "vm", "--url", "http://127.0.0.1:1", "--language", "bash",
                 "/etc/hostname"},
                {},
                "--isolation"},
        Mistake{"no_file", {"run", "none.py"}, {}, "none.py"},
        Mistake{"no_language", {"run", "/etc/hostname"}, {}, "--language"}),
    [](const auto& mistake) { return mistake.param.name; });

TEST(PrintConfig, ShowsWhatWouldBeUsedAndStartsNothing) {
  const Ran ran = Forkbox({"serve", "--print-config", "--data-dir", "/no/such/place"}, "",
                          {"FORKBOX_LISTEN=[::1]:1234"});
  EXPECT_EQ(ran.code, 0);
  EXPECT_NE(ran.out.find("listen = \"[::1]:1234\"\n"), std::string::npos) << ran.out;
  EXPECT_NE(ran.out.find("database = \"sqlite:/no/such/place/forkbox.db\"\n"), std::string::npos);
  EXPECT_EQ(ran.err, "");
  for (const char* line : {"isolation = \"process\"\n", "vm = \"off\"\n", "vm-memory-mb = 2048\n",
                           "vm-pool-size = 2\n", "vm-max = 64\n", "vm-image = \"\"\n"}) {
    EXPECT_NE(ran.out.find(line), std::string::npos) << line;
  }
}

struct KeyCommands {
  TemporaryDirectory directory;
  Ran Run(std::vector<std::string> args) const {
    ForkboxProcess process(directory.path(), std::move(args));
    const int code = process.Wait();
    return Ran{code, process.Stdout(), process.Stderr()};
  }
  std::string Key(std::vector<std::string> args) const {
    const Ran made = Run(std::move(args));
    EXPECT_EQ(made.code, 0) << made.err;
    return made.out.substr(0, made.out.find('\n'));
  }
  // No file below the directory holds that text.
  [[nodiscard]] bool IsNowhere(const std::string& text) const {
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.path())) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      const std::string stored((std::istreambuf_iterator<char>(in)),
                               std::istreambuf_iterator<char>());
      if (stored.find(text) != std::string::npos) return false;
    }
    return true;
  }
};

// The whole life of a key; what is on the disk never contains it.
TEST(Keys, AreMadeListedRotatedAndRevoked) {
  const KeyCommands keys;
  EXPECT_EQ(keys.Run({"keys", "list"}).code, 1) << "there is no database yet";
  const std::string key =
      keys.Key({"keys", "create", "--name", "ci", "--owner", "acme", "--permissions",
                "execute_only,read_only", "--expires", "2999-01-28T00:00:00Z"});
  EXPECT_EQ(key.size(), 38U) << key;
  EXPECT_TRUE(key.starts_with("exec0_"));
  EXPECT_TRUE(keys.IsNowhere(key));
  struct stat info {};
  ASSERT_EQ(::stat((keys.directory.path() / "var/forkbox.db").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 077, 0U);
  keys.Key({"keys", "create", "--label", "the old flag"});

  Ran listed = keys.Run({"keys", "list", "--json"});
  auto all = nlohmann::json::parse(listed.out, nullptr, false);
  ASSERT_TRUE(all.is_array() && all.size() == 2) << listed.out;
  EXPECT_EQ(all[0]["name"], "the old flag");
  EXPECT_EQ(all[0]["owner"], "default");
  EXPECT_EQ(all[0]["permissions"], nlohmann::json{"full_access"});
  EXPECT_EQ(all[1]["owner"], "acme");
  EXPECT_EQ(all[1]["permissions"], (nlohmann::json{"execute_only", "read_only"}));
  EXPECT_EQ(all[1]["expires_at"], "2999-01-28T00:00:00.000Z");
  EXPECT_EQ(all[1]["state"], "active");
  EXPECT_EQ(listed.out.find(key), std::string::npos);

  const std::string id = all[1]["id"];
  const std::string successor = keys.Key({"keys", "rotate", id});
  EXPECT_NE(successor, key);
  listed = keys.Run({"keys", "list", "--json", "--owner", "acme"});
  all = nlohmann::json::parse(listed.out, nullptr, false);
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0]["permissions"], (nlohmann::json{"execute_only", "read_only"}));
  EXPECT_EQ(all[1]["state"], "revoked");
  EXPECT_EQ(all[1]["rotated_to"], all[0]["id"]);
  EXPECT_EQ(keys.Run({"keys", "revoke", all[0]["id"].get<std::string>()}).code, 0);
  EXPECT_EQ(keys.Run({"keys", "revoke", all[0]["id"].get<std::string>()}).code, 1) << "again";
  EXPECT_EQ(keys.Run({"keys", "rotate", id}).code, 1);
  EXPECT_EQ(keys.Run({"keys", "revoke", "key_0"}).code, 1);
  EXPECT_EQ(keys.Run({"keys", "revoke", "0000000000000000"}).code, 1);
  EXPECT_NE(keys.Run({"keys", "list"}).out.find("revoked"), std::string::npos);
}

TEST(Keys, GoToAFileWhenOneIsNamed) {
  const KeyCommands keys;
  const std::string key = keys.Key({"keys", "create", "--label", "ci", "--keys-file", "mine.json"});
  EXPECT_TRUE(keys.IsNowhere(key));
  const Ran listed = keys.Run({"keys", "list", "--json", "--keys-file", "mine.json"});
  const auto all = nlohmann::json::parse(listed.out, nullptr, false);
  ASSERT_TRUE(all.is_array() && all.size() == 1) << listed.out << listed.err;
  EXPECT_EQ(all[0]["name"], "ci");
  EXPECT_EQ(all[0]["source"], "file");
  const std::string id = all[0]["id"];
  EXPECT_EQ(keys.Run({"keys", "revoke", id, "--keys-file", "mine.json"}).code, 0);
  EXPECT_EQ(keys.Run({"keys", "revoke", id, "--keys-file", "mine.json"}).code, 1);
}

TEST(Keys, WrongFlagsAreUsageErrors) {
  const KeyCommands keys;
  using Args = std::vector<std::string>;
  for (const Args& args :
       {Args{"create", "--permissions", "admin"}, Args{"create", "--expires", "x"},
        Args{"create", "--expires", "2020-01-01T00:00:00Z"}, Args{"create", "--owner", "a b"},
        Args{"create", "--name", std::string(201, 'x')}, Args{"create", "--database", "mysql://x"},
        Args{"create", "--keys-file", "f", "--owner", "acme"}, Args{"revoke"}, Args{"rotate"}}) {
    Args all{"keys"};
    all.insert(all.end(), args.begin(), args.end());
    EXPECT_EQ(keys.Run(all).code, 2) << args.back();
  }
  EXPECT_FALSE(std::filesystem::exists(keys.directory.path() / "var")) << "nothing was made";
}

TEST(Accounts, HaveLimitsThatCanBeSet) {
  const KeyCommands accounts;
  EXPECT_EQ(accounts.Run({"accounts", "show", "acme"}).code, 1) << "there is no database yet";
  EXPECT_EQ(accounts.Run({"accounts", "set", "acme", "--concurrency", "5"}).code, 0);
  EXPECT_EQ(accounts.Run({"accounts", "set", "acme", "--monthly-quota", "1000"}).code, 0);
  const auto shown = nlohmann::json::parse(accounts.Run({"accounts", "show", "acme", "--json"}).out,
                                           nullptr, false);
  EXPECT_EQ(shown, (nlohmann::json{{"account", "acme"},
                                   {"concurrency", 5},
                                   {"executions_per_minute", 100},
                                   {"monthly_quota", 1000},
                                   {"used_this_month", 0}}));
  EXPECT_NE(accounts.Run({"accounts", "show", "other"}).out.find("no limit"), std::string::npos);
  using Args = std::vector<std::string>;
  for (const Args& args : {Args{}, Args{"--concurrency", "0"}, Args{"--concurrency", "21"},
                           Args{"--per-minute", "-1"}, Args{"--monthly-quota", "many"}}) {
    Args all{"accounts", "set", "acme"};
    all.insert(all.end(), args.begin(), args.end());
    EXPECT_EQ(accounts.Run(all).code, 2) << (args.empty() ? "" : args.back());
  }
  EXPECT_EQ(accounts.Run({"accounts", "set", "a b", "--concurrency", "5"}).code, 2);
}

struct LocalProgram {
  const char* name;
  const char* file;
  const char* code;
  std::vector<std::string> flags;
  const char* input;
  int exit_code;
  const char* out;
};
class RunFile : public ::testing::TestWithParam<LocalProgram> {};
TEST_P(RunFile, PrintsWhatItPrintsAndEndsAsItEnds) {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() / GetParam().file) << GetParam().code;
  std::vector<std::string> args{"run"};
  args.insert(args.end(), GetParam().flags.begin(), GetParam().flags.end());
  args.push_back(GetParam().file);
  ForkboxProcess process(directory.path(), args, GetParam().input);
  EXPECT_EQ(process.Wait(), GetParam().exit_code) << process.Stderr();
  EXPECT_EQ(process.Stdout(), GetParam().out);
}
INSTANTIATE_TEST_SUITE_P(
    Endings, RunFile,
    ::testing::Values(
        LocalProgram{"prints", "a.py", "print('hi')", {}, "", 0, "hi\n"},
        LocalProgram{"exit_code", "a.py", "import sys; sys.exit(7)", {}, "", 7, ""},
        LocalProgram{"exception", "a.py", "raise ValueError", {}, "", 1, ""},
        LocalProgram{"input", "a.py", "print(input()[::-1])", {}, "abc\n", 0, "cba\n"},
        LocalProgram{"bash", "a.sh", "echo $((6*7))", {}, "", 0, "42\n"},
        LocalProgram{"named", "a.txt", "echo named", {"--language", "bash"}, "", 0, "named\n"},
        LocalProgram{"signal", "a.py", "import os; os.kill(os.getpid(), 15)", {}, "", 143, ""},
        LocalProgram{"time", "a.py", "while True: pass", {"--timeout", "1"}, "", 124, ""},
        LocalProgram{"memory", "a.py", "x = bytearray(512 << 20)", {}, "", 137, ""},
        LocalProgram{
            "typescript", "a.ts", "const n: number = 6; console.log(n);", {}, "", 0, "6\n"},
        LocalProgram{"alias", "a", "console.log(7 as number)", {"--language", "ts"}, "", 0, "7\n"},
        LocalProgram{"unknown", "a.py", "", {"--language", "cobol"}, "", 2, ""}),
    [](const auto& one) { return one.param.name; });

TEST(RunCommand, SaysWhatTheCompilerSaid) {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() / "bad.ts") << "let a = ;";
  ForkboxProcess process(directory.path(), {"run", "bad.ts"});
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_EQ(process.Stdout(), "");
  EXPECT_EQ(process.Stderr(),
            "main.ts:1:9: error: Expression expected\n    1 | let a = ;\n      |         ^\n");
}

TEST(RunCommand, GivesTheWholeOutcomeAsJson) {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() / "a.py") << "print('hi')";
  ForkboxProcess process(directory.path(), {"run", "--json", "a.py"});
  EXPECT_EQ(process.Wait(), 0);
  const auto outcome = nlohmann::json::parse(process.Stdout(), nullptr, false);
  ASSERT_TRUE(outcome.is_object()) << process.Stdout();
  EXPECT_EQ(outcome["state"], "completed");
  EXPECT_EQ(outcome["stdout"], "hi\n");
}

TEST(Doctor, FindsThatASandboxWorksHere) {
  const Ran ran = Forkbox({"doctor", "--json"});
  EXPECT_EQ(ran.code, 0) << ran.out;
  const auto report = nlohmann::json::parse(ran.out, nullptr, false);
  ASSERT_TRUE(report.is_object());
  EXPECT_EQ(report["sandbox"]["ok"], true);
  EXPECT_FALSE(report["checks"].empty());
  const auto is = [](const char* name) {
    return [name](const nlohmann::json& check) {
      return check["group"] == "virtual machines" && check["name"] == name;
    };
  };
  for (const char* name : {"kvm", "qemu", "image"}) {
    const auto check = std::ranges::find_if(report["checks"], is(name));
    ASSERT_NE(check, report["checks"].end()) << name;
    EXPECT_FALSE((*check)["detail"].get<std::string>().empty()) << name;
    EXPECT_TRUE((*check)["ok"] == true || (*check)["optional"] == true) << *check;
  }
  for (const auto& language : report["languages"]) {
    if (language["id"] == "python") {
      EXPECT_EQ(language["ready"], true);
    }
  }
}

TEST(Doctor, ReportsAllOfItWhenNoMachineBoots) {
  const Ran ran = Forkbox({"doctor", "--json", "--vm"}, "", {"FORKBOX_VM_IMAGE=/nowhere/images"});
  EXPECT_NE(ran.code, 0) << "who asks for a machine wants to know";
  const auto report = nlohmann::json::parse(ran.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << ran.out << ran.err;
  EXPECT_EQ(report["sandbox"]["ok"], true);
  EXPECT_FALSE(report["languages"].empty());
  const auto template_check = std::ranges::find_if(
      report["checks"], [](const auto& check) { return check["name"] == "template"; });
  ASSERT_NE(template_check, report["checks"].end());
  EXPECT_EQ((*template_check)["ok"], false);
  EXPECT_NE((*template_check)["detail"].get<std::string>().find("/nowhere/images"),
            std::string::npos)
      << *template_check;
}

TEST(RunCommand, LooksForTheImageWhereItIsTold) {
  const TemporaryDirectory directory;
  std::ofstream(directory.path() / "a.py") << "print('hi')";
  for (const bool by_flag : {true, false}) {
    std::vector<std::string> args = {"run", "--isolation", "vm", "a.py"};
    if (by_flag) args.insert(args.begin() + 1, {"--vm-image", "/nowhere/images"});
    ForkboxProcess process(
        directory.path(), args, "",
        {by_flag ? "FORKBOX_VM_IMAGE=/elsewhere" : "FORKBOX_VM_IMAGE=/nowhere/images"});
    EXPECT_EQ(process.Wait(), 125);
    EXPECT_EQ(process.Stdout(), "");
    EXPECT_NE(process.Stderr().find("/nowhere/images"), std::string::npos) << process.Stderr();
  }
}

TEST(Bench, MeasuresEveryLanguageBothWays) {
  const Ran ran = Forkbox({"bench", "--json", "-n", "3", "--languages", "bash,python"});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const auto rows = nlohmann::json::parse(ran.out, nullptr, false);
  ASSERT_TRUE(rows.is_array());
  EXPECT_EQ(rows.size(), 4U);
}

}  // namespace
}  // namespace forkbox::tests
