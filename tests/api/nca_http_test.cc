// The NCA dialect over real sockets and the real server; store, queue and runner are fakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "api/api_server.h"
#include "api/testing_fakes.h"
#include "base/uuid.h"
#include "tests/api/http_client.h"

namespace forkbox::api {
namespace {

using forkbox::testing::Fetch;
using forkbox::testing::HttpAnswer;
using forkbox::testing::SendRequest;
using nlohmann::json;
using schema::ExecutionId;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::FakeBroker;
using testing::FakeStore;
using ::testing::StartsWith;

constexpr const char* kExecute = "/v1/code/execute/python";
constexpr const char* kJobStatus = "/v1/toolkit/job/status";
constexpr const char* kJobsStatus = "/v1/toolkit/jobs/status";

KeyEntry Key(std::string_view key) {
  KeyEntry entry;
  entry.digest = KeyDigest::Of(key);
  return entry;
}

schema::Outcome Returned(std::string value, std::string out = "") {
  schema::Outcome outcome;
  outcome.reason = schema::Reason::kExited;
  outcome.exit_code = 0;
  outcome.state = schema::State::kCompleted;
  outcome.stdout_text = std::move(out);
  outcome.value_json = std::move(value);
  return outcome;
}

// A runner whose programs print their code and return 7.
void Echo(FakeBroker& broker, const queue::Message& message) {
  if (message.execution->delivery != schema::Delivery::kWait) return;
  broker.SendReply(
      {message.id, message.execution->reply_to, Returned("7", message.execution->source.code)});
}

class NcaHttpTest : public ::testing::Test {
 protected:
  void Start(NcaDialect::Options nca = {}, std::vector<KeyEntry> keys = {}) {
    authenticator_.emplace(std::move(keys));
    ApiServer::Options options;
    options.nca = nca;
    options.store_probe.interval = milliseconds(5);
    options.isolation = isolation_;
    server_ = std::make_unique<ApiServer>(
        std::move(options),
        ApiServer::Parts{.service = service_,
                         .store = database_,
                         .broker = broker_,
                         .authenticator = *authenticator_,
                         .metrics = metrics_,
                         .clock = clock_,
                         .address_guard = address_guard_,
                         .languages = [this] { return LanguageCatalog::Languages{python_}; },
                         .pool_stats = nullptr,
                         .log = Log::Null(),
                         .vm = [this] { return vm_; }});
    const Result<void> started = server_->Start();
    ASSERT_TRUE(started) << started.error().message;
    broker_.set_runner(Echo);
  }

  HttpAnswer Post(const std::string& path, const std::string& body, http::Fields more = {}) {
    more.emplace_back("Content-Type", "application/json");
    return Fetch(server_->port(), {"POST", path, std::move(more), body});
  }
  HttpAnswer Get(const std::string& path, http::Fields headers = {}) {
    return Fetch(server_->port(), {"GET", path, std::move(headers), ""});
  }
  json StatusOf(const std::string& job_id, int expected, http::Fields headers = {}) {
    const HttpAnswer answer = Post(kJobStatus, json{{"job_id", job_id}}.dump(), std::move(headers));
    EXPECT_EQ(answer.status, expected) << answer.body;
    return json::parse(answer.body);
  }
  std::shared_ptr<const schema::Execution> LastPublished() {
    return broker_.published().back().execution;
  }

