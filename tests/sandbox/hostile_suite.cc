#include "tests/sandbox/hostile_suite.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "base/unique_fd.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* kSecret = "k3ep-th1s-to-yourse1f";

std::string Program(const std::string& name) {
  return ReadFile(FORKBOX_TEST_PROGRAMS "/hostile/" + name);
}

// Runs a program that was compiled with this test: programs/hostile/<name>.c.
Job Compiled(const std::string& name) {
  Job job = Bash("chmod +x ./" + name + " && exec ./" + name + " \"$@\"");
  job.limits.memory_bytes = 64ULL << 20;
  job.source.files = {{name, ReadFile(FORKBOX_TEST_BINARIES "/hostile_" + name)}};
  return job;
}

// By its suffix: fork_bomb.py is python.
Job JobOf(const std::string& name) {
  static const std::map<std::string, std::string> kLanguages = {
      {"py", "python"}, {"js", "javascript"}, {"sh", "bash"}};
  const std::size_t dot = name.rfind('.');
  const std::string suffix = name.substr(dot + 1);
  if (suffix == "c") return Compiled(name.substr(0, dot));
  Job job(kLanguages.at(suffix), Program(name));
  job.limits.memory_bytes = 64ULL << 20;
  job.limits.disk_bytes = 16ULL << 20;
  return job;
}

Job Portrait() { return Python(Program("self_portrait.py")); }

}  // namespace

// ------------------------------------------------------------------ before and after each

void HostileSuite::SetUp() {
  static std::map<std::string, std::string> portraits;  // by the driver's name
  driver_ = &SharedDriver(under_test());
  auto [portrait, first] = portraits.try_emplace(under_test().name);
  if (first) {
    ::setenv("FORKBOX_TEST_SECRET", kSecret, 1);
    // Pools full, and nothing left of how it came up.
    LeftoversProbe settled(*driver_, forkserver(), 2s);
    portrait->second = Run(Portrait()).stdout_text;
    ASSERT_EQ(settled.WaitUntilClean(), "");
    // A hole in the host's protections would make the expectations below meaningless.
    ASSERT_EQ(driver_->MissingProtections(), std::vector<std::string>{});
  }
  portrait_ = portrait->second;
  ASSERT_NE(portrait_, "");
  probe_ = std::make_unique<LeftoversProbe>(*driver_, forkserver());
}

void HostileSuite::TearDown() {
  if (probe_ == nullptr) return;
  const Outcome next = Run(Portrait());
  EXPECT_EQ(next.reason, Reason::kExited) << Describe(next);
  EXPECT_EQ(next.stdout_text, portrait_) << "the next job finds another world";
  EXPECT_EQ(probe_->WaitUntilClean(), "");
}

