#include "tests/sandbox/vm_machines.h"

#include <gmock/gmock.h>
#include <sys/utsname.h>

#include <chrono>
#include <map>
#include <set>
#include <sstream>
#include <thread>
#include <vector>

#include "runner/sandbox/vm/vm_driver.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;
using schema::State;
using ::testing::HasSubstr;
using vm::VmDriver;

double Now() {
  using std::chrono::system_clock;
  return std::chrono::duration<double>(system_clock::now().time_since_epoch()).count();
}

// Forks that stand side by side are as like each other as they can be.
TEST_P(VmMachines, EveryForkDrawsItsOwnNumbers) {
  constexpr std::size_t kForks = 12;
  std::vector<std::unique_ptr<Sandbox>> forks;
  for (std::size_t i = 0; i < kForks; ++i) {
    auto fork = driver().Fork("python", Python("").limits);
    ASSERT_TRUE(fork) << fork.error().message;
    forks.push_back(std::move(*fork));
  }
  schema::Source source;
  source.code =
      "import os, random, subprocess, uuid\n"
      "import numpy\n"
      "print('os.urandom', os.urandom(16).hex())\n"
      "print('uuid4', uuid.uuid4())\n"
      "print('uuid1', uuid.uuid1())\n"
      "print('random', random.random())\n"
      "print('numpy', numpy.random.rand())\n"
      "print('kernel', open('/proc/sys/kernel/random/uuid').read().strip())\n"
      "print('bash', subprocess.run(['bash', '-c', 'echo $RANDOM-$RANDOM-$RANDOM-$RANDOM'],"
      " capture_output=True, text=True).stdout.strip())\n";
  std::map<std::string, std::set<std::string>> drawn;
  for (const auto& fork : forks) {
    const Outcome outcome = fork->Run(source, {});
    ASSERT_EQ(outcome.state, State::kCompleted) << Describe(outcome);
    std::istringstream lines(outcome.stdout_text);
    for (std::string from, what; lines >> from >> what;) drawn[from].insert(what);
  }
  EXPECT_EQ(drawn.size(), 7U);
  for (const auto& [from, numbers] : drawn) EXPECT_EQ(numbers.size(), kForks) << from;
}

// A runtime that starts anew has nothing but the kernel to seed it.
TEST_P(VmMachines, CompiledProgramsDrawTheirOwnNumbers) {
  ASSERT_TRUE(IsReady(driver(), "go"));
  constexpr std::size_t kRuns = 3;
  const Job job("go", ReadFile(FORKBOX_TEST_PROGRAMS "/hostile/randomness.go"));
  std::map<std::string, std::set<std::string>> drawn;
  for (std::size_t run = 0; run < kRuns; ++run) {
    const Outcome outcome = Run(job);
    ASSERT_EQ(outcome.state, State::kCompleted) << Describe(outcome) << outcome.compile_output;
    std::istringstream lines(outcome.stdout_text);
    for (std::string from, is, what; lines >> from >> is >> what;) drawn[from].insert(what);
  }
  EXPECT_EQ(drawn.size(), 2U);
  for (const auto& [from, numbers] : drawn) EXPECT_EQ(numbers.size(), kRuns) << from;
}

