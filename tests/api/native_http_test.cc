// The native API over real sockets and the real server; store, queue and runner are fakes.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "api/api_server.h"
#include "api/testing_fakes.h"
#include "base/uuid.h"
#include "runner/runner_details.h"
#include "tests/api/http_client.h"

namespace forkbox::api {
namespace {

using forkbox::testing::Fetch;
using forkbox::testing::HttpAnswer;
using nlohmann::json;
using schema::ExecutionId;

class NativeHttpTest : public ::testing::Test {
 protected:
  void Start(std::vector<std::string> keys = {}) {
    std::vector<KeyEntry> entries;
    for (const std::string& key : keys) {
      KeyEntry entry;
      entry.digest = KeyDigest::Of(key);
      entries.push_back(std::move(entry));
    }
    authenticator_.emplace(std::move(entries));
    ApiServer::Options options;
    options.store_probe.interval = std::chrono::milliseconds(5);
    server_ = std::make_unique<ApiServer>(std::move(options),
                                          ApiServer::Parts{.service = service_,
                                                           .store = database_,
                                                           .broker = broker_,
                                                           .authenticator = *authenticator_,
                                                           .metrics = metrics_,
                                                           .clock = clock_,
                                                           .address_guard = guard_,
                                                           .languages = {},
                                                           .pool_stats = {},
                                                           .log = Log::Null()});
    const Result<void> started = server_->Start();
    ASSERT_TRUE(started) << started.error().message;
  }

  std::pair<int, json> Ask(const char* method, const std::string& path,
                           const std::string& key = "") {
    http::Fields headers;
    if (!key.empty()) headers.push_back({"Authorization", "Bearer " + key});
    last_ = Fetch(server_->port(), {method, path, headers, ""});
    return {last_.status, json::parse(last_.body, nullptr, false)};
  }
  std::pair<int, json> Get(const std::string& path) { return Ask("GET", path); }

  ExecutionId Insert(const std::string& owner = "") {
    schema::Execution execution;
    execution.id = ExecutionId(NewUuidV7());
    execution.owner = schema::OwnerId(owner);
    execution.dialect = "nca";
    execution.language = "python";
    execution.client_reference = "mine";
    execution.created_unix_ms = 1'700'000'000'000;
    EXPECT_TRUE(store_.Insert(execution));
    return execution.id;
  }

