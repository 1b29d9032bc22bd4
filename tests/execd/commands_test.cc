// Commands against the rules of the reference, section 4: what is asked, what is told.
#include "runner/execd/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <csignal>
#include <thread>

#include "tests/execd/commands_box_under_test.h"
#include "tests/execd/commands_recorder.h"

namespace forkbox::execd {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Recorder;
using ::testing::StartsWith;
using Type = Event::Type;
using Story = std::vector<std::string>;

class CommandsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    inside_ = testing::OpenBoxUnderTest();
    ASSERT_TRUE(inside_);
    commands_ = std::make_unique<Commands>(inside_->box(), inside_->files(), clock_, Log::Null());
  }

  static CommandRequest Bash(std::string command) {
    CommandRequest request;
    request.command = std::move(command);
    return request;
  }
  Story Tell(const CommandRequest& request) {
    Recorder recorder;
    const auto ran = commands_->Run(request, recorder);
    if (!ran) return {"failed: " + ran.error().message};
    last_id_ = recorder.id();
    return recorder.Story();
  }
  Story Tell(std::string command) { return Tell(Bash(std::move(command))); }

  std::string StartBehind(const CommandRequest& request) {
    Recorder recorder;
    const auto ran = commands_->RunInBackground(request, recorder);
    EXPECT_TRUE(ran) << (ran ? "" : ran.error().message);
    EXPECT_EQ(recorder.Story(), (Story{"init", "complete"}));
    return recorder.id();
  }
  CommandStatus WaitForEnd(const std::string& id) {
    for (int i = 0; i < 6000; ++i) {
      const auto status = commands_->Status(id);
      if (status && !status->running) return *status;
      std::this_thread::sleep_for(10ms);
    }
    ADD_FAILURE() << "still running";
    return {};
  }
  std::string WaitForLogs(const std::string& id, const std::string& wanted) {
    std::string bytes;
    for (int i = 0; i < 3000; ++i) {
      bytes = commands_->ReadLogs(id, 0)->bytes;
      if (bytes == wanted) break;
      std::this_thread::sleep_for(10ms);
    }
    return bytes;
  }

  SystemClock clock_;
  std::unique_ptr<testing::BoxUnderTest> inside_;
  std::unique_ptr<Commands> commands_;
  std::string last_id_;
};

TEST_F(CommandsTest, TellsWhatHappensAsEvents) {
  struct Case {
    std::string name;
    std::string command;
    Story story;
  };
  const Case cases[] = {
      {"output", "echo hello", {"init", "out hello", "complete"}},
      {"nothing", "true", {"init", "complete"}},
      {"empty_lines",
       R"(printf 'a\n\nb\n\n\nc\n')",
       {"init", "out a", "out \n", "out b", "out \n", "out \n", "out c", "complete"}},
      {"crlf_in_two_writes",
       R"(printf 'a\r'; sleep 0.1; printf '\nb\n')",
       {"init", "out a", "out b", "complete"}},
      {"tail", "printf 'no end'", {"init", "out no end", "complete"}},
      {"invalid_utf8", R"(printf '\xff\n')", {"init", "out \xff", "complete"}},
      {"stderr", "echo no >&2", {"init", "err no", "complete"}},
      {"exit_code",
       "echo x; exit 3",
       {"init", "out x", "error CommandExecError 3 [exit status 3]"}},
      {"not_found",
       "exec 2>/dev/null; nosuchprogram",
       {"init", "error CommandExecError 127 [exit status 127]"}},
      {"killed", "kill -9 $$", {"init", "error CommandExecError -1 [signal: killed]"}},
      {"terminated", "kill -TERM $$", {"init", "error CommandExecError -1 [signal: terminated]"}},
      {"segfault",
       "kill -SEGV $$",
       {"init", "error CommandExecError -1 [signal: segmentation fault]"}},
      {"stdin_is_at_its_end", "cat; read x; echo $?", {"init", "out 1", "complete"}},
      {"several_lines",
       "for i in 1 2\ndo echo $i\ndone <<X\nX\n",
       {"init", "out 1", "out 2", "complete"}},
      {"own_group", "[ $$ = $(ps -o pgid= -p $$) ] && echo yes", {"init", "out yes", "complete"}},
      {"closed_output",
       "exec >&- 2>&-; sleep 0.2; exit 4",
       {"init", "error CommandExecError 4 [exit status 4]"}},
  };
  for (const Case& c : cases) EXPECT_EQ(Tell(c.command), c.story) << c.name;
}

