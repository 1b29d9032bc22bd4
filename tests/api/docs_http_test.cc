// The documentation over real sockets and the real server; store, queue and runner are fakes.
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "api/api_server.h"
#include "api/execution_document.h"
#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/local_fleet.h"
#include "api/result_document.h"
#include "api/testing_fakes.h"
#include "base/uuid.h"
#include "schema/openapi_document.h"
#include "tests/api/http_client.h"
#include "tests/api/openapi_contract.h"

namespace forkbox::api {
namespace {

using forkbox::testing::Fetch;
using forkbox::testing::HttpAnswer;
using nlohmann::json;

class DocsHttpTest : public ::testing::Test {
 protected:
  void Start(bool with_bundle = true) {
    KeyEntry entry;
    entry.digest = KeyDigest::Of("a key");
    authenticator_.emplace(std::vector<KeyEntry>{entry});
    ApiServer::Options options;
    if (with_bundle) {
      auto bundle = DocsBundle::Open(FORKBOX_SCALAR);
      ASSERT_TRUE(bundle) << bundle.error().message;
      options.docs = *bundle;
    }
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
                                                           .log = Log::Null(),
                                                           .sandboxes = &fleet_});
    const Result<void> started = server_->Start();
    ASSERT_TRUE(started) << started.error().message;
  }

  HttpAnswer Ask(const std::string& method, const std::string& path, http::Fields headers = {}) {
    return Fetch(server_->port(), {method, path, std::move(headers), ""});
  }
  HttpAnswer Get(const std::string& path, http::Fields headers = {}) {
    return Ask("GET", path, std::move(headers));
  }
  // The scripts that the page names.
  std::vector<std::string> Scripts() {
    const std::string page = Get("/scalar").body;
    std::vector<std::string> scripts;
    const std::string mark = "<script src=\"";
    for (auto at = page.find(mark); at != page.npos; at = page.find(mark, at + 1)) {
      const auto begin = at + mark.size();
      scripts.push_back(page.substr(begin, page.find('"', begin) - begin));
    }
    return scripts;
  }

  FakeClock clock_;
  testing::FakeStore store_;
  testing::FakeDatabase database_{store_};
  testing::FakeBroker broker_;
  webhook::AddressGuard guard_;
  // Nobody asks for sandboxes: what counts is that there are routes to them.
  sandboxes::SandboxHost host_{{}, {}, database_.sandboxes(), clock_, Log::Null()};
  LocalFleet fleet_{host_, clock_, Log::Null()};
  Metrics metrics_;
  std::optional<Authenticator> authenticator_;
  ExecutionService service_{{}, store_, broker_, metrics_, clock_, Log::Null()};
  std::unique_ptr<ApiServer> server_;
};

// "/executions/:id" is "/executions/{id}" there.
std::string AsInTheDocument(const std::string& path) {
  std::string shown;
  bool parameter = false;
  for (const char c : path + "/") {
    if (c == '/' && parameter) shown += '}';
    if (c == '/') parameter = false;
    if (c == ':') {
      shown += '{';
      parameter = true;
    } else {
      shown += c;
    }
  }
  shown.pop_back();
  return shown;
}

// "/executions/{}" of "/executions/{id}".
std::string WithoutNames(const std::string& path) {
  std::string shown;
  bool name = false;
  for (const char c : path) {
    if (c == '}') name = false;
    if (!name) shown += c;
    if (c == '{') name = true;
  }
  return shown;
}

// What stands below a sandbox's proxy, which is a tree and not a route of the server. Names of
// parameters are left out: execd calls all of them ":id".
std::set<std::string> BelowTheProxy() {
  const std::string root = " /v1/sandboxes/{}/proxy/";
  std::set<std::string> paths{"GET" + root + "44772/ping", "GET" + root + "44772/ready",
                              "GET" + root + "18080/policy"};
  for (const auto& routes : {ExecdCommandRoutes(), ExecdSessionRoutes(), ExecdCodeRoutes(),
                             ExecdFileRoutes(), ExecdUploadRoutes(), ExecdDownloadRoutes(),
                             ExecdDirectoryRoutes(), ExecdMetricsRoutes(), ExecdPtyRoutes()}) {
    for (const ExecdRoute& route : routes) {
      paths.insert(WithoutNames(std::string(ToString(route.method)) + root + "44772" +
                                AsInTheDocument(route.path)));
    }
  }
  return paths;
}

