// What the host makes of an honest agent: its outcome, in which time and limits are the host's.
#include "runner/sandbox/vm/vm_sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "runner/sandbox/vm/guest_under_test.h"

namespace forkbox::sandbox::vm {
namespace {

using namespace std::chrono_literals;
using schema::EventKind;
using schema::Outcome;
using schema::Reason;
using testing::HasSubstr;

TEST(VmSandboxTest, TheOutcomeIsWhatTheAgentTells) {
  Scene run;
  run.source.code = "print('hello')";
  run.source.stdin_data = "in";
  run.source.args = {"a", "b"};
  run.source.cases.resize(3);
  run.limits.memory_bytes = 77 << 20;
  Job job;
  const Seen seen = RunAgainst(
      [&](Guest& guest) {
        job = guest.TakeJob();
        guest.Say(EncodeOutput(EventKind::kStdout, "one\xff"));
        guest.Say(EncodeOutput(EventKind::kStderr, "warn"));
        guest.Say(EncodeOutput(EventKind::kStdout, "two"));
        End end = Exited(3);
        end.stderr_truncated = true;
        guest.Say(EncodeEnd(end));
        guest.Wait();
      },
      run);
  EXPECT_EQ(job.language, "python");
  EXPECT_EQ(job.source.code, run.source.code);
  EXPECT_EQ(job.source.args, run.source.args);
  EXPECT_TRUE(job.source.cases.empty());
  EXPECT_EQ(job.limits.memory_bytes, run.limits.memory_bytes);
  EXPECT_NE(job.awakening.seed, Seed{});
  EXPECT_GT(job.awakening.clock_unix_ns, 0);

  const Outcome& outcome = seen.outcome;
  EXPECT_EQ(outcome.reason, Reason::kExited) << outcome.message;
  EXPECT_EQ(outcome.state, schema::State::kError);
  EXPECT_EQ(outcome.exit_code, 3);
  EXPECT_EQ(outcome.stdout_text, "one\xEF\xBF\xBDtwo");
  EXPECT_EQ(outcome.stderr_text, "warn");
  EXPECT_FALSE(outcome.stdout_truncated);
  EXPECT_TRUE(outcome.stderr_truncated);
  EXPECT_EQ(outcome.usage.wall, outcome.timings.exec);
  ASSERT_EQ(seen.events.size(), 3U);
  EXPECT_EQ(seen.events[0].data, "one\xff");
  EXPECT_EQ(seen.events[1].kind, EventKind::kStderr);
}

TEST(VmSandboxTest, TwoRunsAreGivenDifferentSeeds) {
  std::vector<Seed> seeds;
  for (int i = 0; i < 2; ++i) {
    RunAgainst(
        [&](Guest& guest) {
          seeds.push_back(guest.TakeJob().awakening.seed);
          guest.Say(EncodeEnd(Exited(0)));
        },
        {});
  }
  EXPECT_NE(seeds.at(0), seeds.at(1));
}

TEST(VmSandboxTest, AValueIsThatOfAFunctionWhichCompleted) {
  for (const auto& [entry, code, value] : {std::tuple(schema::EntryKind::kFunction, 0, "[1]"),
                                           std::tuple(schema::EntryKind::kFunction, 1, "none"),
                                           std::tuple(schema::EntryKind::kScript, 0, "none")}) {
    Scene run;
    run.source.entry = entry;
    const Seen seen = RunAgainst(
        [code = code](Guest& guest) {
          guest.TakeJob();
          End end = Exited(code);
          end.value_json = "[1]";
          guest.Say(EncodeEnd(end));
        },
        run);
    EXPECT_EQ(seen.outcome.value_json.value_or("none"), value);
    EXPECT_EQ(seen.events.size(), seen.outcome.value_json ? 1U : 0U);
  }
}

// An answer to the function's owner and to nobody else; what else a guest says is in no message.
TEST(VmSandboxTest, WhyAFunctionHasNoValueIsToldToItsOwnerAlone) {
  for (const auto& [entry, code, message] :
       {std::tuple(schema::EntryKind::kFunction, 0, "no value"),
        std::tuple(schema::EntryKind::kFunction, 1, ""),
        std::tuple(schema::EntryKind::kScript, 0, "")}) {
    Scene run;
    run.source.entry = entry;
    const Seen seen = RunAgainst(
        [code = code](Guest& guest) {
          guest.TakeJob();
          End end = Exited(code);
          end.message = "no value";
          guest.Say(EncodeEnd(end));
        },
        run);
    EXPECT_EQ(seen.outcome.message, message);
  }
}

TEST(VmSandboxTest, WhatACompilerSaysHasTheLimitOfOutput) {
  for (const Reason reason : {Reason::kCompileFailed, Reason::kExited}) {
    Scene run;
    run.compile_time = 60s;
    run.limits.output_bytes = 1000;
    const Seen seen = RunAgainst(
        [reason = reason](Guest& guest) {
          guest.TakeJob();
          End end = Exited(0);
          end.reason = reason;
          end.compile_output = std::string(999, 'x') + "\xC3\xA4" + std::string(1 << 20, 'y');
          guest.Say(EncodeEnd(end));
        },
        run);
    EXPECT_EQ(seen.outcome.reason, reason) << seen.outcome.message;
    EXPECT_EQ(seen.outcome.compile_output, std::string(999, 'x'));
    EXPECT_EQ(seen.outcome.stderr_truncated, reason == Reason::kCompileFailed);
  }
}

TEST(VmSandboxTest, FramesMayComeInPiecesAndTheEndWithTheMachines) {
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        guest.TakeJob();
        const std::string bytes =
            EncodeOutput(EventKind::kStdout, "piece by piece") + EncodeEnd(Exited(0));
        for (const char byte : bytes) guest.Say({&byte, 1});
        guest.Die(0);
      },
      {});
  EXPECT_EQ(seen.outcome.state, schema::State::kCompleted) << seen.outcome.message;
  EXPECT_EQ(seen.outcome.stdout_text, "piece by piece");
}

