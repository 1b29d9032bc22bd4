#include "runner/case_series.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "schema/utf8.h"

namespace forkbox::runner {
namespace {

using namespace std::chrono_literals;
using schema::Outcome;
using schema::Reason;
using schema::State;
using schema::Verdict;

struct Pair {
  const char* name;
  std::string printed, expected;
  bool same;
};

class SameOutputTest : public testing::TestWithParam<Pair> {};

TEST_P(SameOutputTest, AsJudgesHaveIt) {
  EXPECT_EQ(SameOutput(GetParam().printed, GetParam().expected), GetParam().same);
  EXPECT_EQ(SameOutput(GetParam().expected, GetParam().printed), GetParam().same);
}

INSTANTIATE_TEST_SUITE_P(
    Pairs, SameOutputTest,
    testing::Values(Pair{"Equal", "3\n", "3\n", true}, Pair{"NoNewlineAtTheEnd", "3\n", "3", true},
                    Pair{"BlanksAtTheEndOfLines", "1 \t\n2\r\n", "1\n2\n", true},
                    Pair{"EmptyLinesAtTheEnd", "1\n\n \n", "1", true},
                    Pair{"Nothing", "", "\n \n", true}, Pair{"BothNothing", "", "", true},
                    Pair{"EmptyLineInTheMiddle", "1\n\n2", "1\n2", false},
                    Pair{"BlanksAtTheStart", " 1", "1", false},
                    Pair{"BlanksWithin", "1  2", "1 2", false},
                    Pair{"MoreLines", "1\n2", "1", false}, Pair{"Case", "Yes", "yes", false},
                    Pair{"EmptyFirstLine", "\n1", "1", false}),
    [](const auto& test) { return test.param.name; });

Outcome Ends(Reason reason, int exit_code = 0, std::string printed = "") {
  Outcome outcome;
  outcome.reason = reason;
  if (reason == Reason::kExited) outcome.exit_code = exit_code;
  if (reason == Reason::kSignalled) outcome.signal = 11;
  outcome.state = schema::StateOf(reason, outcome.exit_code);
  outcome.stdout_text = std::move(printed);
  outcome.usage.cpu = 1ms;
  outcome.usage.peak_memory_bytes = 1'000;
  return outcome;
}

// One source whose cases end as told; each expects "ok".
struct Series {
  const char* name;
  std::vector<Outcome> outcomes;
  std::vector<Verdict> verdicts;
  Reason reason;
  State state;
};

class CaseSeriesTest : public testing::TestWithParam<Series> {};

TEST_P(CaseSeriesTest, GivesEachAVerdictAndTheWholeAState) {
  schema::Source source;
  source.code = "code";
  for (std::size_t i = 0; i < GetParam().outcomes.size(); ++i) {
    source.cases.push_back({.stdin_data = std::to_string(i), .expected_output = "ok"});
  }
  std::size_t ran = 0;
  const Outcome whole =
      RunCaseSeries(source, {}, [&](const schema::Source& one, const schema::Limits& limits) {
        EXPECT_EQ(one.stdin_data, std::to_string(ran));
        EXPECT_EQ(one.code, "code");
        EXPECT_TRUE(one.cases.empty());
        EXPECT_EQ(limits.wall, schema::Limits{}.wall);
        return GetParam().outcomes[ran++];
      });
  std::vector<Verdict> verdicts;
  for (const auto& one : whole.cases) verdicts.push_back(one.verdict);
  EXPECT_EQ(verdicts, GetParam().verdicts);
  EXPECT_EQ(whole.reason, GetParam().reason);
  EXPECT_EQ(whole.state, GetParam().state);
  EXPECT_EQ(whole.stdout_text, "");
  EXPECT_EQ(whole.usage.cpu, 1ms * static_cast<int>(ran));
  EXPECT_EQ(whole.usage.peak_memory_bytes, 1'000U);
}

INSTANTIATE_TEST_SUITE_P(
    Series, CaseSeriesTest,
    testing::Values(
        Series{"AllPassed",
               {Ends(Reason::kExited, 0, "ok\n"), Ends(Reason::kExited, 0, "ok")},
               {Verdict::kPassed, Verdict::kPassed},
               Reason::kExited,
               State::kCompleted},
        Series{"WrongOutputAndExitCodesAreVerdicts",
               {Ends(Reason::kExited, 0, "no"), Ends(Reason::kExited, 1, "ok"),
                Ends(Reason::kExited, 0, "ok")},
               {Verdict::kWrongOutput, Verdict::kRuntimeError, Verdict::kPassed},
               Reason::kExited,
               State::kCompleted},
        Series{"ALimitIsTheReasonOfTheWhole",
               {Ends(Reason::kOutOfMemory), Ends(Reason::kWallTimeout), Ends(Reason::kCpuTimeout),
                Ends(Reason::kSignalled), Ends(Reason::kExited, 0, "ok")},
               {Verdict::kOutOfMemory, Verdict::kTimeout, Verdict::kTimeout, Verdict::kRuntimeError,
                Verdict::kPassed},
               Reason::kOutOfMemory,
               State::kError},
        Series{"ATimeout",
               {Ends(Reason::kExited, 0, "ok"), Ends(Reason::kWallTimeout)},
               {Verdict::kPassed, Verdict::kTimeout},
               Reason::kWallTimeout,
               State::kTimeout},
        Series{"WhatDoesNotCompileIsNotRun",
               {Ends(Reason::kCompileFailed), Ends(Reason::kExited, 0, "ok")},
               {Verdict::kNotRun, Verdict::kNotRun},
               Reason::kCompileFailed,
               State::kError},
        Series{"ACancelEndsIt",
               {Ends(Reason::kExited, 0, "ok"), Ends(Reason::kCancelled), Ends(Reason::kExited)},
               {Verdict::kPassed, Verdict::kNotRun, Verdict::kNotRun},
               Reason::kCancelled,
               State::kCancelled},
        Series{"AndSoDoesOurFailure",
               {Ends(Reason::kSandboxFailed), Ends(Reason::kExited)},
               {Verdict::kNotRun, Verdict::kNotRun},
               Reason::kSandboxFailed,
               State::kError},
        Series{"AfterALimitACancelIsStillACancel",
               {Ends(Reason::kWallTimeout), Ends(Reason::kCancelled), Ends(Reason::kExited)},
               {Verdict::kTimeout, Verdict::kNotRun, Verdict::kNotRun},
               Reason::kCancelled,
               State::kCancelled},
        Series{"AfterASignalOurFailureIsStillOurs",
               {Ends(Reason::kSignalled), Ends(Reason::kSandboxFailed)},
               {Verdict::kRuntimeError, Verdict::kNotRun},
               Reason::kSandboxFailed,
               State::kError}),
    [](const auto& test) { return test.param.name; });

TEST(CaseSeriesBounds, AHundredFloodsFitIntoOneOutcome) {
  schema::Source source;
  source.cases.resize(100);
  std::string flood;
  while (flood.size() < (64U << 10)) flood += "\xE2\x82\xAC";
  const Outcome whole =
      RunCaseSeries(source, {}, [&](const schema::Source&, const schema::Limits&) {
        Outcome one = Ends(Reason::kExited, 0, flood);
        one.stderr_text = flood;
        return one;
      });
  std::size_t bytes = 0;
  for (const auto& one : whole.cases) {
    bytes += one.stdout_text.size() + one.stderr_text.size();
    EXPECT_TRUE(one.stdout_truncated && one.stderr_truncated);
    EXPECT_TRUE(schema::IsValidUtf8(one.stdout_text));
    EXPECT_FALSE(one.stdout_text.empty());
  }
  EXPECT_LE(bytes, kMaxSeriesBytes);
}

TEST(CaseSeriesBounds, AllTogetherHaveOnlySoLong) {
  schema::Source source;
  source.cases.resize(3);
  int ran = 0;
  const Outcome whole = RunCaseSeries(
      source, {},
      [&](const schema::Source&, const schema::Limits& limits) {
        ++ran;
        EXPECT_LE(limits.wall, 20ms);  // what is left of the time
        std::this_thread::sleep_for(30ms);
        return Ends(Reason::kExited);
      },
      20ms);
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(whole.cases[0].verdict, Verdict::kPassed);
  EXPECT_EQ(whole.cases[2].verdict, Verdict::kNotRun);
  EXPECT_EQ(whole.cases[2].reason, Reason::kWallTimeout);
  EXPECT_EQ(whole.state, State::kTimeout);
}

}  // namespace
}  // namespace forkbox::runner