TEST_F(DocsHttpTest, EveryRouteIsInTheDocumentAndTheOtherWayRound) {
  Start();
  std::set<std::string> registered = BelowTheProxy();
  for (const auto& route : server_->routes()) {
    registered.insert(
        WithoutNames(std::string(ToString(route.method)) + " " + AsInTheDocument(route.path)));
  }
  std::set<std::string> documented;
  for (const auto& [path, item] : forkbox::testing::OpenApi()["paths"].items()) {
    for (const auto& [name, operation] : item.items()) {
      std::string method = name;
      for (char& c : method) c = static_cast<char>(c & ~0x20);
      if (!http::ParseMethod(method)) continue;
      documented.insert(WithoutNames(method + " " + path));
      if (item.contains("x-also-at")) {
        documented.insert(WithoutNames(method + " " + item["x-also-at"].get<std::string>()));
      }
    }
  }
  for (const std::string& route : registered) {
    EXPECT_TRUE(documented.contains(route)) << route << " is not in schema/openapi.yaml";
  }
  for (const std::string& operation : documented) {
    EXPECT_TRUE(registered.contains(operation)) << operation << " is served by nobody";
  }
}

// What ended in any way, by any face, with everything that an outcome can have or nothing.
std::vector<store::ExecutionRecord> Endings() {
  std::vector<store::ExecutionRecord> records;
  for (const char* dialect : {"exec0", "zeroboot", "nca"}) {
    for (int reason = 0; reason <= static_cast<int>(schema::Reason::kRunnerLost); ++reason) {
      for (const bool full : {false, true}) {
        store::ExecutionRecord record;
        record.execution.id = schema::ExecutionId(NewUuidV7());
        record.execution.dialect = dialect;
        record.execution.language = "python";
        record.execution.created_unix_ms = record.finished_unix_ms = 1'700'000'000'000;
        schema::Outcome outcome;
        outcome.reason = static_cast<schema::Reason>(reason);
        if (full) {
          record.execution.client_reference = "mine";
          record.started_unix_ms = 1'700'000'000'000;
          record.attempts = 2;
          outcome.exit_code = 3;
          outcome.signal = 9;
          outcome.stdout_text = "out";
          outcome.stderr_text = "err";
          outcome.stdout_truncated = outcome.stderr_truncated = true;
          outcome.value_json = "[1.5]";
          outcome.message = "why";
          outcome.compile_output = "line 1";
          outcome.cases.resize(2);
          outcome.cases[0].verdict = schema::Verdict::kPassed;
          outcome.cases[0].reason = schema::Reason::kExited;
          outcome.cases[0].stdout_truncated = true;
        }
        outcome.state = schema::StateOf(outcome.reason, outcome.exit_code);
        record.state = outcome.state;
        record.outcome = std::move(outcome);
        records.push_back(std::move(record));
      }
    }
  }
  return records;
}

TEST(OpenApiBodies, EveryEndingFitsWhatIsAskedForAndWhatIsSent) {
  const json asked{{"$ref", "#/components/schemas/Execution"}};
  const json sent =
      forkbox::testing::OpenApi()["webhooks"]["executionFinished"]["post"]["requestBody"]["content"]
                                 ["application/json"]["schema"];
  for (const store::ExecutionRecord& record : Endings()) {
    const std::string what =
        record.execution.dialect + " " + std::string(ToString(record.outcome->reason)) + ": ";
    for (const auto& [schema, body] : {std::pair(asked, ExecutionDocument(record)),
                                       std::pair(sent, ResultDocument(record, 3))}) {
      const auto problem = forkbox::testing::SchemaProblem(schema, json::parse(body));
      EXPECT_FALSE(problem) << what << *problem << "\n" << body;
    }
  }
}

TEST_F(DocsHttpTest, TheDocumentNeedsNoKey) {
  Start();
  EXPECT_EQ(Get("/api/v1/queue").status, 401) << "or this test tests nothing";
  for (const char* path : {"/openapi.json", "/api/v1/openapi.json"}) {
    const HttpAnswer answer = Get(path);
    EXPECT_EQ(answer.status, 200) << path;
    EXPECT_EQ(answer.Header("Content-Type"), "application/json");
    EXPECT_EQ(json::parse(answer.body)["openapi"], "3.1.0");
  }
  const HttpAnswer yaml = Get("/openapi.yaml");
  EXPECT_EQ(yaml.status, 200);
  EXPECT_EQ(yaml.Header("Content-Type"), "application/yaml");
  EXPECT_TRUE(yaml.body.starts_with("openapi: 3.1.0\n")) << yaml.body.substr(0, 80);
  EXPECT_EQ(yaml.body.find("<<:"), std::string::npos) << "not every reader knows merges";
}