TEST_F(CommandsTest, OutputComesAsItIsPrinted) {
  Recorder recorder;
  std::thread running(
      [&] { EXPECT_TRUE(commands_->Run(Bash("echo first; sleep 1000"), recorder)); });
  EXPECT_TRUE(recorder.WaitFor(Type::kStdout, "first"));
  EXPECT_EQ(recorder.Count(Type::kError) + recorder.Count(Type::kExecutionComplete), 0U);
  EXPECT_TRUE(commands_->Interrupt(recorder.id()));
  running.join();
  EXPECT_EQ(recorder.Story().back(), "error CommandExecError -1 [signal: terminated]");
}

TEST_F(CommandsTest, ArgvIsStartedWithoutAShell) {
  CommandRequest request;
  request.argv = {"/bin/echo", "$HOME", "a b", "*"};
  EXPECT_EQ(Tell(request), (Story{"init", "out $HOME a b *", "complete"}));
  request.argv = {"printf", "%s-", "found", "in", "PATH"};
  EXPECT_EQ(Tell(request), (Story{"init", "out found-in-PATH-", "complete"}));
  EXPECT_EQ(commands_->Status(last_id_)->content, "printf %s- found in PATH");
  request.argv = {"nosuchprogram"};
  EXPECT_EQ(Tell(request).back(), "error CommandExecError 127 [exit status 127]");
  request.argv = {"/nosuch/program"};
  EXPECT_EQ(Tell(request).back(), "error CommandExecError 127 [exit status 127]");
}

TEST_F(CommandsTest, EnvironmentAndDirectoryAreTheRequests) {
  CommandRequest request = Bash(R"(echo "$A|$B|$PWD")");
  request.env = {{"A", "x y"}, {"B", "$A"}};
  request.cwd = "/usr/bin";
  EXPECT_EQ(Tell(request), (Story{"init", "out x y|$A|/usr/bin", "complete"}));
}

TEST_F(CommandsTest, WhatCannotBeAskedForIsRefused) {
  Recorder recorder;
  CommandRequest both = Bash("true");
  both.argv = {"true"};
  CommandRequest empty_word;
  empty_word.argv = {""};
  CommandRequest bad_name = Bash("true");
  bad_name.env = {{"A=B", "c"}};
  CommandRequest nul_in_argv;
  nul_in_argv.argv = {"echo", std::string("a\0b", 3)};
  for (const CommandRequest& request :
       {CommandRequest{}, both, empty_word, bad_name, nul_in_argv, Bash(std::string("a\0b", 3))}) {
    const auto ran = commands_->Run(request, recorder);
    ASSERT_FALSE(ran);
    EXPECT_EQ(ran.error().code, ErrorCode::kInvalidArgument);
    EXPECT_FALSE(commands_->RunInBackground(request, recorder));
  }
  EXPECT_TRUE(recorder.events().empty()) << "nothing was put";
}

TEST_F(CommandsTest, OnlyTheBoxesOwnUserCanBeHad) {
  const Story id = Tell("id -u; id -g");
  ASSERT_EQ(id.size(), 4U);
  CommandRequest request = Bash("echo me");
  request.uid = static_cast<std::uint32_t>(std::stoul(id[1].substr(4)));
  EXPECT_EQ(Tell(request), (Story{"init", "out me", "complete"}));
  request.gid = static_cast<std::uint32_t>(std::stoul(id[2].substr(4)));
  EXPECT_EQ(Tell(request), (Story{"init", "out me", "complete"}));
  request.uid = *request.uid + 12345;
  const Story refused = Tell(request);
  ASSERT_EQ(refused.size(), 2U);
  EXPECT_THAT(refused[1], HasSubstr("operation not permitted"));
  EXPECT_FALSE(commands_->Status(last_id_)) << "it never started";
}