namespace {

// ------------------------------------------------------------------ programs and their ends

auto Wall(std::chrono::milliseconds wall) {
  return [wall](schema::Limits* limits) { limits->wall = wall; };
}

const HostileCase kCases[] = {
    {"fork_bomb.py",
     Reason::kWallTimeout,
     {},
     "",
     {},
     [](schema::Limits* limits) {
       limits->wall = 2s;
       limits->memory_bytes = 512ULL << 20;
     }},
    {"fork_bomb.sh", Reason::kWallTimeout, {}, {}, {}, Wall(2s)},
    {"fork_bomb_left_behind.sh", Reason::kExited, 0, {}, {}, {}},
    {"thread_bomb.py", Reason::kWallTimeout, {}, "stopped True\n", {}, Wall(3s), true},
    {"zombies.py", Reason::kExited, 0, "stopped True\n", {}, {}},
    {"daemon.py", Reason::kExited, 0, "parent done\n", {}, {}},
    {"orphan_holds_stdout.py", Reason::kExited, 0, "parent done\n", {}, {}},
    {"orphan_floods_stdout.py", Reason::kExited, 0, {}, {}, {}},
    {"ignore_signals.py", Reason::kWallTimeout, {}, "deaf\n", {}, Wall(2s), true},
    {"stop_everyone.py", Reason::kWallTimeout, {}, {}, {}, Wall(2s)},
    {"kill_everyone.py", Reason::kExited, 0, "[9, 9, 9] True\n", {}, {}},
    {"kill_init_and_parent.py",
     Reason::kExited,
     0,
     "parent 0\n1\n1\n1\n1\n1\n3\nalive True\n",
     {},
     {}},
    {"kill_own_group.py", Reason::kSignalled, {}, "", SIGKILL, {}},
    {"memory_by_touch.py", Reason::kOutOfMemory, {}, "", {}, {}},
    {"memory_by_children.py", Reason::kOutOfMemory, {}, "", {}, {}},
    {"memory_by_tmpfs.py",
     Reason::kOutOfMemory,
     {},
     "",
     {},
     [](schema::Limits* limits) { limits->disk_bytes = 1ULL << 30; }},
    {"memory_by_memfd.py", Reason::kOutOfMemory, {}, "", {}, {}},
    {"memory_by_shared_mapping.py", Reason::kOutOfMemory, {}, "", {}, {}},
    {"memory_by_sysv.py", Reason::kOutOfMemory, {}, "", {}, {}},
    {"memory_by_pipes.py", Reason::kOutOfMemory, {}, "", {}, {}},
    {"stack_overflow.py",
     Reason::kSignalled,
     {},
     "",
     SIGSEGV,
     [](schema::Limits* limits) { limits->memory_bytes = 512ULL << 20; }},
    {"disk_fill.py",
     Reason::kExited,
     0,
     "ENOSPC True True\nENOSPC True True\nENOSPC True True\n",
     {},
     [](schema::Limits* limits) { limits->disk_bytes = 8ULL << 20; }},
    {"inode_fill.py", Reason::kExited, 0, "ENOSPC True\nENOSPC\n", {}, {}},
    {"deep_folders.py", Reason::kExited, 0, "True\n", {}, {}},
    {"busy_children.py",
     Reason::kCpuTimeout,
     {},
     "",
     {},
     [](schema::Limits* limits) { limits->cpu = 1s; }},
    {"busy_grandchildren.sh",
     Reason::kCpuTimeout,
     {},
     "",
     {},
     [](schema::Limits* limits) { limits->cpu = 500ms; }},
    {"write_host.py", Reason::kExited, 0, "[]\n", {}, {}},
    {"fds.py",
     Reason::kExited,
     0,
     "[0, 1, 2] ['pipe', 'pipe', 'pipe']\n",
     {},
     {},
     false,
     "[0, 1, 2, 63] ['pipe', 'pipe', 'pipe', 'socket']\n"},
    {"fds.sh", Reason::kExited, 0, "0 1 2 3 [0, 1, 2, 255]\n", {}, {}},
    {"rlimits.py",
     Reason::kExited,
     0,
     "raised []\ncore True nofile True nproc True memlock True\nnice refused\nfifo refused\n",
     {},
     {}},
    {"setuid_programs.py",
     Reason::kExited,
     0,
     "one id True True []\nown copy True\nnosuid True\n"
     "{'CapInh': 0, 'CapPrm': 0, 'CapEff': 0, 'CapBnd': 0, 'CapAmb': 0} 1 2\ngains []\n",
     {},
     {}},
};

}  // namespace

std::vector<HostileCase> HostileCases() { return {std::begin(kCases), std::end(kCases)}; }

TEST_P(HostileProgram, EndsForTheRightReason) {
  const HostileCase& test = std::get<1>(GetParam());
  Job job = JobOf(test.program);
  if (test.limits) test.limits(&job.limits);
  if (test.must_get_somewhere) job.limits.wall *= under_test().slowness;
  job.limits.cpu /= under_test().cpu_factor;
  const Outcome outcome = Run(job);
  EXPECT_EQ(schema::ToString(outcome.reason), schema::ToString(test.reason)) << Describe(outcome);
  if (test.exit_code) {
    EXPECT_EQ(outcome.exit_code, test.exit_code) << Describe(outcome);
  }
  const bool beside = under_test().announces_exit && test.out_beside_announcements;
  if (const auto& out = beside ? test.out_beside_announcements : test.out) {
    EXPECT_EQ(outcome.stdout_text, *out) << Describe(outcome);
  }
  if (test.signal) {
    EXPECT_EQ(outcome.signal, test.signal) << Describe(outcome);
  }
}

