#include "tests/sandbox/vm_mixed_jobs.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/sandbox/leftovers_probe.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;

// A job that only its own number answers, and that answer.
struct Numbered {
  Job job;
  Reason reason = Reason::kExited;
  std::optional<int> exit_code = 0;
  std::optional<int> signal = {};
  std::string out;
  std::string err = {};           // a part of it
  bool may_be_cut_short = false;  // `out`, or the beginning of it
  bool cancel_when_it_speaks = false;
};

Numbered Make(std::size_t number) {
  const std::string n = std::to_string(number);
  const auto job = [&](const char* language, const char* code) {
    Job made(language, code);
    made.source.args = {n};
    return made;
  };
  Numbered test;
  test.out = n + "\n";
  if (number % 100 == 50) {
    test.job = job("go",
                   "package main\n\nimport (\n\t\"fmt\"\n\t\"os\"\n)\n\n"
                   "func main() { fmt.Println(os.Args[1]) }\n");
    return test;
  }
  switch (number % 16) {
    case 0:
      test.job = job("bash", "echo $1; exit $(($1 % 7))");
      test.exit_code = static_cast<int>(number % 7);
      break;
    case 1:
      test.job = job("javascript", "console.log(process.argv[2])");
      break;
    case 2:
      test.job = job("python", "import numpy, sys\nprint(numpy.full(3, int(sys.argv[1])).max())");
      break;
    case 3:
      test.job = job("python", "import sys\nprint(sys.stdin.read()[::-1])");
      test.job.source.stdin_data = {n.rbegin(), n.rend()};
      break;
    case 4:
      test.job = job("bash", "cat a/of-$1 b");
      test.job.source.files = {{"a/of-" + n, n}, {"b", "\n"}};
      break;
    case 5:
      test.job = job("bash", "sleep 0.2; echo $1");
      break;
    case 6:
      test.job = job("python", "import sys\nsys.stdout.write(sys.argv[1] * 100000)");
      test.job.limits.output_bytes = 50'000;
      test.out.clear();
      while (test.out.size() < 50'000) test.out += n;
      test.out.resize(50'000);
      break;
    case 7:
      test.job = job("python", "import sys\nprint(sys.argv[1])\nraise KeyError(sys.argv[1])");
      test.exit_code = 1;
      test.err = "KeyError: '" + n + "'";
      break;
    case 8:
      test.job = job("bash", "echo $1; while :; do :; done");
      test.job.limits.wall = 1s;
      test.reason = Reason::kWallTimeout;
      test.exit_code = {};
      test.may_be_cut_short = true;
      break;
    case 9:
      test.job = job("python", "import sys, time\nprint(sys.argv[1], flush=True)\ntime.sleep(60)");
      test.cancel_when_it_speaks = true;
      test.reason = Reason::kCancelled;
      test.exit_code = {};
      break;
    case 10:
      test.job = job("bash", "echo $1; kill -9 $$");
      test.reason = Reason::kSignalled;
      test.exit_code = {};
      test.signal = SIGKILL;
      break;
    case 11:
      test.job = job("python", "x = b'x' * (256 << 20)");
      test.job.limits.memory_bytes = 64ULL << 20;
      test.reason = Reason::kOutOfMemory;
      test.exit_code = {};
      test.out = "";
      break;
    case 12:
      test.job = job("bash", "sleep 1000 & echo $1");
      break;
    default:
      test.job = job("python", "import sys\nprint(sys.argv[1])");
      break;
  }
  return test;
}

// What is wrong with it; "" if nothing.
std::string WrongWith(const Numbered& test, const Outcome& outcome) {
  std::string wrong;
  if (outcome.reason != test.reason) wrong += "the reason; ";
  // A program that was killed has what it had.
  if (test.exit_code && outcome.exit_code != test.exit_code) wrong += "the exit code; ";
  if (test.signal && outcome.signal != test.signal) wrong += "the signal; ";
  if (test.may_be_cut_short ? !test.out.starts_with(outcome.stdout_text)
                            : outcome.stdout_text != test.out) {
    wrong += "what it printed; ";
  }
  if (outcome.stderr_text.find(test.err) == std::string::npos) wrong += "what it complained of; ";
  if (outcome.isolation != schema::Isolation::kVm) wrong += "where it ran; ";
  return wrong;
}

}  // namespace

// FORKBOX_SOAK_JOBS=5000 build/tests/sandbox/vm_suites_test --gtest_filter=*VmMixedJobs*
TEST_P(VmMixedJobs, EachHasItsOwnAnswerAndNothingIsLeft) {
  const char* wanted = std::getenv("FORKBOX_SOAK_JOBS");
  const std::size_t jobs = wanted != nullptr ? std::strtoul(wanted, nullptr, 10) : 500;
  constexpr int kClients = 4;
  const auto run = [&](std::size_t first, std::size_t count) {
    std::atomic<std::size_t> next{first};
    std::atomic<std::size_t> right{0};
    std::vector<std::thread> clients;
    for (int client = 0; client < kClients; ++client) {
      clients.emplace_back([&] {
        for (std::size_t number = next++; number < first + count; number = next++) {
          const Numbered test = Make(number);
          auto sandbox = driver().ForkFor(test.job.language, test.job.limits, test.job.source.code);
          if (!sandbox) {
            ADD_FAILURE() << number << ": " << sandbox.error().message;
            continue;
          }
          const Outcome outcome = (*sandbox)->Run(test.job.source, [&](const schema::Event& event) {
            if (test.cancel_when_it_speaks && event.kind == schema::EventKind::kStdout) {
              (*sandbox)->Cancel();
            }
          });
          const std::string wrong = WrongWith(test, outcome);
          if (wrong.empty()) {
            ++right;
          } else {
            ADD_FAILURE() << number << " (" << test.job.language << "): wrong is " << wrong << '\n'
                          << Describe(outcome).substr(0, 2000) << outcome.compile_output;
          }
        }
      });
    }
    for (std::thread& client : clients) client.join();
    return right.load();
  };
  constexpr std::size_t kFirstFew = 48;  // after them allocators and caches have what they want
  ASSERT_EQ(run(1000, kFirstFew), kFirstFew);

  const pid_t forkserver = GetParam().forkserver(driver());
  LeftoversProbe probe(driver(), forkserver, 2s);
  const auto templates = TemplatesOf(forkserver);
  std::map<pid_t, std::size_t> before = {{::getpid(), ResidentBytes(::getpid())},
                                         {forkserver, ResidentBytes(forkserver)}};
  for (const pid_t pid : templates) before[pid] = ResidentBytes(pid);

  EXPECT_EQ(run(2000, jobs), jobs);

  EXPECT_EQ(probe.WaitUntilClean(), "");
  EXPECT_EQ(TemplatesOf(forkserver), templates) << "a template was lost on the way";
  for (const auto& [pid, bytes] : before) {
    EXPECT_LE(ResidentBytes(pid), bytes + (4U << 20))
        << "process " << pid << " grew over " << jobs << " jobs";
  }
}

}  // namespace forkbox::sandbox::testing
