// Exec0's dialect over real sockets and the real server; store, queue and runner are fakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <optional>

#include "api/api_server.h"
#include "api/execution_id_text.h"
#include "api/testing_fakes.h"
#include "base/rfc3339.h"
#include "base/uuid.h"
#include "tests/api/http_client.h"

namespace forkbox::api {
namespace {

using forkbox::testing::Fetch;
using forkbox::testing::HttpAnswer;
using nlohmann::json;
using schema::ExecutionId;
using std::chrono::milliseconds;
using testing::FakeBroker;
using testing::FakeStore;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;
using ::testing::StartsWith;

constexpr const char* kExecute = "/api/v1/execute";
constexpr const char* kBatch = "/api/v1/execute/batch";

schema::Outcome Printed(const std::string& text) {
  schema::Outcome outcome;
  outcome.reason = schema::Reason::kExited;
  outcome.exit_code = 0;
  outcome.state = schema::State::kCompleted;
  outcome.stdout_text = text;
  outcome.timings.exec = milliseconds(245);
  outcome.usage.peak_memory_bytes = 8'192 << 10;
  return outcome;
}

// A runner whose programs print their code, and in whose tests everything passes but `wrong`.
void Echo(FakeBroker& broker, const queue::Message& message) {
  const schema::Execution& execution = *message.execution;
  if (execution.delivery != schema::Delivery::kWait) return;
  schema::Outcome outcome = Printed(execution.source.code);
  for (const auto& one : execution.source.cases) {
    schema::CaseOutcome result;
    const bool right = one.expected_output != "wrong";
    result.verdict = right ? schema::Verdict::kPassed : schema::Verdict::kWrongOutput;
    result.reason = schema::Reason::kExited;
    result.exit_code = 0;
    result.stdout_text = one.stdin_data;
    outcome.cases.push_back(std::move(result));
  }
  broker.SendReply({message.id, execution.reply_to, std::move(outcome)});
}

class Exec0HttpTest : public ::testing::Test {
 protected:
  static sandbox::LanguageStatus Language(const char* id, std::vector<std::string> aliases,
                                          const char* file, const char* extension) {
    sandbox::LanguageStatus language;
    language.id = id;
    language.aliases = std::move(aliases);
    language.name = id;
    language.version = "1.2.3";
    language.ready = true;
    language.file_name = file;
    language.extensions = {extension};
    return language;
  }

  void Start(const std::vector<std::string>& keys = {}) {
    std::vector<KeyEntry> entries;
    for (const std::string& key : keys) {
      KeyEntry entry;
      entry.digest = KeyDigest::Of(key);
      entries.push_back(std::move(entry));
    }
    authenticator_.emplace(std::move(entries));
    ApiServer::Options options;
    options.store_probe.interval = milliseconds(5);
    options.isolation = isolation_;
    options.isolation_floor = floor_;
    server_ = std::make_unique<ApiServer>(
        std::move(options), ApiServer::Parts{.service = service_,
                                             .store = database_,
                                             .broker = broker_,
                                             .authenticator = *authenticator_,
                                             .metrics = metrics_,
                                             .clock = clock_,
                                             .address_guard = address_guard_,
                                             .languages = [this] { return languages_; },
                                             .pool_stats = nullptr,
                                             .log = Log::Null(),
                                             .vm = [this] { return vm_; }});
    const Result<void> started = server_->Start();
    ASSERT_TRUE(started) << started.error().message;
    broker_.set_runner(Echo);
  }

