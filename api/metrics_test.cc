#include "api/metrics.h"

#include <gtest/gtest.h>

#include <sstream>
#include <vector>

namespace forkbox::api {
namespace {

using namespace std::chrono_literals;

using std::chrono::microseconds;

schema::Outcome Exited(int code) {
  schema::Outcome outcome;
  outcome.reason = schema::Reason::kExited;
  outcome.exit_code = code;
  outcome.state = schema::StateOf(outcome.reason, outcome.exit_code);
  outcome.timings = {.queue = microseconds(100),
                     .fork = microseconds(700),
                     .exec = microseconds(7200),
                     .total = microseconds(8000)};
  return outcome;
}

std::vector<std::string> Lines(const std::string& text, const std::string& start) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) {
    if (line.starts_with(start)) lines.push_back(line);
  }
  return lines;
}

TEST(MetricsTest, ZerobootsNamesComeFirstAndInItsOrder) {
  Metrics metrics;
  metrics.ExecutionStarted();
  metrics.ExecutionFinished("python", Exited(0));
  const std::vector<std::string> types = Lines(metrics.Render({}), "# TYPE");
  const std::vector<std::string> expected{"# TYPE zeroboot_total_executions counter",
                                          "# TYPE zeroboot_concurrent_forks gauge",
                                          "# TYPE zeroboot_fork_time_microseconds_total counter",
                                          "# TYPE zeroboot_exec_time_microseconds_total counter",
                                          "# TYPE zeroboot_memory_usage_bytes gauge",
                                          "# TYPE zeroboot_fork_time_milliseconds histogram",
                                          "# TYPE zeroboot_exec_time_milliseconds histogram",
                                          "# TYPE zeroboot_total_time_milliseconds histogram",
                                          "# TYPE zeroboot_entropy_reseed_total counter"};
  ASSERT_GE(types.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_EQ(types[i], expected[i]);
  const std::vector<std::string> help = Lines(metrics.Render({}), "# HELP");
  EXPECT_EQ(help[0], "# HELP zeroboot_total_executions Total number of executions");
  EXPECT_EQ(help[7],
            "# HELP zeroboot_total_time_milliseconds Histogram of total request times in "
            "milliseconds");
}

TEST(MetricsTest, BucketsArePrintedWithoutTrailingZeros) {
  Metrics metrics;
  metrics.ExecutionStarted();
  metrics.ExecutionFinished("python", Exited(0));
  const std::vector<std::string> expected{R"(zeroboot_fork_time_milliseconds_count 1)",
                                          R"(zeroboot_fork_time_milliseconds_sum 0.7)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="0.1"} 0)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="0.25"} 0)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="0.5"} 0)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="1"} 1)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="2.5"} 1)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="5"} 1)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="10"} 1)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="25"} 1)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="50"} 1)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="100"} 1)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="250"} 1)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="500"} 1)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="1000"} 1)",
                                          R"(zeroboot_fork_time_milliseconds_bucket{le="+Inf"} 1)"};
  EXPECT_EQ(Lines(metrics.Render({}), "zeroboot_fork_time_milliseconds"), expected);
}

TEST(MetricsTest, CountsByStatusAndByReason) {
  Metrics metrics;
  for (const int code : {0, 1, 3}) {
    metrics.ExecutionStarted();
    metrics.ExecutionFinished("python", Exited(code));
  }
  schema::Outcome timeout = Exited(0);
  timeout.reason = schema::Reason::kWallTimeout;
  timeout.state = schema::State::kTimeout;
  metrics.ExecutionStarted();
  metrics.ExecutionFinished("javascript", timeout);
  metrics.ExecutionStarted();
  metrics.ExecutionFailed();
  metrics.ExecutionStarted();

  const std::string text = metrics.Render({});
  EXPECT_EQ(Lines(text, "zeroboot_total_executions"),
            (std::vector<std::string>{R"(zeroboot_total_executions{status="success"} 3)",
                                      R"(zeroboot_total_executions{status="error"} 1)",
                                      R"(zeroboot_total_executions{status="timeout"} 1)"}));
  EXPECT_EQ(Lines(text, "zeroboot_concurrent_forks")[0], "zeroboot_concurrent_forks 1");
  EXPECT_EQ(Lines(text, "zeroboot_fork_time_micro")[0],
            "zeroboot_fork_time_microseconds_total 2800");
  EXPECT_EQ(
      Lines(text, "forkbox_executions_total"),
      (std::vector<std::string>{
          R"(forkbox_executions_total{language="javascript",reason="wall_timeout",state="timeout"} 1)",
          R"(forkbox_executions_total{language="python",reason="exited",state="completed"} 1)",
          R"(forkbox_executions_total{language="python",reason="exited",state="error"} 2)"}));
  EXPECT_EQ(Lines(text, "zeroboot_entropy_reseed_total"),
            (std::vector<std::string>{R"(zeroboot_entropy_reseed_total{result="ok"} 4)",
                                      R"(zeroboot_entropy_reseed_total{result="failure"} 0)"}));
}

TEST(MetricsTest, WhatProgramsRanInIsCounted) {
  Metrics metrics;
  EXPECT_EQ(metrics.Render({}).find("forkbox_vm_state"), std::string::npos) << "there are none";
  schema::Outcome machine = Exited(0);
  machine.isolation = schema::Isolation::kVm;
  machine.accelerator = "tcg";
  for (const schema::Outcome& outcome : {Exited(0), machine, machine}) {
    metrics.ExecutionStarted();
    metrics.ExecutionFinished("python", outcome);
  }
  const std::string text =
      metrics.Render({.lanes = {}, .vm_state = "ready", .vm_machines_ready = 2});
  for (const char* line :
       {"forkbox_executions_isolated_total{accelerator=\"none\",isolation=\"process\"} 1\n",
        "forkbox_executions_isolated_total{accelerator=\"tcg\",isolation=\"vm\"} 2\n",
        "forkbox_vm_state{state=\"starting\"} 0\n", "forkbox_vm_state{state=\"ready\"} 1\n",
        "forkbox_vm_machines_ready 2\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  }
}

TEST(MetricsTest, ReadsTheRestAtTheScrape) {
  Metrics metrics;
  metrics.HttpRequest("POST", "/v1/exec", 200);
  metrics.HttpRequest("", "", 400);
  const std::string text = metrics.Render(
      {.pool_hits = 7,
       .pool_misses = 2,
       .pool_ready = 4,
       .http_connections = 3,
       .lanes = {{"interactive", 5, 2, 1'000, 1'500ms}, {"background", 0, 0, 10'000, 0ms}},
       .queue_known = true,
       .uptime = std::chrono::milliseconds(1500)});
  for (const char* line :
       {"forkbox_pool_hits_total 7\n", "forkbox_pool_misses_total 2\n", "forkbox_pool_ready 4\n",
        "forkbox_queue_depth{lane=\"interactive\"} 5\n", "forkbox_http_connections 3\n",
        "forkbox_uptime_seconds 1.5\n",
        "forkbox_http_requests_total{method=\"POST\",route=\"/v1/exec\",status=\"200\"} 1\n",
        "forkbox_http_requests_total{method=\"none\",route=\"none\",status=\"400\"} 1\n"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line;
  }
  const auto memory = Lines(text, "zeroboot_memory_usage_bytes");
  ASSERT_EQ(memory.size(), 1U);
  EXPECT_GT(std::stod(memory[0].substr(memory[0].find(' '))), 100'000);
}

}  // namespace
}  // namespace forkbox::api
