#include "tests/sandbox/sandbox_contract.h"

#include <gmock/gmock.h>
#include <signal.h>

#include <atomic>
#include <thread>

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;
using schema::State;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

#define EXPECT_EXITED(outcome, code) EXPECT_PRED_FORMAT2(Exited, outcome, code)

::testing::AssertionResult Exited(const char* what, const char* /*code*/, const Outcome& outcome,
                                  int code) {
  if (outcome.reason == Reason::kExited && outcome.exit_code == code) {
    return ::testing::AssertionSuccess();
  }
  return ::testing::AssertionFailure() << what << ": " << Describe(outcome);
}

std::string Repeat(std::string_view text, std::size_t times) {
  std::string all;
  all.reserve(text.size() * times);
  for (std::size_t i = 0; i < times; ++i) all += text;
  return all;
}

// ------------------------------------------------------------------ output and endings

TEST_P(SandboxContract, GivesTheExactBytesOfBothStreams) {
  const Outcome outcome = Run(Bash("printf 'a\\n\\nb'; printf ' x\\t\\n' >&2"));
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.state, State::kCompleted);
  EXPECT_EQ(outcome.stdout_text, "a\n\nb");
  EXPECT_EQ(outcome.stderr_text, " x\t\n");
  EXPECT_FALSE(outcome.stdout_truncated);
  EXPECT_FALSE(outcome.stderr_truncated);
  EXPECT_EQ(outcome.signal, std::nullopt);
  EXPECT_EQ(outcome.message, "");
}

TEST_P(SandboxContract, AnEmptyProgramCompletes) {
  for (const char* language : {"python", "bash"}) {
    const Outcome outcome = Run(Job(language, ""));
    EXPECT_EXITED(outcome, 0);
    EXPECT_EQ(outcome.stdout_text + outcome.stderr_text, "");
  }
}

TEST_P(SandboxContract, TellsEveryExitCode) {
  for (const int code : {0, 1, 2, 42, 126, 127, 128, 137, 255}) {
    const Outcome outcome = Run(Bash("exit " + std::to_string(code)));
    EXPECT_EXITED(outcome, code);
    EXPECT_EQ(outcome.state, code == 0 ? State::kCompleted : State::kError);
  }
}

TEST_P(SandboxContract, TellsTheSignalThatEndedTheProgram) {
  for (const int number : {SIGKILL, SIGTERM, SIGSEGV, SIGABRT, SIGHUP}) {
    const Outcome outcome = Run(Bash("kill -" + std::to_string(number) + " $$; sleep 50"));
    EXPECT_EQ(outcome.reason, Reason::kSignalled) << Describe(outcome);
    EXPECT_EQ(outcome.signal, number);
    EXPECT_EQ(outcome.exit_code, std::nullopt);
    EXPECT_EQ(outcome.state, State::kError);
  }
}

TEST_P(SandboxContract, InvalidUtf8BecomesReplacementsAndNulStays) {
  const Outcome outcome = Run(Bash("printf 'a\\0b\\xff\\xfec\\xe2\\x82'; printf '\\xc3\\xa9' >&2"));
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text, std::string("a\0b\xEF\xBF\xBD\xEF\xBF\xBD"
                                             "c\xEF\xBF\xBD",
                                             13));
  EXPECT_EQ(outcome.stderr_text, "\xC3\xA9");
}

TEST_P(SandboxContract, EventsAreTheOutcomeAsItHappens) {
  auto sandbox = driver().Fork("python", Python("").limits);
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  schema::Source source;
  source.code = "import sys\nprint('one')\nsys.stderr.write('warn')\ninput()\nprint('two')";
  source.stdin_data = "go\n";
  std::string out;
  std::string err;
  const auto caller = std::this_thread::get_id();
  const Outcome outcome = (*sandbox)->Run(source, [&](const schema::Event& event) {
    EXPECT_EQ(std::this_thread::get_id(), caller);
    if (event.kind == schema::EventKind::kStdout) out += event.data;
    if (event.kind == schema::EventKind::kStderr) err += event.data;
  });
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(out, "one\ntwo\n");
  EXPECT_EQ(err, "warn");
  EXPECT_EQ(outcome.stdout_text, out);
  EXPECT_EQ(outcome.stderr_text, err);
}

