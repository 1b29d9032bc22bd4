// Boxes: what a long-lived sandbox promises to those who start programs in it (box.h).
#include <gmock/gmock.h>
#include <signal.h>

#include <algorithm>
#include <thread>

#include "tests/sandbox/box_fixture.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

TEST_F(BoxContract, CommandsEndAsTheyEnd) {
  struct Case {
    const char* name;
    std::string script;
    std::optional<int> exit_code;
    std::optional<int> signal;
    std::string out;
    std::string err;
  };
  const Case cases[] = {
      {"nothing", "true", 0, {}, "", ""},
      {"both streams", "echo o; echo e >&2", 0, {}, "o\n", "e\n"},
      {"a code", "exit 42", 42, {}, "", ""},
      {"a signal", "kill -TERM $$", {}, SIGTERM, "", ""},
      {"killed", "kill -9 $$", {}, SIGKILL, "", ""},
      {"segfault", "ulimit -c 0; kill -SEGV $$", {}, SIGSEGV, "", ""},
      {"stdin ends", "cat; echo end", 0, {}, "end\n", ""},
      {"leader of a session and a group",
       "ps -o pid=,pgid=,sid= -p $$ | tr -s ' ' '\\n' | sort -u | "
       "grep -c .",
       0,
       {},
       "1\n",
       ""},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const Ended ended = RunIn(*box_, c.script);
    EXPECT_EQ(ended.exit_code, c.exit_code) << Describe(ended);
    EXPECT_EQ(ended.signal, c.signal) << Describe(ended);
    EXPECT_EQ(ended.out, c.out) << Describe(ended);
    EXPECT_EQ(ended.err, c.err) << Describe(ended);
  }
}

TEST_F(BoxContract, EnvironmentAndWorkingDirectory) {
  BoxProgram program = Shell("echo $A:$HOME:$PATH; pwd");
  EXPECT_SAYS(RunIn(*box_, program), ":/box/work:/usr/local/bin:/usr/bin:/bin\n/box/work\n");
  program.env = {{"A", "1"}, {"HOME", "/tmp"}};
  program.cwd = "/tmp";
  EXPECT_SAYS(RunIn(*box_, program), "1:/tmp:/usr/local/bin:/usr/bin:/bin\n/tmp\n");

  program.cwd = "/nowhere";
  Ended ended = RunIn(*box_, program);
  EXPECT_EQ(ended.exit_code, 126) << Describe(ended);
  EXPECT_THAT(ended.err, HasSubstr("/nowhere: No such file or directory"));
  program = {};
  program.command = {"/bin/not-there"};
  EXPECT_EQ(RunIn(*box_, program).exit_code, 127);
}

TEST_F(BoxContract, FilesStayFromCommandToCommand) {
  EXPECT_SAYS(RunIn(*box_, "echo 1 > f; echo 2 > /tmp/f; echo 3 > /dev/shm/f; mkdir -p d/e"), "");
  EXPECT_SAYS(RunIn(*box_, "cat f /tmp/f /dev/shm/f; ls -d /box/work/d/e"),
              "1\n2\n3\n/box/work/d/e\n");
}

TEST_F(BoxContract, ProcessesRunSideBySideAndSignalEachOther) {
  std::vector<BoxProcess> running;
  for (int i = 0; i < 8; ++i) {
    auto process =
        box_->Start(Shell("trap 'echo told; exit 7' TERM; echo up; "
                          "while :; do read -t 0.05 <> <(:); done"));
    ASSERT_TRUE(process) << process.error().message;
    EXPECT_NE(ReadUntil(process->stdout_pipe.get(), "up\n"), "");
    running.push_back(std::move(*process));
  }
  std::string pids;
  for (const BoxProcess& process : running) pids += std::to_string(process.pid) + " ";
  EXPECT_SAYS(RunIn(*box_, "kill -TERM " + pids), "");
  for (BoxProcess& process : running) {
    const Ended ended = Finish(std::move(process));
    EXPECT_EQ(ended.exit_code, 7) << Describe(ended);
    EXPECT_EQ(ended.out, "told\n");
  }
}

TEST_F(BoxContract, StdinIsFedAndEnds) {
  auto process = box_->Start(Shell("read a; echo got $a; cat >/dev/null; echo end"));
  ASSERT_TRUE(process) << process.error().message;
  ASSERT_EQ(::write(process->stdin_pipe.get(), "x\n", 2), 2);
  EXPECT_EQ(ReadUntil(process->stdout_pipe.get(), "\n"), "got x\n");
  EXPECT_EQ(Finish(std::move(*process)).out, "end\n");
}

TEST_F(BoxContract, ACommandHasAChannelOnlyIfAsked) {
  auto plain = box_->Start(Shell("ls /proc/self/fd | tr '\\n' ' '"));
  ASSERT_TRUE(plain) << plain.error().message;
  EXPECT_FALSE(plain->channel.valid());
  EXPECT_SAYS(Finish(std::move(*plain)), "0 1 2 3 ");  // 3 is what ls reads

  BoxProgram program = Shell("read line <&3; echo \"<$line>\" >&3");
  program.channel = true;
  auto process = box_->Start(program);
  ASSERT_TRUE(process) << process.error().message;
  ASSERT_TRUE(process->channel.valid());
  ASSERT_EQ(::write(process->channel.get(), "hello\n", 6), 6);
  EXPECT_EQ(ReadUntil(process->channel.get(), "\n"), "<hello>\n");
  EXPECT_EQ(Finish(std::move(*process)).exit_code, 0);
}