  // The answer with its body read.
  struct Answer {
    int status = 0;
    json body;
    HttpAnswer raw;
  };
  Answer Send(const std::string& method, const std::string& path, const std::string& body,
              http::Fields more = {}) {
    if (method == "POST") more.emplace_back("Content-Type", "application/json");
    Answer answer;
    answer.raw = Fetch(server_->port(), {method, path, std::move(more), body});
    answer.status = answer.raw.status;
    answer.body = json::parse(answer.raw.body, nullptr, false);
    return answer;
  }
  Answer Post(const std::string& path, const json& body, http::Fields more = {}) {
    return Send("POST", path, body.dump(), std::move(more));
  }
  Answer Get(const std::string& path, http::Fields more = {}) {
    return Send("GET", path, "", std::move(more));
  }
  static json Program(json more = json::object()) {
    json program{{"language", "javascript"}, {"code", "console.log(1)"}};
    program.update(more);
    return program;
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
  LanguageCatalog::Languages languages_ = [] {
    auto go = Language("go", {"golang"}, "main.go", ".go");
    go.ready = false;
    go.version = "";
    go.reason = "golang-1.21-go is not installed";
    return LanguageCatalog::Languages{Language("python", {"py", "python3"}, "main.py", ".py"),
                                      Language("javascript", {"js", "node"}, "main.js", ".js"),
                                      std::move(go)};
  }();
  // Virtual machines, turned off.
  std::optional<runner::VmService> vm_;
  IsolationChoice isolation_ = IsolationChoice::kProcess;
  schema::Isolation floor_ = schema::Isolation::kProcess;
  static runner::VmService Machines(sandbox::vm::VmState state, const char* accelerator) {
    runner::VmService vm;
    vm.status = {.state = state,
                 .accelerator = accelerator,
                 .design = "live",
                 .reason = state == sandbox::vm::VmState::kFailed ? "run `forkbox vm build`" : "",
                 .kvm = "no device",
                 .image = "0123",
                 .ram_bytes = 2ULL << 30,
                 .templates_booted = 1};
    vm.languages = {Language("python", {"py", "python3"}, "main.py", ".py"),
                    Language("go", {"golang"}, "main.go", ".go")};
    vm.most_memory_bytes = 1'024ULL << 20;
    vm.machines_ready = 2;
    return vm;
  }
  std::optional<Authenticator> authenticator_;
  ExecutionService service_{{}, store_, broker_, metrics_, clock_, Log::Null()};
  std::unique_ptr<ApiServer> server_;
};

// ------------------------------------------------------------------ one call

TEST_F(Exec0HttpTest, AProgramRunsAndTheAnswerIsTheSpecifications) {
  Start();
  const Answer answer =
      Post(kExecute, {{"language", "js"},
                      {"code", "console.log('é')"},
                      {"stdin", "in"},
                      {"timeout", 7.5},
                      {"memoryLimit", 128},
                      {"files", {{{"name", "lib/utils.js"}, {"content", "export const x = 1"}}}},
                      {"resources", "lite"},
                      {"a field", "of tomorrow"}});
  ASSERT_EQ(answer.status, 200) << answer.raw.body;
  EXPECT_THAT(answer.body["id"].get<std::string>(), MatchesRegex("exec_[0-9a-f]{32}"));
  EXPECT_EQ(answer.body["status"], "completed");
  EXPECT_EQ(answer.body["result"]["stdout"], "console.log('é')");
  EXPECT_EQ(answer.body["result"]["stderr"], "");
  EXPECT_EQ(answer.body["result"]["exitCode"], 0);
  EXPECT_EQ(answer.body["result"]["compilationOutput"], "");
  EXPECT_EQ(answer.body["executionTime"], 245);
  EXPECT_EQ(answer.body["memoryUsed"], 8192);
  EXPECT_EQ(answer.body["createdAt"], Rfc3339Millis(clock_.UnixMillis()));
  EXPECT_EQ(answer.body["language"], "javascript");
  EXPECT_EQ(answer.raw.Header("X-RateLimit-Limit"), "") << "no key, no limit";

  const auto run = LastPublished();
  EXPECT_EQ(run->dialect, "exec0");
  EXPECT_EQ(run->language, "javascript");
  EXPECT_EQ(run->source.stdin_data, "in");
  ASSERT_EQ(run->source.files.size(), 1U);
  EXPECT_EQ(run->source.files[0].path, "lib/utils.js");
  EXPECT_EQ(run->limits.wall, milliseconds(7'500)) << "an explicit limit beats the tier";
  EXPECT_EQ(run->limits.memory_bytes, 128U << 20);
  EXPECT_EQ(run->limits.output_bytes, 64U << 10);
  EXPECT_EQ(run->priority, schema::Priority::kInteractive);
}

TEST_F(Exec0HttpTest, WhatIsLeftOutHasItsDefault) {
  Start();
  ASSERT_EQ(Post(kExecute, Program()).status, 200);
  EXPECT_EQ(LastPublished()->limits.wall, milliseconds(30'000));
  EXPECT_EQ(LastPublished()->limits.memory_bytes, 256U << 20);
  ASSERT_EQ(Post(kExecute, Program({{"resources", "max"}})).status, 200);
  EXPECT_EQ(LastPublished()->limits.wall, milliseconds(300'000));
  EXPECT_EQ(LastPublished()->limits.memory_bytes, 2048ULL << 20);
}

TEST_F(Exec0HttpTest, EveryEndingOfAProgramIsA200) {
  using schema::Reason;
  struct Case {
    Reason reason;
    std::optional<int> exit_code, signal;
    const char* status;
    int shown;
  };
  Start();
  for (const Case& c :
       {Case{Reason::kExited, 0, {}, "completed", 0}, Case{Reason::kExited, 3, {}, "error", 3},
        Case{Reason::kSignalled, {}, 11, "error", 139},
        Case{Reason::kWallTimeout, {}, 9, "timeout", 124},
        Case{Reason::kCpuTimeout, {}, 9, "timeout", 124},
        Case{Reason::kOutOfMemory, {}, 9, "error", 137},
        Case{Reason::kCompileFailed, 1, {}, "error", 1},
        Case{Reason::kSandboxFailed, {}, {}, "error", 1}}) {
    broker_.set_runner([&c](FakeBroker& broker, const queue::Message& message) {
      schema::Outcome outcome;
      outcome.reason = c.reason;
      outcome.exit_code = c.exit_code;
      outcome.signal = c.signal;
      outcome.state = schema::StateOf(c.reason, c.exit_code);
      outcome.compile_output = c.reason == Reason::kCompileFailed ? "main.go:1: what?" : "";
      broker.SendReply({message.id, message.execution->reply_to, outcome});
    });
    const Answer answer = Post(kExecute, Program());
    EXPECT_EQ(answer.status, 200) << answer.raw.body;
    EXPECT_EQ(answer.body["status"], c.status) << schema::ToString(c.reason);
    EXPECT_EQ(answer.body["result"]["exitCode"], c.shown) << schema::ToString(c.reason);
    EXPECT_EQ(answer.body["reason"], schema::ToString(c.reason));
  }
}

// ------------------------------------------------------------------ what is wrong with a request

TEST_F(Exec0HttpTest, TheSpecificationsOwnExampleOfAnError) {
  Start();
  const Answer answer = Post(kExecute, Program({{"code", std::string(75 << 10, 'x')}}));
  EXPECT_EQ(answer.status, 400);
  EXPECT_EQ(answer.body,
            (json{{"error", "validation_error"},
                  {"message", "Code size exceeds maximum limit"},
                  {"details", {{"field", "code"}, {"limit", "50KB"}, {"received", "75KB"}}}}));
}

TEST_F(Exec0HttpTest, EveryRuleHasA400ThatNamesFieldLimitAndWhatCame) {
  struct Case {
    json with;
    const char* field;
    json limit;  // null: not looked at
    json received;
  };
  const auto file = [](const std::string& name, const std::string& content = "") {
    return json{{"name", name}, {"content", content}};
  };
  const auto files = [](std::vector<json> all) { return json{{"files", std::move(all)}}; };
  const std::string nul("a\0b", 3);
  const char* const timeout = "a number from 5 to 300";
  const char* const memory = "a number from 64 to 2048";
  std::vector<json> many(101);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = file("f" + std::to_string(i));
  std::vector<json> heaps(6);
  for (std::size_t i = 0; i < heaps.size(); ++i) {
    heaps[i] = file("f" + std::to_string(i), std::string(10 << 20, 'x'));
  }
  std::vector<json> crowd(10'000);
  for (std::size_t i = 0; i < crowd.size(); ++i) crowd[i] = file("f" + std::to_string(i));
  const std::string deep_name = "1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17";
  const json test{{"expectedOutput", "1"}};
  const std::vector<Case> cases{
      {{{"language", 7}}, "language", "a string", 7},
      {{{"language", ""}}, "language", nullptr, "a string of 0 characters"},
      {{{"language", "cobol"}},
       "language",
       "one of: python, javascript, go, py, python3, js, node, golang",
       "a string of 5 characters"},
      {{{"language", "Python"}}, "language", nullptr, "a string of 6 characters"},
      {{{"language", "go"}}, "language", "a language that is available", "go"},
      {{{"code", ""}}, "code", nullptr, "a string of 0 characters"},
      {{{"code", nullptr}}, "code", "a string", nullptr},
      {{{"code", {"a"}}}, "code", "a string", "an array of 1 item"},
      {{{"code", std::string((50 << 10) + 1, 'x')}}, "code", "50KB", "51KB"},
      {{{"stdin", 1}}, "stdin", "a string", 1},
      {{{"stdin", std::string((1 << 20) + 1, 'x')}}, "stdin", "1MB", "2MB"},
      {{{"timeout", 4}}, "timeout", timeout, 4},
      {{{"timeout", 4.999}}, "timeout", timeout, 4.999},
      {{{"timeout", 301}}, "timeout", timeout, 301},
      {{{"timeout", 0}}, "timeout", timeout, 0},
      {{{"timeout", -1}}, "timeout", timeout, -1},
      {{{"timeout", 9007199254740993}}, "timeout", timeout, 9007199254740993},
      {{{"timeout", "30"}}, "timeout", timeout, "a string of 2 characters"},
      {{{"timeout", true}}, "timeout", timeout, true},
      {{{"timeout", nullptr}}, "timeout", timeout, nullptr},
      {{{"memoryLimit", 63}}, "memoryLimit", memory, 63},
      {{{"memoryLimit", 2049}}, "memoryLimit", memory, 2049},
      {{{"memoryLimit", "256"}}, "memoryLimit", memory, "a string of 3 characters"},
      {{{"memoryLimit", 9007199254740993}}, "memoryLimit", memory, 9007199254740993},
      {{{"resources", "huge"}}, "resources", nullptr, "a string of 4 characters"},
      {{{"files", "x"}}, "files", "an array", "a string of 1 character"},
      {{{"files", {1}}}, "files[0]", "an object", 1},
      {{{"files", {{{"name", "a"}}}}}, "files[0].content", nullptr, "nothing"},
      {{{"files", {{{"content", "a"}}}}}, "files[0].name", nullptr, "nothing"},
      {files({file("")}), "files[0].name", nullptr, "a string of 0 characters"},
      {files({file("/etc/passwd")}), "files[0].name", "a relative path", nullptr},
      {files({file("..")}), "files[0].name", "a path without . and .. segments", nullptr},
      {files({file("a/../../b")}), "files[0].name", "a path without . and .. segments", nullptr},
      {files({file("./a")}), "files[0].name", "a path without . and .. segments", nullptr},
      {files({file("a//b")}), "files[0].name", "a path without empty segments", nullptr},
      {files({file("a/")}), "files[0].name", "a path without empty segments", nullptr},
      {files({file(nul)}), "files[0].name", "a name without control characters", nullptr},
      {files({file("a\nb")}), "files[0].name", "a name without control characters", nullptr},
      {files({file(std::string(256, 'n'))}), "files[0].name", "a name of at most 255 bytes",
       nullptr},
      {files({file(deep_name)}), "files[0].name", "a path of at most 16 segments", nullptr},
      {files({file("a"), file("a")}), "files[1].name", "a name of its own", nullptr},
      {files({file("main.js")}), "files[0].name",
       "another name than that of the program's own file", nullptr},
      {files({file("main.js/x")}), "files[0].name", "a path through folders that are no files",
       nullptr},
      {files({file("a"), file("a/b")}), "files[1].name", "a path through folders that are no files",
       nullptr},
      {files({file("a/b"), file("a")}), "files[1].name",
       "another name than that of a folder of other files", nullptr},
      {files(many), "files", nullptr, "an array of 101 items"},
      {files(crowd), "files", nullptr, "an array of 10000 items"},
      {files({file("big", std::string((10 << 20) + 1, 'x'))}), "files[0].content", "10MB", "11MB"},
      {files(heaps), "files", "50MB", "60MB"},
      {{{"args", {1}}}, "args[0]", "a string", 1},
      {{{"args", {nul}}}, "args[0]", "a string without NUL", nullptr},
      {{{"args", std::vector<std::string>(65, "x")}}, "args", nullptr, "an array of 65 items"},
      {{{"env", {{"A B", "x"}}}}, "env", "an object whose names are like A_NAME_1", nullptr},
      {{{"env", {{"A", 1}}}}, "env.A", "a string", 1},
      {{{"env", {{"A", nul}}}}, "env.A", "a string without NUL", nullptr},
      {{{"env", {{"A", std::string(65 << 10, 'x')}}}}, "env", "64KB", "66KB"},
      {{{"async", "yes"}}, "async", "a boolean", "a string of 3 characters"},
      {{{"webhook_url", 1}}, "webhook_url", "a string", 1},
      {{{"webhook_url", "ftp://example.com/"}}, "webhook_url", nullptr, nullptr},
      {{{"webhook_url", "http://127.0.0.1/"}}, "webhook_url", nullptr, nullptr},
      {{{"isolation", "vm"}}, "isolation", "process", "vm"},
      {{{"isolation", "none"}}, "isolation", nullptr, "a string of 4 characters"},
      {{{"tests", json::array()}}, "tests", nullptr, "an array of 0 items"},
      {{{"tests", std::vector<json>(101, test)}}, "tests", nullptr, "an array of 101 items"},
      {{{"tests", {{{"stdin", "1"}}}}}, "tests[0].expectedOutput", nullptr, "nothing"},
      {{{"tests", {test}}, {"stdin", "x"}}, "stdin", "left out beside tests", nullptr},
      {{{"tests", {{{"expectedOutput", std::string((8 << 20) + 1, 'x')}}}}}, "tests", "8MB", "9MB"},
  };
  Start();
  for (const Case& c : cases) {
    const Answer answer = Post(kExecute, Program(c.with));
    const std::string said = answer.raw.body.substr(0, 300);
    EXPECT_EQ(answer.status, 400) << said;
    ASSERT_TRUE(answer.body.is_object()) << said;
    EXPECT_EQ(answer.body["error"], "validation_error") << said;
    EXPECT_FALSE(answer.body["message"].get<std::string>().empty()) << said;
    const json& details = answer.body["details"];
    EXPECT_EQ(details["field"], c.field) << said;
    EXPECT_TRUE(details.contains("limit") && details.contains("received")) << said;
    if (!c.limit.is_null()) {
      EXPECT_EQ(details["limit"], c.limit) << said;
    }
    if (!c.received.is_null()) {
      EXPECT_EQ(details["received"], c.received) << said;
    }
  }
  EXPECT_TRUE(broker_.published().empty()) << "nothing of this ran";
}

TEST_F(Exec0HttpTest, WhatJsonDoesNotKnowIsNoRequest) {
  Start();
  const std::string deep = std::string(100, '[') + std::string(100, ']');
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("null, 1"), std::string("\xFF"),
        std::string(R"({"language":"js","code":"1","timeout":NaN})"),
        std::string(R"({"language":"js","code":"1","timeout":1e400})"),
        std::string(R"({"language":"js","code":"1","timeout":Infinity})"),
        std::string(R"({"language":"js","code":"1","timeout":010})"),
        std::string(R"({"language":"js","code":"\ud800"})"),
        std::string(R"({"language":"js","code":"\udc00\ud800"})"),
        std::string("{\"language\":\"js\",\"code\":\"\xC0\x80\"}"),
        R"({"language":"js","code":"1","x":)" + deep + "}"}) {
    const Answer answer = Send("POST", kExecute, body);
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_EQ(answer.body["error"], "validation_error") << body;
    EXPECT_THAT(answer.body["message"].get<std::string>(),
                StartsWith("Malformed JSON in request body"));
    EXPECT_EQ(answer.body["details"]["field"], "body");
  }
  // A zero of either sign is a number, and no time.
  const Answer zero = Send("POST", kExecute, R"({"language":"js","code":"1","timeout":-0})");
  EXPECT_EQ(zero.status, 400);
  EXPECT_EQ(zero.body["details"]["field"], "timeout");
  for (const char* body : {"[]", "1", "\"x\"", "null"}) {
    EXPECT_EQ(Send("POST", kExecute, body).status, 400) << body;
  }
  const HttpAnswer plain = Fetch(server_->port(), {"POST", kExecute, {}, Program().dump()});
  EXPECT_EQ(plain.status, 415) << "a page of another site must not be able to send this unasked";
}

TEST_F(Exec0HttpTest, FiftyMegabytesOfFilesAreTaken) {
  Start();
  std::vector<json> files;
  for (int i = 0; i < 5; ++i) {
    files.push_back({{"name", "f" + std::to_string(i)}, {"content", std::string(10 << 20, 'x')}});
  }
  const Answer answer = Post(kExecute, Program({{"files", files}}));
  EXPECT_EQ(answer.status, 200) << answer.raw.body.substr(0, 300);
  EXPECT_EQ(LastPublished()->source.files.size(), 5U);
}

// ------------------------------------------------------------------ tests of a program

TEST_F(Exec0HttpTest, EveryTestHasItsVerdict) {
  Start();
  const Answer answer = Post(
      kExecute,
      Program(
          {{"tests", {{{"stdin", "1"}, {"expectedOutput", "1"}}, {{"expectedOutput", "wrong"}}}}}));
  ASSERT_EQ(answer.status, 200) << answer.raw.body;
  ASSERT_EQ(answer.body["tests"].size(), 2U);
  EXPECT_EQ(answer.body["tests"][0]["verdict"], "passed");
  EXPECT_EQ(answer.body["tests"][0]["stdout"], "1");
  EXPECT_EQ(answer.body["tests"][0]["exitCode"], 0);
  EXPECT_EQ(answer.body["tests"][1]["verdict"], "wrong_output");
  EXPECT_EQ(answer.body["summary"], (json{{"passed", 1}, {"total", 2}}));
}

// ------------------------------------------------------------------ queued

TEST_F(Exec0HttpTest, AQueuedOneIsAcceptedAndPolled) {
  Start();
  const Answer accepted = Post(kExecute, Program({{"async", true}}));
  ASSERT_EQ(accepted.status, 202) << accepted.raw.body;
  EXPECT_EQ(accepted.body["status"], "running") << "not finished, in the contract's four words";
  EXPECT_EQ(accepted.body["state"], "queued");
  for (const char* status : {"running", "queued"}) {
    EXPECT_EQ(Get(std::string("/api/v1/executions?status=") + status).body["total"], 1);
  }
  const std::string id = accepted.body["id"];
  EXPECT_EQ(accepted.raw.Header("Location"), "/api/v1/executions/" + id);
  EXPECT_EQ(LastPublished()->priority, schema::Priority::kBackground);
  EXPECT_EQ(LastPublished()->delivery, schema::Delivery::kPoll);

  const ExecutionId row = LastPublished()->id;
  ASSERT_TRUE(store_.Finish(row, Printed("later"), clock_.UnixMillis()));
  for (const std::string& path :
       {"/api/v1/executions/" + id, "/executions/" + id, "/api/v1/executions/" + row.str()}) {
    const Answer answer = Get(path);
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_EQ(answer.body["id"], id) << "one id, whichever form was asked for";
    EXPECT_EQ(answer.body["result"]["stdout"], "later");
  }
  EXPECT_EQ(Get("/api/v1/executions/exec_00000000000000000000000000000000").status, 404);
  EXPECT_EQ(Get("/api/v1/executions/exec_").body["error"], "not_found");
}

TEST_F(Exec0HttpTest, AWebhookMakesItQueued) {
  Start();
  const Answer accepted = Post(kExecute, Program({{"webhook_url", "https://example.com/hook"}}));
  EXPECT_EQ(accepted.status, 202) << accepted.raw.body;
  EXPECT_EQ(LastPublished()->delivery, schema::Delivery::kWebhook);
  EXPECT_EQ(LastPublished()->webhook_url, "https://example.com/hook");
}

// ------------------------------------------------------------------ limits of the account

TEST_F(Exec0HttpTest, EveryAnswerToAKeySaysWhatIsLeftOfTheMinute) {
  Start({"exec0_one"});
  const http::Fields key{{"Authorization", "Bearer exec0_one"}};
  for (const json& program : {Program(), Program({{"timeout", 1}})}) {
    const Answer answer = Post(kExecute, program, key);
    EXPECT_EQ(answer.raw.Header("X-RateLimit-Limit"), "100") << answer.raw.body;
    EXPECT_NE(answer.raw.Header("X-RateLimit-Remaining"), "");
    EXPECT_GT(std::stoll(answer.raw.Header("X-RateLimit-Reset")), clock_.UnixMillis());
  }
  EXPECT_EQ(store_.last_terms().per_minute, 100U);
  EXPECT_EQ(store_.last_terms().concurrency, 20U);
  EXPECT_EQ(Post(kExecute, Program()).status, 401);
  EXPECT_EQ(Post(kExecute, Program(), {{"Authorization", "Bearer exec0_two"}}).status, 401);
}

TEST_F(Exec0HttpTest, A429SaysWhichLimitWasMetAndWhenToComeBack) {
  using store::AcceptVerdict;
  struct Case {
    AcceptVerdict verdict;
    const char* reason;
    std::int64_t retry_after;
  };
  Start({"exec0_one"});
  const http::Fields key{{"Authorization", "Bearer exec0_one"}};
  for (const bool queued : {false, true}) {
    for (const Case& c : {Case{AcceptVerdict::kTooManyAtOnce, "concurrency", 1},
                          Case{AcceptVerdict::kQuotaSpent, "quota", 3'600},
                          Case{AcceptVerdict::kRateLimited, "rate", 42}}) {
      store::Acceptance refusal;
      refusal.verdict = c.verdict;
      refusal.used_this_minute = 100;
      refusal.unfinished = 20;
      refusal.minute_ends_unix_ms = clock_.UnixMillis() + 42'000;
      refusal.month_ends_unix_ms = clock_.UnixMillis() + 3'600'000;
      store_.set_refusal(refusal);
      const Answer answer = Post(kExecute, Program({{"async", queued}}), key);
      EXPECT_EQ(answer.status, 429) << answer.raw.body;
      EXPECT_EQ(answer.body["error"], "rate_limit_exceeded");
      EXPECT_EQ(answer.body["details"]["reason"], c.reason) << answer.raw.body;
      EXPECT_EQ(answer.raw.Header("Retry-After"), std::to_string(c.retry_after));
      EXPECT_EQ(answer.raw.Header("X-RateLimit-Remaining"), "0");
      clock_.Advance(std::chrono::hours(2));  // what this process has seen is over
    }
  }
  store_.set_refusal(std::nullopt);
  broker_.set_depth({.waiting = 5, .limit = 5});
  const Answer full = Post(kExecute, Program(), key);
  EXPECT_EQ(full.status, 429);
  EXPECT_EQ(full.body["details"], (json{{"reason", "queue"}, {"limit", 5}, {"used", 5}}));
  EXPECT_EQ(full.raw.Header("Retry-After"), "1");
}

// ------------------------------------------------------------------ idempotency

TEST_F(Exec0HttpTest, ARepeatedRequestGetsTheFirstOnesResult) {
  Start();
  const http::Fields key{{"Idempotency-Key", "order 7"}};
  const Answer first = Post(kExecute, Program(), key);
  ASSERT_EQ(first.status, 200) << first.raw.body;
  const std::string digest = store_.last_terms().request_digest;
  EXPECT_EQ(digest.size(), 64U);
  const ExecutionId id = LastPublished()->id;
  EXPECT_EQ(LastPublished()->idempotency_key, "order 7");

  store::Acceptance repeated;
  repeated.verdict = store::AcceptVerdict::kRepeated;
  repeated.id = id;
  store_.set_refusal(repeated);
  std::thread runner([&] {
    std::this_thread::sleep_for(milliseconds(50));
    EXPECT_TRUE(store_.Finish(id, Printed("once"), clock_.UnixMillis()));
  });
  // The order of members, blanks and an alias make no other request of it.
  const Answer again =
      Send("POST", kExecute, R"body( {"code":"console.log(1)", "language":"node"} )body", key);
  runner.join();
  EXPECT_EQ(again.status, 200) << again.raw.body;
  EXPECT_EQ(again.body["id"], Exec0Id(id));
  EXPECT_EQ(again.body["result"]["stdout"], "once");
  EXPECT_EQ(again.raw.Header("Idempotency-Replayed"), "true");
  EXPECT_EQ(store_.last_terms().request_digest, digest);
  EXPECT_EQ(broker_.published().size(), 1U) << "it ran once";

  store::Acceptance other;
  other.verdict = store::AcceptVerdict::kOtherRequest;
  store_.set_refusal(other);
  const Answer refused = Post(kExecute, Program({{"stdin", "other"}}), key);
  EXPECT_EQ(refused.status, 409) << refused.raw.body;
  EXPECT_EQ(refused.body["error"], "conflict");
  EXPECT_NE(store_.last_terms().request_digest, digest);
}

TEST_F(Exec0HttpTest, ARepetitionOfWhatTheQueueRefusedIsRefusedToo) {
  Start();
  const http::Fields key{{"Idempotency-Key", "order 8"}};
  struct Case {
    bool queued;
    Error error;
    int status;
  };
  for (const Case& c : {Case{false, {ErrorCode::kQueueFull, "the lane is full"}, 429},
                        Case{false, {ErrorCode::kUnavailable, "the broker is away"}, 503},
                        Case{true, {ErrorCode::kQueueFull, "the lane is full"}, 429}}) {
    store_.set_refusal(std::nullopt);
    broker_.set_refusal(c.error);
    const json program = Program({{"async", c.queued}});
    EXPECT_EQ(Post(kExecute, program, key).status, c.status);
    // Another request came in between and was told that it is a repetition.
    store::HistoryQuery all;
    all.limit = 100;
    store::Acceptance repeated;
    repeated.verdict = store::AcceptVerdict::kRepeated;
    repeated.id = store_.ListHistory(all)->records.front().execution.id;
    store_.set_refusal(repeated);
    broker_.set_refusal(std::nullopt);
    const Answer again = Post(kExecute, program, key);
    EXPECT_EQ(again.status, c.status) << again.raw.body;
    EXPECT_EQ(again.raw.Header("Retry-After"), "1");
    if (c.status == 429) {
      EXPECT_EQ(again.body["details"]["reason"], "queue");
    }
  }
}

TEST_F(Exec0HttpTest, CallsAreMeteredWhateverBecomesOfThem) {
  Start({"exec0_one"});
  const http::Fields key{{"Authorization", "Bearer exec0_one"}};
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(Post(kExecute, json::object(), key).status, 400) << i;
  }
  for (const char* path : {kExecute, kBatch}) {
    const Answer answer = Post(path, Program(), key);
    EXPECT_EQ(answer.status, 429) << answer.raw.body;
    EXPECT_EQ(answer.body["details"], (json{{"reason", "rate"}, {"limit", 100}}));
    EXPECT_EQ(answer.raw.Header("Retry-After"), "1");
  }
  clock_.Advance(milliseconds(10));
  EXPECT_EQ(Post(kExecute, Program(), key).status, 200);
}

TEST_F(Exec0HttpTest, ADemoKeyShowsNobodyWhatOthersDo) {
  Start({"zb_demo_all"});
  const http::Fields key{{"Authorization", "Bearer zb_demo_all"}};
  const Answer ran = Post(kExecute, Program(), key);
  ASSERT_EQ(ran.status, 200) << ran.raw.body;
  const std::string path = "/api/v1/executions/" + ran.body["id"].get<std::string>();
  EXPECT_EQ(Get(path, key).status, 200) << "who knows its id may read it";
  const Answer list = Get("/api/v1/executions", key);
  EXPECT_EQ(list.status, 403) << list.raw.body;
  EXPECT_EQ(list.body["error"], "forbidden");
  EXPECT_EQ(Send("DELETE", path, "", key).status, 403);
  http::Fields with_idempotency = key;
  with_idempotency.emplace_back("Idempotency-Key", "1");
  const Answer repeatable = Post(kExecute, Program(), with_idempotency);
  EXPECT_EQ(repeatable.status, 403) << repeatable.raw.body;
  EXPECT_EQ(repeatable.body["details"]["field"], "Idempotency-Key");
}

TEST_F(Exec0HttpTest, ABatchTakesOneTokenOfADemoKeyForEachItem) {
  Start({"zb_demo_all"});
  const std::vector<json> items(12, Program());
  const Answer answer =
      Post(kBatch, {{"executions", items}}, {{"Authorization", "Bearer zb_demo_all"}});
  ASSERT_EQ(answer.status, 200) << answer.raw.body;
  for (std::size_t i = 0; i < items.size(); ++i) {
    const json& result = answer.body["results"][i];
    if (i < 10) {
      EXPECT_EQ(result["result"]["stdout"], "console.log(1)") << i;
    } else {
      EXPECT_EQ(result["error"], "rate_limit_exceeded") << i;
    }
  }
}

TEST_F(Exec0HttpTest, OnlyWhoHasAKeyMaySendMuch) {
  Start({"exec0_one"});
  const std::string much(2U << 20, ' ');
  const auto send = [&](const http::Fields& fields) {
    return Send("POST", kExecute, much + Program().dump(), fields);
  };
  EXPECT_EQ(send({{"x-api-key", "exec0_one"}}).status, 200);
  for (const http::Fields& fields :
       {http::Fields{}, http::Fields{{"x-api-key", "exec0_two"}},
        http::Fields{{"Authorization", "Bearer exec0_01234567890123456789012345678901"}}}) {
    const Answer answer = send(fields);
    EXPECT_EQ(answer.status, 413) << answer.raw.body;
    EXPECT_EQ(answer.body["details"], (json{{"field", "body"}, {"limit", "64MB"}}));
    EXPECT_THAT(answer.body["message"].get<std::string>(), HasSubstr("without a known API key"));
  }
}

TEST_F(Exec0HttpTest, AnIdempotencyKeyIsShortAndPrintable) {
  Start();
  for (const std::string& key : {std::string(), std::string(256, 'k'), std::string("k\xC3\xA9")}) {
    const Answer answer = Post(kExecute, Program(), {{"Idempotency-Key", key}});
    EXPECT_EQ(answer.status, 400) << key;
    EXPECT_EQ(answer.body["details"]["field"], "Idempotency-Key");
  }
  EXPECT_EQ(Post(kExecute, Program(), {{"Idempotency-Key", std::string(255, 'k')}}).status, 200);
}

// ------------------------------------------------------------------ batch

TEST_F(Exec0HttpTest, ABatchAnswersInOrderAndRefusesItemByItem) {
  Start();
  const Answer answer = Post(
      kBatch,
      {{"executions",
        {Program({{"code", "one"}}), Program({{"timeout", 1}}), 7, Program({{"code", "four"}})}}});
  ASSERT_EQ(answer.status, 200) << answer.raw.body;
  const json& results = answer.body["results"];
  ASSERT_EQ(results.size(), 4U);
  EXPECT_EQ(results[0]["result"]["stdout"], "one");
  EXPECT_EQ(results[1]["error"], "validation_error");
  EXPECT_EQ(results[1]["details"]["field"], "executions[1].timeout") << results[1].dump();
  EXPECT_EQ(results[2]["error"], "validation_error");
  EXPECT_EQ(results[3]["result"]["stdout"], "four");
}

TEST_F(Exec0HttpTest, ABatchWaitsForRoomInItsAccount) {
  Start({"exec0_one"});
  const http::Fields key{{"Authorization", "Bearer exec0_one"}};
  std::vector<json> items;
  for (int i = 0; i < 50; ++i) items.push_back(Program({{"code", std::to_string(i)}}));
  // Others of the account run, and end after a while.
  store::Acceptance full;
  full.verdict = store::AcceptVerdict::kTooManyAtOnce;
  full.unfinished = 20;
  store_.set_refusal(full);
  std::thread others([&] {
    std::this_thread::sleep_for(milliseconds(400));
    store_.set_refusal(std::nullopt);
  });
  const Answer answer = Post(kBatch, {{"executions", items}}, key);
  others.join();
  ASSERT_EQ(answer.status, 200) << answer.raw.body;
  for (std::size_t i = 0; i < items.size(); ++i) {
    EXPECT_EQ(answer.body["results"][i]["result"]["stdout"], std::to_string(i));
  }
}

TEST_F(Exec0HttpTest, ABatchCanBeQueued) {
  Start();
  const Answer answer = Post(kBatch, {{"async", true}, {"executions", {Program(), Program()}}},
                             {{"Idempotency-Key", "all"}});
  ASSERT_EQ(answer.status, 202) << answer.raw.body;
  EXPECT_EQ(answer.body["results"][0]["state"], "queued");
  EXPECT_EQ(broker_.published()[1].execution->idempotency_key, "all:1");
}

TEST_F(Exec0HttpTest, TheOutputOfABatchIsShared) {
  Start();
  const json tests = std::vector<json>(100, {{"expectedOutput", "x"}});
  std::vector<json> items(50, Program({{"tests", tests}}));
  ASSERT_EQ(Post(kBatch, {{"executions", items}}).status, 200);
  std::uint64_t most = 0;
  for (const auto& message : broker_.published()) {
    most += 2 * message.execution->limits.output_bytes * 100;
  }
  EXPECT_LE(most, 16U << 20);
}

TEST_F(Exec0HttpTest, ABatchThatIsNoneIsA400) {
  Start();
  for (const json& body :
       {json::object(), json{{"executions", 1}}, json{{"executions", json::array()}},
        json{{"executions", std::vector<json>(51, Program())}},
        json{{"executions", {Program()}}, {"async", 1}}}) {
    EXPECT_EQ(Post(kBatch, body).status, 400) << body.dump().substr(0, 100);
  }
}

// ------------------------------------------------------------------ history

TEST_F(Exec0HttpTest, HistoryIsPagedByCursorOrOffset) {
  Start();
  std::vector<std::string> ids;
  for (int i = 0; i < 5; ++i) {
    const Answer answer = Post(kExecute, Program({{"code", std::to_string(i)}}));
    ids.insert(ids.begin(), answer.body["id"].get<std::string>());
    ASSERT_TRUE(store_.Finish(LastPublished()->id, Printed("x"), clock_.UnixMillis()));
    clock_.Advance(std::chrono::seconds(1));
  }
  std::vector<std::string> seen;
  std::string cursor;
  for (int page = 0; page < 3; ++page) {
    const Answer answer =
        Get("/api/v1/executions?limit=2" + (cursor.empty() ? "" : "&cursor=" + cursor));
    ASSERT_EQ(answer.status, 200) << answer.raw.body;
    EXPECT_EQ(answer.body["total"], 5);
    EXPECT_EQ(answer.body["totalIsCapped"], false);
    EXPECT_EQ(answer.body["hasMore"], page < 2);
    for (const json& one : answer.body["data"]) seen.push_back(one["id"]);
    cursor = page < 2 ? answer.body["nextCursor"].get<std::string>() : "";
  }
  EXPECT_EQ(seen, ids);
  for (const char* query : {"limit=2&offset=2", "limit=2&page=2"}) {
    const Answer answer = Get(std::string("/api/v1/executions?") + query);
    EXPECT_EQ(answer.body["offset"], 2) << query;
    EXPECT_EQ(answer.body["data"][0]["id"], ids[2]) << query;
  }
  const std::string since = Rfc3339Millis(clock_.UnixMillis() - 2'000);
  EXPECT_EQ(Get("/api/v1/executions?since=" + since).body["total"], 2);
  EXPECT_EQ(Get("/api/v1/executions?until=" + since).body["total"], 3);
  EXPECT_EQ(Get("/api/v1/executions?language=node").body["total"], 5) << "an alias";
  EXPECT_EQ(Get("/api/v1/executions?language=cobol").body["total"], 0);
  EXPECT_EQ(Get("/api/v1/executions?status=completed").body["total"], 5);
  EXPECT_EQ(Get("/api/v1/executions?status=error").body["total"], 0);
}

TEST_F(Exec0HttpTest, ParametersOutOfRangeAreNamed) {
  Start();
  ASSERT_EQ(Post(kExecute, Program()).status, 200);
  ASSERT_EQ(Post(kExecute, Program()).status, 200);
  const std::string cursor = Get("/api/v1/executions?limit=1").body["nextCursor"];
  for (const auto& [query, field] : std::vector<std::pair<std::string, const char*>>{
           {"limit=0", "limit"},
           {"limit=101", "limit"},
           {"limit=-1", "limit"},
           {"limit=ten", "limit"},
           {"limit=1e1", "limit"},
           {"limit=", "limit"},
           {"limit=99999999999999999999", "limit"},
           {"offset=-1", "offset"},
           {"offset=10001", "offset"},
           {"page=0", "page"},
           {"page=502", "page"},
           {"page=2&offset=2", "page"},
           {"status=done", "status"},
           {"status=", "status"},
           {"language=", "language"},
           {"language=%00", "language"},
           {"language=%FF", "language"},
           {"since=yesterday", "since"},
           {"since=2026-02-30T00:00:00Z", "since"},
           {"until=-5", "until"},
           {"since=2000&until=1000", "until"},
           {"cursor=", "cursor"},
           {"cursor=c1_00", "cursor"},
           {"cursor=" + cursor + "0", "cursor"},
           {"cursor=" + cursor + "&status=error", "cursor"},
           {"cursor=" + cursor + "&offset=1", "cursor"}}) {
    const Answer answer = Get("/api/v1/executions?" + query);
    EXPECT_EQ(answer.status, 400) << query << " " << answer.raw.body;
    EXPECT_EQ(answer.body["error"], "validation_error") << query;
    EXPECT_EQ(answer.body["details"]["field"], field) << query;
  }
}

TEST_F(Exec0HttpTest, AnOwnerSeesOnlyItsOwn) {
  Start({"exec0_one", "exec0_two"});
  const http::Fields one{{"Authorization", "Bearer exec0_one"}};
  const http::Fields two{{"x-api-key", "exec0_two"}};
  const std::string id = Post(kExecute, Program(), one).body["id"];
  EXPECT_EQ(Get("/api/v1/executions/" + id, one).status, 200);
  EXPECT_EQ(Get("/api/v1/executions/" + id, two).status, 404);
  EXPECT_EQ(Get("/api/v1/executions", one).body["total"], 1);
  EXPECT_EQ(Get("/api/v1/executions", two).body["total"], 0);
  EXPECT_EQ(Get("/api/v1/executions").status, 401);
}

// ------------------------------------------------------------------ the system

TEST_F(Exec0HttpTest, LanguagesAreListedWithoutAKeyAndWithTheirReasons) {
  Start({"exec0_one"});
  const Answer answer = Get("/api/v1/languages");
  ASSERT_EQ(answer.status, 200) << answer.raw.body;
  const json& python = answer.body["languages"][0];
  EXPECT_EQ(python["id"], "python");
  EXPECT_EQ(python["version"], "1.2.3");
  EXPECT_EQ(python["executionModel"], "interpreted");
  EXPECT_EQ(python["compilation"], false);
  EXPECT_EQ(python["extensions"], json({".py"}));
  EXPECT_EQ(python["aliases"], (json{"py", "python3"}));
  EXPECT_EQ(python["features"]["stdin"], true);
  EXPECT_EQ(python["available"], true);
  const json& go = answer.body["languages"][2];
  EXPECT_EQ(go["available"], false);
  EXPECT_EQ(go["reason"], "golang-1.21-go is not installed");
}

TEST_F(Exec0HttpTest, AProgramRunsInWhatItAskedForAndTheAnswerSaysSo) {
  vm_ = Machines(sandbox::vm::VmState::kReady, "tcg");
  Start();
  broker_.set_runner([](FakeBroker& broker, const queue::Message& message) {
    schema::Outcome outcome = Printed("2");
    outcome.isolation = message.execution->isolation;
    if (outcome.isolation == schema::Isolation::kVm) outcome.accelerator = "tcg";
    broker.SendReply({message.id, message.execution->reply_to, std::move(outcome)});
  });
  const struct {
    json with;
    const char* isolation;
    json accelerator;
  } cases[] = {
      {{{"language", "py"}}, "process", nullptr},
      {{{"language", "py"}, {"isolation", "process"}}, "process", nullptr},
      {{{"language", "py"}, {"isolation", "vm"}}, "vm", "tcg"},
      {{{"language", "golang"}, {"isolation", "vm"}}, "vm", "tcg"},
      {{{"language", "py"}, {"isolation", "auto"}}, "process", nullptr},
  };
  for (const auto& c : cases) {
    const Answer answer = Post(kExecute, Program(c.with));
    ASSERT_EQ(answer.status, 200) << answer.raw.body;
    EXPECT_EQ(answer.body["isolation"], c.isolation) << c.with;
    EXPECT_EQ(answer.body["accelerator"], c.accelerator) << c.with;
  }
  vm_ = Machines(sandbox::vm::VmState::kReady, "kvm");
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_EQ(Post(kExecute, Program({{"language", "py"}, {"isolation", "auto"}})).body["isolation"],
            "vm");
  EXPECT_EQ(Post(kExecute, Program({{"isolation", "auto"}})).body["isolation"], "process")
      << "machines have no javascript";
  EXPECT_EQ(
      Post(kExecute, Program({{"isolation", "auto"}, {"language", "py"}, {"memoryLimit", 2048}}))
          .body["isolation"],
      "process");

  const Answer queued =
      Post(kExecute, Program({{"language", "py"}, {"isolation", "vm"}, {"async", true}}));
  ASSERT_EQ(queued.status, 202) << queued.raw.body;
  const Answer found = Get(queued.raw.Header("Location"));
  EXPECT_EQ(found.body["isolation"], "vm");
  EXPECT_EQ(found.body["accelerator"], nullptr) << "it has not run yet";
}

TEST_F(Exec0HttpTest, WhatMachinesCannotDoIsRefusedByName) {
  vm_ = Machines(sandbox::vm::VmState::kReady, "tcg");
  Start();
  const struct {
    json with;
    const char* field;
    const char* limit;
    json received;
    const char* says;
  } cases[] = {
      {{{"isolation", "vm"}}, "language", "one of: python, go", "javascript", "not in the virtual"},
      {{{"isolation", "vm"}, {"language", "py"}, {"memoryLimit", 1025}},
       "memoryLimit",
       "at most 1024",
       1025,
       "at most 1024 MB"},
      {{{"isolation", "vm"}, {"language", "py"}, {"resources", "max"}},
       "memoryLimit",
       "at most 1024",
       2048,
       "at most 1024 MB"},
      {{{"language", "go"}}, "language", "a language that is available", "go", "not installed"},
  };
  for (const auto& c : cases) {
    const Answer answer = Post(kExecute, Program(c.with));
    EXPECT_EQ(answer.status, 400) << answer.raw.body;
    EXPECT_EQ(answer.body["details"]["field"], c.field) << answer.raw.body;
    EXPECT_EQ(answer.body["details"]["limit"], c.limit) << answer.raw.body;
    EXPECT_EQ(answer.body["details"]["received"], c.received) << answer.raw.body;
    EXPECT_THAT(answer.body["message"].get<std::string>(), HasSubstr(c.says));
  }
  EXPECT_EQ(Post(kBatch, {{"executions", {Program({{"isolation", "vm"}})}}})
                .body["results"][0]["details"]["field"],
            "executions[0].language");
  EXPECT_TRUE(broker_.published().empty());
}

TEST_F(Exec0HttpTest, MachinesThatStartAreWaitedForAndThoseThatFailedAreNot) {
  using sandbox::vm::VmState;
  isolation_ = IsolationChoice::kVm;
  vm_ = Machines(VmState::kStarting, "tcg");
  vm_->languages.clear();
  Start();
  EXPECT_EQ(Post(kExecute, Program()).status, 200) << "nobody knows better yet";
  EXPECT_EQ(LastPublished()->isolation, schema::Isolation::kVm);
  EXPECT_EQ(Post(kExecute, Program({{"isolation", "process"}})).status, 200);
  EXPECT_EQ(LastPublished()->isolation, schema::Isolation::kProcess);
  EXPECT_EQ(Get("/api/v1/health").body["vm"]["state"], "starting");

  vm_ = Machines(VmState::kRebuilding, "tcg");
  for (auto& language : vm_->languages) language.ready = false;
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_EQ(Post(kExecute, Program({{"language", "py"}})).status, 200);
  EXPECT_EQ(Post(kExecute, Program()).status, 400) << "they had no javascript before";

  vm_ = Machines(VmState::kFailed, "tcg");
  clock_.Advance(std::chrono::seconds(2));
  for (const json& with : {json{{"language", "py"}}, json{{"language", "py"}, {"async", true}},
                           json{{"language", "py"}, {"isolation", "vm"}}}) {
    const Answer failed = Post(kExecute, Program(with));
    EXPECT_EQ(failed.status, 503) << failed.raw.body;
    EXPECT_NE(failed.raw.Header("Retry-After"), "");
    EXPECT_THAT(failed.body["message"].get<std::string>(), HasSubstr("forkbox vm build"));
  }
  EXPECT_EQ(Get("/api/v1/health").body["status"], "degraded");

  vm_.reset();  // of a cluster whose runners have none
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_EQ(Post(kExecute, Program({{"language", "py"}})).status, 503) << "not the client's fault";
  EXPECT_EQ(Post(kExecute, Program({{"language", "py"}, {"isolation", "vm"}})).status, 400);
  EXPECT_FALSE(Get("/api/v1/health").body.contains("vm"));
}

TEST_F(Exec0HttpTest, TheSameRequestIsTheSameWhateverAutoComesTo) {
  vm_ = Machines(sandbox::vm::VmState::kReady, "tcg");
  Start();
  const auto digest_of = [&](const json& with, const char* comes_to) {
    json program = Program({{"language", "py"}});
    program.update(with);
    const Answer answer = Post(kExecute, program, {{"Idempotency-Key", "1"}});
    EXPECT_EQ(answer.status, 200) << answer.raw.body;
    EXPECT_EQ(answer.body["isolation"], comes_to);
    return store_.last_terms().request_digest;
  };
  const std::string emulated = digest_of({{"isolation", "auto"}}, "process");
  vm_ = Machines(sandbox::vm::VmState::kReady, "kvm");
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_EQ(digest_of({{"isolation", "auto"}}, "vm"), emulated);
  EXPECT_NE(digest_of({{"isolation", "vm"}}, "vm"), emulated);
}

TEST_F(Exec0HttpTest, SayingNothingIsSayingTheDefault) {
  isolation_ = IsolationChoice::kVm;
  vm_ = Machines(sandbox::vm::VmState::kReady, "tcg");
  Start();
  std::vector<std::string> digests;
  for (const json& with :
       {json::object(), json{{"isolation", "vm"}}, json{{"isolation", "process"}}}) {
    json program = Program({{"language", "py"}});
    program.update(with);
    EXPECT_EQ(Post(kExecute, program, {{"Idempotency-Key", "1"}}).status, 200);
    digests.push_back(store_.last_terms().request_digest);
  }
  EXPECT_EQ(digests[0], digests[1]);
  EXPECT_NE(digests[0], digests[2]);
}

TEST_F(Exec0HttpTest, LanguagesSayWhatTheyCanRunIn) {
  vm_ = Machines(sandbox::vm::VmState::kReady, "tcg");
  vm_->languages.push_back(Language("fortran", {}, "main.f90", ".f90"));
  Start();
  const Answer answer = Get("/api/v1/languages");
  ASSERT_EQ(answer.body["languages"].size(), 4U) << answer.raw.body;
  const json expected[] = {{"process", "vm"}, {"process"}, {"vm"}, {"vm"}};
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(answer.body["languages"][i]["isolations"], expected[i]) << i;
    EXPECT_EQ(answer.body["languages"][i]["available"], true) << i;
    EXPECT_FALSE(answer.body["languages"][i].contains("reason")) << i;
  }
  EXPECT_EQ(answer.body["languages"][2]["isolationReasons"],
            (json{{"process", "golang-1.21-go is not installed"}}));
  EXPECT_FALSE(answer.body["languages"][0].contains("isolationReasons"));
  const json health = Get("/api/v1/health").body;
  EXPECT_EQ(health["vm"]["state"], "ready");
  EXPECT_EQ(health["vm"]["accelerator"], "tcg");
  EXPECT_EQ(health["vm"]["design"], "live");
  EXPECT_EQ(health["vm"]["reason"], nullptr);
  EXPECT_EQ(health["vm"]["kvm"], "no device");
  EXPECT_EQ(health["vm"]["memoryMb"], 1024);
  EXPECT_EQ(health["vm"]["languages"], (json{"python", "go", "fortran"}));
  EXPECT_EQ(health["vm"]["machinesReady"], 2);
  EXPECT_THAT(Get("/metrics").raw.body, HasSubstr("forkbox_vm_state{state=\"ready\"} 1\n"));
}

TEST_F(Exec0HttpTest, LanguagesSayWhyMachinesHaveThemNot) {
  vm_ = Machines(sandbox::vm::VmState::kReady, "tcg");
  for (auto& language : vm_->languages) {
    language.ready = false;
    language.reason = "its smoke program failed";
  }
  Start();
  const json languages = Get("/api/v1/languages").body["languages"];
  EXPECT_EQ(languages[0]["available"], true);
  EXPECT_EQ(languages[0]["isolationReasons"], (json{{"vm", "its smoke program failed"}}));
  EXPECT_EQ(languages[2]["available"], false);
  EXPECT_EQ(languages[2]["reason"], "golang-1.21-go is not installed");
  EXPECT_EQ(languages[2]["isolationReasons"], (json{{"process", "golang-1.21-go is not installed"},
                                                    {"vm", "its smoke program failed"}}));
}

TEST_F(Exec0HttpTest, NothingRunsInLessThanTheFloor) {
  floor_ = schema::Isolation::kVm;  // and the default is still a process
  vm_ = Machines(sandbox::vm::VmState::kReady, "tcg");
  Start();
  for (const json& with : {json{{"language", "py"}}, json{{"language", "py"}, {"isolation", "vm"}},
                           json{{"language", "py"}, {"isolation", "auto"}}}) {
    const Answer answer = Post(kExecute, Program(with));
    EXPECT_EQ(answer.status, 200) << answer.raw.body;
    EXPECT_EQ(answer.body["isolation"], "vm") << with;
  }
  EXPECT_EQ(LastPublished()->isolation, schema::Isolation::kVm);
  const std::size_t published = broker_.published().size();
  const Answer refused = Post(kExecute, Program({{"language", "py"}, {"isolation", "process"}}));
  EXPECT_EQ(refused.status, 400) << refused.raw.body;
  EXPECT_EQ(refused.body["details"],
            (json{{"field", "isolation"}, {"limit", "vm"}, {"received", "process"}}));
  for (const json& with : {json::object(), json{{"isolation", "auto"}}}) {
    const Answer none = Post(kExecute, Program(with));
    EXPECT_EQ(none.status, 400) << none.raw.body;
    EXPECT_EQ(none.body["details"]["field"], "language") << "machines have no javascript";
  }
  vm_->status.state = sandbox::vm::VmState::kFailed;
  clock_.Advance(std::chrono::seconds(2));
  EXPECT_EQ(Post(kExecute, Program({{"language", "py"}, {"isolation", "auto"}})).status, 503);
  EXPECT_EQ(broker_.published().size(), published);
}

TEST_F(Exec0HttpTest, HealthIsBothOfItsShapes) {
  Start({"exec0_one"});
  const Answer answer = Get("/api/v1/health", {{"Authorization", "Bearer wrong"}});
  EXPECT_EQ(answer.status, 200) << answer.raw.body;
  EXPECT_EQ(answer.body["version"], "v1");
  EXPECT_EQ(answer.body["timestamp"], Rfc3339Millis(clock_.UnixMillis()));
  EXPECT_EQ(answer.body["services"]["database"], "ok");
  EXPECT_EQ(answer.body["components"]["store"]["status"], "ok");
}

}  // namespace
}  // namespace forkbox::api