TEST_F(CommandsTest, TheStatusFollowsIt) {
  Recorder recorder;
  std::atomic<bool> known = false;
  recorder.before = [&](const Event& event) {
    if (event.type == Type::kInit) known = commands_->Status(event.text)->running;
    return true;
  };
  ASSERT_TRUE(commands_->Run(Bash("exit 3"), recorder));
  EXPECT_TRUE(known) << "the id is known before it is told";
  const std::string id = recorder.id();
  EXPECT_THAT(id, ::testing::MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(id.size(), 32U);
  const auto status = commands_->Status(id);
  ASSERT_TRUE(status);
  EXPECT_EQ(status->content, "exit 3");
  EXPECT_FALSE(status->running);
  EXPECT_EQ(status->exit_code, 3);
  EXPECT_EQ(status->error, "exit status 3");
  EXPECT_GE(status->finished_unix_ms, status->started_unix_ms);
  EXPECT_GT(status->started_unix_ms, 0);
  EXPECT_FALSE(commands_->Status("nosuch"));
}

TEST_F(CommandsTest, WhatIsLeftBehindDelaysNobodyAndLivesOn) {
  // Both hold the pipes. The second prints far more than one holds, and would die of a closed one.
  const auto begun = std::chrono::steady_clock::now();
  EXPECT_EQ(Tell("rm -f left.done; sleep 1000 & (yes | head -c 1000000; echo done >left.done) & "
                 "echo hi")
                .back(),
            "complete");
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 60s);
  EXPECT_EQ(Tell("for i in $(seq 600); do [ -s left.done ] && break; sleep 0.05; done; "
                 "cat left.done; pgrep -x sleep >/dev/null && echo asleep; pkill -x sleep; true"),
            (Story{"init", "out done", "out asleep", "complete"}));
}

TEST_F(CommandsTest, ItsTimeIsOver) {
  CommandRequest request = Bash("echo begun; sleep 1000 & sleep 1000");
  request.timeout = 300ms;
  EXPECT_EQ(Tell(request),
            (Story{"init", "out begun",
                   "error CommandExecError -1 [timeout after 300ms: signal: killed]"}));
  EXPECT_EQ(commands_->Status(last_id_)->exit_code, -1);
  request.command = "trap '' TERM INT HUP; while :; do :; done";
  EXPECT_EQ(Tell(request).back(),
            "error CommandExecError -1 [timeout after 300ms: signal: killed]");
  request.command = "exit 5";
  request.timeout = 60s;
  EXPECT_EQ(Tell(request).back(), "error CommandExecError 5 [exit status 5]");
}

TEST_F(CommandsTest, PingsComeWhileItIsSilent) {
  Recorder recorder;
  ASSERT_TRUE(commands_->Run(Bash("sleep 7"), recorder));
  EXPECT_GE(recorder.Count(Type::kPing), 3U) << "one at the start, then every three seconds";
  EXPECT_LE(recorder.Count(Type::kPing), 4U);
  EXPECT_GE(recorder.events().back().execution_time, 6500ms);
}

TEST_F(CommandsTest, ItRunsOnWhenNobodyListens) {
  Recorder recorder;
  std::atomic<int> puts = 0;
  recorder.before = [&](const Event& event) {
    ++puts;
    return event.type != Type::kStdout;
  };
  ASSERT_TRUE(commands_->Run(Bash("for i in $(seq 1000); do echo $i; done; exit 9"), recorder));
  EXPECT_EQ(recorder.Story(), (Story{"init"}));
  EXPECT_LE(puts, 3) << "after the first no, nothing more is told";
  EXPECT_EQ(commands_->Status(recorder.id())->exit_code, 9);
}

