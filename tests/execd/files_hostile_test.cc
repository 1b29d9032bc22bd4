// Files of boxes whose programs do what they can against it.
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <thread>

#include "tests/execd/files_fixture.h"

namespace forkbox::execd::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;
using namespace std::chrono_literals;

class HostileFiles : public FilesInBox {
 protected:
  // A program that runs on by itself, once it has said that it is there.
  sandbox::BoxProcess Start(const std::string& script) {
    auto process = box_->Start(sandbox::testing::Shell(script));
    if (!process) {
      ADD_FAILURE() << process.error().message;
      return {};
    }
    EXPECT_NE(sandbox::testing::ReadUntil(process->stdout_pipe.get(), "up\n"), "");
    return std::move(*process);
  }
};

TEST_F(HostileFiles, LinksOutOfTheBoxLeadNowhereElse) {
  Run("ln -s /etc/shadow shadow; ln -s /proc/1/root root; ln -s /proc/self/root here; "
      "ln -s ../../../../../../etc/shadow climb; ln -s a b; ln -s b a; ln -s /proc/self/fd/3 chan; "
      "ln -s /proc/1/mem mem");
  for (const char* path : {"shadow", "climb", "/etc/shadow", "../../../../etc/shadow",
                           "here/etc/shadow", "/proc/self/root/etc/shadow"}) {
    SCOPED_TRACE(path);
    EXPECT_REFUSED(files_->Open(path), kNotFound, "no such file or directory");
  }
  for (const char* path : {"root/etc/shadow", "/proc/1/root/etc/passwd", "mem", "chan", "a"}) {
    SCOPED_TRACE(path);
    EXPECT_FALSE(files_->Open(path));
    EXPECT_FALSE(Write(path, "x"));
  }
  // From the root upwards there is the root; and its files are the box's own.
  EXPECT_THAT(Read("/../../../etc/hostname"), HasSubstr("forkbox"));
  EXPECT_THAT(Read("here/etc/hostname"), HasSubstr("forkbox"));
  EXPECT_REFUSED(files_->Info("/sys"), kNotFound, "no such file");
}

TEST_F(HostileFiles, PathsAtTheirBounds) {
  const std::string longest_name(255, 'n');
  EXPECT_DONE(Write(longest_name, "x"));
  EXPECT_EQ(files_->Info(longest_name)->path, "/box/work/" + longest_name);
  EXPECT_REFUSED(files_->Info(std::string(256, 'n')), kInvalidArgument, "file name too long");
  // As it is given, the kernel takes 4095 bytes; the clean one is short.
  std::string path = "/box/work";
  while (path.size() < 4095 - longest_name.size() - 1) path += '/';
  path += "/" + longest_name;
  ASSERT_EQ(path.size(), 4095U);
  EXPECT_DONE(files_->Info(path));
  EXPECT_EQ(Read(path), "x");
  path.insert(0, "/");
  EXPECT_REFUSED(files_->Info(path), kInvalidArgument, "at most 4095 bytes");
  EXPECT_REFUSED(files_->Open(path), kInvalidArgument, "at most 4095 bytes");
  EXPECT_REFUSED(files_->Move("x", path), kInvalidArgument, "at most 4095 bytes");
  EXPECT_REFUSED(files_->Create(path, {}), kInvalidArgument, "at most 4095 bytes");
  std::string deep;
  while (deep.size() < 4090) deep += "d/";
  EXPECT_REFUSED(files_->MakeDirectory(deep, {}), kInvalidArgument, "file name too long");
  EXPECT_REFUSED(files_->Info(std::string("a\0b", 3)), kInvalidArgument, "NUL");
}

TEST_F(HostileFiles, NamesOfAnyBytes) {
  const std::string names[] = {"with\nnewline", "\xff\xfe", "tab\t",    " ",       "-rf",
                               "ünïcödé",       "*[a]{b}",  "\x1b[31m", "'\"$(x)`"};
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    EXPECT_DONE(Write("odd/" + name, name));
    EXPECT_EQ(Read("odd/" + name), name);
    EXPECT_EQ(files_->Info("odd/" + name)->path, "/box/work/odd/" + name);
    EXPECT_DONE(files_->Move("odd/" + name, "moved/" + name));
  }
  EXPECT_THAT(PathsOf(files_->List("moved", 1)), SizeIs(std::size(names)));
  EXPECT_THAT(PathsOf(files_->Search("moved", "*")), SizeIs(std::size(names)));
  EXPECT_THAT(PathsOf(files_->Search("moved", "\xff?")), SizeIs(1));
  EXPECT_THAT(PathsOf(files_->Search("moved", "\\*\\[a]\\{b\\}")), SizeIs(1));
  // What cannot be shown is not: messages are text.
  const auto refused = files_->Info("odd/\xff");
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("\xef\xbf\xbd"));
  EXPECT_DONE(files_->RemoveTree("moved"));
}

