// The process driver among programs that mean harm.
#include <gmock/gmock.h>

#include <atomic>
#include <map>
#include <thread>

#include "tests/sandbox/hostile_suite.h"
#include "tests/sandbox/process_driver_under_test.h"
#include "tests/sandbox/sandbox_contract.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;

INSTANTIATE_TEST_SUITE_P(Drivers, Hostile, ::testing::Values(ProcessDriverUnderTest(2)), NameOf);
INSTANTIATE_TEST_SUITE_P(Drivers, HostileProgram,
                         ::testing::Combine(::testing::Values(ProcessDriverUnderTest(2)),
                                            ::testing::ValuesIn(HostileCases())),
                         NameOfHostileCase);

// Of processes: machines have one of their own, vm_mixed_jobs.cc.
class HostileSoak : public Hostile {};
INSTANTIATE_TEST_SUITE_P(Drivers, HostileSoak, ::testing::Values(ProcessDriverUnderTest(2)),
                         NameOf);

// FORKBOX_SOAK_JOBS=2000 build/tests/sandbox/hostile_test --gtest_filter=*Soak*
// Cost must not grow with history: at the end everything is as after the first few.
TEST_P(HostileSoak, CostDoesNotGrowWithHistory) {
  const char* wanted = std::getenv("FORKBOX_SOAK_JOBS");
  const int jobs = wanted != nullptr ? std::atoi(wanted) : 2000;
  const auto run_some = [&](int count) {
    std::atomic<int> next{0};
    std::atomic<int> wrong{0};
    std::vector<std::thread> threads;
    for (int thread = 0; thread < 4; ++thread) {
      threads.emplace_back([&] {
        for (int i = next++; i < count; i = next++) {
          Job job =
              i % 7 == 0 ? Bash("sleep 1000 & echo $1")
              : i % 7 == 1
                  ? Python(
                        "import os, sys\nif os.fork() == 0:\n    os.setsid()\n    import time\n"
                        "    time.sleep(1000)\nprint(sys.argv[1])")
              : i % 7 == 2 ? Bash("head -c 300000 /dev/urandom > f; echo $1")
              : i % 7 == 3 ? Python("import numpy, sys\nprint(sys.argv[1])")
                           : Python("import sys\nprint(sys.argv[1])");
          job.limits = schema::Limits{};
          job.limits.wall = 60s;
          job.limits.cpu = 60s;
          job.source.args = {std::to_string(i)};
          const Outcome outcome = Run(job);
          if (outcome.stdout_text != std::to_string(i) + "\n" ||
              outcome.reason != Reason::kExited) {
            ++wrong;
            ADD_FAILURE() << Describe(outcome);
          }
          // Every so often one that has to be killed.
          if (i % 97 == 0) {
            Job endless = Bash("while :; do :; done");
            endless.limits.wall = 100ms;
            if (Run(endless).reason != Reason::kWallTimeout) ++wrong;
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    return wrong.load();
  };
  EXPECT_EQ(run_some(60), 0);  // allocators and caches have what they want
  EXPECT_EQ(probe_->WaitUntilClean(), "");
  const pid_t forkserver_pid = forkserver();
  const auto templates = TemplatesOf(forkserver_pid);
  std::map<pid_t, std::size_t> before = {{::getpid(), ResidentBytes(::getpid())},
                                         {forkserver_pid, ResidentBytes(forkserver_pid)}};
  for (const pid_t pid : templates) before[pid] = ResidentBytes(pid);

  EXPECT_EQ(run_some(jobs), 0);

  EXPECT_EQ(probe_->WaitUntilClean(), "");
  EXPECT_EQ(TemplatesOf(forkserver_pid), templates) << "a template was lost on the way";
  for (const auto& [pid, bytes] : before) {
    const std::size_t now = ResidentBytes(pid);
    EXPECT_LE(now, bytes + (2U << 20)) << "process " << pid << " grew over " << jobs << " jobs";
  }
}

}  // namespace
}  // namespace forkbox::sandbox::testing
