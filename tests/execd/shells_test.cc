// Shells against the reference, section 5, and beyond it: one live bash a session.
#include "runner/execd/shells.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/execd/commands_box_under_test.h"
#include "tests/execd/commands_recorder.h"

namespace forkbox::execd {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using testing::Recorder;
using ::testing::StartsWith;
using Type = Event::Type;
using Story = std::vector<std::string>;

class ShellsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    inside_ = testing::OpenBoxUnderTest();
    ASSERT_TRUE(inside_);
    shells_ = std::make_unique<Shells>(Environment{{"OF_THE_BOX", "yes"}}, inside_->box(),
                                       inside_->files(), clock_, Log::Null());
    id_ = Create("");
  }
  std::string Create(const std::string& cwd) {
    auto id = shells_->Create(cwd);
    EXPECT_TRUE(id) << id.error().message;
    return id.value_or("");
  }
  Story Tell(const std::string& command, const std::string& cwd = "",
             std::chrono::milliseconds timeout = 0ms) {
    Recorder recorder;
    const auto ran = shells_->Run(id_, {command, cwd, timeout}, recorder);
    if (!ran) return {"failed: " + ran.error().message};
    Story story = recorder.Story();
    EXPECT_EQ(recorder.id(), id_);
    EXPECT_FALSE(story.empty());
    if (!story.empty()) story.erase(story.begin());  // the init
    return story;
  }

  SystemClock clock_;
  std::unique_ptr<testing::BoxUnderTest> inside_;
  std::unique_ptr<Shells> shells_;
  std::string id_;
};

constexpr const char* kComplete = "complete";
std::string Failed(int code) {
  return "error CommandExecError " + std::to_string(code) + " [exit status " +
         std::to_string(code) + "]";
}
constexpr const char* kKilled = "error CommandExecError -1 [signal: killed]";

