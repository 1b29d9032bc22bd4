// Zeroboot's API over real sockets and the real server; store, queue and runner are fakes.
#include <gtest/gtest.h>

#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>

#include "api/api_server.h"
#include "api/testing_fakes.h"
#include "base/uuid.h"
#include "tests/api/http_client.h"

namespace forkbox::api {
namespace {

using forkbox::testing::Fetch;
using forkbox::testing::HttpAnswer;
using forkbox::testing::ReadAnswer;
using forkbox::testing::SendRequest;
using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::FakeBroker;
using testing::FakeStore;

KeyEntry Key(std::string_view key) {
  KeyEntry entry;
  entry.digest = KeyDigest::Of(key);
  return entry;
}

sandbox::LanguageStatus Language(std::string id, std::vector<std::string> aliases,
                                 std::uint64_t memory_mb) {
  sandbox::LanguageStatus language;
  language.id = std::move(id);
  language.aliases = std::move(aliases);
  language.ready = true;
  language.default_limits.memory_bytes = memory_mb << 20;
  return language;
}

// A runner that prints the code it was given.
void Echo(FakeBroker& broker, const queue::Message& message) {
  schema::Outcome outcome;
  outcome.reason = schema::Reason::kExited;
  outcome.exit_code = 0;
  outcome.state = schema::State::kCompleted;
  outcome.stdout_text = message.execution->source.code;
  outcome.timings.fork = std::chrono::microseconds(750);
  outcome.timings.exec = std::chrono::microseconds(7'200);
  outcome.timings.total = std::chrono::microseconds(8'000);
  broker.SendReply({message.id, message.execution->reply_to, std::move(outcome)});
}

class ZerobootHttpTest : public ::testing::Test {
 protected:
  void Start(std::vector<KeyEntry> keys = {}) {
    authenticator_.emplace(std::move(keys));
    ApiServer::Options options;
    options.store_probe.interval = milliseconds(5);
    options.isolation = isolation_;
    server_ = Make(std::move(options));
    const Result<void> started = server_->Start();
    ASSERT_TRUE(started) << started.error().message;
  }
  std::unique_ptr<ApiServer> Make(ApiServer::Options options) {
    return std::make_unique<ApiServer>(std::move(options),
                                       ApiServer::Parts{.service = service_,
                                                        .store = database_,
                                                        .broker = broker_,
                                                        .authenticator = *authenticator_,
                                                        .metrics = metrics_,
                                                        .clock = clock_,
                                                        .address_guard = address_guard_,
                                                        .languages = [this] { return languages_; },
                                                        .pool_stats =
                                                            [] {
                                                              return sandbox::DriverStats{5, 2, 3};
                                                            },
                                                        .log = Log::Null(),
                                                        .vm = [this] { return vm_; }});
  }

  HttpAnswer Post(const std::string& path, const std::string& body,
                  http::Fields headers = {{"Content-Type", "application/json"}}) {
    return Fetch(server_->port(), {"POST", path, std::move(headers), body});
  }
  HttpAnswer PostWithKey(const std::string& path, const std::string& body, const std::string& key) {
    return Post(path, body,
                {{"content-type", "application/json"}, {"authorization", "Bearer " + key}});
  }
  HttpAnswer Get(const std::string& path) { return Fetch(server_->port(), {"GET", path, {}, ""}); }

  FakeClock clock_;
  FakeStore store_;
  testing::FakeDatabase database_{store_};
  webhook::AddressGuard address_guard_;
  FakeBroker broker_;
  Metrics metrics_;
  std::vector<sandbox::LanguageStatus> languages_{Language("python", {"py"}, 256),
                                                  Language("javascript", {"node", "js"}, 512),
                                                  Language("bash", {"sh"}, 128)};
  std::optional<runner::VmService> vm_;
  IsolationChoice isolation_ = IsolationChoice::kProcess;
  std::optional<Authenticator> authenticator_;
  ExecutionService service_{{}, store_, broker_, metrics_, clock_, Log::Null()};
  std::unique_ptr<ApiServer> server_;
};

TEST_F(ZerobootHttpTest, CodeInOutputOut) {
  Start();
  broker_.set_runner(Echo);
  const HttpAnswer answer =
      Post("/v1/exec", R"({"code":"print(1)\né","language":"python","timeout_seconds":30})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.Header("Content-Type"), "application/json");
  const json body = json::parse(answer.body);
  EXPECT_EQ(body["stdout"], "print(1)\né");
  EXPECT_EQ(body["stderr"], "");
  EXPECT_EQ(body["exit_code"], 0);
  EXPECT_EQ(body["fork_time_ms"], 0.75);
  EXPECT_EQ(body["exec_time_ms"], 7.2);
  EXPECT_EQ(body["total_time_ms"], 8.0);
  EXPECT_TRUE(IsUuid(body["id"].get<std::string>()));
  EXPECT_EQ(body["id"].get<std::string>()[14], '7');
  EXPECT_EQ(body.size(), 7U);
  EXPECT_TRUE(store_.Has(schema::ExecutionId(body["id"])));
}

TEST_F(ZerobootHttpTest, DefaultsAliasesAndLimits) {
  Start();
  broker_.set_runner(Echo);
  struct Case {
    const char* path;
    const char* body;
    const char* language;
    seconds wall;
  };
  const std::vector<Case> cases{
      {"/v1/exec", R"({"code":""})", "python", seconds(30)},
      {"/exec", R"({"code":"x","language":"node"})", "javascript", seconds(30)},
      {"/v1/exec", R"({"code":"x","language":"javascript","timeout_seconds":1})", "javascript",
       seconds(1)},
      {"/v1/exec", R"({"code":"x","language":"bash","timeout_seconds":301})", "bash", seconds(300)},
      {"/v1/exec", R"({"code":"x","timeout_seconds":18446744073709551615,"extra":[null]})",
       "python", seconds(300)}};
  for (const Case& c : cases) {
    ASSERT_EQ(Post(c.path, c.body).status, 200) << c.body;
    const auto execution = broker_.published().back().execution;
    EXPECT_EQ(execution->language, c.language) << c.body;
    EXPECT_EQ(execution->limits.wall, c.wall) << c.body;
    EXPECT_GE(execution->limits.cpu, c.wall) << c.body;
    EXPECT_EQ(execution->dialect, "zeroboot");
    EXPECT_EQ(execution->delivery, schema::Delivery::kWait);
  }
  EXPECT_EQ(broker_.published().back().execution->limits.memory_bytes, 256U << 20);
}

TEST_F(ZerobootHttpTest, NoTimeIsATimeoutAtOnce) {
  Start();
  const HttpAnswer answer = Post("/v1/exec", R"({"code":"x","timeout_seconds":0})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(json::parse(answer.body)["stderr"], "Execution timed out after 0s");
  EXPECT_EQ(json::parse(answer.body)["exit_code"], -1);
}

TEST_F(ZerobootHttpTest, ARequestThatIsWrongIsToldWhy) {
  Start();
  broker_.set_runner(Echo);
  const std::string json_type = "application/json";
  struct Case {
    std::string type;
    std::string body;
    int status;
    std::string message;  // the beginning of it
  };
  const std::string parse = "Failed to parse the request body as JSON: ";
  const std::string shape = "Failed to deserialize the JSON body into the target type: ";
  const std::vector<Case> cases{
      {"text/plain", R"({"code":"x"})", 415, "Expected request with `Content-Type: application/"},
      {"application/jsonp", R"({"code":"x"})", 415, "Expected"},
      {"", R"({"code":"x"})", 415, "Expected"},
      {json_type, "", 400, parse},
      {json_type, "{", 400, parse},
      {json_type, R"({"code":"x"} tail)", 400, parse},
      {json_type, "{\"code\":\"\xff\"}", 400, parse},
      {json_type, R"({"code":"\ud800"})", 400, parse},
      {json_type, std::string(100'000, '['), 400, parse},
      {json_type, "[]", 422, shape},
      {json_type, "{}", 422, shape + "code: is required"},
      {json_type, R"({"code":1})", 422, shape + "code: must be a string"},
      {json_type, R"({"code":"x","language":null})", 422, shape + "language: must be a string"},
      {json_type, R"({"code":"x","timeout_seconds":-1})", 422, shape + "timeout_seconds: "},
      {json_type, R"({"code":"x","timeout_seconds":1.5})", 422, shape + "timeout_seconds: "},
      {json_type, R"({"code":"x","timeout_seconds":"9"})", 422, shape + "timeout_seconds: "},
      {json_type, R"({"code":"x","language":"ruby"})", 400,
       "language: unknown language, known are: python, javascript, bash, py, node, js, sh"},
      {json_type, R"({"code":"x","language":"Python"})", 400, "language: unknown language"}};
  for (const Case& c : cases) {
    http::Fields headers;
    if (!c.type.empty()) headers.emplace_back("Content-Type", c.type);
    const HttpAnswer answer = Post("/v1/exec", c.body, headers);
    EXPECT_EQ(answer.status, c.status) << c.body.substr(0, 80);
    EXPECT_EQ(answer.Header("Content-Type"), "application/json");
    const json body = json::parse(answer.body, nullptr, false);
    ASSERT_TRUE(body.is_object()) << answer.body;
    EXPECT_TRUE(body["error"].get<std::string>().starts_with(c.message)) << answer.body;
    EXPECT_EQ(body.size(), 1U);
  }
  EXPECT_TRUE(broker_.published().empty());
  for (const char* type :
       {"application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"}) {
    EXPECT_EQ(Post("/v1/exec", R"({"code":"x"})", {{"Content-Type", type}}).status, 200) << type;
  }
}

TEST_F(ZerobootHttpTest, BodiesHaveALimit) {
  Start();
  broker_.set_runner(Echo);
  const std::string code((1 << 20) - 100, 'x');
  EXPECT_EQ(Post("/v1/exec", R"({"code":")" + code + "\"}").status, 200);
  EXPECT_EQ(Post("/v1/exec", R"({"code":")" + code + code + "\"}").status, 413);
  const std::string item = R"({"code":")" + code.substr(0, 1'000'000) + "\"}";
  EXPECT_EQ(Post("/v1/exec/batch", R"({"executions":[)" + item + "," + item + "]}").status, 200);
  EXPECT_EQ(
      Post("/v1/exec/batch", R"({"executions":[)" + item + "," + item + "," + item + "]}").status,
      413);
  const HttpAnswer too_long =
      Post("/v1/exec/batch", R"({"executions":[{"code":")" + code + code.substr(0, 200) + "\"}]}");
  EXPECT_EQ(too_long.status, 413);
  EXPECT_EQ(json::parse(too_long.body)["error"], "executions[0].code: longer than 1048576 bytes");
}

TEST_F(ZerobootHttpTest, UnknownPathsAndWrongMethodsAreJsonToo) {
  Start();
  const HttpAnswer unknown = Post("/v2/exec", "{}");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_TRUE(json::parse(unknown.body).contains("error")) << unknown.body;
  const HttpAnswer method = Get("/v1/exec");
  EXPECT_EQ(method.status, 405);
  EXPECT_TRUE(json::parse(method.body).contains("error")) << method.body;
}

TEST_F(ZerobootHttpTest, KeysInZerobootsWords) {
  Start({Key("zb_live_abcdefgh"), Key("zb_demo_abcdefgh")});
  broker_.set_runner(Echo);
  const std::string good = R"({"code":"x"})";
  EXPECT_EQ(Post("/v1/exec", good).body, R"({"error":"Missing Authorization header"})");
  EXPECT_EQ(Post("/v1/exec", good).status, 401);
  EXPECT_EQ(PostWithKey("/v1/exec", good, "nope").body, R"({"error":"Invalid API key"})");
  EXPECT_EQ(PostWithKey("/v1/exec/batch", R"({"executions":[]})", "nope").status, 401);
  EXPECT_EQ(Post("/v1/exec", "{").status, 400) << "the body is looked at first";
  EXPECT_EQ(Get("/v1/health").status, 200) << "needs no key";
  EXPECT_EQ(Get("/metrics").status, 200) << "needs no key";

  EXPECT_EQ(PostWithKey("/v1/exec", good, "zb_live_abcdefgh").status, 200);
  EXPECT_EQ(broker_.published().back().execution->owner.str(),
            KeyDigest::Of("zb_live_abcdefgh").ShortId());
}

TEST_F(ZerobootHttpTest, ADemoKeyHasTenCallsAMinuteWhateverTheirSize) {
  Start({Key("zb_demo_abcdefgh")});
  broker_.set_runner(Echo);
  for (int i = 0; i < 10; ++i) {
    const bool batch = i % 2 == 0;
    ASSERT_EQ(
        PostWithKey(batch ? "/v1/exec/batch" : "/v1/exec",
                    batch ? R"({"executions":[{"code":"1"},{"code":"2"}]})" : R"({"code":"x"})",
                    "zb_demo_abcdefgh")
            .status,
        200);
  }
  const HttpAnswer refused = PostWithKey("/v1/exec", R"({"code":"x"})", "zb_demo_abcdefgh");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.body, R"json({"error":"Rate limit exceeded (10 req/min for demo keys)"})json");
  EXPECT_EQ(refused.Header("Retry-After"), "6");
  EXPECT_EQ(refused.Header("X-RateLimit-Limit"), "10");
  EXPECT_EQ(refused.Header("X-RateLimit-Remaining"), "0");
  EXPECT_FALSE(refused.Header("X-RateLimit-Reset").empty());
  // A proxy on this machine tells us who asks: that client has a bucket of its own.
  EXPECT_EQ(Post("/v1/exec", R"({"code":"x"})",
                 {{"Content-Type", "application/json"},
                  {"Authorization", "Bearer zb_demo_abcdefgh"},
                  {"X-Forwarded-For", "203.0.113.7"}})
                .status,
            200);
}

TEST_F(ZerobootHttpTest, ABatchRunsInParallelAndKeepsItsOrder) {
  Start();
  const auto connection = SendRequest(
      server_->port(),
      {"POST",
       "/v1/exec/batch",
       {{"Content-Type", "application/json"}},
       R"({"executions":[{"code":"a"},{"code":"b","language":"node"},{"code":"c","timeout_seconds":2},)"
       R"({"code":"d","timeout_seconds":0}]})"});
  broker_.AwaitPublished(3);  // all of them, before the first has ended
  const auto messages = broker_.published();
  for (auto message = messages.rbegin(); message != messages.rend(); ++message) {
    Echo(broker_, *message);
  }
  const HttpAnswer answer = ReadAnswer(connection);
  EXPECT_EQ(answer.status, 200);
  const json results = json::parse(answer.body)["results"];
  ASSERT_EQ(results.size(), 4U);
  EXPECT_EQ(results[0]["stdout"], "a");
  EXPECT_EQ(results[1]["stdout"], "b");
  EXPECT_EQ(results[2]["stdout"], "c");
  EXPECT_EQ(results[3]["stderr"], "Execution timed out after 0s");
  std::set<std::string> ids;
  for (const json& result : results) ids.insert(result["id"]);
  EXPECT_EQ(ids.size(), 4U);
  EXPECT_EQ(messages[1].execution->language, "javascript");
}

TEST_F(ZerobootHttpTest, ABatchLongerThanItsAccountMayRunAtOnceRunsToItsEnd) {
  Start({Key("zb_live_abcdefgh")});
  std::string body = R"({"executions":[)";
  for (int i = 0; i < 100; ++i) {
    body += std::string(i > 0 ? "," : "") + R"({"code":")" + std::to_string(i) + R"("})";
  }
  const http::Fields headers{{"Content-Type", "application/json"},
                             {"Authorization", "Bearer zb_live_abcdefgh"}};
  const auto connection =
      SendRequest(server_->port(), {"POST", "/v1/exec/batch", headers, body + "]}"});
  const std::size_t at_once = store::AccountLimits{}.concurrency;
  for (std::size_t ended = 0; ended < 100; ++ended) {
    broker_.AwaitPublished(std::min<std::size_t>(100, ended + at_once));
    EXPECT_LE(broker_.published().size(), ended + at_once);
    Echo(broker_, broker_.published()[ended]);
  }
  const HttpAnswer answer = ReadAnswer(connection);
  EXPECT_EQ(answer.status, 200);
  const json results = json::parse(answer.body)["results"];
  ASSERT_EQ(results.size(), 100U);
  for (std::size_t i = 0; i < 100; ++i) EXPECT_EQ(results[i]["stdout"], std::to_string(i));

  // Whoever leaves in the middle starts nothing more.
  {
    const auto leaving =
        SendRequest(server_->port(), {"POST", "/v1/exec/batch", headers, body + "]}"});
    broker_.AwaitPublished(100 + at_once);
  }
  broker_.AwaitCancelled(at_once);
  EXPECT_EQ(broker_.published().size(), 100 + at_once);
}

TEST_F(ZerobootHttpTest, ABatchIsTakenWholeOrNotAtAll) {
  Start();
  broker_.set_runner(Echo);
  EXPECT_EQ(Post("/v1/exec/batch", R"({"executions":[]})").body, R"({"results":[]})");
  const auto many = [](int count) {
    std::string body = R"({"executions":[)";
    for (int i = 0; i < count; ++i) body += std::string(i > 0 ? "," : "") + R"({"code":"x"})";
    return body + "]}";
  };
  EXPECT_EQ(json::parse(Post("/v1/exec/batch", many(100)).body)["results"].size(), 100U);
  EXPECT_EQ(broker_.published().back().execution->limits.output_bytes, (16U << 20) / 100)
      << "what all of them write is held at once";
  const std::size_t before = broker_.published().size();
  const HttpAnswer capped = Post("/v1/exec/batch", many(101));
  EXPECT_EQ(capped.status, 422);
  EXPECT_EQ(json::parse(capped.body)["error"], "executions: more than 100 items in one batch");
  const HttpAnswer bad = Post("/v1/exec/batch", R"({"executions":[{"code":"x"},{"code":7}]})");
  EXPECT_EQ(bad.status, 422);
  EXPECT_NE(bad.body.find("executions[1].code: must be a string"), std::string::npos) << bad.body;
  const HttpAnswer unknown =
      Post("/v1/exec/batch", R"({"executions":[{"code":"x"},{"code":"x","language":"ruby"}]})");
  EXPECT_EQ(unknown.status, 400);
  EXPECT_NE(unknown.body.find("executions[1].language: unknown"), std::string::npos);
  EXPECT_EQ(broker_.published().size(), before);
}

TEST_F(ZerobootHttpTest, OneItemThatFailsLeavesTheOthersAlone) {
  Start();
  languages_[2].ready = false;
  broker_.set_runner([](FakeBroker& broker, const queue::Message& message) {
    Echo(broker, message);
    broker.set_refusal(Error{ErrorCode::kQueueFull, "queue is full"});  // for the next one
  });
  const HttpAnswer answer =
      Post("/v1/exec/batch",
           R"({"executions":[{"code":"x","language":"sh"},{"code":"a"},{"code":"b"}]})");
  EXPECT_EQ(answer.status, 200);
  const json results = json::parse(answer.body)["results"];
  EXPECT_EQ(results[0]["stderr"], "No template for language: sh");
  EXPECT_EQ(results[0]["exit_code"], -1);
  EXPECT_EQ(results[1]["stdout"], "a");
  EXPECT_EQ(results[2]["stderr"], "Send failed: queue is full");
  EXPECT_EQ(results[2]["exit_code"], -1);
  EXPECT_EQ(Post("/v1/exec/batch", R"({"executions":[{"code":"a"},{"code":"b"}]})").status, 429)
      << "if none was taken, neither was the batch";
}

TEST_F(ZerobootHttpTest, AFullQueueAndAnAbsentStoreSayComeBackLater) {
  Start();
  broker_.set_depth({.waiting = 10, .limit = 10});
  const HttpAnswer full = Post("/v1/exec", R"({"code":"x"})");
  EXPECT_EQ(full.status, 429);
  EXPECT_NE(full.body.find("10 executions waiting"), std::string::npos);
  EXPECT_EQ(full.Header("Retry-After"), "1");
  EXPECT_EQ(full.Header("X-RateLimit-Limit"), "10");
  EXPECT_EQ(full.Header("X-RateLimit-Remaining"), "0");
  broker_.set_depth({});
  store_.away = true;
  const HttpAnswer away = Post("/v1/exec", R"({"code":"x"})");
  EXPECT_EQ(away.status, 503);
  EXPECT_EQ(away.body, R"({"error":"database is away"})");
  EXPECT_EQ(away.Header("Retry-After"), "1");
}

TEST_F(ZerobootHttpTest, AClientThatLeavesTakesItsExecutionsWithIt) {
  Start();
  {
    const auto connection = SendRequest(server_->port(), {"POST",
                                                          "/v1/exec",
                                                          {{"Content-Type", "application/json"}},
                                                          R"({"code":"while True: pass"})"});
    broker_.AwaitPublished(1);
  }
  broker_.AwaitCancelled(1);
  EXPECT_EQ(broker_.cancelled()[0], broker_.published()[0].id);
  {
    const auto connection =
        SendRequest(server_->port(), {"POST",
                                      "/v1/exec/batch",
                                      {{"Content-Type", "application/json"}},
                                      R"({"executions":[{"code":"1"},{"code":"2"}]})"});
    broker_.AwaitPublished(3);
  }
  broker_.AwaitCancelled(3);
  broker_.set_runner(Echo);
  EXPECT_EQ(Post("/v1/exec", R"({"code":"next"})").status, 200);
}

// Answers come from other threads, out of order, while some clients have left: nobody gets another
// one's output, and nobody is forgotten.
TEST_F(ZerobootHttpTest, EveryClientGetsItsOwnAnswer) {
  Start();
  std::mutex mutex;
  std::vector<queue::Message> waiting;
  broker_.set_runner([&](FakeBroker&, const queue::Message& message) {
    const std::lock_guard lock(mutex);
    waiting.push_back(message);
  });
  std::jthread runner([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::vector<queue::Message> batch;
      {
        const std::lock_guard lock(mutex);
        batch.swap(waiting);
      }
      for (auto message = batch.rbegin(); message != batch.rend(); ++message) {
        Echo(broker_, *message);
      }
      std::this_thread::yield();
    }
  });
  std::vector<std::jthread> clients;
  for (int c = 0; c < 6; ++c) {
    clients.emplace_back([this, c] {
      for (int i = 0; i < 40; ++i) {
        const std::string code = std::to_string(c) + "/" + std::to_string(i);
        const std::string body = R"({"code":")" + code + "\"}";
        if (i % 5 == 4) {  // leaves without waiting
          SendRequest(server_->port(),
                      {"POST", "/v1/exec", {{"Content-Type", "application/json"}}, body});
          continue;
        }
        const HttpAnswer answer = Post("/v1/exec", body);
        ASSERT_EQ(answer.status, 200);
        ASSERT_EQ(json::parse(answer.body)["stdout"], code);
      }
    });
  }
  clients.clear();
  while (service_.waiting() > 0) std::this_thread::yield();
  // Requests of clients that left may still be on their way to `waiting`, which dies before them.
  server_->Stop();
}

TEST_F(ZerobootHttpTest, TheServersDefaultIsolationHoldsHere) {
  isolation_ = IsolationChoice::kVm;
  vm_.emplace();
  vm_->status.state = sandbox::vm::VmState::kReady;
  vm_->status.accelerator = "tcg";
  vm_->languages = {Language("python", {"py"}, 256)};
  Start();
  broker_.set_runner(Echo);
  EXPECT_EQ(json::parse(Post("/v1/exec", R"({"code":"1"})").body)["stdout"], "1");
  EXPECT_EQ(broker_.published().back().execution->isolation, schema::Isolation::kVm);
  const HttpAnswer batch = Post("/v1/exec/batch", R"({"executions":[{"code":"2"}]})");
  EXPECT_EQ(json::parse(batch.body)["results"][0]["stdout"], "2");
  EXPECT_EQ(broker_.published().back().execution->isolation, schema::Isolation::kVm);
  EXPECT_EQ(json::parse(Post("/v1/exec", R"({"code":"1","language":"sh"})").body)["stderr"],
            "No template for language: sh")
      << "processes have it, and are not what the operator asked for";
  EXPECT_EQ(json::parse(Get("/v1/health").body)["vm"],
            (json{{"state", "ready"}, {"accelerator", "tcg"}}));
  vm_->most_memory_bytes = 1;
  clock_.Advance(seconds(2));
  const HttpAnswer small = Post("/v1/exec", R"({"code":"1"})");
  EXPECT_EQ(small.Header("Retry-After"), "") << "asked again, it is the same";
  EXPECT_EQ(json::parse(small.body)["stderr"], "No template for language: python");
  vm_->status.state = sandbox::vm::VmState::kFailed;
  clock_.Advance(seconds(2));
  const HttpAnswer failed = Post("/v1/exec", R"({"code":"1"})");
  EXPECT_EQ(failed.status, 503);
  EXPECT_NE(failed.Header("Retry-After"), "");
}

TEST_F(ZerobootHttpTest, HealthIsTheTruth) {
  Start();
  HttpAnswer health = Get("/v1/health");
  EXPECT_EQ(health.status, 200);
  EXPECT_EQ(health.body,
            R"({"status":"ok","templates":{"python":{"ready":true,"memory_mb":256},)"
            R"("node":{"ready":true,"memory_mb":512},"bash":{"ready":true,"memory_mb":128}}})");
  EXPECT_EQ(Get("/health").body, health.body);

  languages_[0].ready = false;
  languages_[0].reason = "smoke program: exit code 1";
  clock_.Advance(seconds(2));  // what is known of languages is kept for a moment
  health = Get("/v1/health");
  EXPECT_EQ(health.status, 200);
  EXPECT_EQ(json::parse(health.body)["status"], "degraded");
  EXPECT_EQ(json::parse(health.body)["templates"]["python"]["ready"], false);
  EXPECT_EQ(json::parse(Post("/v1/exec", R"({"code":"x"})").body)["stderr"],
            "No template for language: python");

  languages_[1].ready = languages_[2].ready = false;
  clock_.Advance(seconds(2));
  EXPECT_EQ(Get("/v1/health").status, 503);

  for (auto& language : languages_) language.ready = true;
  clock_.Advance(seconds(2));
  store_.away = true;
  while (Get("/v1/health").status == 200) std::this_thread::yield();
  EXPECT_EQ(json::parse(Get("/v1/health").body)["status"], "degraded");
  store_.away = false;
  while (Get("/v1/health").status != 200) std::this_thread::yield();
}

TEST_F(ZerobootHttpTest, MetricsAreServedAtBothPaths) {
  Start();
  broker_.set_runner(Echo);
  ASSERT_EQ(Post("/v1/exec", R"({"code":"x"})").status, 200);
  ASSERT_EQ(Post("/nowhere/at/all", "").status, 404);
  for (const char* path : {"/v1/metrics", "/metrics"}) {
    const HttpAnswer metrics = Get(path);
    EXPECT_EQ(metrics.status, 200);
    EXPECT_TRUE(metrics.Header("Content-Type").starts_with("text/plain; version=0.0.4"));
    EXPECT_TRUE(metrics.body.starts_with("# HELP zeroboot_total_executions ")) << metrics.body;
    for (const char* line :
         {"zeroboot_total_executions{status=\"success\"} 1\n",
          "zeroboot_fork_time_milliseconds_bucket{le=\"1\"} 1\n", "forkbox_pool_hits_total 5\n",
          "forkbox_queue_depth{lane=\"interactive\"} 0\n",
          "forkbox_http_requests_total{method=\"POST\",route=\"/v1/exec\",status=\"200\"} 1\n",
          "forkbox_http_requests_total{method=\"POST\",route=\"none\",status=\"404\"} 1\n",
          "forkbox_executions_total{language=\"python\",reason=\"exited\",state=\"completed\"} "
          "1\n"}) {
      EXPECT_NE(metrics.body.find(line), std::string::npos) << line << metrics.body;
    }
  }
}

TEST_F(ZerobootHttpTest, WithoutKeysItStaysAtHome) {
  authenticator_.emplace(std::vector<KeyEntry>{});
  ApiServer::Options options;
  options.http.address = "0.0.0.0";
  server_ = Make(options);
  const Result<void> refused = server_->Start();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_NE(refused.error().message.find("--insecure-no-auth"), std::string::npos);

  options.insecure_no_auth = true;
  server_ = Make(options);
  EXPECT_TRUE(server_->Start());
  options.insecure_no_auth = false;
  authenticator_.emplace(std::vector<KeyEntry>{Key("a key")});
  server_ = Make(options);
  EXPECT_TRUE(server_->Start());
}

TEST_F(ZerobootHttpTest, DrainingLetsWhatRunsComeToItsEnd) {
  Start();
  const auto connection = SendRequest(
      server_->port(),
      {"POST", "/v1/exec", {{"Content-Type", "application/json"}}, R"({"code":"slow"})"});
  broker_.AwaitPublished(1);
  std::jthread drain([this] { EXPECT_EQ(server_->Drain(seconds(30)), 0U); });
  Echo(broker_, broker_.published()[0]);
  EXPECT_EQ(json::parse(ReadAnswer(connection).body)["stdout"], "slow");
}

TEST_F(ZerobootHttpTest, StoppingMidWaitLeavesNothingDangling) {
  Start();
  const auto connection = SendRequest(
      server_->port(),
      {"POST", "/v1/exec", {{"Content-Type", "application/json"}}, R"({"code":"slow"})"});
  broker_.AwaitPublished(1);
  const queue::Message message = broker_.published()[0];
  server_.reset();
  Echo(broker_, message);  // the reply has nobody to go to
}

}  // namespace
}  // namespace forkbox::api
