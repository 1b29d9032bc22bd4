// How an outcome becomes Zeroboot's response. What needs a server is in tests/api.
#include "api/zeroboot.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace forkbox::api {
namespace {

using schema::Outcome;
using schema::Reason;
using std::chrono::microseconds;

Outcome Ended(Reason reason) {
  Outcome outcome;
  outcome.reason = reason;
  outcome.stdout_text = "out\n";
  outcome.stderr_text = "err\n";
  outcome.message = "no cgroup";
  outcome.timings = {
      .fork = microseconds(754), .exec = microseconds(7'196), .total = microseconds(8'001)};
  return outcome;
}

TEST(ZerobootResponseTest, HasExactlyTheSevenFieldsInOrder) {
  Outcome outcome = Ended(Reason::kExited);
  outcome.exit_code = 0;
  outcome.stdout_text = "2\n";
  outcome.stderr_text = "";
  EXPECT_EQ(ZerobootResponse(schema::ExecutionId("019cf684-1fd5-73c0-9299-52253f9aa79c"), outcome,
                             std::chrono::seconds(30)),
            R"({"id":"019cf684-1fd5-73c0-9299-52253f9aa79c","stdout":"2\n","stderr":"",)"
            R"("exit_code":0,"fork_time_ms":0.75,"exec_time_ms":7.2,"total_time_ms":8.0})");
}

struct Case {
  std::string name;
  Outcome outcome;
  std::string out;
  std::string err;
  int exit_code;
};

class OutcomeTest : public ::testing::TestWithParam<Case> {};

TEST_P(OutcomeTest, IsMapped) {
  const auto response = nlohmann::json::parse(
      ZerobootResponse(schema::ExecutionId("id"), GetParam().outcome, std::chrono::seconds(5)));
  EXPECT_EQ(response["stdout"], GetParam().out);
  EXPECT_EQ(response["stderr"], GetParam().err);
  EXPECT_EQ(response["exit_code"], GetParam().exit_code);
  EXPECT_EQ(response.size(), 7U);
}

Outcome With(Reason reason, std::optional<int> exit_code, std::optional<int> signal) {
  Outcome outcome = Ended(reason);
  outcome.exit_code = exit_code;
  outcome.signal = signal;
  return outcome;
}

INSTANTIATE_TEST_SUITE_P(
    Reasons, OutcomeTest,
    ::testing::Values(
        Case{"success", With(Reason::kExited, 0, {}), "out\n", "err\n", 0},
        Case{"exit_code", With(Reason::kExited, 3, {}), "out\n", "err\n", 3},
        Case{"segfault", With(Reason::kSignalled, {}, 11), "out\n", "err\n", 139},
        Case{"memory", With(Reason::kOutOfMemory, {}, 9), "out\n",
             "err\nKilled: memory limit exceeded\n", 137},
        Case{"timeout", With(Reason::kWallTimeout, {}, 9), "", "Execution timed out after 5s", -1},
        Case{"cpu", With(Reason::kCpuTimeout, {}, 9), "", "Execution timed out after 5s", -1},
        Case{"fork", With(Reason::kSandboxFailed, {}, {}), "", "Fork failed: no cgroup", -1},
        Case{"lost", With(Reason::kRunnerLost, {}, {}), "out\n",
             "err\nProcess exited unexpectedly\n", -1},
        Case{"cancelled", With(Reason::kCancelled, {}, {}), "", "Execution cancelled", -1}),
    [](const auto& test) { return test.param.name; });

TEST(ZerobootResponseTest, SaysWhatWasCutOnlyWhenItWas) {
  Outcome outcome = With(Reason::kExited, 0, {});
  outcome.stdout_truncated = true;
  const auto response = nlohmann::json::parse(
      ZerobootResponse(schema::ExecutionId("id"), outcome, std::chrono::seconds(5)));
  EXPECT_EQ(response["stdout_truncated"], true);
  EXPECT_FALSE(response.contains("stderr_truncated"));
}

}  // namespace
}  // namespace forkbox::api
