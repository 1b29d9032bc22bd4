#include "runner/languages/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace forkbox::languages {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json Good() {
  return json::parse(R"({
    "id": "bash", "name": "Bash", "aliases": ["sh", "c++", "node.js"],
    "version_command": ["/bin/bash", "--version"],
    "file_name": "main.sh", "run_command": ["/bin/bash", "{file}"],
    "env": {"X": "1"},
    "template": {"command": ["/bin/t"], "env": {"Y": ""}, "functions": true,
                 "variants": [{"mentions": ["a", "b"], "command": ["/bin/t", "a"]}]},
    "binds": [{"source": "dist", "target": "/opt/dist"}],
    "smoke": {"code": "echo 2", "stdout": "2\n"},
    "limits": {"memory_mb": 1, "pids": 2, "disk_mb": 3}
  })");
}

TEST(ManifestTest, SaysEverything) {
  const auto manifest = ParseManifest(Good().dump());
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->id, "bash");
  EXPECT_EQ(manifest->name, "Bash");
  EXPECT_THAT(manifest->version_command, ElementsAre("/bin/bash", "--version"));
  EXPECT_EQ(manifest->kind, TemplateKind::kWarmed);
  EXPECT_THAT(manifest->template_command, ElementsAre("/bin/t"));
  ASSERT_EQ(manifest->variants.size(), 1U);
  EXPECT_THAT(manifest->variants[0].mentions, ElementsAre("a", "b"));
  EXPECT_TRUE(manifest->functions);
  EXPECT_EQ(manifest->binds.at(0).target, "/opt/dist");
  EXPECT_EQ(manifest->limits.memory_bytes, 1U << 20);
  EXPECT_EQ(manifest->limits.pids, 2U);
  EXPECT_EQ(manifest->limits.disk_bytes, 3U << 20);
  for (const char* name : {"bash", "sh", "c++", "node.js"}) EXPECT_TRUE(manifest->Answers(name));
  for (const char* name : {"", "Bash", "bas", "bash "}) EXPECT_FALSE(manifest->Answers(name));
}

TEST(ManifestTest, WhatMayBeLeftOutHasItsDefault) {
  json least = Good();
  for (const char* name : {"aliases", "env", "template", "binds", "limits"}) least.erase(name);
  const auto manifest = ParseManifest(least.dump());
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->kind, TemplateKind::kExec);
  EXPECT_FALSE(manifest->functions);
  EXPECT_EQ(manifest->limits, schema::Limits{});
}

json Compiled() {
  return json::parse(R"({
    "id": "go", "name": "Go", "version_command": ["/bin/go", "version"],
    "requires": [{"path": "/bin/go", "package": "golang"}, {"path": "go/std"}],
    "file_name": "main.go", "extensions": [".go"],
    "compile": {"command": ["/bin/go", "{sources}"], "artefacts": ["/tmp/main", "/tmp/more/"],
                "env": {"GOGC": "off"},
                "limits": {"wall_s": 9, "memory_mb": 8, "pids": 7, "disk_mb": 6}},
    "run_command": ["/tmp/main"],
    "smoke": {"code": "x", "stdout": "2\n"}
  })");
}

TEST(ManifestTest, SaysWhatACompileStepIs) {
  const auto manifest = ParseManifest(Compiled().dump());
  ASSERT_TRUE(manifest) << manifest.error().message;
  ASSERT_TRUE(manifest->compile);
  EXPECT_EQ(manifest->execution_model(), ExecutionModel::kCompiled);
  EXPECT_THAT(manifest->extensions, ElementsAre(".go"));
  EXPECT_THAT(manifest->compile->command, ElementsAre("/bin/go", "{sources}"));
  EXPECT_THAT(manifest->compile->artefacts, ElementsAre("/tmp/main", "/tmp/more/"));
  EXPECT_EQ(manifest->compile->env.at("GOGC"), "off");
  EXPECT_EQ(manifest->compile->limits.wall, std::chrono::seconds(9));
  EXPECT_EQ(manifest->compile->limits.memory_bytes, 8U << 20);
  EXPECT_EQ(manifest->compile->limits.pids, 7U);
  EXPECT_EQ(manifest->limits, schema::Limits{});
  ASSERT_EQ(manifest->requirements.size(), 2U);
  EXPECT_EQ(manifest->requirements[0].package, "golang");
  EXPECT_EQ(manifest->requirements[1].path, "go/std");
}

