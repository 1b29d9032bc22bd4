// What the programs in a box can do to us who stand outside of it, and to everybody through what
// the host has only once: nothing.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/sandbox/box_fixture.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

class BoxAndHost : public BoxContract {};

BoxProgram PythonProgram(const std::string& code) {
  BoxProgram program;
  program.command = {"/usr/bin/python3", "-c", code};
  return program;
}

// ------------------------------------------------------------------ descriptors that are sent

// Of the pair that is on its way nobody else has a reference: it ends with the channel, and there
// is more to be sent than anybody will read.
TEST_F(BoxAndHost, WhatIsSentToUsEndsAtOnce) {
  BoxProgram program = PythonProgram(
      "import socket, struct, array\n"
      "s = socket.create_server(('127.0.0.1', 0))\n"
      "a = socket.create_connection(s.getsockname()); b, _ = s.accept()\n"
      "a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 25))\n"
      "print(a.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8))\n"
      "a.setblocking(False)\n"
      "try:\n"
      "  while True: a.send(b'x' * 65536)\n"
      "except BlockingIOError: pass\n"
      "fds = array.array('i', [a.fileno(), b.fileno()])\n"
      "channel = socket.socket(fileno=3)\n"
      "channel.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])\n");
  program.channel = true;
  auto process = box_->Start(program);
  ASSERT_TRUE(process) << process.error().message;
  UniqueFd channel = std::move(process->channel);
  EXPECT_SAYS(Finish(std::move(*process)),
              "b'\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00'\n");  // and who asks is not deceived
  const auto start = steady_clock::now();
  channel.Reset();
  EXPECT_LT(steady_clock::now() - start, 12s);
}

// ------------------------------------------------------------------ what there is once for all

TEST_F(BoxAndHost, TerminalsAreShared) {
  const std::string open_all =
      "import os\n"
      "open_now = []\n"
      "try:\n"
      "  while True: open_now.append(os.open('/dev/ptmx', os.O_RDWR | os.O_NOCTTY))\n"
      "except OSError as e: print(len(open_now), e.errno, flush=True)\n"
      "input()";
  auto other = Open({});
  auto greedy = box_->Start(PythonProgram(open_all));
  ASSERT_TRUE(greedy) << greedy.error().message;
  EXPECT_EQ(ReadUntil(greedy->stdout_pipe.get(), "\n"), "64 28\n");
  EXPECT_NE(RunIn(*box_, PythonProgram("import os; os.openpty()")).exit_code, 0);
  EXPECT_SAYS(RunIn(*other, PythonProgram("import os; os.openpty()")), "");
  EXPECT_FALSE(Finish(std::move(*greedy)).timed_out);
  EXPECT_SAYS(RunIn(*box_, PythonProgram("import os; os.openpty()")), "");
}

// Nobody inside forks beyond the limit; we do, to get in, but not without end.
TEST_F(BoxAndHost, ProcessesAreCountedWhoeverStartsThem) {
  constexpr std::uint32_t kPids = 8;
  box_ = Open({.pids = kPids});
  auto other = Open({.pids = kPids});
  std::vector<BoxProcess> running;
  for (std::uint32_t i = 0; i < kPids + kPidsToGetIn; ++i) {
    auto process = box_->Start(Shell("read line"));
    ASSERT_TRUE(process) << i << ": " << process.error().message;
    running.push_back(std::move(*process));
  }
  for (int i = 0; i < 3; ++i) {
    auto refused = box_->Start(Shell("true"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(refused.error().message, HasSubstr("too many processes"));
  }
  EXPECT_SAYS(RunIn(*other, "echo fine"), "fine\n");
  EXPECT_EQ(Finish(std::move(running.back())).exit_code, 1);  // the end of its file
  running.pop_back();
  EXPECT_EQ(RunIn(*box_, "kill -9 -1").exit_code, 0);
  for (BoxProcess& process : running) EXPECT_EQ(Finish(std::move(process)).signal, SIGKILL);
  EXPECT_SAYS(RunIn(*box_, "echo room | cat"), "room\n");
}

// ------------------------------------------------------------------ what the templates have

std::size_t FillUp(Box& box, std::size_t most, std::vector<BoxProcess>* running) {
  for (std::size_t i = 0; i < most; ++i) {
    auto process = box.Start(Shell("read line"));
    if (!process) {
      EXPECT_EQ(process.error().code, ErrorCode::kUnavailable);
      return i;
    }
    running->push_back(std::move(*process));
  }
  return most;
}

TEST(BoxesAndTemplates, OneWithoutDescriptorsRefusesAndGoesOn) {
  ProcessDriverOptions options = TestOptions(0);
  options.only_language = "bash";
  auto driver = StartProcessDriver(options);
  ASSERT_TRUE(driver) << driver.error().message;
  auto box = (*driver)->OpenBox({});
  ASSERT_TRUE(box) << box.error().message;
  const std::vector<pid_t> templates = TemplatesOf((*driver)->forkserver_pid());
  ASSERT_EQ(templates.size(), 1U);
  const auto allow = [&](rlim_t files) {
    const rlimit limit{files, 4096};
    return ::prlimit(templates[0], RLIMIT_NOFILE, &limit, nullptr) == 0;
  };

  ASSERT_TRUE(allow(64));
  std::vector<BoxProcess> running;
  const std::size_t fitted = FillUp(**box, 64, &running);
  EXPECT_GT(fitted, 10U);
  EXPECT_LT(fitted, 32U);  // each takes two
  for (int i = 0; i < 3; ++i) {
    auto refused = (*box)->Start(Shell("true"));
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("Too many open files"));
  }
  // With less than a request brings along it cannot even say so.
  for (const rlim_t spare : {0U, 1U, 3U, 6U}) {
    ASSERT_TRUE(allow(OpenFds(templates[0]) + spare));
    auto refused = (*box)->Start(Shell("true"));
    ASSERT_FALSE(refused) << spare;
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  }
  // Nobody else has noticed: it still tells how they end, and starts others when there is room.
  ASSERT_TRUE(allow(64));
  EXPECT_EQ(Finish(std::move(running.back())).exit_code, 1);
  running.pop_back();
  EXPECT_EQ(RunIn(**box, "echo next").out, "next\n");
  for (BoxProcess& process : running) EXPECT_EQ(Finish(std::move(process)).exit_code, 1);
  EXPECT_EQ(TemplatesOf((*driver)->forkserver_pid()), templates);
}

}  // namespace
}  // namespace forkbox::sandbox::testing