// What a compiler takes is not the program's: neither of its wall time nor of its processor time.
TEST(VmSandboxTest, TheLimitsOfARunBeginAfterItsCompiler) {
  Scene run;
  run.compile_time = 60s;
  run.limits.wall = 5s;
  run.limits.cpu = 100ms;
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        guest.TakeJob();
        guest.Say(EncodeState("compiling"));
        std::this_thread::sleep_for(50ms);
        guest.cpu_ns.Set("99000000000");  // 99 s
        std::this_thread::sleep_for(300ms);
        guest.Say(EncodeState("running"));
        std::this_thread::sleep_for(50ms);
        End end = Exited(0);
        end.compile = 10h;  // which cannot be
        end.compile_output = "warning: unused\n";
        guest.Say(EncodeEnd(end));
      },
      run);
  EXPECT_EQ(seen.outcome.reason, Reason::kExited) << seen.outcome.message;
  EXPECT_EQ(seen.outcome.compile_output, "warning: unused\n");
  EXPECT_GE(seen.outcome.timings.compile, 350ms);
  EXPECT_LT(seen.outcome.timings.compile, 1h);
  EXPECT_GE(seen.outcome.timings.exec, 0us);
  EXPECT_LT(seen.outcome.usage.cpu, 1s);
  ASSERT_EQ(seen.events.size(), 2U);
  EXPECT_EQ(seen.events[0].data, "compiling");
  EXPECT_EQ(seen.events[1].data, "running");
}

struct TimeCase {
  const char* name;
  std::chrono::milliseconds compile_time;
  std::vector<std::string> states;  // said before the program takes its time
  Reason reason;
  bool counts;  // as the program's time
};