TEST(ManifestTest, AModelFollowsFromTheSteps) {
  json transpiled = Compiled();
  transpiled.erase("run_command");
  transpiled["runs_as"] = "bash";
  transpiled["compile"] = json::object();
  const auto manifest = ParseManifest(transpiled.dump());
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->execution_model(), ExecutionModel::kTranspiled);
  EXPECT_EQ(ParseManifest(Good().dump())->execution_model(), ExecutionModel::kInterpreted);
  for (const auto& [model, word] : kExecutionModelNames) {
    EXPECT_EQ(ToString(model), word);
    EXPECT_EQ(ParseExecutionModel(word), model);
  }
  EXPECT_EQ(ParseExecutionModel("imagined"), std::nullopt);
}

TEST(ManifestTest, NamesWhatIsWrongWithACompileStep) {
  struct {
    const char* path;
    const char* value;
    const char* complaint;
  } const cases[] = {
      {"/compile", "1", "compile. must be an object"},
      {"/compile/command", "", "compile.command is missing"},
      {"/compile/command", "[]", "compile.command must start"},
      {"/compile/artefacts", "", "compile.artefacts is missing"},
      {"/compile/artefacts", "[]", "compile.artefacts must say"},
      {"/compile/artefacts", "[\"main\"]", "compile.artefacts must be absolute paths"},
      {"/compile/artefacts", "[\"/tmp/../etc\"]", "compile.artefacts must be absolute paths"},
      {"/compile/env", "[]", "compile.env must map names"},
      {"/compile/limits/wall_s", "0", "compile.limits.wall_s is out of range"},
      {"/compile/limits/wall_s", "601", "compile.limits.wall_s is out of range"},
      {"/compile/limits/pids", "0", "compile.limits.pids is out of range"},
      {"/extensions", "[\"go\"]", "extensions must be like .txt"},
      {"/extensions", "[\".a/b\"]", "extensions must be like .txt"},
      {"/runs_as", "\"No such\"", "runs_as must be the id"},
      {"/requires", "{}", "requires must be an array"},
      {"/requires/0/path", "\"\"", "requires[].path must not be empty"},
      {"/template", "{\"command\": [\"/bin/t\"]}", "template and compile exclude each other"},
  };
  for (const auto& bad : cases) {
    json manifest = Compiled();
    const json::json_pointer pointer(bad.path);
    if (bad.value[0] != '\0') {
      manifest[pointer] = json::parse(bad.value);
    } else {
      manifest[pointer.parent_pointer()].erase(pointer.back());
    }
    const auto parsed = ParseManifest(manifest.dump());
    ASSERT_FALSE(parsed) << bad.complaint;
    EXPECT_THAT(parsed.error().message, HasSubstr(bad.complaint));
  }
}

TEST(ManifestTest, SaysHowASessionIsStarted) {
  json with = Good();
  EXPECT_FALSE(ParseManifest(with.dump())->session);
  with["session"] = json::parse(R"({"warm": true, "file": "bash/session.sh", "forks": true,
      "template": {"command": ["/bin/t", "session"], "env": {"Z": "1"}}, "env": {"S": "2"}})");
  auto manifest = ParseManifest(with.dump());
  ASSERT_TRUE(manifest) << manifest.error().message;
  ASSERT_TRUE(manifest->session);
  EXPECT_TRUE(manifest->session->warm);
  EXPECT_TRUE(manifest->session->forks);
  EXPECT_EQ(manifest->session->file, "bash/session.sh");
  EXPECT_THAT(manifest->session->template_command, ElementsAre("/bin/t", "session"));
  EXPECT_EQ(manifest->session->template_env.at("Z"), "1");
  EXPECT_EQ(manifest->session->env.at("S"), "2");
  with["session"].erase("template");
  manifest = ParseManifest(with.dump());  // of the language's own template
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_TRUE(manifest->session->template_command.empty());
  with["session"] = json::parse(R"({"command": ["/bin/bash", "/opt/s.sh"]})");
  manifest = ParseManifest(with.dump());
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_FALSE(manifest->session->warm);
  EXPECT_FALSE(manifest->session->forks);
  EXPECT_THAT(manifest->session->command, ElementsAre("/bin/bash", "/opt/s.sh"));
  with["session"] = json::parse(R"({"as": "javascript"})");
  manifest = ParseManifest(with.dump());
  ASSERT_TRUE(manifest) << manifest.error().message;
  EXPECT_EQ(manifest->session->as, "javascript");
}