TEST_P(SandboxContract, AnEventComesBeforeTheProgramEnds) {
  auto sandbox = driver().Fork("bash", Bash("").limits);
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  schema::Source source;
  source.code = "echo here; sleep 1000";
  // Only the event can end this run in time.
  const Outcome outcome = (*sandbox)->Run(source, [&](const schema::Event& event) {
    if (event.data == "here\n") (*sandbox)->Cancel();
  });
  EXPECT_EQ(outcome.reason, Reason::kCancelled) << Describe(outcome);
  EXPECT_EQ(outcome.stdout_text, "here\n");
}

TEST_P(SandboxContract, OutputOverTheCapIsCutAndTheProgramLivesOn) {
  Job job = Python(
      "import sys\n"
      "sys.stdout.write('o' * 5_000_000)\nsys.stderr.write('e' * 999)\n"
      "sys.stdout.flush()\nopen('done', 'w').write('x')\nsys.exit(7)");
  job.limits.output_bytes = 1000;
  std::size_t streamed = 0;
  job.sink = [&](const schema::Event& event) { streamed += event.data.size(); };
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 7);
  EXPECT_EQ(outcome.stdout_text, Repeat("o", 1000));
  EXPECT_TRUE(outcome.stdout_truncated);
  EXPECT_EQ(outcome.stderr_text, Repeat("e", 999));
  EXPECT_FALSE(outcome.stderr_truncated);
  EXPECT_EQ(streamed, 1999U);
}

TEST_P(SandboxContract, OutputOfExactlyTheCapIsWhole) {
  Job job = Bash("head -c 4096 /dev/zero | tr '\\0' x");
  job.limits.output_bytes = 4096;
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text.size(), 4096U);
  EXPECT_FALSE(outcome.stdout_truncated);
}

TEST_P(SandboxContract, ACapOfZeroKeepsNothing) {
  Job job = Bash("echo x");
  job.limits.output_bytes = 0;
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text, "");
  EXPECT_TRUE(outcome.stdout_truncated);
}

TEST_P(SandboxContract, ACutInsideACharacterStillGivesValidUtf8) {
  Job job = Bash("printf 'aé'");
  job.limits.output_bytes = 2;
  EXPECT_EQ(Run(job).stdout_text, "a\xEF\xBF\xBD");
}

// ------------------------------------------------------------------ what the program is given

TEST_P(SandboxContract, StdinIsEmptyUnlessGiven) {
  const Outcome outcome = Run(Bash("wc -c"));
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text, "0\n");
}

TEST_P(SandboxContract, StdinArrivesWhole) {
  Job job = Bash("sha256sum; echo $?");
  job.source.stdin_data = Repeat("0123456789abcde\n", 64 * 1024);  // 1 MiB: more than a pipe holds
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 0);
  Job count = Bash("wc -c; wc -c");
  count.source.stdin_data = job.source.stdin_data;
  EXPECT_EQ(Run(count).stdout_text, "1048576\n0\n");
}

TEST_P(SandboxContract, StdinThatNobodyReadsHoldsNothingUp) {
  for (const char* code : {"exit 3", "exec <&-; exit 3", "head -c 10 >/dev/null; exit 3"}) {
    Job job = Bash(code);
    job.source.stdin_data = Repeat("x", 1 << 20);
    EXPECT_EXITED(Run(job), 3);
  }
}

TEST_P(SandboxContract, StdinMayHoldAnyBytes) {
  Job job = Bash("od -An -tx1");
  job.source.stdin_data = std::string("\0\xff\n\r\x1a\x04", 6);
  EXPECT_EQ(Run(job).stdout_text, " 00 ff 0a 0d 1a 04\n");
}