TEST_F(CommandsTest, ASlowReaderMakesTheProgramWait) {
  // 40 MB, and a reader that stands still at first: what waits is the program, on its pipe.
  Recorder recorder;
  std::atomic<bool> stands = true;
  std::atomic<std::size_t> bytes = 0;
  recorder.before = [&](const Event& event) {
    while (event.type == Type::kStdout && stands) std::this_thread::sleep_for(1ms);
    bytes += event.text.size();
    return true;
  };
  std::thread running([&] {
    EXPECT_TRUE(commands_->Run(
        Bash("yes 0123456789012345678901234567890123456789 | head -c 4000000 | tee >(wc -c "
             ">slow.count) >/dev/stdout; echo; echo end"),
        recorder));
  });
  recorder.WaitForId();
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(Tell("cat slow.count").back(), "complete");
  EXPECT_THAT(Tell("cat slow.count"), ::testing::Not(::testing::Contains("out 4000000")))
      << "it has not written all: there is nowhere to put it";
  stands = false;
  running.join();
  EXPECT_GE(bytes.load(), 3'900'000U);
  EXPECT_TRUE(recorder.WaitFor(Type::kStdout, "end"));
}

TEST_F(CommandsTest, ALineWithoutEndIsToldInPieces) {
  Recorder recorder;
  ASSERT_TRUE(commands_->Run(Bash("head -c 5000000 /dev/zero | tr '\\0' x"), recorder));
  EXPECT_EQ(recorder.Count(Type::kStdout), 5U);
  EXPECT_EQ(recorder.Text(Type::kStdout).size(), 5'000'005U);
}

TEST_F(CommandsTest, InterruptAsksBeforeItKills) {
  struct Case {
    std::string command;
    std::string last;
  };
  for (const Case& c :
       {Case{"echo up; sleep 1000", "error CommandExecError -1 [signal: terminated]"},
        Case{"trap 'exit 12' TERM; echo up; while :; do sleep 0.05; done",
             "error CommandExecError 12 [exit status 12]"},
        Case{"trap '' TERM; echo up; while :; do sleep 0.05; done",
             "error CommandExecError -1 [signal: killed]"}}) {
    Recorder recorder;
    std::thread running([&] { EXPECT_TRUE(commands_->Run(Bash(c.command), recorder)); });
    ASSERT_TRUE(recorder.WaitFor(Type::kStdout, "up"));
    EXPECT_TRUE(commands_->Interrupt(recorder.id()));
    EXPECT_FALSE(commands_->Status(recorder.id())->running) << "it has ended when that returns";
    running.join();
    EXPECT_EQ(recorder.Story().back(), c.last) << c.command;
    const auto again = commands_->Interrupt(recorder.id());
    ASSERT_FALSE(again);
    EXPECT_EQ(again.error().code, ErrorCode::kConflict);
    EXPECT_THAT(again.error().message, HasSubstr("is not running"));
  }
  EXPECT_EQ(commands_->Interrupt("nosuch").error().code, ErrorCode::kNotFound);
}

TEST_F(CommandsTest, BehindTheClientsBack) {
  const std::string id =
      StartBehind(Bash("echo out; echo err >&2; echo more; sleep 0.2; printf 'end\\r\\n'; exit 3"));
  EXPECT_TRUE(commands_->Status(id));
  const CommandStatus status = WaitForEnd(id);
  EXPECT_EQ(status.exit_code, 3);
  EXPECT_EQ(status.error, "exit status 3");
  const auto logs = commands_->ReadLogs(id, 0);
  ASSERT_TRUE(logs);
  EXPECT_EQ(logs->bytes, "out\nerr\nmore\nend\r\n") << "both streams, in the order of writing";
  EXPECT_EQ(logs->cursor, logs->bytes.size());
  EXPECT_EQ(commands_->ReadLogs(id, 4)->bytes, "err\nmore\nend\r\n");
  EXPECT_EQ(commands_->ReadLogs(id, logs->cursor)->bytes, "");
  EXPECT_EQ(commands_->ReadLogs(id, 1ULL << 62)->bytes, "");
  EXPECT_EQ(commands_->ReadLogs("nosuch", 0).error().code, ErrorCode::kNotFound);
  Tell("true");
  EXPECT_EQ(commands_->ReadLogs(last_id_, 0).error().code, ErrorCode::kInvalidArgument);
}