// Whatever a guest says of its compiler: what it took after that is the program's.
TEST(VmSandboxTest, NoGuestTalksTheTimeOfItsProgramAway) {
  for (const TimeCase& test :
       {TimeCase{"no compiler", 0ms, {}, Reason::kExited, true},
        TimeCase{"no compiler, running", 0ms, {"running"}, Reason::kExited, true},
        TimeCase{"no compiler, and yet it failed", 0ms, {}, Reason::kCompileFailed, true},
        TimeCase{"no word of its compiler", 60s, {}, Reason::kExited, true},
        TimeCase{"after its compiler", 60s, {"compiling", "running"}, Reason::kExited, true},
        TimeCase{"in its compiler", 60s, {"compiling"}, Reason::kSignalled, true},
        TimeCase{"its compiler failed", 60s, {"compiling"}, Reason::kCompileFailed, false}}) {
    Scene run;
    run.compile_time = test.compile_time;
    const Seen seen = RunAgainst(
        [&](Guest& guest) {
          guest.TakeJob();
          for (const std::string& state : test.states) guest.Say(EncodeState(state));
          std::this_thread::sleep_for(300ms);
          End end = Exited(0);
          end.reason = test.reason;
          if (test.reason == Reason::kSignalled) {
            end.exit_code.reset();
            end.signal = 9;
          }
          end.compile = 10h;
          guest.Say(EncodeEnd(end));
        },
        run);
    EXPECT_EQ(seen.outcome.reason, test.reason) << test.name << ": " << seen.outcome.message;
    if (test.counts) {
      EXPECT_GE(seen.outcome.usage.wall, 200ms) << test.name;
    } else {
      EXPECT_EQ(seen.outcome.usage.wall, 0us) << test.name;
      EXPECT_GE(seen.outcome.timings.compile, 200ms) << test.name;
    }
    if (test.compile_time == 0ms) {
      EXPECT_EQ(seen.outcome.timings.compile, 0us) << test.name;
    }
  }
}

// Nobody knows that it is the compiler who speaks before the end says so.
TEST(VmSandboxTest, WhatDoesNotCompileHasPrintedNothing) {
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        guest.TakeJob();
        guest.Say(EncodeOutput(EventKind::kStderr, "SyntaxError"));
        End end;
        end.reason = Reason::kCompileFailed;
        end.exit_code = 1;
        end.compile_output = "SyntaxError";
        guest.Say(EncodeEnd(end));
      },
      {});
  EXPECT_EQ(seen.outcome.reason, Reason::kCompileFailed);
  EXPECT_EQ(seen.outcome.compile_output, "SyntaxError");
  EXPECT_EQ(seen.outcome.stderr_text, "");
}

TEST(VmSandboxTest, ACompilerThatDoesNotEndIsStopped) {
  Scene run;
  run.compile_time = 300ms;
  run.limits.wall = 60s;
  const Seen seen = RunAgainst(
      [](Guest& guest) {
        guest.TakeJob();
        guest.Say(EncodeState("compiling"));
        guest.Wait();
      },
      run);
  EXPECT_EQ(seen.outcome.reason, Reason::kCompileFailed);
  EXPECT_EQ(seen.outcome.exit_code, 1);
  EXPECT_THAT(seen.outcome.compile_output, HasSubstr("the compiler was stopped after"));
  EXPECT_GE(seen.outcome.timings.compile, 300ms);
}

TEST(VmSandboxTest, ProcessorTimeIsMultipliedByTheFactor) {
  for (const auto& [ns, reason] :
       {std::pair{"151000000", Reason::kExited}, std::pair{"251000000", Reason::kCpuTimeout}}) {
    Scene run;
    run.limits.cpu = 10ms;  // of 20: 200 ms
    const Seen seen = RunAgainst(
        [ns = ns](Guest& guest) {
          guest.TakeJob();
          guest.cpu_ns.Set(ns);
          std::this_thread::sleep_for(1s);
          guest.Say(EncodeEnd(Exited(0)));
        },
        run);
    EXPECT_EQ(seen.outcome.reason, reason) << seen.outcome.message;
    EXPECT_GE(seen.outcome.usage.cpu, 100ms);
  }
}

}  // namespace
}  // namespace forkbox::sandbox::vm
