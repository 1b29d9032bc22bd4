// Exec0's dialect on a cluster: what has to hold over several API processes, and what is told by
// webhook.

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "tests/cluster/cluster.h"
#include "tests/webhook/receiver.h"
#include "webhook/signature.h"

namespace forkbox::tests {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

constexpr const char* kExecute = "/api/v1/execute";

Answer PostWithKey(std::uint16_t port, const json& body, const std::string& idempotency_key) {
  Answer answer;
  answer.raw = testing::Fetch(
      port, {"POST",
             kExecute,
             {{"Content-Type", "application/json"}, {"Idempotency-Key", idempotency_key}},
             body.dump()});
  answer.status = answer.raw.status;
  answer.body = json::parse(answer.raw.body, nullptr, false);
  return answer;
}

json Python(const std::string& code) { return {{"language", "python"}, {"code", code}}; }

TEST(Exec0ClusterTest, ARaceUnderOneIdempotencyKeyIsOneExecutionOnEveryApi) {
  Cluster cluster;
  const auto one = cluster.StartApi();
  const auto two = cluster.StartApi();
  const auto runner = cluster.StartRunner();
  const std::uint16_t ports[] = {PortOf(*one), PortOf(*two)};
  // What it prints differs from run to run.
  const json program = Python("import os,time; time.sleep(0.3); print(os.urandom(8).hex())");

  constexpr std::size_t kCallers = 8;
  std::vector<Answer> answers(kCallers);
  {
    std::vector<std::jthread> callers;
    for (std::size_t i = 0; i < kCallers; ++i) {
      callers.emplace_back([&, i] { answers[i] = PostWithKey(ports[i % 2], program, "race"); });
    }
  }
  std::set<std::string> ids;
  std::set<std::string> outputs;
  std::size_t replayed = 0;
  for (const Answer& answer : answers) {
    ASSERT_EQ(answer.status, 200) << answer.raw.body;
    ids.insert(answer.body["id"]);
    outputs.insert(answer.body["result"]["stdout"]);
    replayed += answer.raw.Header("Idempotency-Replayed") == "true" ? 1U : 0U;
  }
  EXPECT_EQ(ids.size(), 1U);
  EXPECT_EQ(outputs.size(), 1U) << "it ran once";
  EXPECT_EQ(replayed, kCallers - 1);

  const Answer other = PostWithKey(ports[1], Python("print(2)"), "race");
  EXPECT_EQ(other.status, 409) << other.raw.body;
  EXPECT_EQ(GetFrom(ports[0], "/api/v1/executions").body["total"], 1);
}

TEST(Exec0ClusterTest, AQueuedOneIsPolledOnTheOtherApiAndListedThere) {
  Cluster cluster;
  const auto one = cluster.StartApi();
  const auto two = cluster.StartApi();
  const auto runner = cluster.StartRunner();
  json program = Python("import sys; print(sys.stdin.read() + open('data/x.txt').read())");
  program["async"] = true;
  program["stdin"] = "from stdin, ";
  program["files"] = {{{"name", "data/x.txt"}, {"content", "from a file"}}};
  const Answer accepted = PostTo(PortOf(*one), kExecute, program);
  ASSERT_EQ(accepted.status, 202) << accepted.raw.body;
  const std::string location = accepted.raw.Header("Location");
  EXPECT_EQ(location, "/api/v1/executions/" + accepted.body["id"].get<std::string>());
  Answer seen;
  ASSERT_TRUE(Eventually([&] {
    seen = GetFrom(PortOf(*two), location);
    return seen.status == 200 && seen.body["status"] == "completed";
  })) << seen.raw.body;
  EXPECT_EQ(seen.body["result"]["stdout"], "from stdin, from a file\n");
  const Answer list = GetFrom(PortOf(*two), "/api/v1/executions?language=py&status=completed");
  ASSERT_EQ(list.body["data"].size(), 1U) << list.raw.body;
  EXPECT_EQ(list.body["data"][0]["id"], accepted.body["id"]);
}

TEST(Exec0ClusterTest, AWebhookIsTheDocumentOfTheExecution) {
  Cluster cluster;
  const auto api = cluster.StartApi();
  const auto runner = cluster.StartRunner();
  const auto sender = cluster.StartWebhook();
  const std::uint16_t port = PortOf(*api);
  Receiver receiver([](Receiver::Talk& talk) { talk.Answer(200); });
  json program = Python("print('told'); raise SystemExit(3)");
  program["webhook_url"] = receiver.Url("/hook");
  const Answer accepted = PostTo(port, kExecute, program);
  ASSERT_EQ(accepted.status, 202) << accepted.raw.body;
  ASSERT_TRUE(Eventually([&] { return receiver.posts().size() == 1; }));
  const json told = json::parse(receiver.posts()[0].body, nullptr, false);
  EXPECT_EQ(told["id"], accepted.body["id"]) << told.dump();
  EXPECT_EQ(told["status"], "error");
  EXPECT_EQ(told["result"]["stdout"], "told\n");
  EXPECT_EQ(told["result"]["exitCode"], 3);
  const Answer asked = GetFrom(port, "/api/v1/executions/" + told["id"].get<std::string>());
  EXPECT_EQ(told, asked.body) << "what is told is what can be asked for";
}

TEST(Exec0ClusterTest, ABatchRunsOnTheWholeCluster) {
  Cluster cluster;
  const auto api = cluster.StartApi();
  const auto one = cluster.StartRunner();
  const auto two = cluster.StartRunner();
  json items = json::array();
  for (int i = 0; i < 20; ++i) items.push_back(Python("print(" + std::to_string(i) + ")"));
  const Answer answer = PostTo(PortOf(*api), "/api/v1/execute/batch", {{"executions", items}});
  ASSERT_EQ(answer.status, 200) << answer.raw.body;
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(answer.body["results"][i]["result"]["stdout"], std::to_string(i) + "\n");
  }
}

}  // namespace
}  // namespace forkbox::tests