TEST(ManifestTest, NamesWhatIsWrongWithASession) {
  struct {
    const char* session;
    const char* complaint;
  } const cases[] = {
      {"1", "session. must be an object"},
      {"{}", "session.command is missing"},
      {R"({"warm": 1})", "session.warm must be true or false"},
      {R"({"warm": true})", "session.file is missing"},
      {R"({"warm": true, "file": "/a"})", "session.file must be a path below"},
      {R"({"warm": true, "file": "../a"})", "session.file must be a path below"},
      {R"({"warm": true, "file": "a", "template": {}})", "session.template.command is missing"},
      {R"({"warm": true, "file": "a", "template": {"command": ["t"]}})",
       "session.template.command must start"},
      {R"({"warm": true, "file": "a", "command": ["/a"]})", "must have one of"},
      {R"({"as": "b", "command": ["/a"]})", "must have one of"},
      {R"({"as": "No such"})", "session.as must be the id"},
      {R"({"command": ["a"]})", "session.command must start"},
      {R"({"command": ["/a"], "file": "a"})", "session.file is for a warm one"},
      {R"({"command": ["/a"], "template": {"command": ["/t"]}})", "session.template is for"},
      {R"({"command": ["/a"], "env": []})", "session.env must map names"},
      {R"({"command": ["/a"], "forks": "yes"})", "session.forks must be true or false"},
  };
  for (const auto& bad : cases) {
    json manifest = Good();
    manifest["session"] = json::parse(bad.session);
    const auto parsed = ParseManifest(manifest.dump());
    ASSERT_FALSE(parsed) << bad.session;
    EXPECT_THAT(parsed.error().message, HasSubstr(bad.complaint)) << bad.session;
  }
  json cold = Good();
  cold.erase("template");
  cold["session"] = json::parse(R"({"warm": true, "file": "a"})");
  EXPECT_THAT(ParseManifest(cold.dump()).error().message, HasSubstr("session.template is missing"));
}

struct Bad {
  const char* path;       // JSON pointer of what is replaced
  const char* value;      // by what; "" removes it
  const char* complaint;  // names the place
};

TEST(ManifestTest, NamesWhatIsWrong) {
  const Bad cases[] = {
      {"/id", "", "id is missing"},
      {"/id", "1", "id must be a string"},
      {"/id", "\"\"", "id must be of"},
      {"/id", "\"../x\"", "id must be of"},
      {"/id", "\"Bash\"", "id must be of"},
      {"/name", "", "name is missing"},
      {"/name", "\"\"", "name must not be empty"},
      {"/aliases", "\"sh\"", "aliases must be an array of strings"},
      {"/aliases", "[\"sh\", 1]", "aliases must be an array of strings"},
      {"/aliases", "[\"s h\"]", "aliases must be of"},
      {"/version_command", "", "version_command is missing"},
      {"/version_command", "[]", "version_command must start with the absolute path"},
      {"/run_command", "[\"bash\"]", "run_command must start with the absolute path"},
      {"/run_command", "[\"/bin/b\\u0000\"]", "run_command must not contain NUL"},
      {"/run_command", "{\"a\": \"/bin/bash\"}", "run_command must be an array of strings"},
      {"/file_name", "\"\"", "file_name must be the name of a file"},
      {"/file_name", "\"a/b\"", "file_name must be the name of a file"},
      {"/file_name", "\"..\"", "file_name must be the name of a file"},
      {"/env", "[]", "env must map names"},
      {"/env", "{\"A\": 1}", "env must map names"},
      {"/env", "{\"A=B\": \"1\"}", "env must map names"},
      {"/env", "{\"\": \"1\"}", "env must map names"},
      {"/template", "1", "template. must be an object"},
      {"/template/command", "", "template.command is missing"},
      {"/template/command", "[]", "template.command must start"},
      {"/template/env", "1", "template.env must map names"},
      {"/template/functions", "1", "template.functions must be true or false"},
      {"/template/variants", "{}", "template.variants must be an array"},
      {"/template/variants/0", "1", "variants[]. must be an object"},
      {"/template/variants/0/command", "[\"x\"]", "variants[].command must start"},
      {"/template/variants/0/mentions", "", "variants[].mentions is missing"},
      {"/binds", "1", "binds must be an array"},
      {"/binds/0", "\"x\"", "binds[]. must be an object"},
      {"/binds/0/source", "\"\"", "binds[].source must not be empty"},
      {"/binds/0/target", "\"opt\"", "binds[].target must be an absolute path"},
      {"/binds/0/target", "\"/opt/../etc\"", "binds[].target must be an absolute path"},
      {"/smoke", "", "smoke is missing"},
      {"/smoke/code", "", "smoke.code is missing"},
      {"/smoke/stdout", "2", "smoke.stdout must be a string"},
      {"/limits", "[]", "limits. must be an object"},
      {"/limits/memory_mb", "-1", "limits.memory_mb must be a whole number"},
      {"/limits/memory_mb", "1.5", "limits.memory_mb must be a whole number"},
      {"/limits/memory_mb", "0", "limits.memory_mb is out of range"},
      {"/limits/memory_mb", "18446744073709551615", "limits.memory_mb is out of range"},
      {"/limits/pids", "0", "limits.pids is out of range"},
      {"/limits/pids", "4294967296", "limits.pids is out of range"},
      {"/limits/disk_mb", "\"1\"", "limits.disk_mb must be a whole number"},
  };
  for (const Bad& bad : cases) {
    json manifest = Good();
    const json::json_pointer pointer(bad.path);
    if (bad.value[0] != '\0') {
      manifest[pointer] = json::parse(bad.value);
    } else {
      manifest[pointer.parent_pointer()].erase(pointer.back());
    }
    const auto parsed = ParseManifest(manifest.dump());
    ASSERT_FALSE(parsed) << bad.path << ' ' << bad.value;
    EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(parsed.error().message, HasSubstr(bad.complaint)) << bad.path << ' ' << bad.value;
  }
}

