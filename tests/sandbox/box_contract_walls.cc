// The walls around a box: its limits, and that there are others who see nothing of it.
#include <gmock/gmock.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/sandbox/box_fixture.h"

namespace forkbox::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

class BoxWalls : public BoxContract {};

BoxProgram PythonProgram(const std::string& code, std::vector<std::string> args = {}) {
  BoxProgram program;
  program.command = {"/usr/bin/python3", "-c", code};
  program.command.insert(program.command.end(), args.begin(), args.end());
  return program;
}

std::string Contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// ------------------------------------------------------------------ limits

TEST_F(BoxWalls, MemoryIsOfAllTogether) {
  box_ = Open({.memory_bytes = 64ULL << 20});
  EXPECT_EQ(box_->Usage().memory_limit_bytes, 64ULL << 20);
  auto bystander = box_->Start(Shell("exec sleep 1000"));
  ASSERT_TRUE(bystander) << bystander.error().message;
  EXPECT_EQ(box_->Usage().oom_kills, 0U);
  const Ended ended = RunIn(*box_, PythonProgram("x = bytearray(200 << 20)"));
  EXPECT_EQ(ended.signal, SIGKILL) << Describe(ended);
  EXPECT_GE(box_->Usage().oom_kills, 1U);
  EXPECT_GT(box_->Usage().memory_peak_bytes, 32ULL << 20);
  EXPECT_LE(box_->Usage().memory_peak_bytes, 64ULL << 20);
  // The one who took it all is gone, and nobody else.
  EXPECT_SAYS(RunIn(*box_, "kill -0 " + std::to_string(bystander->pid) + " && echo alive"),
              "alive\n");
  EXPECT_LT(box_->Usage().memory_bytes, 48ULL << 20);
  // Files are memory too, and stay.
  EXPECT_SAYS(RunIn(*box_, "head -c 20000000 /dev/zero > f"), "");
  EXPECT_GT(box_->Usage().memory_bytes, 19ULL << 20);
}

TEST_F(BoxWalls, WhereItsUserMayWrite) {
  box_ = Open({.disk_bytes = 8ULL << 20});
  for (const char* folder : {"/box/work", "/tmp", "/dev/shm", "/workspace", "/home", "/root",
                             "/var", "/var/tmp", "/srv", "/mnt", "/data", "/app"}) {
    EXPECT_SAYS(RunIn(*box_, std::string("cd ") + folder + " && mkdir d && echo x > d/f && pwd"),
                std::string(folder) + "\n");
  }
  for (const char* folder : {"/", "/usr", "/etc", "/opt", "/run", "/dev"}) {
    EXPECT_NE(RunIn(*box_, std::string("mkdir ") + folder + "/d").exit_code, 0) << folder;
  }
  // All of it is the one disk, with its one limit.
  EXPECT_THAT(
      RunIn(*box_, "head -c 6000000 /dev/zero > /var/f; head -c 6000000 /dev/zero > /home/f").err,
      HasSubstr("No space left on device"));
  // Another box has its own.
  auto other = Open({});
  EXPECT_SAYS(RunIn(*other, "ls /workspace /root /data"), "/data:\n\n/root:\n\n/workspace:\n");
}

TEST_F(BoxWalls, TheDiskEndsAndCanBeCleared) {
  box_ = Open({.disk_bytes = 8ULL << 20});
  const Ended full = RunIn(*box_, "head -c 16000000 /dev/zero > /tmp/f");
  EXPECT_EQ(full.exit_code, 1) << Describe(full);
  EXPECT_THAT(full.err, HasSubstr("No space left on device"));
  EXPECT_NE(RunIn(*box_, "echo x > /box/work/g && cat /box/work/g").exit_code, 0);
  EXPECT_SAYS(RunIn(*box_, "rm /tmp/f; echo x > g; cat g"), "x\n");
}