TEST_P(SandboxContract, ArgumentsArriveAsTheyAre) {
  for (const auto& [language, code] :
       {std::pair{"bash", "for a; do printf '[%s]' \"$a\"; done"},
        std::pair{"python",
                  "import sys\nprint(''.join(f'[{a}]' for a in sys.argv[1:]), end='')"}}) {
    Job job(language, code);
    job.source.args = {"", "a b", "$HOME", "é\n", "--version", Repeat("x", 2000)};
    const Outcome outcome = Run(job);
    EXPECT_EXITED(outcome, 0);
    EXPECT_EQ(outcome.stdout_text, "[][a b][$HOME][é\n][--version][" + Repeat("x", 2000) + "]");
  }
}

TEST_P(SandboxContract, TheEnvironmentIsTheCommonOneAndWhatTheJobAdds) {
  ::setenv("FORKBOX_TEST_SECRET", "of the runner", 1);
  Job job = Bash("env -0 | sort -z | tr '\\0' '\\n'");
  job.source.env = {{"GREETING", "hello\tworld"}, {"LANG", "C"}, {"EMPTY", ""}};
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text,
            "EMPTY=\nGREETING=hello\tworld\nHOME=/box/work\nLANG=C\nLOGNAME=sandbox\n"
            "PATH=/usr/local/bin:/usr/bin:/bin\nPWD=/box/work\nSHELL=/bin/bash\nSHLVL=1\n"
            "TMPDIR=/tmp\nUSER=sandbox\n_=/usr/bin/env\n");
}

TEST_P(SandboxContract, PythonSeesTheSameEnvironmentAsItsChildren) {
  Job job = Python(
      "import os, subprocess\n"
      "seen = dict(l.split('=', 1) for l in subprocess.check_output('env', "
      "text=True).splitlines())\n"
      "mine = dict(os.environ)\nprint(seen == mine, mine.get('X'), 'FORKBOX_TEST_SECRET' in mine)");
  job.source.env = {{"X", "1"}};
  EXPECT_EQ(Run(job).stdout_text, "True 1 False\n");
}

TEST_P(SandboxContract, FilesArriveWithTheirFolders) {
  Job job = Bash("cat data.txt a/b/c/deep.bin | od -An -tx1; ls -d a/b empty; stat -c %s empty");
  job.source.files = {{"data.txt", "x\n"},
                      {"a/b/c/deep.bin", std::string("\0\xff", 2)},
                      {"a/b/other", "y"},
                      {"empty", ""}};
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text, " 78 0a 00 ff\na/b\nempty\n0\n");
}

TEST_P(SandboxContract, ProgramsMayWriteTheirFolderTmpAndShm) {
  const Outcome outcome = Run(
      Bash("pwd; echo 1 > w && echo 2 > /tmp/t && echo 3 > /dev/shm/s && cat w /tmp/t /dev/shm/s\n"
           "printf '#!/bin/sh\\necho ran $0\\n' > prog; chmod +x prog; ./prog"));
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text, "/box/work\n1\n2\n3\nran ./prog\n");
}

TEST_P(SandboxContract, TheNextRunFindsNothingOfTheFormer) {
  const char* const list =
      "find /box /tmp /dev/shm /run /mnt -mindepth 1 | sort; ipcs | grep -c 0x; env | sort";
  const Outcome before = Run(Bash(list));
  EXPECT_EXITED(Run(Bash("touch /box/work/a /tmp/b /dev/shm/c; mkdir -p /box/work/d/e\n"
                         "ipcmk -M 4096; ipcmk -Q; sleep 1000 & disown")),
                0);
  const Outcome after = Run(Bash(list));
  EXPECT_EQ(after.stdout_text, before.stdout_text);
  EXPECT_EQ(after.stderr_text, before.stderr_text);
}