// ------------------------------------------------------------------ output

TEST_P(Hostile, AFloodWithoutLinesIsCutAndEndsAtTheLimit) {
  Job job = JobOf("flood.py");
  job.limits.wall = 2s;
  job.limits.output_bytes = 100'000;
  const Outcome outcome = Run(job);
  EXPECT_EQ(outcome.reason, Reason::kWallTimeout) << Describe(outcome);
  EXPECT_EQ(outcome.stdout_text.size(), 100'000U);
  EXPECT_EQ(outcome.stderr_text.size(), 100'000U);
  EXPECT_TRUE(outcome.stdout_truncated);
  EXPECT_TRUE(outcome.stderr_truncated);
}

TEST_P(Hostile, AnyBytesComeOutAsValidText) {
  const Outcome outcome = Run(JobOf("bad_bytes.py"));
  EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome);
  EXPECT_EQ(outcome.stdout_text.substr(0, 128), [] {
    std::string ascii;
    for (int i = 0; i < 128; ++i) ascii += static_cast<char>(i);
    return ascii;
  }());
  EXPECT_THAT(outcome.stdout_text, ::testing::EndsWith("\xEF\xBF\xBD"
                                                       "end"));
  EXPECT_EQ(outcome.stderr_text.substr(0, 10), std::string(10, '\0'));
}

// ------------------------------------------------------------------ memory and stack in C

TEST_P(Hostile, AStackOverflowInCIsASignal) {
  const Outcome outcome = Run(Compiled("stack_overflow"));
  EXPECT_EQ(outcome.reason, Reason::kSignalled) << Describe(outcome);
  EXPECT_EQ(outcome.signal, SIGSEGV);
}

// ------------------------------------------------------------------ reading what is others'

TEST_P(Hostile, ReadsNothingOfTheHostNorOfTheRunner) {
  Job job = JobOf("read_others.py");
  job.source.args = {kSecret,
                     "/work",
                     FORKBOX_TEST_PROGRAMS,
                     FORKBOX_RUNTIME,
                     FORKBOX_FORKSERVER,
                     std::string("/proc/") + std::to_string(::getpid()) + "/environ"};
  const Outcome outcome = Run(job);
  EXPECT_EQ(outcome.stdout_text, "processes [1]\nnothing found\n") << Describe(outcome);
}

TEST_P(Hostile, FindsNothingOfAJobThatRunsBesideIt) {
  const std::string marker = "marker-of-the-other";
  auto other = driver_->Fork("python", JobOf("abstract_server.py").limits);
  ASSERT_TRUE(other) << other.error().message;
  schema::Source server;
  server.code = Program("abstract_server.py");
  server.args = {marker, "5555"};
  std::atomic<bool> up{false};
  Outcome other_outcome;
  std::thread thread([&] {
    other_outcome = (*other)->Run(server, [&](const schema::Event&) {
      up = true;
      up.notify_all();
    });
    up = true;
    up.notify_all();
  });
  up.wait(false);

  Job search = JobOf("find_marker.py");
  search.source.args = {marker};
  const Outcome files = Run(search);
  Job connect = JobOf("network.py");
  connect.source.args = {"5555", "/tmp/marker-" + marker, marker};
  const Outcome network = Run(connect);
  (*other)->Cancel();
  thread.join();
  other->reset();
  EXPECT_EQ(files.stdout_text, "[]\n") << Describe(files);
  EXPECT_THAT(network.stdout_text, HasSubstr("reached []\n")) << Describe(network);
  EXPECT_EQ(other_outcome.reason, Reason::kCancelled) << Describe(other_outcome);
  EXPECT_EQ(other_outcome.stdout_text, "listening\n");
}

TEST_P(Hostile, NodeKeepsNoDescriptorOfTheTemplate) {
  if (!IsReady(*driver_, "javascript")) GTEST_SKIP() << "the driver has no javascript";
  Job job = JobOf("fds.js");
  job.limits = {};
  const Outcome outcome = Run(job);
  EXPECT_EQ(outcome.exit_code, 0) << Describe(outcome);
  std::istringstream lines(outcome.stdout_text);
  int sockets = under_test().announces_exit ? 1 : 0;
  for (std::string line; std::getline(lines, line);) {
    if (line == "socket" && sockets-- > 0) continue;
    EXPECT_THAT(line, ::testing::AnyOf("anon_inode:[eventpoll]", "anon_inode:[eventfd]", "pipe",
                                       "/dev/null", "/proc/N/fd", "anon_inode:[io_uring]"))
        << Describe(outcome);
  }
}

// ------------------------------------------------------------------ the kernel's doors

TEST_P(Hostile, ForbiddenCallsAreRefused) {
  const Outcome outcome = Run(Compiled("forbidden_calls"));
  EXPECT_EQ(outcome.exit_code, 0) << Describe(outcome);
  std::istringstream lines(outcome.stdout_text);
  std::size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const std::string verdict = line.substr(line.find(": ") + 2);
    EXPECT_THAT(verdict, ::testing::AnyOf("EPERM", "ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT",
                                          "ENOPROTOOPT"))
        << line;
  }
  EXPECT_GE(count, 79U) << Describe(outcome);
}