TEST_F(ShellsTest, RunsTellWhatCommandsTell) {
  struct Case {
    std::string name;
    std::string command;
    Story story;
  };
  const Case cases[] = {
      {"output", "echo hello", {"out hello", kComplete}},
      {"merged", "echo a; echo b >&2; echo c", {"out a", "out b", "out c", kComplete}},
      {"tail", "printf 'no end'", {"out no end", kComplete}},
      {"code", "false", {Failed(1)}},
      {"code_of_the_last", "false; echo x", {"out x", kComplete}},
      {"program", "sh -c 'echo hi; exit 7'", {"out hi", Failed(7)}},
      {"stdin_is_at_its_end", "cat; read x; echo $?", {"out 1", kComplete}},
      {"heredoc", "cat <<END\nin $((1+1))\nEND\n", {"out in 2", kComplete}},
      {"comment_at_the_end", "echo a # b", {"out a", kComplete}},
      {"only_a_comment", "# nothing", {kComplete}},
      {"nothing", "", {kComplete}},
      {"several_lines", "for i in 1 2; do\n  echo $i\ndone\n\n", {"out 1", "out 2", kComplete}},
      {"quotes", R"(echo 'it'"'"'s' "a  b" \$x)", {"out it's a  b $x", kComplete}},
      {"utf8", "x='äöü€'; echo ${#x} $x", {"out 4 äöü€", kComplete}},
      {"markers_mean_nothing",
       "echo done 0; printf 'ready\\n'",
       {"out done 0", "out ready", kComplete}},
      {"box_environment", "echo $OF_THE_BOX", {"out yes", kComplete}},
  };
  for (const Case& c : cases) EXPECT_EQ(Tell(c.command), c.story) << c.name;
}

TEST_F(ShellsTest, BashSurvivesWhatItCannotRead) {
  EXPECT_EQ(Tell("kept=1"), Story{kComplete});
  for (const char* broken : {"if then", "echo 'open", "echo \"open", "cat <<X", "(", "echo $(", "}",
                             "for", "case x in", "a=(1 2"}) {
    const Story story = Tell(broken);
    ASSERT_FALSE(story.empty());
    EXPECT_EQ(Tell("echo $kept"), (Story{"out 1", kComplete})) << "after " << broken;
  }
  EXPECT_EQ(Tell("if then").back(), Failed(2));
  EXPECT_EQ(Tell("echo 'open").back(), Failed(2));
  EXPECT_THAT(Tell("return 3"), ::testing::Contains(HasSubstr("return")));
  EXPECT_EQ(Tell("break; echo after").back(), kComplete);
  EXPECT_EQ(Tell("echo $kept"), (Story{"out 1", kComplete}));
}

TEST_F(ShellsTest, EverythingStaysFromRunToRun) {
  ASSERT_EQ(Tell("plain='a  b'; export shown=$'x\\ny'; declare -A map=([k]=v); declare -i n=3; "
                 "list=(1 '2 3'); f() { echo \"f $1\"; }; alias hi='echo hi there'; "
                 "shopt -s nullglob; set -o pipefail; umask 027; mkdir -p d && cd d; "
                 "trap 'echo usr' USR1; exec 7>kept.txt; sleep 1000 &"),
            Story{kComplete});
  EXPECT_EQ(Tell("echo \"$plain\"; env | grep -A1 ^shown; echo ${map[k]} $((n+1)) \"${list[1]}\""),
            (Story{"out a  b", "out shown=x", "out y", "out v 4 2 3", kComplete}));
  EXPECT_EQ(Tell("f 1; hi; echo *.none; false | true; echo $?; umask"),
            (Story{"out f 1", "out hi there", "out \n", "out 1", "out 0027", kComplete}));
  EXPECT_EQ(Tell("basename $PWD; kill -USR1 $$; echo to >&7; cat kept.txt"),
            (Story{"out d", "out usr", "out to", kComplete}));
  EXPECT_EQ(Tell("jobs | grep -c sleep; kill %1; wait %1; echo $?"),
            (Story{"out 1", "out 143", kComplete}));
}

TEST_F(ShellsTest, WhatDoesNotEndByItselfLeavesTheStateAsItWas) {
  struct Case {
    std::string name;
    std::string command;
    std::string last;
  };
  const Case cases[] = {
      {"exit", "x=2; cd /; exit 7", Failed(7)},
      {"exit_0", "x=2; exit 0", kComplete},
      {"exec", "x=2; exec sh -c 'exit 9'", Failed(9)},
      {"errexit", "set -e; x=2; false; x=3", Failed(1)},
      {"killed", "x=2; kill -9 $BASHPID", kKilled},
      {"killed_with_its_group", "x=2; kill -9 0", kKilled},
      {"terminated", "x=2; kill -TERM $BASHPID", "error CommandExecError -1 [signal: terminated]"},
      {"interrupted", "x=2; kill -INT $BASHPID", "error CommandExecError -1 [signal: interrupt]"},
  };
  ASSERT_EQ(Tell("x=1; cd /usr; g() { echo g; }; declare -A m=([a]=b); trap 'echo usr' USR1; "
                 "shopt -s extglob; set -u"),
            Story{kComplete});
  for (const Case& c : cases) {
    EXPECT_EQ(Tell(c.command).back(), c.last) << c.name;
    EXPECT_EQ(
        Tell("echo $x $PWD ${m[a]}; g; kill -USR1 $BASHPID; shopt -q extglob && echo ext; "
             "echo $-; unset nosuch; echo ${nosuch-unset}"),
        (Story{"out 1 /usr b", "out g", "out usr", "out ext", "out huBs", "out unset", kComplete}))
        << "after " << c.name;
  }
  // And it is as good a session as before.
  EXPECT_EQ(Tell("y=5; break; return 3"), Story{kComplete});
  EXPECT_EQ(Tell("echo $y; read z; echo $?; for i in 1 2; do break; done; false"),
            (Story{"out 5", "out 1", Failed(1)}));
  EXPECT_EQ(Tell("trap - INT; sleep 100 & sleep 0.1; kill -INT $!; kill $!; wait; echo $x"),
            (Story{"out 1", kComplete}));
}

TEST_F(ShellsTest, ABashThatDoesNothingAnyMoreIsLeft) {
  ASSERT_EQ(Tell("x=1"), Story{kComplete});
  for (const char* command : {"set -n; echo never", "x=2; set -o noexec"}) {
    EXPECT_EQ(Tell(command, "", 60s), Story{kComplete}) << command;
    EXPECT_EQ(Tell("echo $x"), (Story{"out 1", kComplete})) << command;
  }
  EXPECT_EQ(Tell("sleep 2; echo slow is not deaf"), (Story{"out slow is not deaf", kComplete}));
}

TEST_F(ShellsTest, ExitTrapsAreRunByTheExit) {
  EXPECT_EQ(Tell("trap 'echo bye' EXIT; echo set"), (Story{"out set", kComplete}));
  EXPECT_EQ(Tell("exit 3"), (Story{"out bye", Failed(3)}));
  EXPECT_EQ(Tell("exit 4"), (Story{"out bye", Failed(4)})) << "it was there before that run";
}

TEST_F(ShellsTest, DirectoriesStick) {
  EXPECT_EQ(Tell("pwd", "/usr"), (Story{"out /usr", kComplete}));
  EXPECT_EQ(Tell("pwd"), (Story{"out /usr", kComplete}));
  EXPECT_EQ(Tell("mkdir -p /tmp/\"it's here\"; cd /tmp"), Story{kComplete});
  EXPECT_EQ(Tell("pwd", "/tmp/it's here"), (Story{"out /tmp/it's here", kComplete}));
  EXPECT_THAT(Tell("echo never", "/nosuch").back(), StartsWith("error CommandExecError 1 "));
  id_ = Create("/tmp/made/for it");
  EXPECT_EQ(Tell("pwd"), (Story{"out /tmp/made/for it", kComplete}));
}

TEST_F(ShellsTest, ATimeoutKillsTheRunAndNothingElse) {
  ASSERT_EQ(Tell("x=1; sleep 1111 &"), Story{kComplete});
  const char* timed_out = "error CommandExecError -1 [timeout after 500ms: signal: killed]";
  for (const char* command :
       {"x=2; sleep 2222", "x=2; while :; do :; done", "trap '' INT TERM; (sleep 2222; :) & wait",
        "x=2; setsid sleep 2222 & sleep 2222 | sleep 2222",
        "bash -c 'trap \"\" TERM; while :; do sleep 1; done'"}) {
    EXPECT_EQ(Tell(command, "", 500ms), Story{timed_out}) << command;
    EXPECT_EQ(Tell("echo $x; pgrep -fc '[s]leep 1111'; pgrep -fc '[s]leep 2222'; true"),
              (Story{"out 1", "out 1", "out 0", kComplete}))
        << command;
  }
  EXPECT_EQ(Tell("echo quick", "", 60s), (Story{"out quick", kComplete}));
}

TEST_F(ShellsTest, WhatIsLeftInTheBackgroundDelaysNobody) {
  EXPECT_EQ(Tell("(while :; do echo noise; done) & sleep 1000 & echo now").back(), kComplete);
  EXPECT_EQ(Tell("kill %1 %2; wait 2>/dev/null; sleep 0.2; true").back(), kComplete);
  EXPECT_EQ(Tell("echo quiet"), (Story{"out quiet", kComplete}));
  // More than a pipe holds, between the runs.
  EXPECT_EQ(Tell("rm -f done.txt; (sleep 0.2; yes | head -c 1000000; echo ok >done.txt) &"),
            Story{kComplete});
  for (int i = 0; i < 1000; ++i) {
    if (inside_->files().Info("done.txt")) break;
    std::this_thread::sleep_for(20ms);
  }
  EXPECT_EQ(Tell("cat done.txt"), (Story{"out ok", kComplete}));
}

TEST_F(ShellsTest, RunsOfASessionWaitForEachOther) {
  std::atomic<int> running = 0;
  std::vector<std::thread> threads;
  ASSERT_EQ(Tell("n=0"), Story{kComplete});
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      Recorder recorder;
      EXPECT_TRUE(shells_->Run(id_, {"old=$n; sleep 0.05; n=$((old+1))", "", 0ms}, recorder));
      ++running;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Tell("echo $n"), (Story{"out 8", kComplete}));
}