TEST_F(HostileFiles, TimesAndSizesBeyondAllNumbers) {
  Run("python3 -c \"\nimport os\nfor name, at in (('late', 2**62), ('early', -2**62), "
      "('old', -1)):\n open(name, 'w').close()\n os.utime(name, (at, at))\n"
      "f = open('large', 'w')\nf.truncate(2**62)\n\"");
  EXPECT_EQ(files_->Info("late")->modified_unix_ns, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(files_->Open("late")->modified_unix_ns, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(files_->Info("early")->modified_unix_ns, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(files_->Info("old")->modified_unix_ns, -1'000'000'000);
  EXPECT_EQ(files_->Info("large")->size, 1ULL << 62);
  EXPECT_EQ(files_->Open("large")->size, 1ULL << 62);
  EXPECT_REFUSED(files_->Replace({"large", "a", "b"}), kInvalidArgument, "at most");
}

TEST_F(HostileFiles, AsManyEntriesAsAreAllowedAndNoMore) {
  Open({.memory_bytes = 1ULL << 30, .disk_bytes = 900ULL << 20});
  Run("mkdir many; cd many; python3 -c \"for i in range(100000): open(str(i), 'w').close()\"");
  EXPECT_EQ(PathsOf(files_->List("many", 1)).size(), 100'000U);
  EXPECT_EQ(PathsOf(files_->Search("many", "*")).size(), 100'000U);
  Run("touch many/more; mkdir two; ln many/1 two/1");
  EXPECT_REFUSED(files_->List("many", 1), kInvalidArgument, "too many entries");
  EXPECT_REFUSED(files_->Search("many", "*"), kInvalidArgument, "too many entries");
  EXPECT_EQ(PathsOf(files_->Search("many", "*9")).size(), 10'000U);
  EXPECT_DONE(files_->RemoveTree("many"));
  EXPECT_EQ(PathsOf(files_->List(".", 5)).size(), 2U);
}

TEST_F(HostileFiles, TreesDeeperThanAnyPath) {
  Run("python3 -c \"\nimport os\nfor i in range(5000):\n os.mkdir('d'); os.chdir('d')\n"
      " if i % 1000 == 0: open('f', 'w').close()\n\"");
  EXPECT_REFUSED(files_->List(".", 100'000), kInvalidArgument, "more than 256 deep");
  EXPECT_REFUSED(files_->Search(".", "*"), kInvalidArgument, "more than 256 deep");
  EXPECT_THAT(PathsOf(files_->List(".", 256)), SizeIs(257));
  EXPECT_DONE(files_->RemoveTree("d"));
  EXPECT_REFUSED(files_->Info("d"), kNotFound, "no such file");
}

TEST_F(HostileFiles, TreesThatMoveWhileTheyAreRead) {
  auto busy = Start(
      "mkdir -p t/a t/b; echo up; while :; do mkdir -p t/a/x/y; touch t/a/x/f; mv t/a/x t/b/x; "
      "rm -rf t/b/x; ln -s .. t/b/x; rm -f t/b/x; done");
  const auto end = std::chrono::steady_clock::now() + 1500ms;
  while (std::chrono::steady_clock::now() < end) {
    EXPECT_DONE(files_->List("t", 20));
    EXPECT_DONE(files_->Search("t", "**"));
    EXPECT_DONE(files_->RemoveTree("t/none"));
    (void)files_->RemoveTree("t/b/x");  // it may be made again just then
  }
  EXPECT_DONE(files_->Signal(busy.pid, SIGKILL, true));
  EXPECT_DONE(files_->RemoveTree("t"));
}

TEST_F(HostileFiles, EverythingInsideIsKilledAndTheNextOperationWorks) {
  EXPECT_DONE(Write("f", "x"));
  for (int i = 0; i < 10; ++i) {
    Run("kill -9 -1; true");
    EXPECT_DONE(files_->Info("f"));
    Run("kill -9 -1; true");
    EXPECT_EQ(files_->Replace({"f", "x", "x"}).value(), 1U);
    Run("kill -9 -1; true");
    EXPECT_DONE(files_->Move("f", "g"));
    EXPECT_DONE(files_->Move("g", "f"));
  }
}

TEST_F(HostileFiles, AgentsThatAreStoppedArePassedOver) {
  EXPECT_DONE(Write("f", "x"));
  files_ = std::make_unique<Files>(
      *box_, Files::Patience{.begin = 300ms, .quick = 5'000ms, .whole = 10'000ms});
  EXPECT_DONE(files_->Info("f"));
  Run("kill -STOP -1; true");
  EXPECT_DONE(files_->Info("f"));
  Run("kill -STOP -1; true");
  // Not begun, so it can be asked of another; and is done once.
  EXPECT_DONE(files_->Move("f", "g"));
  Run("kill -CONT -1; true");
  EXPECT_EQ(Read("g"), "x");
}

// Stopped processes of this user, in whatever box.
std::size_t StoppedProcessesOf(const std::string& uid) {
  std::size_t stopped = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "status");
    const std::string status{std::istreambuf_iterator<char>(file), {}};
    if (status.find("\nState:\tT") != std::string::npos &&
        status.find("\nUid:\t" + uid + "\t") != std::string::npos) {
      ++stopped;
    }
  }
  return stopped;
}

TEST_F(HostileFiles, StoppedAgentsDoNotPileUp) {
  Open({.pids = 32});
  std::string uid = Run("id -u");
  uid.pop_back();
  files_ = std::make_unique<Files>(
      *box_, Files::Patience{.begin = 100ms, .quick = 300ms, .whole = 1'000ms});
  EXPECT_DONE(files_->Info("."));
  auto stops = Start("echo up; while :; do kill -STOP -1; done");
  for (int round = 0; round < 3; ++round) {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 12; ++i) {
      threads.emplace_back([this] { (void)files_->Info("."); });
    }
  }
  // The idle ones, and what the box had besides.
  std::size_t stopped = 100;
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (stopped > 4 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(50ms);
    stopped = StoppedProcessesOf(uid);
  }
  EXPECT_LE(stopped, 4U);
  // The end of Files is that of its agents.
  files_.reset();
  while (stopped > 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(50ms);
    stopped = StoppedProcessesOf(uid);
  }
  EXPECT_EQ(stopped, 0U);
}

TEST_F(HostileFiles, FrozenBoxesRefuseAndNothingIsLeftInThem) {
  EXPECT_DONE(Write("f", "x"));
  auto upload = files_->Create("g", {});
  ASSERT_TRUE(upload && (*upload)->Write("half"));
  ASSERT_TRUE(box_->Freeze());
  EXPECT_REFUSED(files_->Info("f"), kUnavailable, "paused");
  EXPECT_REFUSED(files_->List(".", 1), kUnavailable, "paused");
  EXPECT_REFUSED(files_->Create("h", {}), kUnavailable, "paused");
  upload->reset();
  ASSERT_TRUE(box_->Thaw());
  std::string left = "?";
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (left != "f\n" && std::chrono::steady_clock::now() < end) left = Run("ls -A");
  EXPECT_EQ(left, "f\n");
  EXPECT_EQ(Read("f"), "x");
}

TEST_F(HostileFiles, NobodyLooksIntoAnAgent) {
  EXPECT_DONE(files_->Info("."));  // one is idle now
  const std::string out =
      Run("for p in /proc/[0-9]*; do n=${p#/proc/}; [ $n = 1 ] || [ $n = $$ ] && continue; "
          "[ \"$(cat $p/comm 2>/dev/null)\" = agent_template ] || continue; echo found; "
          "ls $p/fd 2>&1; head -c1 $p/mem 2>&1; cat $p/environ 2>&1; done; true");
  EXPECT_THAT(out, HasSubstr("found"));
  EXPECT_THAT(out, HasSubstr("Permission denied"));
  EXPECT_THAT(out, ::testing::Not(HasSubstr("\n3\n")));
}

TEST_F(HostileFiles, ManySideBySide) {
  Run("for i in $(seq 50); do echo $i > f$i; done");
  std::vector<std::jthread> threads;
  for (int i = 0; i < 12; ++i) {
    threads.emplace_back([this, i] {
      for (int j = 1; j <= 20; ++j) {
        const std::string n = std::to_string(j);
        EXPECT_DONE(files_->Info("f" + n));
        EXPECT_EQ(PathsOf(files_->Search(".", "f" + n)).size(), 1U);
        EXPECT_DONE(Write("t" + std::to_string(i) + "/" + n, n));
      }
    });
  }
  threads.clear();
  EXPECT_EQ(PathsOf(files_->Search(".", "*")).size(), 50U + 12 * 20);
  // Of the agents that took, few are kept.
  std::size_t agents = 100;
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (agents > 4 && std::chrono::steady_clock::now() < end) {
    agents = std::stoul(Run("cat /proc/[0-9]*/comm 2>/dev/null | grep -c agent_template || true"));
  }
  EXPECT_LE(agents, 4U);
  EXPECT_GE(agents, 1U);
}

TEST_F(HostileFiles, WorkWhereNothingMoreCanBeStarted) {
  Open({.pids = 24});
  auto bomb = Start(
      "exec python3 -c \"\nimport os, time\ntry:\n while os.fork(): pass\n time.sleep(1000)\n"
      "except OSError:\n print('up', flush=True)\n time.sleep(1000)\n\"");
  EXPECT_DONE(Write("f", "x"));
  EXPECT_DONE(files_->Info("f"));
  EXPECT_DONE(files_->Signal(bomb.pid, SIGKILL, true));
}

TEST_F(HostileFiles, SignalsReachProcessesAndGroups) {
  auto process = Start("trap 'echo got; exit 3' TERM; sleep 1000 & echo up; wait");
  EXPECT_DONE(files_->Signal(process.pid, 0, false));
  EXPECT_DONE(files_->Signal(process.pid, SIGTERM, false));
  const auto ended = sandbox::testing::Finish(std::move(process));
  EXPECT_EQ(ended.exit_code, 3);
  EXPECT_EQ(ended.out, "got\n");
  process = Start("sleep 1000 & echo up; wait");
  const pid_t pid = process.pid;
  EXPECT_DONE(files_->Signal(pid, SIGKILL, true));
  EXPECT_EQ(sandbox::testing::Finish(std::move(process)).signal, SIGKILL);
  EXPECT_REFUSED(files_->Signal(30'000, SIGTERM, false), kNotFound, "no such process");
  EXPECT_REFUSED(files_->Signal(30'000, SIGTERM, true), kNotFound, "no such process");
  for (const pid_t everybody : {0, -1, 1, -5}) {
    EXPECT_REFUSED(files_->Signal(everybody, SIGKILL, false), kInvalidArgument, "process");
  }
  EXPECT_REFUSED(files_->Signal(pid, 65, false), kInvalidArgument, "signal");
  EXPECT_REFUSED(files_->Signal(pid, -1, false), kInvalidArgument, "signal");
}

TEST_F(HostileFiles, ConnectsToServersInside) {
  for (const char* address : {"127.0.0.1", "::1"}) {
    SCOPED_TRACE(address);
    auto server =
        Start("exec python3 -c \"\nimport socket\ns = socket.create_server(('" +
              std::string(address) + "', 8000), family=socket.AF_INET6 if ':' in '" + address +
              "' else socket.AF_INET)\nprint('up', flush=True)\n"
              "c, _ = s.accept()\nc.sendall(c.recv(5)[::-1])\n\"");
    auto connection = files_->Connect(8000);
    ASSERT_TRUE(connection) << connection.error().message;
    ASSERT_EQ(::send(connection->get(), "hello", 5, 0), 5);
    pollfd polled{connection->get(), POLLIN, 0};
    ASSERT_EQ(::poll(&polled, 1, 20'000), 1);
    char answer[8] = {};
    EXPECT_EQ(::recv(connection->get(), answer, sizeof answer, MSG_DONTWAIT), 5);
    EXPECT_STREQ(answer, "olleh");
    connection->Reset();
    EXPECT_EQ(sandbox::testing::Finish(std::move(server)).exit_code, 0);
  }
  EXPECT_REFUSED(files_->Connect(8001), kUnavailable, "connection refused");
  EXPECT_REFUSED(files_->Connect(0), kUnavailable, "port 0");
}

}  // namespace
}  // namespace forkbox::execd::testing