TEST_P(Hostile, OtherAbisAreClosed) {
  for (const char* door : {"int80", "x32"}) {
    Job job = Compiled("foreign_entry");
    job.source.args = {door};
    const Outcome outcome = Run(job);
    EXPECT_EQ(outcome.reason, Reason::kSignalled) << door << ' ' << Describe(outcome);
    EXPECT_THAT(outcome.stdout_text, Not(HasSubstr("survived")));
  }
}

TEST_P(Hostile, NoProcessIsBornOutsideOfTheSandbox) {
  const Outcome outcome = Run(Compiled("sibling"));
  EXPECT_EQ(outcome.exit_code, 0) << Describe(outcome);
  EXPECT_EQ(outcome.stdout_text, "EPERM\n");
}

// ------------------------------------------------------------------ network

TEST_P(Hostile, ReachesNoNetworkAndNoServiceOfTheHost) {
  const UniqueFd tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(tcp.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(tcp.get(), 16), 0);
  ASSERT_EQ(::getsockname(tcp.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  // In a folder that programs see as well: only the file tree keeps them apart.
  const std::string path = "/tmp/forkbox-hostile-" + std::to_string(::getpid());
  const std::string abstract = "forkbox-hostile-" + std::to_string(::getpid());
  std::vector<UniqueFd> unix_sockets;
  for (const std::string& name : {path, std::string("\0", 1) + abstract}) {
    unix_sockets.emplace_back(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    name.copy(local.sun_path, sizeof local.sun_path - 1);
    const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(::bind(unix_sockets.back().get(), reinterpret_cast<sockaddr*>(&local), length), 0);
    ASSERT_EQ(::listen(unix_sockets.back().get(), 16), 0);
  }
  Job job = JobOf("network.py");
  job.source.args = {std::to_string(ntohs(address.sin_port)), path, abstract};
  const Outcome outcome = Run(job);
  ::unlink(path.c_str());
  EXPECT_EQ(outcome.stdout_text,
            "families [1, 2, 10] raw []\npairs [1]\ninterfaces ['lo']\nreached []\n")
      << Describe(outcome);
}

namespace {
// /proc/net/sockstat counts orphans of the whole machine, whichever namespace asks.
std::string WithoutTheHostsOrphans(std::string portrait) {
  constexpr std::string_view kWord = "orphan ";
  const std::size_t at = portrait.find(kWord);
  if (at == std::string::npos) return portrait;
  const std::size_t number = at + kWord.size();
  return portrait.erase(number, portrait.find(' ', number) - number);
}
}  // namespace

// Namespaces of the network are used again for the next job. Whatever a program does to one that is
// counted anywhere, the next must not see.
TEST_P(Hostile, LeavesNoTraceInTheNetworkOfTheNext) {
  Job look = Python(Program("network_portrait.py"));
  look.limits.memory_bytes += 1 << 20;  // not of the pool: made when asked for
  const std::string untouched = WithoutTheHostsOrphans(Run(look).stdout_text);
  Job touch = Python(Program("network_traces.py"));
  touch.limits.memory_bytes = look.limits.memory_bytes;
  for (const char* how : {"no_route", "no_route6", "flow_label", "packet", "time_wait", "unix"}) {
    touch.source.args = {how};
    const Outcome touched = Run(touch);
    EXPECT_EQ(touched.exit_code, 0) << how << ' ' << Describe(touched);
    EXPECT_EQ(probe_->WaitUntilClean(), "") << how;  // whatever is used again is ready now
    for (int i = 0; i < 3; ++i) {
      EXPECT_EQ(WithoutTheHostsOrphans(Run(look).stdout_text), untouched) << "after " << how;
    }
  }
}

// ------------------------------------------------------------------ forged results

TEST_P(Hostile, CannotForgeItsResult) {
  const Outcome outcome = Run(JobOf("forge_result.py"));
  EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome);
  EXPECT_EQ(outcome.exit_code, 41);
  EXPECT_THAT(outcome.stdout_text,
              ::testing::StartsWith(under_test().announces_exit ? "sockets 1\n" : "sockets 0\n"));
}

// The one word that it may say itself is its exit code, which is its own anyway.
TEST_P(Hostile, SaysNoMoreThanItsExitCode) {
  if (!under_test().announces_exit) return;
  constexpr const char* kSay =
      "import os, socket, stat, sys, time\n"
      "for fd in range(3, 64):\n"
      "    try:\n"
      "        if not stat.S_ISSOCK(os.fstat(fd).st_mode): continue\n"
      "    except OSError: continue\n"
      "    os.write(fd, bytes.fromhex(sys.argv[1]))\n"
      "print('said', flush=True)\n"
      "time.sleep(0.5)\n"
      "os._exit(41)\n";
  struct Word {
    std::string hex;
    int exit_code;
  };
  const Word words[] = {
      {"7807", 7},                        // 'x' and a code
      {"78", 41},                         // half of it
      {"7607", 41},                       // a function's value
      {"6307", 41},                       // of a compiler
      {"780778087809", 7},                // the first counts
      {std::string(2 * 60'000, '7'), 41}  // a flood
  };
  for (const Word& word : words) {
    Job job = Python(kSay);
    job.source.args = {word.hex};
    const Outcome outcome = Run(job);
    EXPECT_EQ(outcome.reason, Reason::kExited) << Describe(outcome);
    EXPECT_EQ(outcome.exit_code, word.exit_code) << word.hex.substr(0, 16) << Describe(outcome);
    EXPECT_EQ(outcome.value_json, std::nullopt);
  }
}

// ------------------------------------------------------------------ randomness

// Forks are copies: what a runtime had drawn or seeded before, all of them would draw again.
TEST_P(Hostile, NoTwoForksDrawTheSame) {
  for (const char* program :
       {"randomness.py", "randomness_light.py", "randomness_numpy.py", "randomness_batteries.py",
        "randomness.sh", "randomness.js", "randomness.c"}) {
    Job job = JobOf(program);
    if (!IsReady(*driver_, job.language)) {
      std::printf("left out: %s, the driver has no %s\n", program, job.language.c_str());
      continue;
    }
    // The default limits are those of the pool.
    job.limits = {};
    job.limits.wall = job.limits.cpu = 60s;
    constexpr std::size_t kRuns = 10;
    for (const bool pooled : {true, false}) {
      if (!pooled) job.limits.memory_bytes += 1 << 20;
      std::map<std::string, std::set<std::string>> drawn;
      for (std::size_t run = 0; run < kRuns; ++run) {
        const Outcome outcome = Run(job);
        ASSERT_EQ(outcome.exit_code, 0) << program << ' ' << Describe(outcome);
        std::istringstream lines(outcome.stdout_text);
        for (std::string line; std::getline(lines, line);) {
          const auto equals =
              line.find(" = ") == std::string::npos ? line.find("= ") : line.find(" = ");
          ASSERT_NE(equals, std::string::npos) << line;
          drawn[line.substr(0, equals)].insert(line.substr(equals));
        }
      }
      EXPECT_GE(drawn.size(), 2U) << program;
      for (const auto& [source, values] : drawn) {
        EXPECT_EQ(values.size(), kRuns)
            << program << ": " << source << " repeats itself, " << (pooled ? "pooled" : "unpooled");
      }
    }
  }
}

}  // namespace forkbox::sandbox::testing