TEST_P(VmMachines, KnowTheTimeHoweverLongTheyHaveWaited) {
  constexpr double kTolerance = 2;  // seconds
  struct Clock {
    const char* language;
    const char* code;  // prints the time of day, and how long 0.3 s take
  };
  const Clock clocks[] = {
      {"python",
       "import time\n"
       "at, start = time.time(), time.monotonic()\n"
       "time.sleep(0.3)\n"
       "print(at, time.monotonic() - start)\n"},
      {"bash",
       "at=$EPOCHREALTIME; read start _ < /proc/uptime; sleep 0.3; read end _ < /proc/uptime\n"
       "echo $at $((10#${end/./} - 10#${start/./}))e-2\n"},
      {"javascript",
       "const at = Date.now() / 1000, start = performance.now();\n"
       "setTimeout(() => console.log(at, (performance.now() - start) / 1000), 300);\n"},
  };
  std::vector<std::unique_ptr<Sandbox>> forks;
  for (const Clock& clock : clocks) {
    auto fork = driver().Fork(clock.language, Python("").limits);
    ASSERT_TRUE(fork) << fork.error().message;
    forks.push_back(std::move(*fork));
  }
  std::this_thread::sleep_for(3s);  // the template is older than this anyway
  for (std::size_t i = 0; i < forks.size(); ++i) {
    SCOPED_TRACE(clocks[i].language);
    schema::Source source;
    source.code = clocks[i].code;
    const double before = Now();
    const Outcome outcome = forks[i]->Run(source, {});
    const double after = Now();
    std::istringstream words(outcome.stdout_text);
    double at = 0;
    double slept = 0;
    words >> at >> slept;
    ASSERT_TRUE(words) << Describe(outcome);
    EXPECT_GE(at, before - kTolerance);
    EXPECT_LE(at, after + kTolerance);
    EXPECT_GE(slept, 0.28);  // by clocks that count hundredths
    EXPECT_LE(slept, after - before + 0.02);
  }
}

TEST_P(VmMachines, OutcomesSayWhatTheyRanIn) {
  const Outcome outcome = Run(Bash("uname -r"));
  EXPECT_EQ(outcome.state, State::kCompleted) << Describe(outcome);
  EXPECT_EQ(outcome.isolation, schema::Isolation::kVm);
  EXPECT_EQ(outcome.accelerator, "tcg");
  EXPECT_GT(outcome.usage.cpu.count(), 0);
  EXPECT_GT(outcome.usage.peak_memory_bytes, 0U);
  utsname host{};
  ::uname(&host);
  EXPECT_NE(outcome.stdout_text, std::string(host.release) + "\n");
}

TEST_P(VmMachines, ForMoreMemoryThanTheyHaveThereIsNone) {
  auto& vm_driver = dynamic_cast<VmDriver&>(driver());
  Job job = Bash("echo fits");
  job.limits.memory_bytes = vm_driver.MostMemory();
  EXPECT_EQ(Run(job).stdout_text, "fits\n");
  ++job.limits.memory_bytes;
  const auto refused = vm_driver.Fork("bash", job.limits);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("memory"));
  EXPECT_THAT(refused.error().message,
              HasSubstr(std::to_string(vm_driver.MostMemory() >> 20) + " MiB"));
}

TEST_P(VmMachines, CompileBeforeTheyRun) {
  ASSERT_TRUE(IsReady(driver(), "go"));
  Job job("go", "package main\n\nimport \"fmt\"\n\nfunc main() { fmt.Println(6 * 7) }\n");
  std::vector<std::string> states;
  job.sink = [&](const schema::Event& event) {
    if (event.kind == schema::EventKind::kState) states.push_back(event.data);
  };
  const Outcome outcome = Run(job);
  EXPECT_EQ(outcome.stdout_text, "42\n") << Describe(outcome) << outcome.compile_output;
  EXPECT_THAT(states, ::testing::ElementsAre("compiling", "running"));
  EXPECT_GT(outcome.timings.compile.count(), 0);
  EXPECT_EQ(outcome.timings.total,
            outcome.timings.fork + outcome.timings.compile + outcome.timings.exec);

  job.source.code = "package main\n\nfunc main() { undefined() }\n";
  const Outcome wrong = Run(job);
  EXPECT_EQ(wrong.reason, Reason::kCompileFailed) << Describe(wrong);
  EXPECT_THAT(wrong.compile_output, HasSubstr("undefined"));
  EXPECT_EQ(wrong.stdout_text + wrong.stderr_text, "");
}

}  // namespace
}  // namespace forkbox::sandbox::testing