TEST_P(SandboxContract, StandardStreamsCanBeReopenedByName) {
  // Pipes belong to whoever made them: a program of another uid could not open /dev/stderr.
  Job job = Python(
      "import subprocess\n"
      "open('/dev/stdout', 'w').write('o')\nopen('/dev/stderr', 'w').write('e')\n"
      "print(open('/dev/stdin').read(), end='')\n"
      "subprocess.run('echo t | tee /dev/stderr >/dev/null', shell=True, check=True)");
  job.source.stdin_data = "i";
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text, "oi");
  EXPECT_EQ(outcome.stderr_text, "et\n");
}

TEST_P(SandboxContract, CodeMayBeLarge) {
  const Outcome outcome = Run(Python("x = '" + Repeat("é", 512 * 1024) + "'\nprint(len(x))"));
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text, "524288\n");
  const Outcome bash = Run(Bash("# " + Repeat("y", 1 << 20) + "\necho end"));
  EXPECT_EQ(bash.stdout_text, "end\n") << Describe(bash);
}

TEST_P(SandboxContract, CodeMayBeAnyBytes) {
  for (const char* language : {"python", "bash"}) {
    for (const std::string& code : {std::string("\0\0\0", 3), std::string("\xff\xfe\xfd"),
                                    std::string("print('a\0b')", 12), std::string("\r\n\r\n")}) {
      const Outcome outcome = Run(Job(language, code));
      EXPECT_EQ(outcome.reason, Reason::kExited) << language << ' ' << Describe(outcome);
    }
  }
}

// ------------------------------------------------------------------ limits

TEST_P(SandboxContract, SleepMeetsTheWallLimit) {
  for (const char* language : {"python", "bash"}) {
    Job job(language, std::string(language) == "python"
                          ? "import time\nprint('in')\ntime.sleep(1000)"
                          : "echo in; sleep 1000");
    job.limits.wall = 2000ms;
    const Outcome outcome = Run(job);
    EXPECT_EQ(outcome.reason, Reason::kWallTimeout) << Describe(outcome);
    EXPECT_EQ(outcome.state, State::kTimeout);
    EXPECT_EQ(outcome.exit_code, std::nullopt);
    EXPECT_EQ(outcome.stdout_text, "in\n");
    EXPECT_GE(outcome.usage.wall, 2s);
  }
}

TEST_P(SandboxContract, BusyLoopMeetsTheCpuLimit) {
  for (const char* language : {"python", "bash"}) {
    Job job(language,
            std::string(language) == "python" ? "while True: pass" : "while :; do :; done");
    job.limits.cpu = 100ms;
    const Outcome outcome = Run(job);
    EXPECT_EQ(outcome.reason, Reason::kCpuTimeout) << Describe(outcome);
    EXPECT_EQ(outcome.state, State::kTimeout);
    EXPECT_GE(outcome.usage.cpu, GetParam().cpu_factor * 100ms);
  }
}

TEST_P(SandboxContract, CpuIsCountedOverAllProcesses) {
  Job job = Bash("for i in 1 2 3 4; do (while :; do :; done) & done; wait");
  job.limits.cpu = 100ms;
  EXPECT_EQ(Run(job).reason, Reason::kCpuTimeout);
}

TEST_P(SandboxContract, SleepingCostsNoCpu) {
  Job job = Bash("sleep 1");
  job.limits.cpu = 900ms;
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 0);
  EXPECT_LT(outcome.usage.cpu, outcome.usage.wall);
}

TEST_P(SandboxContract, AWallLimitOfZeroEndsAtOnce) {
  Job job = Bash("sleep 1000");
  job.limits.wall = 0ms;
  const Outcome outcome = Run(job);
  EXPECT_EQ(outcome.reason, Reason::kWallTimeout) << Describe(outcome);
  EXPECT_EQ(outcome.state, State::kTimeout);
}