TEST_F(BoxContract, WhatCannotBeStarted) {
  struct Case {
    const char* name;
    BoxProgram program;
    ErrorCode code;
  };
  const auto with = [](auto change) {
    BoxProgram program = Shell("true");
    change(program);
    return program;
  };
  const Case cases[] = {
      {"no command", with([](BoxProgram& p) { p.command.clear(); }), ErrorCode::kInvalidArgument},
      {"no absolute path", with([](BoxProgram& p) { p.command[0] = "bash"; }),
       ErrorCode::kInvalidArgument},
      {"no absolute cwd", with([](BoxProgram& p) { p.cwd = "work"; }), ErrorCode::kInvalidArgument},
      {"no such language", with([](BoxProgram& p) {
         p.kind = BoxProgram::Kind::kSession;
         p.language = "cobol";
       }),
       ErrorCode::kInvalidArgument},
      {"no sessions", with([](BoxProgram& p) {
         p.kind = BoxProgram::Kind::kSession;
         p.language = "c";
       }),
       ErrorCode::kInvalidArgument},
  };
  for (const Case& c : cases) {
    auto process = box_->Start(c.program);
    ASSERT_FALSE(process) << c.name;
    EXPECT_EQ(process.error().code, c.code) << c.name << ": " << process.error().message;
  }
}

TEST_F(BoxContract, TheNextOneIsStartedAfterAllWereKilled) {
  auto bystander = box_->Start(Shell("sleep 1000"));
  ASSERT_TRUE(bystander) << bystander.error().message;
  RunIn(*box_, "kill -9 -1; kill -9 1");
  EXPECT_EQ(Finish(std::move(*bystander)).signal, SIGKILL);
  EXPECT_TRUE(box_->Alive());
  EXPECT_SAYS(RunIn(*box_, "echo still here"), "still here\n");
}

TEST_F(BoxContract, EndEndsEverything) {
  auto process = box_->Start(Shell("sleep 1000 & sleep 1000"));
  ASSERT_TRUE(process) << process.error().message;
  EXPECT_TRUE(box_->Alive());
  box_->End();
  box_->End();
  EXPECT_FALSE(box_->Alive());
  EXPECT_EQ(Finish(std::move(*process)).signal, SIGKILL);
  auto next = box_->Start(Shell("true"));
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(box_->Freeze());
  EXPECT_GT(box_->Usage().memory_peak_bytes, 0U);
}

TEST_F(BoxContract, TerminalsCanBeOpened) {
  EXPECT_SAYS(RunIn(*box_,
                    "python3 -c \"import pty, os, fcntl, termios, struct\n"
                    "m, s = os.openpty()\n"
                    "fcntl.ioctl(m, termios.TIOCSWINSZ, struct.pack('HHHH', 30, 100, 0, 0))\n"
                    "print(os.ttyname(s), os.get_terminal_size(s))\n"
                    "try: fcntl.ioctl(s, termios.TIOCSTI, b'x')\n"
                    "except OSError as e: print(e.errno)\""),
              "/dev/pts/0 os.terminal_size(columns=100, lines=30)\n1\n");
  EXPECT_SAYS(RunIn(*box_,
                    "script -qc 'tty; [ -t 0 ] && echo terminal; echo x > /dev/tty' "
                    "/dev/null < /dev/null | tr -d '\\r'"),
              "/dev/pts/0\nterminal\nx\n");
}

TEST_F(BoxContract, OpeningAndStartingAreQuick) {
  const auto took = [](auto work) {
    const auto start = steady_clock::now();
    work();
    return std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - start);
  };
  std::vector<std::chrono::microseconds> opened;
  std::vector<std::chrono::microseconds> started;
  for (int i = 0; i < 20; ++i) {
    std::unique_ptr<Box> box;
    opened.push_back(took([&] { box = Open({}); }));
    for (int k = 0; k < 5; ++k) {
      Result<BoxProcess> process = Fail(ErrorCode::kInternal, "");
      started.push_back(took([&] { process = box->Start(Shell("exit 0")); }));
      ASSERT_TRUE(process) << process.error().message;
      EXPECT_EQ(Finish(std::move(*process)).exit_code, 0);
    }
  }
  std::sort(opened.begin(), opened.end());
  std::sort(started.begin(), started.end());
  RecordProperty("open_us", std::to_string(opened[opened.size() / 2].count()));
  RecordProperty("start_us", std::to_string(started[started.size() / 2].count()));
  std::printf("median: open %ld us, start %ld us\n", long{opened[opened.size() / 2].count()},
              long{started[started.size() / 2].count()});
  EXPECT_LT(started[started.size() / 2], 200ms);
}

}  // namespace
}  // namespace forkbox::sandbox::testing
