// Commands and shell sessions over HTTP, as streams of events.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "tests/execd/face_server.h"

namespace forkbox::tests {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

FaceServer& Server() { return FaceServer::Shared(); }

std::vector<std::string> Types(const std::vector<Json>& events) {
  std::vector<std::string> types;
  for (const Json& event : events) types.push_back(event["type"]);
  return types;
}

Json Status(const std::string& id) { return Parse(Server().Get("/command/status/" + id).body); }

TEST(FaceCommandsTest, StreamsEachLineWhileTheCommandRuns) {
  Server().Shell("rm -f /tmp/gate");
  FaceStream stream = Server().Stream(
      "/command",
      {{"command", "echo one; while [ ! -e /tmp/gate ]; do sleep 0.02; done; echo two; exit 3"}});
  EXPECT_EQ(stream.status(), 200);
  EXPECT_THAT(stream.head(), HasSubstr("Content-Type: text/event-stream\r\n"));
  EXPECT_THAT(stream.head(), HasSubstr("Cache-Control: no-cache\r\n"));
  EXPECT_THAT(stream.head(), HasSubstr("X-Accel-Buffering: no\r\n"));
  EXPECT_THAT(stream.head(), HasSubstr("Transfer-Encoding: chunked\r\n"));
  const auto init = stream.NextOrPing();
  ASSERT_TRUE(init);
  EXPECT_EQ((*init)["type"], "init");
  const std::string id = (*init)["text"];
  EXPECT_EQ(id.size(), 32U);
  const auto one = stream.Next();
  ASSERT_TRUE(one);
  EXPECT_EQ((*one)["text"], "one");
  EXPECT_EQ(Status(id)["running"], true);
  EXPECT_FALSE(Status(id).contains("exit_code"));
  Server().Shell("touch /tmp/gate");
  const auto rest = stream.Rest();
  ASSERT_THAT(Types(rest), ElementsAre("stdout", "error"));
  EXPECT_EQ(rest[0]["text"], "two");
  EXPECT_EQ(rest[1]["error"]["ename"], "CommandExecError");
  EXPECT_EQ(rest[1]["error"]["evalue"], "3");
  EXPECT_EQ(rest[1]["error"]["traceback"], Json::array({"exit status 3"}));
  EXPECT_TRUE(stream.complete());
  EXPECT_EQ(stream.text(), "");
  const Json status = Status(id);
  EXPECT_EQ(status["running"], false);
  EXPECT_EQ(status["exit_code"], 3);
  EXPECT_EQ(status["error"], "exit status 3");
  EXPECT_TRUE(status["started_at"].is_string() && status["finished_at"].is_string());
}

TEST(FaceCommandsTest, PingsWhileNothingIsSaid) {
  FaceStream stream = Server().Stream("/command", {{"command", "sleep 4"}});
  int pings = 0;
  std::string last;
  while (auto event = stream.NextOrPing()) {
    last = (*event)["type"];
    if (last == "ping") ++pings;
  }
  EXPECT_GE(pings, 2);
  EXPECT_EQ(last, "execution_complete");
}

TEST(FaceCommandsTest, SpeaksTextWhateverBytesCome) {
  FaceStream stream = Server().Stream("/command", {{"command", R"(printf 'a\377b\n\n<&>\n')"}});
  const auto events = stream.Rest();
  ASSERT_THAT(Types(events),
              ElementsAre("init", "stdout", "stdout", "stdout", "execution_complete"));
  EXPECT_EQ(events[1]["text"],
            "a\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(events[2]["text"], "\n");
  EXPECT_EQ(events[3]["text"], "<&>");
}

TEST(FaceCommandsTest, RunsInTheDirectoryAndEnvironmentThatAreAskedFor) {
  FaceStream stream = Server().Stream("/command", {{"command", "pwd; echo $A-$HOME"},
                                                   {"CWD", "$WHERE"},
                                                   {"timeout", nullptr},
                                                   {"envs", {{"A", "1 2"}, {"WHERE", "/tmp"}}}});
  const auto events = stream.Rest();
  ASSERT_EQ(events.size(), 4U);
  EXPECT_EQ(events[1]["text"], "/tmp");
  EXPECT_EQ(events[2]["text"], "1 2-/box/work");
}

TEST(FaceCommandsTest, ReadsTheFileOfVariablesForEachCommand) {
  FaceServer server({"--envs-file", "$HOME/vars", "--env", "B=box"});
  EXPECT_EQ(server.Shell("echo \"[$A]$B\"; echo 'A=1' >$HOME/vars"), "[]box");
  EXPECT_EQ(server.Shell("echo \"[$A]$B\"; echo 'B=$B-file' >>$HOME/vars"), "[1]box");
  EXPECT_EQ(server.Shell("echo \"[$A]$B\""), "[1]box-file");
}

TEST(FaceCommandsTest, InterruptsByTheIdOfTheInit) {
  FaceStream stream = Server().Stream("/command", {{"command", "sleep 1000"}});
  const auto init = stream.Next();
  ASSERT_TRUE(init);
  const std::string id = (*init)["text"];
  const auto interrupted = Server().Delete("/command?id=" + id);
  EXPECT_EQ(interrupted.status, 200) << interrupted.body;
  EXPECT_EQ(interrupted.Header("Content-Length"), "0");
  const auto events = stream.Rest();
  ASSERT_THAT(Types(events), ElementsAre("error"));
  EXPECT_EQ(events[0]["error"]["evalue"], "-1");
  const auto again = Server().Delete("/command?id=" + id);
  EXPECT_EQ(again.status, 409);
  EXPECT_THAT(again.body, HasSubstr("command session " + id + " is not running"));
}

TEST(FaceCommandsTest, RunsOnWhenItsReaderHasGone) {
  Server().Shell("rm -f /tmp/gate2 /tmp/after");
  FaceStream stream = Server().Stream("/command", {{"command",
                                                    "echo one; while [ ! -e /tmp/gate2 ]; do sleep "
                                                    "0.02; done; seq 100000; echo x >/tmp/after"}});
  const auto init = stream.Next();
  ASSERT_TRUE(init && stream.Next());
  stream.Reset();
  Server().Shell("touch /tmp/gate2");
  EXPECT_TRUE(http::Eventually([&] { return Status((*init)["text"])["running"] == false; }));
  EXPECT_EQ(Status((*init)["text"])["exit_code"], 0);
  EXPECT_EQ(Server().Shell("cat /tmp/after"), "x");
}

TEST(FaceCommandsTest, KeepsTheOutputOfWhatRunsInTheBackground) {
  FaceStream stream = Server().Stream(
      "/command", {{"command", "echo out; echo err >&2; exit 5"}, {"background", true}});
  const auto events = stream.Rest();
  ASSERT_THAT(Types(events), ElementsAre("init", "execution_complete"));
  const std::string id = events[0]["text"];
  EXPECT_TRUE(http::Eventually([&] { return Status(id)["running"] == false; }));
  EXPECT_EQ(Status(id)["exit_code"], 5);
  const auto logs = Server().Get("/command/" + id + "/logs");
  EXPECT_EQ(logs.status, 200);
  EXPECT_EQ(logs.Header("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(logs.body, "out\nerr\n");
  EXPECT_EQ(logs.Header("EXECD-COMMANDS-TAIL-CURSOR"), "8");
  const auto tail = Server().Get("/command/" + id + "/logs?cursor=4");
  EXPECT_EQ(tail.body, "err\n");
  const auto end = Server().Get("/command/" + id + "/logs?cursor=8");
  EXPECT_EQ(end.body, "");
  EXPECT_EQ(end.Header("Content-Length"), "0");

  FaceStream foreground = Server().Stream("/command", {{"command", "true"}});
  const auto init = foreground.Next();
  ASSERT_TRUE(init);
  foreground.Rest();
  const auto none = Server().Get("/command/" + (*init)["text"].get<std::string>() + "/logs");
  EXPECT_EQ(none.status, 400);
  EXPECT_THAT(none.body, HasSubstr("is not running in background"));
}

// Fifty megabytes to a reader that looks away: the program waits, the server holds little.
TEST(FaceCommandsTest, HoldsLittleForASlowReader) {
  FaceServer server;
  server.Shell("true");
  FaceStream stream(
      server.port(),
      {.method = "POST",
       .target = "/command",
       .body = R"({"command":"head -c 50000000 /dev/zero | tr '\\0' x | fold -w 10000"})"},
      65536);
  ASSERT_TRUE(stream.Next());
  const std::size_t before = server.RssKib();
  std::this_thread::sleep_for(1500ms);
  EXPECT_LT(server.RssKib(), before + 24 * 1024);
  EXPECT_EQ(server.Shell("echo meanwhile"), "meanwhile");
  std::size_t bytes = 0;
  while (auto event = stream.Next()) {
    if ((*event)["type"] == "stdout")
      bytes += (*event)["text"].get_ref<const std::string&>().size();
  }
  EXPECT_EQ(bytes, 50'000'000U);
  EXPECT_TRUE(stream.complete());
  EXPECT_LT(server.RssKib(), before + 32 * 1024);
}

std::string NewSession(const Json& body) {
  const auto answer = Server().Post("/session", body);
  EXPECT_EQ(answer.status, 200) << answer.body;
  return Parse(answer.body).value("session_id", "");
}

TEST(FaceSessionsTest, RemembersFromRunToRun) {
  const std::string id = NewSession({{"cwd", "/tmp/of-session"}});
  const std::string path = "/session/" + id + "/run";
  FaceStream first = Server().Stream(path, {{"command", "pwd; A=1; f() { echo f$A; }; exit 7"}});
  const auto events = first.Rest();
  ASSERT_THAT(Types(events), ElementsAre("init", "stdout", "error"));
  EXPECT_EQ(events[0]["text"], id);
  EXPECT_EQ(events[1]["text"], "/tmp/of-session");
  EXPECT_EQ(events[2]["error"]["evalue"], "7");
  Json set_body;  // of two strings a braced list makes something else
  set_body["command"] = "B=2; cd /; echo err >&2";
  set_body["cwd"] = "/usr";
  FaceStream set = Server().Stream(path, set_body);
  EXPECT_THAT(Types(set.Rest()), ElementsAre("init", "stdout", "execution_complete"));
  FaceStream get = Server().Stream(path, {{"command", "echo $B; pwd"}});
  const auto got = get.Rest();
  ASSERT_EQ(got.size(), 4U);
  EXPECT_EQ(got[1]["text"], "2");
  EXPECT_EQ(got[2]["text"], "/");
  EXPECT_EQ(Server().Delete("/session/" + id).status, 200);
  EXPECT_EQ(Server().Delete("/session/" + id).status, 404);
}

TEST(FaceSessionsTest, MayBeMadeWithoutABody) {
  const auto answer = Server().Ask({.method = "POST", .target = "/session"});
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(Parse(answer.body)["session_id"].get<std::string>().size(), 36U);
}

TEST(FaceSessionsTest, KillsARunWhoseReaderHasGone) {
  const std::string id = NewSession(Json::object());
  Server().Shell("rm -f /tmp/started /tmp/never");
  FaceStream stream = Server().Stream(
      "/session/" + id + "/run",
      {{"command",
        "touch /tmp/started; while :; do echo tick; sleep 0.05; done; touch /tmp/never"}});
  ASSERT_TRUE(stream.Next() && stream.Next());
  stream.Reset();
  // The session is free again: nothing else could be waiting for it.
  FaceStream next = Server().Stream("/session/" + id + "/run", {{"command", "echo free"}});
  const auto events = next.Rest();
  ASSERT_GE(events.size(), 2U);
  EXPECT_EQ(events[1]["text"], "free");
  EXPECT_EQ(Server().Shell("ls /tmp/never 2>&1 | grep -c 'No such'"), "1");
}

}  // namespace
}  // namespace forkbox::tests