TEST_P(SandboxContract, MemoryOverTheLimitIsOutOfMemory) {
  Job python = Python("print('start')\nx = bytearray(300_000_000)\nprint('end')");
  python.limits.memory_bytes = 64ULL << 20;
  Job child = Bash("python3 -c 'x = bytearray(300_000_000)'; exit $?");
  child.limits.memory_bytes = 64ULL << 20;
  for (const Job& job : {python, child}) {
    const Outcome outcome = Run(job);
    EXPECT_EQ(outcome.reason, Reason::kOutOfMemory) << Describe(outcome);
    EXPECT_EQ(outcome.state, State::kError);
    EXPECT_THAT(outcome.stdout_text, ::testing::Not(HasSubstr("end")));
  }
}

TEST_P(SandboxContract, MemoryUnderTheLimitIsFine) {
  Job job = Python("x = bytearray(40_000_000)\nprint(len(x))");
  job.limits.memory_bytes = 128ULL << 20;
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text, "40000000\n");
  EXPECT_GE(outcome.usage.peak_memory_bytes, 40'000'000U);
  EXPECT_LE(outcome.usage.peak_memory_bytes, 128ULL << 20);
}

TEST_P(SandboxContract, AFullDiskIsAnErrorThatTheProgramSees) {
  Job job = Python(
      "import errno\ntry:\n    with open('f', 'wb', 0) as f:\n"
      "        while True: f.write(b'x' * 1_000_000)\n"
      "except OSError as e: print(errno.errorcode[e.errno])");
  job.limits.disk_bytes = 8ULL << 20;
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 0);
  EXPECT_EQ(outcome.stdout_text, "ENOSPC\n");
}

TEST_P(SandboxContract, ProcessesAreLimited) {
  Job job = Python(
      "import os, time\nn = 0\ntry:\n    while n < 1000:\n"
      "        if os.fork() == 0: time.sleep(1000)\n        n += 1\n"
      "except OSError: pass\nprint(n)");
  job.limits.pids = 20;
  const Outcome outcome = Run(job);
  EXPECT_EXITED(outcome, 0);
  const int made = std::atoi(outcome.stdout_text.c_str());
  EXPECT_GE(made, 10) << Describe(outcome);
  EXPECT_LE(made, 20) << Describe(outcome);
}

// ------------------------------------------------------------------ cancel

TEST_P(SandboxContract, CancelBeforeTheRun) {
  auto sandbox = driver().Fork("bash", Bash("").limits);
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  (*sandbox)->Cancel();
  schema::Source source;
  source.code = "sleep 1000";
  const Outcome outcome = (*sandbox)->Run(source, {});
  EXPECT_EQ(outcome.reason, Reason::kCancelled) << Describe(outcome);
  EXPECT_EQ(outcome.state, State::kCancelled);
}

TEST_P(SandboxContract, CancelFromAnotherThreadWhileItRuns) {
  auto sandbox = driver().Fork("python", Python("").limits);
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  std::atomic<bool> running{false};
  std::thread canceller([&] {
    running.wait(false);
    for (int i = 0; i < 10; ++i) (*sandbox)->Cancel();  // as often as anybody likes
  });
  schema::Source source;
  source.code = "print('up')\nwhile True: pass";
  const Outcome outcome = (*sandbox)->Run(source, [&](const schema::Event&) {
    running = true;
    running.notify_all();
  });
  running = true;  // should there have been no output at all
  running.notify_all();
  canceller.join();
  EXPECT_EQ(outcome.reason, Reason::kCancelled) << Describe(outcome);
  EXPECT_EQ(outcome.stdout_text, "up\n");
}

TEST_P(SandboxContract, CancelAfterTheRunChangesNothing) {
  auto sandbox = driver().Fork("bash", Bash("").limits);
  ASSERT_TRUE(sandbox) << sandbox.error().message;
  schema::Source source;
  source.code = "echo done";
  const Outcome outcome = (*sandbox)->Run(source, {});
  (*sandbox)->Cancel();
  EXPECT_EXITED(outcome, 0);
  EXPECT_EXITED(Run(Bash("true")), 0);
}