TEST_F(DocsHttpTest, WhoHasItIsNotSentItAgain) {
  Start();
  std::vector<std::string> paths = Scripts();
  ASSERT_EQ(paths.size(), 2U);
  paths.insert(paths.end(), {"/openapi.json", "/openapi.yaml"});
  for (const std::string& path : paths) {
    const std::string tag = Get(path).Header("ETag");
    ASSERT_FALSE(tag.empty()) << path;
    for (const std::string& given : {tag, "W/" + tag, "\"other\", " + tag, std::string("*")}) {
      const HttpAnswer again = Get(path, {{"If-None-Match", given}});
      EXPECT_EQ(again.status, 304) << path << " " << given;
      EXPECT_EQ(again.body, "");
      EXPECT_EQ(again.Header("ETag"), tag);
    }
    EXPECT_EQ(Get(path, {{"If-None-Match", "\"other\""}}).status, 200) << path;
  }
}

TEST_F(DocsHttpTest, ThePageLoadsNothingFromElsewhere) {
  Start();
  std::set<std::string> policies;
  for (const char* path : {"/scalar", "/scalar/", "/api/scalar"}) {
    const HttpAnswer page = Get(path);
    EXPECT_EQ(page.status, 200) << path;
    EXPECT_EQ(page.Header("Content-Type"), "text/html; charset=utf-8");
    const std::string policy = page.Header("Content-Security-Policy");
    EXPECT_TRUE(policy.starts_with("default-src 'none'; script-src 'self'; ")) << policy;
    EXPECT_EQ(policy.find("unsafe"), std::string::npos) << policy;
    EXPECT_EQ(policy.find("http"), std::string::npos) << policy;
    EXPECT_EQ(page.body.find("://"), std::string::npos) << page.body;
    EXPECT_TRUE(policies.insert(policy).second) << "a nonce is for one page";
  }
}

TEST_F(DocsHttpTest, TheBundleComesWhole) {
  Start();
  const auto scripts = Scripts();
  ASSERT_EQ(scripts.size(), 2U);
  for (const std::string& script : scripts) {
    const HttpAnswer answer = Get(script);
    EXPECT_EQ(answer.status, 200) << script;
    EXPECT_EQ(answer.Header("Content-Type"), "text/javascript; charset=utf-8");
    EXPECT_EQ(answer.Header("X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(answer.Header("Content-Length"), std::to_string(answer.body.size()));
    const HttpAnswer head = Ask("HEAD", script);
    EXPECT_EQ(head.status, 200);
    EXPECT_EQ(head.Header("Content-Length"), std::to_string(answer.body.size()));
    EXPECT_EQ(head.body, "");
  }
  const HttpAnswer bundle = Get(scripts[0]);
  EXPECT_EQ(bundle.body.size(), std::filesystem::file_size(FORKBOX_SCALAR));
  EXPECT_NE(bundle.Header("Cache-Control").find("immutable"), std::string::npos);
  // Its name changes with its version; what starts it is asked for each time.
  EXPECT_NE(scripts[0].find("scalar-1."), std::string::npos) << scripts[0];
  EXPECT_EQ(Get(scripts[1]).Header("Cache-Control"), "no-cache");
}

TEST_F(DocsHttpTest, NothingElseIsServed) {
  Start();
  for (const char* path : {"/scalar/standalone.js", "/scalar/..%2fNOTICE", "/scalar/%2e%2e",
                           "/scalar/start.js%00", "/scalar/a/b"}) {
    const HttpAnswer answer = Get(path);
    EXPECT_EQ(answer.status, 404) << path;
    EXPECT_TRUE(json::parse(answer.body).contains("error"));
  }
  EXPECT_EQ(Ask("POST", "/openapi.json").status, 405);
}

TEST_F(DocsHttpTest, WithoutTheBundleThePageIsOfLinks) {
  Start(/*with_bundle=*/false);
  EXPECT_TRUE(Scripts().empty());
  const HttpAnswer page = Get("/scalar");
  EXPECT_EQ(page.status, 200);
  EXPECT_NE(page.body.find("href=\"/openapi.json\""), std::string::npos);
  EXPECT_FALSE(DocsBundle::Open("/no/such/file"));
  EXPECT_FALSE(DocsBundle::Open("/tmp"));
}

}  // namespace
}  // namespace forkbox::api