TEST_F(ShellsTest, ARunIsKilledWhenNobodyListens) {
  ASSERT_EQ(Tell("x=1"), Story{kComplete});
  Recorder recorder;
  recorder.before = [](const Event& event) { return event.type != Type::kStdout; };
  ASSERT_TRUE(shells_->Run(id_, {"x=2; echo a; sleep 3333", "", 0ms}, recorder));
  EXPECT_EQ(Tell("echo $x; pgrep -fc '[s]leep 3333'; true"), (Story{"out 1", "out 0", kComplete}));
}

TEST_F(ShellsTest, PingsComeWhileItIsSilent) {
  Recorder recorder;
  ASSERT_TRUE(shells_->Run(id_, {"sleep 4", "", 0ms}, recorder));
  EXPECT_GE(recorder.Count(Type::kPing), 2U);
}

TEST_F(ShellsTest, ADeletedSessionEndsWithItsRun) {
  Recorder recorder;
  std::thread running([&] {
    EXPECT_TRUE(shells_->Run(id_, {"echo up; sleep 4444", "", 0ms}, recorder));
  });
  ASSERT_TRUE(recorder.WaitFor(Type::kStdout, "up"));
  EXPECT_TRUE(shells_->Delete(id_));
  running.join();
  EXPECT_EQ(recorder.Story().back(), kKilled);
  EXPECT_EQ(shells_->Delete(id_).error().code, ErrorCode::kNotFound);
  EXPECT_THAT(Tell("true").front(), HasSubstr("not found"));
  id_ = Create("");
  EXPECT_EQ(Tell("pgrep -fc '[s]leep 4444'; true"), (Story{"out 0", kComplete}));
}