TEST_P(SandboxContract, ASandboxThatNeverRunsIsNoTrouble) {
  for (int i = 0; i < 5; ++i) {
    auto sandbox = driver().Fork("python", Python("").limits);
    ASSERT_TRUE(sandbox) << sandbox.error().message;
  }
  EXPECT_EXITED(Run(Python("")), 0);
}

// ------------------------------------------------------------------ the driver

TEST_P(SandboxContract, UnknownLanguagesAreRefused) {
  for (const char* language : {"", "klingon", "Python", "python ", "../python"}) {
    auto sandbox = driver().Fork(language, {});
    ASSERT_FALSE(sandbox) << language;
    EXPECT_EQ(sandbox.error().code, ErrorCode::kInvalidArgument) << language;
  }
}

TEST_P(SandboxContract, LanguagesAnswerToTheirAliases) {
  for (const LanguageStatus& status : driver().Languages()) {
    if (!status.ready) continue;
    for (const std::string& alias : status.aliases) {
      EXPECT_TRUE(driver().Fork(alias, status.default_limits)) << alias;
    }
  }
}

TEST_P(SandboxContract, LanguagesTellTheTruth) {
  bool python = false;
  bool bash = false;
  for (const LanguageStatus& status : driver().Languages()) {
    EXPECT_FALSE(status.name.empty()) << status.id;
    if (!status.ready) {
      EXPECT_FALSE(status.reason.empty()) << status.id;
      auto sandbox = driver().Fork(status.id, status.default_limits);
      ASSERT_FALSE(sandbox) << status.id;
      EXPECT_EQ(sandbox.error().code, ErrorCode::kUnavailable);
      continue;
    }
    EXPECT_FALSE(status.version.empty()) << status.id;
    EXPECT_EQ(status.reason, "") << status.id << " is not what it should be";
    python = python || status.id == "python";
    bash = bash || status.id == "bash";
    if (status.id == "python") {
      Outcome outcome = Run(Python("import platform\nprint('Python', platform.python_version())"));
      EXPECT_EQ(outcome.stdout_text, status.version + "\n");
    }
  }
  EXPECT_TRUE(python);
  EXPECT_TRUE(bash);
}

TEST_P(SandboxContract, StatsCountEveryFork) {
  const auto forks = [](const DriverStats& stats) { return stats.pool_hits + stats.pool_misses; };
  const auto before = forks(driver().Stats());
  for (int i = 0; i < 3; ++i) EXPECT_EXITED(Run(Bash("true")), 0);
  EXPECT_EQ(forks(driver().Stats()), before + 3);
}

TEST_P(SandboxContract, ConcurrentRunsKeepToThemselves) {
  constexpr int kThreads = 8;
  constexpr int kRuns = 6;
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  Driver& shared = driver();
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&shared, &good, thread] {
      for (int run = 0; run < kRuns; ++run) {
        const std::string mark = std::to_string(thread * 1000 + run);
        const bool python = (thread + run) % 2 == 0;
        Job job = python ? Python(
                               "import sys\nopen('f', 'x').write(sys.argv[1])\n"
                               "print(open('f').read(), input())")
                         : Bash("set -C; echo -n $1 > f; read x; echo $(cat f) $x");
        job.source.args = {mark};
        job.source.stdin_data = mark + "\n";
        const Outcome outcome = RunJob(shared, job);
        EXPECT_EQ(outcome.stdout_text, mark + " " + mark + "\n") << Describe(outcome);
        if (outcome.stdout_text == mark + " " + mark + "\n") ++good;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, kThreads * kRuns);
}

TEST_P(SandboxContract, TimingsAddUp) {
  const Outcome outcome = Run(Bash("true"));
  EXPECT_GT(outcome.timings.exec.count(), 0);
  EXPECT_EQ(outcome.timings.total, outcome.timings.fork + outcome.timings.exec);
  EXPECT_EQ(outcome.usage.wall, outcome.timings.exec);
}

}  // namespace
}  // namespace forkbox::sandbox::testing