  FakeClock clock_;
  FakeStore store_;
  testing::FakeDatabase database_{store_};
  webhook::AddressGuard address_guard_;
  FakeBroker broker_;
  Metrics metrics_;
  sandbox::LanguageStatus python_ = [] {
    sandbox::LanguageStatus python;
    python.id = "python";
    python.ready = true;
    return python;
  }();
  std::optional<runner::VmService> vm_;
  IsolationChoice isolation_ = IsolationChoice::kProcess;
  std::optional<Authenticator> authenticator_;
  ExecutionService service_{{}, store_, broker_, metrics_, clock_, Log::Null()};
  std::unique_ptr<ApiServer> server_;
};

// ------------------------------------------------------------------ synchronous

TEST_F(NcaHttpTest, CodeInValueOut) {
  Start();
  broker_.set_depth(queue::Depth{.waiting = 3});
  const HttpAnswer answer = Post(kExecute, R"({"code":"print(1)\né","timeout":10,"id":"x1"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.Header("Content-Type"), "application/json");
  const json body = json::parse(answer.body);
  EXPECT_EQ(body.size(), 13U) << answer.body;
  EXPECT_EQ(body["code"], 200);
  EXPECT_EQ(body["id"], "x1");
  EXPECT_TRUE(IsUuid(body["job_id"].get<std::string>()));
  EXPECT_EQ(body["message"], "success");
  EXPECT_EQ(body["response"],
            (json{{"result", 7}, {"stdout", "print(1)\né"}, {"stderr", ""}, {"exit_code", 0}}));
  EXPECT_EQ(body["pid"], ::getpid());
  EXPECT_EQ(body["queue_length"], 3);
  EXPECT_EQ(body["queue_time"], 0);
  EXPECT_EQ(body["total_time"], body["run_time"]);
  const json again = json::parse(Post(kExecute, R"({"code":""})").body);
  EXPECT_EQ(again["queue_id"], body["queue_id"]);
  EXPECT_EQ(again["id"], nullptr);
  EXPECT_NE(again["job_id"], body["job_id"]);
}

TEST_F(NcaHttpTest, WhatIsAskedForIsWhatRuns) {
  Start();
  const struct {
    const char* body;
    seconds wall;
    schema::Delivery delivery;
    const char* webhook_url;
    const char* reference;
  } cases[] = {
      {R"({"code":"x"})", seconds(30), schema::Delivery::kWait, "", ""},
      {R"({"code":"x","timeout":1,"id":"me"})", seconds(1), schema::Delivery::kWait, "", "me"},
      {R"({"code":"x","timeout":300.0})", seconds(300), schema::Delivery::kWait, "", ""},
      {R"({"code":"x","webhook_url":""})", seconds(30), schema::Delivery::kPoll, "", ""},
      {R"({"code":"x","webhook_url":"https://example.com/hook?a=1","id":"w"})", seconds(30),
       schema::Delivery::kWebhook, "https://example.com/hook?a=1", "w"},
  };
  for (const auto& test : cases) {
    const bool waits = test.delivery == schema::Delivery::kWait;
    ASSERT_EQ(Post(kExecute, test.body).status, waits ? 200 : 202) << test.body;
    const auto execution = LastPublished();
    EXPECT_EQ(execution->dialect, "nca");
    EXPECT_EQ(execution->language, "python");
    EXPECT_EQ(execution->source.code, "x");
    EXPECT_EQ(execution->source.entry, schema::EntryKind::kFunction);
    EXPECT_EQ(execution->limits.wall, test.wall);
    EXPECT_GE(execution->limits.cpu, test.wall);
    EXPECT_EQ(execution->delivery, test.delivery);
    EXPECT_EQ(execution->priority,
              waits ? schema::Priority::kInteractive : schema::Priority::kBackground);
    EXPECT_EQ(execution->webhook_url, test.webhook_url);
    EXPECT_EQ(execution->client_reference, test.reference);
  }
}

TEST_F(NcaHttpTest, FailuresHaveTheirStatus) {
  Start();
  broker_.set_runner([](FakeBroker& broker, const queue::Message& message) {
    schema::Outcome outcome = Returned("null");
    outcome.reason = schema::Reason::kWallTimeout;
    outcome.exit_code.reset();
    if (message.execution->source.code == "raise") {
      outcome.reason = schema::Reason::kExited;
      outcome.exit_code = 1;
      outcome.stderr_text = "Error: why\nTraceback\n";
    }
    broker.SendReply({message.id, message.execution->reply_to, outcome});
  });
  const HttpAnswer raised = Post(kExecute, R"({"code":"raise"})");
  EXPECT_EQ(raised.status, 400);
  EXPECT_EQ(json::parse(raised.body)["error"], "Error: why\nTraceback\n");
  EXPECT_EQ(json::parse(raised.body)["message"]["exit_code"], 1);
  const HttpAnswer timeout = Post(kExecute, R"({"code":"sleep","timeout":1})");
  EXPECT_EQ(timeout.status, 408);
  EXPECT_EQ(json::parse(timeout.body)["message"],
            (json{{"error", "Execution timed out after 1 seconds"}}));
}

TEST_F(NcaHttpTest, StderrIsAnErrorUnlessSwitchedOff) {
  const auto warns = [](FakeBroker& broker, const queue::Message& message) {
    schema::Outcome outcome = Returned("1");
    outcome.stderr_text = "UserWarning\n";
    broker.SendReply({message.id, message.execution->reply_to, outcome});
  };
  Start();
  broker_.set_runner(warns);
  EXPECT_EQ(Post(kExecute, R"({"code":"warn"})").status, 400);
  NcaDialect::Options options;
  options.stderr_is_error = false;
  Start(options);
  broker_.set_runner(warns);
  EXPECT_EQ(Post(kExecute, R"({"code":"warn"})").status, 200);
}

TEST_F(NcaHttpTest, AFullQueueAndAnAbsentStoreSayComeBackLater) {
  Start();
  store_.away = true;
  const HttpAnswer away = Post(kExecute, R"({"code":"x","id":"i"})");
  EXPECT_EQ(away.status, 503);
  EXPECT_EQ(away.Header("Retry-After"), "1");
  const json body = json::parse(away.body);
  EXPECT_EQ(body["message"]["error"], "database is away");
  EXPECT_EQ(body["error"], "database is away");
  EXPECT_EQ(body["id"], "i");
  EXPECT_EQ(Post(kExecute, R"({"code":"x","webhook_url":""})").status, 503);
  store_.away = false;
  broker_.set_depth(queue::Depth{.waiting = 10, .limit = 10});
  const HttpAnswer full = Post(kExecute, R"({"code":"x"})");
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.Header("Retry-After"), "1");
  broker_.set_depth(queue::Depth{});
  python_.ready = false;
  python_.reason = "no interpreter";
  clock_.Advance(seconds(2));  // the catalog looks again
  const HttpAnswer none = Post(kExecute, R"({"code":"x"})");
  EXPECT_EQ(none.status, 503);
  EXPECT_EQ(json::parse(none.body)["error"],
            "Execution failed: python is not available: no interpreter");
}

TEST_F(NcaHttpTest, TheServersDefaultIsolationHoldsHere) {
  isolation_ = IsolationChoice::kVm;
  vm_.emplace();
  vm_->status.state = sandbox::vm::VmState::kReady;
  vm_->languages = {python_};
  python_.ready = false;  // of processes, which nobody asks for
  Start();
  const HttpAnswer answer = Post(kExecute, R"({"code":"x"})");
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(LastPublished()->isolation, schema::Isolation::kVm);
  vm_->most_memory_bytes = 1;
  clock_.Advance(seconds(2));
  const HttpAnswer small = Post(kExecute, R"({"code":"x"})");
  EXPECT_EQ(small.status, 500) << small.body;
  EXPECT_EQ(small.Header("Retry-After"), "") << "asked again, it is the same";
  vm_->status.state = sandbox::vm::VmState::kFailed;
  vm_->status.reason = "its image is damaged";
  clock_.Advance(seconds(2));
  const HttpAnswer failed = Post(kExecute, R"({"code":"x"})");
  EXPECT_EQ(failed.status, 503);
  EXPECT_EQ(json::parse(failed.body)["error"],
            "Execution failed: no virtual machine can be had: its image is damaged");
}

TEST_F(NcaHttpTest, AClientThatLeavesTakesItsExecutionWithIt) {
  Start();
  broker_.set_runner(nullptr);
  {
    const auto connection = SendRequest(server_->port(), {"POST",
                                                          kExecute,
                                                          {{"Content-Type", "application/json"}},
                                                          R"({"code":"while True: pass"})"});
    broker_.AwaitPublished(1);
  }
  broker_.AwaitCancelled(1);
  EXPECT_EQ(broker_.cancelled()[0], broker_.published()[0].id);
}

// ------------------------------------------------------------------ rejections

TEST_F(NcaHttpTest, RejectionsComeInTheOrderOfTheReference) {
  Start({}, {Key("the-key")});
  const std::string good = R"({"code":"x"})";
  const http::Fields key{{"X-API-Key", "the-key"}};
  const struct {
    const char* body;
    http::Fields headers;
    int status;
    std::string message;
  } cases[] = {
      {"{", {}, 401, "Unauthorized"},
      {"", {{"x-api-key", "wrong"}}, 401, "Unauthorized"},
      {"{", key, 400, "Bad Request: "},
      {"", key, 400, "Bad Request: "},
      {"{}", key, 400, "Missing JSON in request"},
      {R"({"timeout":5})", key, 400, "Invalid payload: 'code' is a required property"},
      {R"({"code":"x","timeout":0})", key, 400, "Invalid payload: 0 is less than the minimum of 1"},
      {R"({"code":"x","webhook_url":"not a url"})", key, 400, "Invalid payload: webhook_url: "},
      {R"({"code":"x","webhook_url":"ftp://example.com/"})", key, 400, "Invalid payload: webhook"},
      {R"({"code":"x","webhook_url":"http://127.0.0.1:1/"})", key, 400, "Invalid payload: webhook"},
      {R"({"code":"x","id":"\u0000"})", key, 400, "Invalid payload: 'id' contains a NUL"},
  };
  for (const auto& test : cases) {
    const HttpAnswer answer = Post(kExecute, test.body, test.headers);
    EXPECT_EQ(answer.status, test.status) << test.body;
    EXPECT_EQ(answer.Header("Content-Type"), "application/json");
    const json body = json::parse(answer.body);
    EXPECT_EQ(body.size(), 1U) << answer.body;
    EXPECT_THAT(body["message"].get<std::string>(), StartsWith(test.message));
  }
  const HttpAnswer type =
      Fetch(server_->port(),
            {"POST", kExecute, {{"Content-Type", "text/plain"}, {"x-api-key", "the-key"}}, good});
  EXPECT_EQ(type.status, 415);
  EXPECT_TRUE(broker_.published().empty());

  EXPECT_EQ(Post(kExecute, good, key).status, 200);
  EXPECT_EQ(LastPublished()->owner.str(), KeyDigest::Of("the-key").ShortId());
  EXPECT_EQ(Post(kExecute, good, {{"Authorization", "Bearer the-key"}}).status, 200);
}

TEST_F(NcaHttpTest, TheRateLimitHasAMessage) {
  Start({}, {Key("zb_demo_abcdefgh")});
  const http::Fields key{{"x-api-key", "zb_demo_abcdefgh"}};
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Post(kExecute, R"({"code":""})", key).status, 200);
  const HttpAnswer limited = Post(kExecute, R"({"code":""})", key);
  EXPECT_EQ(limited.status, 429);
  EXPECT_THAT(json::parse(limited.body)["message"].get<std::string>(), StartsWith("Rate limit"));
  EXPECT_NE(limited.Header("Retry-After"), "");
  EXPECT_NE(limited.Header("X-RateLimit-Limit"), "");
}

TEST_F(NcaHttpTest, ADemoKeyDoesNotListWhatOthersRun) {
  Start({}, {Key("zb_demo_abcdefgh")});
  const http::Fields key{{"x-api-key", "zb_demo_abcdefgh"}};
  const json accepted = json::parse(Post(kExecute, R"({"code":"x","webhook_url":""})", key).body);
  const HttpAnswer listed = Post(kJobsStatus, "{}", key);
  EXPECT_EQ(listed.status, 403);
  EXPECT_EQ(json::parse(listed.body)["message"],
            "demo keys are shared by everybody: they cannot list jobs");
  StatusOf(accepted["job_id"], 200, key);
}

TEST_F(NcaHttpTest, CodeHasASize) {
  Start();
  const std::string mebibyte(1 << 20, 'x');
  EXPECT_EQ(Post(kExecute, R"({"code":")" + mebibyte + R"("})").status, 200);
  const HttpAnswer larger = Post(kExecute, R"({"code":"x)" + mebibyte + R"("})");
  EXPECT_EQ(larger.status, 413);
  EXPECT_EQ(json::parse(larger.body)["message"],
            "Invalid payload: 'code' is longer than 1048576 bytes");
  EXPECT_EQ(Post(kExecute, R"({"code":")" + mebibyte + mebibyte + R"("})").status, 413);
}

// ------------------------------------------------------------------ queued

TEST_F(NcaHttpTest, AQueuedJobIsAcceptedAndAskedFor) {
  NcaDialect::Options options;
  options.max_queue_length = 5;
  Start(options);
  broker_.set_depth(queue::Depth{.waiting = 1});
  const HttpAnswer accepted = Post(kExecute, R"({"code":"x","webhook_url":"","id":"w0"})");
  EXPECT_EQ(accepted.status, 202);
  const json body = json::parse(accepted.body);
  EXPECT_EQ(body.size(), 9U) << accepted.body;
  EXPECT_EQ(body["message"], "processing");
  EXPECT_EQ(body["max_queue_length"], 5);
  EXPECT_EQ(body["queue_length"], 1);
  EXPECT_EQ(body["id"], "w0");
  const std::string job = body["job_id"];
  ASSERT_TRUE(store_.Has(ExecutionId(job))) << "durable before it is accepted";

  const json queued = StatusOf(job, 200);
  EXPECT_EQ(queued.size(), 13U);
  EXPECT_EQ(queued["endpoint"], kJobStatus);
  EXPECT_NE(queued["job_id"], job);
  EXPECT_EQ(queued["response"], (json{{"job_status", "queued"},
                                      {"job_id", job},
                                      {"queue_id", body["queue_id"]},
                                      {"process_id", ::getpid()},
                                      {"response", nullptr}}));

  ASSERT_TRUE(store_.Finish(ExecutionId(job), Returned("[1]", "out"), clock_.UnixMillis() + 40));
  const json done = StatusOf(job, 200)["response"];
  EXPECT_EQ(done["job_status"], "done");
  EXPECT_EQ(done["response"]["code"], 200);
  EXPECT_EQ(done["response"]["job_id"], job);
  EXPECT_EQ(done["response"]["id"], "w0");
  EXPECT_EQ(done["response"]["response"]["result"], json::parse("[1]"));
  EXPECT_EQ(done["response"]["total_time"], 0.04);

  EXPECT_EQ(json::parse(Post(kExecute, R"({"code":"x","webhook_url":""})").body)["id"], nullptr);
}

TEST_F(NcaHttpTest, ARefusedJobSaysSoAndIsRemembered) {
  NcaDialect::Options options;
  options.max_queue_length = 2;
  Start(options, {Key("mine"), Key("other")});
  const http::Fields key{{"x-api-key", "mine"}};
  broker_.set_depth(queue::Depth{.waiting = 2});
  const HttpAnswer refused = Post(kExecute, R"({"code":"x","webhook_url":"","id":"w3"})", key);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.Header("Retry-After"), "1");
  const json body = json::parse(refused.body);
  EXPECT_EQ(body.size(), 8U) << refused.body;
  EXPECT_EQ(body["message"], "MAX_QUEUE_LENGTH (2) reached");
  EXPECT_EQ(body["queue_length"], 2);
  EXPECT_EQ(body["id"], "w3");
  EXPECT_TRUE(broker_.published().empty());
  EXPECT_EQ(store_.rows(), 0U);
  EXPECT_EQ(Post(kExecute, R"({"code":"x"})", key).status, 200) << "who waits is not counted";

  const json record = StatusOf(body["job_id"], 200, key)["response"];
  EXPECT_EQ(record["job_status"], "done");
  EXPECT_EQ(record["response"], body);
  StatusOf(body["job_id"], 404, {{"x-api-key", "other"}});
}

TEST_F(NcaHttpTest, TheLanesOwnLimitSpeaksForItself) {
  Start();
  broker_.set_depth(queue::Depth{.waiting = 9, .limit = 9});
  const HttpAnswer refused = Post(kExecute, R"({"code":"x","webhook_url":""})");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(json::parse(refused.body)["message"], "queue is full: 9 executions waiting, limit 9");
}

// ------------------------------------------------------------------ the toolkit

TEST_F(NcaHttpTest, JobsAreTheirOwnersAndThisDialectsOnly) {
  Start({}, {Key("mine"), Key("other")});
  const http::Fields mine{{"x-api-key", "mine"}};
  const http::Fields other{{"x-api-key", "other"}};
  const std::string job =
      json::parse(Post(kExecute, R"({"code":"x","webhook_url":""})", mine).body)["job_id"];
  StatusOf(job, 200, mine);
  const json hidden = StatusOf(job, 404, other);
  EXPECT_EQ(hidden["code"], 404);
  EXPECT_EQ(hidden["response"], nullptr);
  EXPECT_EQ(hidden["message"], (json{{"error", "Job not found"}, {"job_id", job}}));
  EXPECT_EQ(hidden["error"], "Job not found");
  for (const char* unknown : {"", "nope", "../../etc/passwd", "\xC3\xA9", "%00"}) {
    StatusOf(unknown, 404, mine);
  }
  // Of another dialect.
  broker_.set_runner([](FakeBroker& broker, const queue::Message& message) {
    broker.SendReply({message.id, message.execution->reply_to, Returned("1")});
  });
  const HttpAnswer exec = Post("/v1/exec", R"({"code":"x"})", {{"Authorization", "Bearer mine"}});
  StatusOf(json::parse(exec.body)["id"], 404, mine);

  EXPECT_EQ(Post(kJobStatus, R"({"job_id":"x"})").body, R"({"message":"Unauthorized"})");
  EXPECT_EQ(Post(kJobStatus, "{}", mine).body, R"({"message":"Missing JSON in request"})");
  EXPECT_EQ(Post(kJobStatus, R"({"a":1})", mine).body,
            R"({"message":"Invalid payload: 'job_id' is a required property"})");
  EXPECT_EQ(Post(kJobStatus, R"({"job_id":"x","more":1})", mine).status, 404);

  const json listed = json::parse(Post(kJobsStatus, "{}", other).body);
  EXPECT_FALSE(listed["response"].contains(job));
}

TEST_F(NcaHttpTest, AStoreThatIsAwayIsNoMissingJob) {
  Start();
  store_.away = true;
  EXPECT_EQ(StatusOf("x", 503)["error"], "Failed to retrieve job status: database is away");
  const HttpAnswer listed = Post(kJobsStatus, "{}");
  EXPECT_EQ(listed.status, 503);
  EXPECT_EQ(json::parse(listed.body)["error"], "Failed to retrieve job statuses: database is away");
}

TEST_F(NcaHttpTest, JobsStatusListsWhatChanged) {
  NcaDialect::Options options;
  options.max_queue_length = 1;
  Start(options);
  const auto enqueue = [&] {
    return json::parse(Post(kExecute, R"({"code":"x","webhook_url":""})").body)["job_id"]
        .get<std::string>();
  };
  const std::string old = enqueue();
  clock_.Advance(seconds(1000));
  const std::string queued = enqueue();
  const std::string done = enqueue();
  ASSERT_TRUE(store_.Finish(ExecutionId(done), Returned("1"), clock_.UnixMillis()));
  broker_.set_depth(queue::Depth{.waiting = 1});
  const std::string refused = enqueue();

  const json body = json::parse(Post(kJobsStatus, R"({"since_seconds":10})").body);
  EXPECT_EQ(body["endpoint"], kJobsStatus);
  EXPECT_EQ(body["response"], (json{{queued, "queued"},
                                    {done, "done"},
                                    {refused, "done"},
                                    {body["job_id"].get<std::string>(), "running"}}));
  const auto count = [&](const HttpAnswer& answer) {
    EXPECT_EQ(answer.status, 200) << answer.body;
    return json::parse(answer.body)["response"].size();
  };
  EXPECT_EQ(count(Post(kJobsStatus, R"({"since_seconds":2000.5})")), 5U);
  EXPECT_EQ(count(Post(kJobsStatus, R"({"since_seconds":1e300})")), 5U);
  EXPECT_EQ(count(Post(kJobsStatus, R"({"since_seconds":-1e300})")), 1U);
  EXPECT_EQ(count(Post(kJobsStatus, "{}")), 4U) << "600 seconds";
  EXPECT_EQ(count(Post(kJobsStatus, "")), 4U);
  EXPECT_EQ(count(Fetch(server_->port(), {"POST", kJobsStatus, {}, ""})), 4U);
  EXPECT_EQ(Post(kJobsStatus, R"({"since_seconds":"x"})").body,
            R"({"message":"Invalid payload: 'x' is not of type 'number'"})");
  EXPECT_EQ(Post(kJobsStatus, "{").status, 400);
}

TEST_F(NcaHttpTest, AuthenticateHasAnEnvelopeEitherWay) {
  Start({}, {Key("the-key")});
  for (const char* path : {"/v1/toolkit/authenticate", "/authenticate"}) {
    const HttpAnswer good = Get(path, {{"x-api-key", "the-key"}});
    EXPECT_EQ(good.status, 200);
    json body = json::parse(good.body);
    EXPECT_EQ(body.size(), 13U);
    EXPECT_EQ(body["endpoint"], "/authenticate");
    EXPECT_EQ(body["response"], "Authorized");
    EXPECT_EQ(body["message"], "success");
    const HttpAnswer bad = Get(path, {{"x-api-key", "nope"}});
    EXPECT_EQ(bad.status, 401);
    body = json::parse(bad.body);
    EXPECT_EQ(body.size(), 13U);
    EXPECT_EQ(body["code"], 401);
    EXPECT_EQ(body["response"], nullptr);
    EXPECT_EQ(body["message"], "Unauthorized");
    EXPECT_EQ(Post(path, "{}").status, 405);
  }
}

TEST_F(NcaHttpTest, WithoutKeysEverybodyIsAuthorized) {
  Start();
  EXPECT_EQ(Get("/authenticate").status, 200);
}

TEST_F(NcaHttpTest, ThereIsNoCloudStorage) {
  Start({}, {Key("the-key")});
  EXPECT_EQ(Get("/v1/toolkit/test").status, 401);
  const HttpAnswer answer = Get("/v1/toolkit/test", {{"x-api-key", "the-key"}});
  EXPECT_EQ(answer.status, 500);
  EXPECT_EQ(json::parse(answer.body)["message"], "No cloud storage settings provided.");
  EXPECT_EQ(json::parse(answer.body)["response"], nullptr);
}

TEST_F(NcaHttpTest, UnknownPathsAndWrongMethodsAreMessagesToo) {
  Start();
  const HttpAnswer method = Get(kExecute);
  EXPECT_EQ(method.status, 405);
  EXPECT_TRUE(json::parse(method.body)["message"].is_string()) << method.body;
  const HttpAnswer unknown = Get("/v1/toolkit/nope");
  EXPECT_EQ(unknown.status, 404);
  EXPECT_TRUE(json::parse(unknown.body)["message"].is_string()) << unknown.body;
}

TEST(NcaErrorBodyTest, IsAMessageOnPathsOfThisDialect) {
  const auto body = [](std::string_view path) {
    const auto answer = NcaDialect::ErrorBody(
        {.status = 405, .message = "not that way", .method = "GET", .path = path});
    return answer ? answer->body : "";
  };
  EXPECT_EQ(body(kExecute), R"({"message":"not that way"})");
  EXPECT_EQ(body(kJobStatus), R"({"message":"not that way"})");
  EXPECT_EQ(body("/authenticate"), R"({"message":"not that way"})");
  EXPECT_EQ(body("/v1/exec"), "");
}

}  // namespace
}  // namespace forkbox::api