TEST(ManifestTest, AnythingElseIsAnErrorToo) {
  for (const char* text : {"", "{", "[]", "null", "\"bash\"", "{}", "{\"id\": \"x\"} trailing"}) {
    EXPECT_FALSE(ParseManifest(text)) << text;
  }
}

class LoadManifestsTest : public ::testing::Test {
 protected:
  LoadManifestsTest() {
    char pattern[] = "/tmp/forkbox-manifests-XXXXXX";
    folder_ = ::mkdtemp(pattern);
  }
  ~LoadManifestsTest() override { fs::remove_all(folder_); }
  void Add(const std::string& file, const std::string& id,
           const std::vector<std::string>& aliases) {
    json manifest = Good();
    manifest["id"] = id;
    manifest["aliases"] = aliases;
    std::ofstream(folder_ / file) << manifest.dump();
  }
  fs::path folder_;
};

TEST_F(LoadManifestsTest, SortsByIdAndLooksAtJsonOnly) {
  Add("1.json", "zig", {});
  Add("2.json", "ada", {});
  std::ofstream(folder_ / "README.md") << "no manifest";
  const auto manifests = LoadManifests(folder_);
  ASSERT_TRUE(manifests) << manifests.error().message;
  ASSERT_EQ(manifests->size(), 2U);
  EXPECT_EQ(manifests->at(0).id, "ada");
}

TEST_F(LoadManifestsTest, ABadOneIsNamed) {
  Add("good.json", "ada", {});
  std::ofstream(folder_ / "bad.json") << "{";
  const auto manifests = LoadManifests(folder_);
  ASSERT_FALSE(manifests);
  EXPECT_THAT(manifests.error().message, HasSubstr((folder_ / "bad.json").string()));
}

TEST_F(LoadManifestsTest, NoTwoAnswerToOneName) {
  Add("1.json", "python", {"py"});
  Add("2.json", "pypy", {"py"});
  auto manifests = LoadManifests(folder_);
  ASSERT_FALSE(manifests);
  EXPECT_EQ(manifests.error().code, ErrorCode::kConflict);
  EXPECT_THAT(manifests.error().message, HasSubstr("called py"));
  Add("2.json", "pypy", {"python"});
  EXPECT_FALSE(LoadManifests(folder_));
}

TEST_F(LoadManifestsTest, TheSessionOfAnotherMustBeThere) {
  json borrower = Good();
  borrower["id"] = "dash";
  borrower["aliases"] = json::array();
  borrower["session"] = {{"as", "bash"}};
  std::ofstream(folder_ / "1.json") << borrower.dump();
  EXPECT_FALSE(LoadManifests(folder_));
  Add("2.json", "bash", {});
  EXPECT_THAT(LoadManifests(folder_).error().message, HasSubstr("dash cannot have the session"));
  json lender = Good();
  lender["session"] = {{"command", {"/bin/bash"}}};
  std::ofstream(folder_ / "2.json") << lender.dump();
  EXPECT_TRUE(LoadManifests(folder_));
}

TEST_F(LoadManifestsTest, AMissingFolderIsNamed) {
  const auto manifests = LoadManifests(folder_ / "absent");
  ASSERT_FALSE(manifests);
  EXPECT_EQ(manifests.error().code, ErrorCode::kNotFound);
  EXPECT_THAT(manifests.error().message, HasSubstr("absent"));
}

TEST(ShippedManifestsTest, AreAllGood) {
  for (const auto& entry : fs::directory_iterator(FORKBOX_LANGUAGES)) {
    const fs::path path = entry.path() / "manifest.json";
    if (!fs::exists(path)) continue;
    std::ifstream file(path);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    const auto manifest = ParseManifest(text);
    ASSERT_TRUE(manifest) << path << ": " << manifest.error().message;
    EXPECT_EQ(manifest->id, entry.path().filename());
  }
}

}  // namespace
}  // namespace forkbox::languages