TEST_F(BoxWalls, AForkBombIsBoundedAndCanBeEnded) {
  constexpr std::uint32_t kPids = 40;
  box_ = Open({.pids = kPids});
  for (int round = 0; round < 3; ++round) {
    auto bomb = box_->Start(Shell("b() { b | b & b; }; b 2>/dev/null"));
    ASSERT_TRUE(bomb) << bomb.error().message;
    // Both count without another process, for which there may be no room.
    const auto count = [&] {
      const Ended ended = RunIn(*box_, "set -- /proc/[0-9]*; echo $#");
      EXPECT_EQ(ended.exit_code, 0) << Describe(ended);
      return std::atoi(ended.out.c_str());
    };
    EXPECT_TRUE(Eventually([&] { return count() >= static_cast<int>(kPids); }));
    // The init and the one that counts are beyond the limit.
    EXPECT_LE(count(), static_cast<int>(kPids) + 2);
    EXPECT_EQ(RunIn(*box_, "kill -9 -1").exit_code, 0);
    EXPECT_FALSE(Finish(std::move(*bomb)).timed_out);
    EXPECT_SAYS(RunIn(*box_, "echo over | cat"), "over\n");
  }
}

TEST_F(BoxWalls, ProcessorTimeIsShared) {
  box_ = Open({.cpu_millis = 200});
  const auto start = steady_clock::now();
  EXPECT_EQ(RunIn(*box_,
                  "timeout 1 sh -c 'while :; do :; done' & "
                  "timeout 1 sh -c 'while :; do :; done'; wait")
                .exit_code,
            0);
  const auto wall =
      std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - start);
  EXPECT_GT(box_->Usage().cpu_us, 0U);
  EXPECT_LT(box_->Usage().cpu_us, static_cast<std::uint64_t>(wall.count()) / 2);
}

TEST_F(BoxWalls, AClosedWorkDirectoryCanBeOpenedAgain) {
  EXPECT_SAYS(RunIn(*box_, "chmod 700 /box/work"), "");
  EXPECT_SAYS(RunIn(*box_, "pwd"), "/box/work\n");
  EXPECT_SAYS(RunIn(*box_, "chmod 0 /box/work"), "");
  EXPECT_EQ(RunIn(*box_, "pwd").exit_code, 126);
  BoxProgram repair = Shell("chmod 755 /box/work");
  repair.cwd = "/tmp";
  EXPECT_SAYS(RunIn(*box_, repair), "");
  EXPECT_SAYS(RunIn(*box_, "pwd"), "/box/work\n");
}

// ------------------------------------------------------------------ between boxes

TEST_F(BoxWalls, TwoBoxesKnowNothingOfEachOther) {
  auto other = Open({});
  auto server = box_->Start(
      PythonProgram("import socket, os\n"
                    "s = socket.create_server(('127.0.0.1', 8080))\n"
                    "u = socket.socket(socket.AF_UNIX); u.bind('\\0marker'); u.listen()\n"
                    "open('/tmp/marker', 'w').write('x'); os.system('ipcmk -M 4096 >/dev/null')\n"
                    "print('up', flush=True)\n"
                    "while True: c, _ = s.accept(); c.send(b'hello\\n'); c.close()\n",
                    {"marker"}));
  ASSERT_TRUE(server) << server.error().message;
  ASSERT_NE(ReadUntil(server->stdout_pipe.get(), "up\n"), "");
  const std::string look =
      "id -u > uid; exec 2>/dev/null\n"
      "python3 -c \"import socket; print(socket.create_connection(('127.0.0.1', 8080)).recv(9))\"\n"
      "python3 -c \"import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0marker'); "
      "print('abstract')\"\n"
      "ls /tmp | grep marker\n"
      "ipcs -m | grep -c 0x\n"
      "grep -lz '^marker$' /proc/[0-9]*/cmdline | wc -l\n";
  EXPECT_SAYS(RunIn(*box_, look), "b'hello\\n'\nabstract\nmarker\n1\n1\n");
  const Ended seen = RunIn(*other, look);
  EXPECT_EQ(seen.out, "0\n0\n") << Describe(seen);
  EXPECT_NE(RunIn(*box_, "cat uid").out, RunIn(*other, "cat uid").out);

  EXPECT_EQ(RunIn(*other, "kill -9 -1; exit 0").exit_code, 0);
  EXPECT_SAYS(RunIn(*box_, "kill -0 " + std::to_string(server->pid) + " && echo there"), "there\n");
  other.reset();
  EXPECT_SAYS(RunIn(*box_, "cat /tmp/marker"), "x");
}