TEST_F(CommandsTest, TheSameEndsBehindTheBack) {
  CommandRequest timed = Bash("sleep 1000 & sleep 1000");
  timed.timeout = 200ms;
  EXPECT_EQ(WaitForEnd(StartBehind(timed)).error, "timeout after 200ms: signal: killed");
  EXPECT_EQ(WaitForEnd(StartBehind(Bash("kill -9 $$"))).error, "signal: killed");
  CommandRequest words;
  words.argv = {"nosuchprogram"};
  const std::string id = StartBehind(words);
  EXPECT_EQ(WaitForEnd(id).exit_code, 127);
  EXPECT_THAT(commands_->ReadLogs(id, 0)->bytes, HasSubstr("not found"));
  const std::string left = StartBehind(Bash("(sleep 0.5; echo late) & echo early"));
  EXPECT_EQ(WaitForEnd(left).exit_code, 0);
  EXPECT_EQ(WaitForLogs(left, "early\nlate\n"), "early\nlate\n");
  const std::string interrupted = StartBehind(Bash("sleep 1000"));
  EXPECT_TRUE(commands_->Interrupt(interrupted));
  EXPECT_EQ(commands_->Status(interrupted)->error, "signal: terminated");
}

TEST_F(CommandsTest, OnlyTheNewestOfALogIsKept) {
  const std::string id = StartBehind(Bash("head -c 40000000 /dev/zero; echo; echo end"));
  EXPECT_EQ(WaitForEnd(id).exit_code, 0);
  const auto oldest = commands_->ReadLogs(id, 0);
  EXPECT_EQ(oldest->cursor, 40'000'005U - (16U << 20) + oldest->bytes.size());
  EXPECT_LE(oldest->bytes.size(), 1U << 20);
  std::uint64_t cursor = 0;
  std::string tail;
  for (;;) {
    const auto logs = commands_->ReadLogs(id, cursor);
    if (logs->bytes.empty()) break;
    tail = logs->bytes;
    cursor = logs->cursor;
  }
  EXPECT_EQ(cursor, 40'000'005U);
  EXPECT_TRUE(tail.ends_with("\nend\n"));
}

TEST_F(CommandsTest, OldRecordsGo) {
  const std::string first = StartBehind(Bash("true"));
  WaitForEnd(first);
  CommandRequest request;
  request.argv = {"/bin/true"};
  for (int i = 0; i < 999; ++i) ASSERT_EQ(Tell(request).back(), "complete");
  EXPECT_TRUE(commands_->Status(first));
  Tell(request);
  EXPECT_FALSE(commands_->Status(first));
  EXPECT_FALSE(commands_->ReadLogs(first, 0));
}

TEST_F(CommandsTest, TheEndOfCommandsEndsWhatRuns) {
  StartBehind(Bash("trap '' TERM HUP INT; while :; do sleep 0.1; done"));
  StartBehind(Bash("yes"));
  commands_.reset();
}

TEST_F(CommandsTest, TheEndOfTheBoxEndsWhatRuns) {
  Recorder recorder;
  std::thread running([&] { EXPECT_TRUE(commands_->Run(Bash("echo up; sleep 1000"), recorder)); });
  ASSERT_TRUE(recorder.WaitFor(Type::kStdout, "up"));
  inside_->box().End();
  running.join();
  EXPECT_EQ(recorder.Story().back(), "error CommandExecError -1 [signal: killed]");
  const auto ran = commands_->Run(Bash("true"), recorder);
  ASSERT_FALSE(ran);
  EXPECT_EQ(ran.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace forkbox::execd