  FakeClock clock_;
  testing::FakeStore store_;
  testing::FakeDatabase database_{store_};
  testing::FakeBroker broker_;
  webhook::AddressGuard guard_;
  Metrics metrics_;
  std::optional<Authenticator> authenticator_;
  ExecutionService service_{{}, store_, broker_, metrics_, clock_, Log::Null()};
  std::unique_ptr<ApiServer> server_;
  HttpAnswer last_;
};

TEST_F(NativeHttpTest, AnExecutionCanBePolledFromTheQueueToItsEnd) {
  Start();
  const ExecutionId id = Insert();
  auto [status, body] = Get("/executions/" + id.str());
  EXPECT_EQ(status, 200);
  EXPECT_EQ(body["status"], "running");
  EXPECT_EQ(body["state"], "queued");
  EXPECT_EQ(body["result"], nullptr);
  EXPECT_EQ(body["createdAt"], "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(body["clientReference"], "mine");
  EXPECT_EQ(last_.Header("Cache-Control"), "no-store");

  schema::Outcome outcome;
  outcome.state = schema::State::kError;
  outcome.reason = schema::Reason::kExited;
  outcome.exit_code = 3;
  outcome.stdout_text = "out";
  outcome.stderr_text = "err";
  const std::string nested = std::string(500, '[') + std::string(500, ']');
  outcome.value_json = R"({"a":)" + nested + "}";
  outcome.usage.peak_memory_bytes = 8'192 << 10;
  outcome.timings.exec = std::chrono::milliseconds(245);
  ASSERT_TRUE(store_.Finish(id, outcome, 1'700'000'001'000));
  std::tie(status, body) = Get("/api/v1/executions/" + id.str());
  EXPECT_EQ(status, 200);
  EXPECT_EQ(body["status"], "error");
  EXPECT_EQ(body["result"]["stdout"], "out");
  EXPECT_EQ(body["result"]["exitCode"], 3);
  EXPECT_EQ(body["executionTime"], 245);
  EXPECT_EQ(body["memoryUsed"], 8192);
  EXPECT_EQ(body["value"]["a"].dump(), nested);
  EXPECT_EQ(body["finishedAt"], "2023-11-14T22:13:21.000Z");
}

TEST_F(NativeHttpTest, EveryEndingHasAStatusAndAnExitCode) {
  struct Case {
    schema::Reason reason;
    std::optional<int> exit_code, signal;
    const char* status;
    const char* state;
    int shown;
  };
  using schema::Reason;
  Start();
  for (const Case& c : {Case{Reason::kExited, 0, {}, "completed", "completed", 0},
                        Case{Reason::kSignalled, {}, 11, "error", "error", 139},
                        Case{Reason::kWallTimeout, {}, 9, "timeout", "timeout", 124},
                        Case{Reason::kOutOfMemory, {}, 9, "error", "error", 137},
                        Case{Reason::kCancelled, {}, {}, "error", "cancelled", 1},
                        Case{Reason::kRunnerLost, {}, {}, "error", "lost", 1}}) {
    const ExecutionId id = Insert();
    schema::Outcome outcome;
    outcome.reason = c.reason;
    outcome.exit_code = c.exit_code;
    outcome.signal = c.signal;
    outcome.state = schema::StateOf(c.reason, c.exit_code);
    ASSERT_TRUE(store_.Finish(id, outcome, 1));
    const auto [status, body] = Get("/executions/" + id.str());
    EXPECT_EQ(body["status"], c.status);
    EXPECT_EQ(body["state"], c.state);
    EXPECT_EQ(body["result"]["exitCode"], c.shown);
  }
}

TEST_F(NativeHttpTest, WhatIsUnknownIsNotFoundInTheHouseShape) {
  Start();
  for (const char* path : {"/executions/nothing", "/api/v1/executions/nothing/deliveries",
                           "/executions/%00", "/executions/%F0%9F"}) {
    const auto [status, body] = Get(path);
    EXPECT_EQ(status, 404) << path;
    EXPECT_EQ(body["error"], "not_found") << last_.body;
    EXPECT_TRUE(body["details"].is_object());
  }
  EXPECT_EQ(Ask("POST", "/api/v1/executions/nothing/deliveries").first, 404);
  // Also where no handler was ever asked.
  const auto [status, body] = Get("/api/v1/nothing");
  EXPECT_EQ(status, 404);
  EXPECT_EQ(body["error"], "not_found") << last_.body;
  EXPECT_EQ(Ask("PUT", "/api/v1/queue").second["error"], "method_not_allowed") << last_.body;
}

TEST_F(NativeHttpTest, KeysAreAskedForButNotForHealth) {
  Start({"one"});
  for (const char* path : {"/executions/x", "/api/v1/executions/x/deliveries", "/api/v1/queue",
                           "/api/v1/webhook-secrets"}) {
    const auto [status, body] = Get(path);
    EXPECT_EQ(status, 401) << path;
    EXPECT_EQ(body["error"], "unauthorized");
  }
  EXPECT_EQ(Ask("POST", "/api/v1/webhook-secrets").first, 401);
  EXPECT_EQ(Ask("GET", "/api/v1/queue", "one").first, 200);
  EXPECT_EQ(Get("/api/v1/health").first, 200);
}

TEST_F(NativeHttpTest, ASecretIsShownOnceAndTheLastOneStaysAWhile) {
  Start();
  const auto [created, first] = Ask("POST", "/api/v1/webhook-secrets");
  EXPECT_EQ(created, 201);
  EXPECT_TRUE(first["secret"].get<std::string>().starts_with("whsec_"));
  const auto [again, second] = Ask("POST", "/api/v1/webhook-secrets");
  EXPECT_NE(first["secret"], second["secret"]);
  const auto [status, list] = Get("/api/v1/webhook-secrets");
  ASSERT_EQ(list["secrets"].size(), 2U);
  EXPECT_EQ(list["secrets"][0]["expiresAt"], nullptr);
  EXPECT_NE(list["secrets"][1]["expiresAt"], nullptr);
  EXPECT_EQ(last_.body.find("whsec_"), std::string::npos);
}

TEST_F(NativeHttpTest, AttemptsOfAWebhookAreShownAndItCanBeSentAgain) {
  const ExecutionId id = Insert();
  store::DeliveryHistory history;
  history.delivery.id = store::DeliveryId("d1");
  history.delivery.execution_id = id;
  history.delivery.url = "https://example.com/hook";
  history.delivery.next_attempt_unix_ms = 1'700'000'000'000;
  history.attempts.push_back({.number = 1,
                              .started_unix_ms = 1'699'999'999'000,
                              .duration_ms = 12,
                              .status = 503,
                              .error = "the receiver answered 503"});
  database_.deliveries().histories.push_back(history);
  Start();
  const auto [status, body] = Get("/api/v1/executions/" + id.str() + "/deliveries");
  EXPECT_EQ(status, 200);
  const json& delivery = body["deliveries"][0];
  EXPECT_EQ(delivery["state"], "pending");
  EXPECT_EQ(delivery["nextAttemptAt"], "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(delivery["attempts"][0]["status"], 503);
  EXPECT_EQ(delivery["attempts"][0]["error"], "the receiver answered 503");
  const auto [accepted, again] = Ask("POST", "/api/v1/executions/" + id.str() + "/deliveries");
  EXPECT_EQ(accepted, 202);
  EXPECT_EQ(again["id"], "again");
}

TEST_F(NativeHttpTest, TheQueueAndItsRunnersAreShown) {
  broker_.set_depth({.waiting = 3, .limit = 1'000});
  sandbox::LanguageStatus python;
  python.id = "python";
  python.ready = true;
  database_.runners().alive.push_back(
      {.id = "r1",
       .host = "h",
       .slots = 8,
       .busy = 2,
       .started_unix_ms = 1,
       .seen_unix_ms = 2,
       .details_json = runner::RunnerDetailsToJson({{python}, {}})});
  database_.runners().alive.push_back({.id = "r2",
                                       .host = "h",
                                       .slots = 0,
                                       .busy = 0,
                                       .started_unix_ms = 1,
                                       .seen_unix_ms = 2,
                                       .details_json = "from a later version"});
  Start();
  const auto [status, body] = Get("/api/v1/queue");
  EXPECT_EQ(status, 200);
  EXPECT_EQ(body["lanes"]["interactive"]["limit"], 1'000);
  EXPECT_EQ(body["lanes"]["background"]["waiting"], 0);
  EXPECT_EQ(body["lanes"]["background"]["oldestAgeMs"], nullptr);
  ASSERT_EQ(body["runners"].size(), 2U);
  EXPECT_EQ(body["runners"][0]["languages"], json::array({"python"}));
  EXPECT_EQ(body["runners"][0]["slots"], 8);
  const HttpAnswer metrics = Fetch(server_->port(), {"GET", "/metrics", {}, ""});
  EXPECT_NE(metrics.body.find("forkbox_runners 2\n"), std::string::npos);
  EXPECT_NE(metrics.body.find("forkbox_runner_slots 8\n"), std::string::npos);
  EXPECT_NE(metrics.body.find("forkbox_queue_oldest_seconds{lane=\"background\"} 0\n"),
            std::string::npos);
}

// An API process of a cluster knows the virtual machines of the runners alive.
TEST_F(NativeHttpTest, TheMachinesOfRunnersAreShown) {
  for (const auto state : {sandbox::vm::VmState::kReady, sandbox::vm::VmState::kFailed}) {
    runner::RunnerDetails details;
    runner::VmService& vm = details.vm.emplace();
    vm.status.state = state;
    vm.status.accelerator = "kvm";
    vm.most_memory_bytes = 512ULL << 20;
    vm.machines_ready = 2;
    vm.languages.emplace_back();
    vm.languages[0].id = "python";
    vm.languages[0].ready = state == sandbox::vm::VmState::kReady;
    database_.runners().alive.push_back({.id = "r" + std::to_string(static_cast<int>(state)),
                                         .host = "h",
                                         .slots = 8,
                                         .busy = 2,
                                         .started_unix_ms = 1,
                                         .seen_unix_ms = 2,
                                         .details_json = runner::RunnerDetailsToJson(details)});
  }
  Start();
  const auto [status, body] = Get("/api/v1/health");
  EXPECT_EQ(status, 200);
  EXPECT_EQ(body["vm"]["state"], "ready");
  EXPECT_EQ(body["vm"]["accelerator"], "kvm");
  EXPECT_EQ(body["vm"]["languages"], json::array({"python"}));
  EXPECT_EQ(body["vm"]["memoryMb"], 512);
  EXPECT_EQ(body["vm"]["machinesReady"], 4);
}

TEST_F(NativeHttpTest, HealthNamesThePartThatIsAway) {
  Start();
  auto [status, body] = Get("/api/v1/health");
  EXPECT_EQ(status, 200);
  EXPECT_EQ(body["status"], "degraded") << "there is no runner";
  EXPECT_EQ(body["components"]["runners"]["alive"], 0);
  store_.away = true;
  for (int i = 0; i < 3'000 && status == 200; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    std::tie(status, body) = Get("/api/v1/health");
  }
  EXPECT_EQ(status, 503);
  EXPECT_EQ(body["components"]["store"]["status"], "unavailable");
  EXPECT_EQ(body["components"]["queue"]["status"], "ok");
  EXPECT_EQ(Get("/api/v1/queue").first, 503);
  EXPECT_EQ(Get("/executions/x").first, 503);
}

}  // namespace
}  // namespace forkbox::api