TEST_F(BoxWalls, AHundredAtOnce) {
  std::vector<std::unique_ptr<Box>> boxes;
  std::vector<BoxProcess> running;
  for (int i = 0; i < 100; ++i) {
    boxes.push_back(Open({.memory_bytes = 32ULL << 20, .disk_bytes = 4ULL << 20}));
    ASSERT_NE(boxes.back(), nullptr) << i;
    auto process =
        boxes.back()->Start(Shell("echo " + std::to_string(i) + " > n; exec sleep 1000"));
    ASSERT_TRUE(process) << i << ": " << process.error().message;
    running.push_back(std::move(*process));
  }
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    EXPECT_SAYS(RunIn(*boxes[i], "while ! cat n 2>/dev/null; do :; done"),
                std::to_string(i) + "\n");
  }
  // Runs go on beside them.
  const schema::Outcome run = RunJob(*driver_, Bash("echo run"));
  EXPECT_EQ(run.stdout_text, "run\n") << Describe(run);
  boxes.clear();
  for (BoxProcess& process : running) EXPECT_EQ(Finish(std::move(process)).signal, SIGKILL);
}

// ------------------------------------------------------------------ between neighbours in one

// Whatever is started beside a spy: of its sockets there is never more than the channel, and that
// cannot be opened.
TEST_F(BoxWalls, NoProcessReachesAnothersSockets) {
  auto spy = box_->Start(
      PythonProgram("import os, sys, select\n"
                    "seen = set()\n"
                    "print('up', flush=True)\n"
                    "while not select.select([0], [], [], 0)[0]:\n"
                    "  for pid in os.listdir('/proc'):\n"
                    "    if not pid.isdigit() or int(pid) == os.getpid(): continue\n"
                    "    try: fds = os.listdir(f'/proc/{pid}/fd')\n"
                    "    except OSError: continue\n"
                    "    for fd in fds:\n"
                    "      path = f'/proc/{pid}/fd/{fd}'\n"
                    "      try: target = os.readlink(path)\n"
                    "      except OSError: continue\n"
                    "      if not target.startswith('socket'): continue\n"
                    "      seen.add(fd)\n"
                    "      for flags in (os.O_RDONLY, os.O_RDWR):\n"
                    "        try: os.open(path, flags); seen.add('opened ' + fd)\n"
                    "        except OSError: pass\n"
                    "      try: os.open(f'/proc/{pid}/mem', os.O_RDWR); seen.add('memory')\n"
                    "      except OSError: pass\n"
                    "print(sorted(seen))\n"));
  ASSERT_TRUE(spy) << spy.error().message;
  ASSERT_NE(ReadUntil(spy->stdout_pipe.get(), "up\n"), "");
  BoxProgram talker = Shell("read -t 0.02 -u 3");
  talker.channel = true;
  for (int i = 0; i < 40; ++i) {
    RunIn(*box_, "true");
    RunIn(*box_, talker);
  }
  EXPECT_SAYS(Finish(std::move(*spy)), "['3']\n");
}

// ------------------------------------------------------------------ ends

TEST_F(BoxWalls, OneWhoseInitIsKilledIsGone) {
  auto process = box_->Start(Shell("exec sleep 98765"));
  ASSERT_TRUE(process) << process.error().message;
  // The host's view: the sleeper, and the init of the same pid namespace.
  const auto find = [](const auto& wanted) {
    for (const pid_t pid : ProcessTree(driver_->forkserver_pid())) {
      if (wanted(fs::path("/proc") / std::to_string(pid))) return pid;
    }
    return pid_t{-1};
  };
  pid_t sleeper = -1;
  ASSERT_TRUE(Eventually([&] {
    sleeper = find([](const fs::path& proc) {
      return Contents(proc / "cmdline").find("98765") != std::string::npos;
    });
    return sleeper > 0;
  }));
  const fs::path space = fs::read_symlink("/proc/" + std::to_string(sleeper) + "/ns/pid");
  const pid_t init = find([&](const fs::path& proc) {
    std::error_code error;
    return Contents(proc / "comm") == "init\n" && fs::read_symlink(proc / "ns/pid", error) == space;
  });
  ASSERT_GT(init, 0);
  EXPECT_TRUE(box_->Alive());
  ::kill(init, SIGKILL);
  EXPECT_EQ(Finish(std::move(*process)).signal, SIGKILL);
  EXPECT_TRUE(Eventually([&] { return !box_->Alive(); }));
  auto next = box_->Start(Shell("true"));
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace forkbox::sandbox::testing
