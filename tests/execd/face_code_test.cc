// Code in contexts, over HTTP.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/execd/face_server.h"

namespace forkbox::tests {
namespace {

using ::testing::HasSubstr;

FaceServer& Server() { return FaceServer::Shared(); }

std::string NewContext(const std::string& language) {
  const auto answer = Server().Post("/code/context", {{"language", language}});
  EXPECT_EQ(answer.status, 200) << answer.body;
  const Json context = Parse(answer.body);
  EXPECT_EQ(context.value("language", ""), language);
  return context.value("id", "");
}

std::vector<Json> Cell(const std::string& id, const std::string& language,
                       const std::string& code) {
  FaceStream stream =
      Server().Stream("/code", {{"code", code}, {"context", {{"id", id}, {"language", language}}}});
  EXPECT_EQ(stream.status(), 200) << stream.head();
  return stream.Rest();
}

// What a cell's last expression was, as text.
std::string ResultOf(const std::vector<Json>& events) {
  for (const Json& event : events) {
    if (event["type"] == "result") return event["results"].value("text", "");
  }
  return "";
}

bool Has(const std::vector<Json>& events, const char* type) {
  for (const Json& event : events) {
    if (event["type"] == type) return true;
  }
  return false;
}

TEST(FaceCodeTest, KeepsStateInAContextAndCopiesItWhole) {
  const std::string id = NewContext("python");
  auto events = Cell(id, "python", "x = [1, 2]\nprint('hi')");
  ASSERT_GE(events.size(), 3U);
  EXPECT_EQ(events[0]["type"], "init");
  EXPECT_EQ(events[0]["text"], id);
  EXPECT_EQ(ResultOf(Cell(id, "python", "x")), "[1, 2]");

  const auto forked = Server().Ask({.method = "POST", .target = "/code/contexts/" + id + "/fork"});
  ASSERT_EQ(forked.status, 200) << forked.body;
  const std::string copy = Parse(forked.body)["id"];
  EXPECT_NE(copy, id);
  EXPECT_EQ(Parse(forked.body)["language"], "python");
  EXPECT_EQ(ResultOf(Cell(copy, "python", "x.append(3); x")), "[1, 2, 3]");
  EXPECT_EQ(ResultOf(Cell(id, "python", "x")), "[1, 2]");

  EXPECT_EQ(Parse(Server().Get("/code/contexts/" + id).body)["id"], id);
  EXPECT_THAT(Server().Get("/code/contexts?language=python").body, HasSubstr(copy));
  EXPECT_EQ(Server().Delete("/code/contexts/" + id).status, 200);
  EXPECT_EQ(Server().Delete("/code/contexts/" + id).status, 404);
  EXPECT_EQ(ResultOf(Cell(copy, "python", "sum(x)")), "6");
  EXPECT_EQ(Server().Delete("/code/contexts?language=python").status, 200);
  EXPECT_EQ(Server().Get("/code/contexts?language=python").body, "[]");
}

TEST(FaceCodeTest, TellsOfAFailureAndGoesOn) {
  const std::string id = NewContext("python");
  const auto events = Cell(id, "python", "nope");
  ASSERT_GE(events.size(), 4U);
  const auto tail = events.size() - 3;
  EXPECT_EQ(events[tail]["type"], "status");
  EXPECT_EQ(events[tail]["text"], "error");
  EXPECT_EQ(events[tail + 1]["error"]["ename"], "NameError");
  EXPECT_TRUE(events[tail + 1]["error"]["traceback"].is_array());
  EXPECT_EQ(events[tail + 2]["type"], "execution_complete");
  EXPECT_EQ(ResultOf(Cell(id, "python", "1 + 1")), "2");
}

TEST(FaceCodeTest, InterruptsAndIsBusyOneAtATime) {
  const std::string id = NewContext("python");
  FaceStream stream =
      Server().Stream("/code", {{"code", "import time\nprint('on', flush=True)\ntime.sleep(1000)"},
                                {"context", {{"id", id}, {"language", "python"}}}});
  ASSERT_TRUE(stream.Next() && stream.Next());
  bool busy = false;
  for (const Json& event : Cell(id, "python", "1")) {
    if (event["type"] == "error")
      busy = event["error"]["evalue"].get<std::string>().find("session is busy") !=
                 std::string::npos ||
             event["error"]["ename"] == "ContextBusy";
  }
  EXPECT_TRUE(busy);
  const auto fork = Server().Ask({.method = "POST", .target = "/code/contexts/" + id + "/fork"});
  EXPECT_EQ(fork.status, 409) << fork.body;
  EXPECT_EQ(Server().Delete("/code?id=" + id).status, 200);
  const auto rest = stream.Rest();
  ASSERT_FALSE(rest.empty());
  EXPECT_EQ(rest.back()["type"], "execution_complete");
  EXPECT_EQ(ResultOf(Cell(id, "python", "2")), "2");
}

TEST(FaceCodeTest, RunsWithoutAContext) {
  const auto run = [](const Json& body) {
    FaceStream stream = Server().Stream("/code", body);
    return stream.Rest();
  };
  const Json python{{"language", "python"}};
  run({{"code", "shared = 41"}, {"context", python}});
  EXPECT_EQ(ResultOf(run({{"code", "shared + 1"}, {"context", python}})), "42");
  const auto shell = run({{"code", "echo from $0"}});
  ASSERT_GE(shell.size(), 3U);
  EXPECT_THAT(shell[1]["text"].get<std::string>(), HasSubstr("bash"));
  EXPECT_TRUE(Has(shell, "execution_complete"));
  const auto background =
      run({{"code", "sleep 1000"}, {"context", {{"language", "background-command"}}}});
  ASSERT_EQ(background.size(), 2U);
  const std::string id = background[0]["text"];
  EXPECT_EQ(Parse(Server().Get("/command/status/" + id).body)["running"], true);
  EXPECT_EQ(Server().Delete("/command?id=" + id).status, 200);
}

TEST(FaceCodeTest, HasTheOtherLanguages) {
  struct Case {
    const char* language;
    const char* set;
    const char* get;
    const char* value;
  };
  for (const Case& one : {Case{"javascript", "let a = 20", "a * 2 + 2", "42"},
                          Case{"typescript", "let b: number = 20", "b * 2 + 2", "42"}}) {
    const std::string id = NewContext(one.language);
    EXPECT_FALSE(Has(Cell(id, one.language, one.set), "error")) << one.language;
    EXPECT_EQ(ResultOf(Cell(id, one.language, one.get)), one.value) << one.language;
  }
}

}  // namespace
}  // namespace forkbox::tests