TEST_F(ShellsTest, SessionsAreApartAndBounded) {
  const std::string first = id_;
  ASSERT_EQ(Tell("x=first"), Story{kComplete});
  for (int i = 1; i < 32; ++i) id_ = Create("");
  EXPECT_EQ(Tell("echo [$x]"), (Story{"out []", kComplete}));
  const auto more = shells_->Create("");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, ErrorCode::kQueueFull);
  EXPECT_TRUE(shells_->Delete(id_));
  id_ = Create("");
  EXPECT_EQ(Tell("echo [$x]"), (Story{"out []", kComplete}));
  id_ = first;
  EXPECT_EQ(Tell("echo [$x]"), (Story{"out [first]", kComplete}));
}

TEST_F(ShellsTest, HostileRunsHurtTheirOwnSession) {
  const std::string other = Create("");
  struct Case {
    std::string name;
    std::string command;
    bool keeps;  // the state from before
  };
  const Case cases[] = {
      {"no_channel", "echo x 2>/dev/null >&3; echo x 2>/dev/null >&199; ls /proc/self/fd | wc -l",
       true},
      {"closes_all", "for fd in {3..255}; do eval \"exec $fd>&-\"; done", false},
      {"closes_output", "exec >&- 2>&-", true},
      {"writes_to_what_it_finds",
       "for p in /proc/[0-9]*/fd/*; do timeout 0.1 sh -c 'echo done 0 "
       ">\"$0\"' $p; done 2>/dev/null; true",
       false},
      {"floods", "yes | head -c 20000000", true},
      {"long_line", "head -c 3000000 /dev/zero | tr '\\0' x", true},
      {"many_jobs", "for i in $(seq 50); do sleep 1000 & done; exit 1", true},
      {"kills_all", "kill -9 -1", false},
      {"redefines", "read() { :; }; eval() { :; }; printf() { :; }; kill() { :; }", true},
      {"traps", "trap '' INT TERM HUP CHLD; exit 3", true},
      {"exports_all", "set -a; big=$(head -c 200000 /dev/zero | tr '\\0' a); set +a; unset big",
       true},
      {"forks", ":(){ :|:& };:", false},
  };
  for (const Case& c : cases) {
    id_ = Create("");
    ASSERT_EQ(Tell("x=1"), Story{kComplete});
    Tell(c.command, "", 3s);
    const Story after = Tell("builtin echo $x 2>/dev/null", "", 20s);
    ASSERT_FALSE(after.empty());
    if (c.keeps && c.name != "closes_output") {
      EXPECT_EQ(after, (Story{"out 1", kComplete})) << c.name;
    }
    // Whatever was left of it, it can be had again, and nobody else noticed.
    if (c.name == "forks") Tell("kill -9 -1", "", 5s);
    const std::string hurt = id_;
    id_ = other;
    // "kill -9 -1" means all in the box, and may come late: then a second try finds a new bash.
    Story fine;
    for (int i = 0; i < 10 && fine != (Story{"out fine", kComplete}); ++i) fine = Tell("echo fine");
    EXPECT_EQ(fine, (Story{"out fine", kComplete})) << c.name;
    EXPECT_TRUE(shells_->Delete(hurt));
  }
}

TEST_F(ShellsTest, TheEndOfTheBoxEndsWhatRuns) {
  Recorder recorder;
  std::thread running([&] {
    EXPECT_TRUE(shells_->Run(id_, {"echo up; sleep 1000", "", 0ms}, recorder));
  });
  ASSERT_TRUE(recorder.WaitFor(Type::kStdout, "up"));
  inside_->box().End();
  running.join();
  EXPECT_THAT(recorder.Story().back(), StartsWith(kKilled));
  EXPECT_THAT(Tell("true").back(), HasSubstr("did not start"));
  EXPECT_FALSE(shells_->Create(""));
}

}  // namespace
}  // namespace forkbox::execd
