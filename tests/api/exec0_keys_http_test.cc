// Keys, usage, limits and the audit log over real sockets, the real server and a real store. Two
// servers on one database stand for two API processes.
#include <gtest/gtest.h>

#include <future>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "api/api_server.h"
#include "api/auth/new_key.h"
#include "api/testing_fakes.h"
#include "base/uuid.h"
#include "store/testing_directory.h"
#include "tests/api/http_client.h"

namespace forkbox::api {
namespace {

using forkbox::testing::Fetch;
using forkbox::testing::HttpAnswer;
using nlohmann::json;
using store::KeyPermissions;

// One API process.
class Api {
 public:
  Api(const std::string& database, const Clock& clock, std::vector<KeyEntry> file_keys = {})
      : store_(*store::OpenStore(database, Log::Null())), authenticator_(std::move(file_keys)) {
    ApiServer::Options options;
    options.keys.flush_interval = std::chrono::milliseconds(20);
    options.keys.poll_interval = std::chrono::milliseconds(20);
    options.exec0_keys.max_live_keys = 20;
    service_ = std::make_unique<ExecutionService>(ExecutionService::Options{}, store_->executions(),
                                                  broker_, metrics_, clock, Log::Null());
    server_ = std::make_unique<ApiServer>(std::move(options),
                                          ApiServer::Parts{.service = *service_,
                                                           .store = *store_,
                                                           .broker = broker_,
                                                           .authenticator = authenticator_,
                                                           .metrics = metrics_,
                                                           .clock = clock,
                                                           .address_guard = guard_,
                                                           .languages = {},
                                                           .pool_stats = {},
                                                           .log = Log::Null()});
    const Result<void> started = server_->Start();
    EXPECT_TRUE(started) << started.error().message;
  }

  store::Store& store() { return *store_; }
  [[nodiscard]] std::uint16_t port() const { return server_->port(); }

 private:
  std::unique_ptr<store::Store> store_;
  testing::FakeBroker broker_;
  webhook::AddressGuard guard_;
  Metrics metrics_;
  Authenticator authenticator_;
  std::unique_ptr<ExecutionService> service_;
  std::unique_ptr<ApiServer> server_;
};

class Exec0KeysHttpTest : public ::testing::Test {
 protected:
  struct Answer {
    int status = 0;
    json body;
    HttpAnswer raw;
  };

  Exec0KeysHttpTest() { api_.emplace(Database(), clock_); }

  [[nodiscard]] std::string Database() const {
    return "sqlite:" + directory_.File("forkbox.db").string();
  }

  static Answer Ask(std::uint16_t port, const char* method, const std::string& path,
                    const std::string& key, const std::string& body = "",
                    http::Fields headers = {}) {
    if (!key.empty()) headers.push_back({"Authorization", "Bearer " + key});
    if (!body.empty()) headers.push_back({"Content-Type", "application/json"});
    Answer answer;
    answer.raw = Fetch(port, {method, path, headers, body});
    answer.status = answer.raw.status;
    answer.body = json::parse(answer.raw.body, nullptr, false);
    return answer;
  }
  Answer Get(const std::string& path, const std::string& key) {
    return Ask(api_->port(), "GET", path, key);
  }
  Answer Post(const std::string& path, const std::string& key, const json& body) {
    return Ask(api_->port(), "POST", path, key, body.dump());
  }
  Answer Patch(const std::string& id, const std::string& key, const json& body) {
    return Ask(api_->port(), "PATCH", "/api/v1/keys/" + id, key, body.dump());
  }
  Answer Delete(const std::string& id, const std::string& key) {
    return Ask(api_->port(), "DELETE", "/api/v1/keys/" + id, key);
  }

  // As the command line does it: straight into the store.
  NewKey MakeInStore(const std::string& owner, KeyPermissions permissions = kFullAccess) {
    auto made = MakeNewKey(clock_.UnixMillis());
    EXPECT_TRUE(made);
    made->key.owner = schema::OwnerId(owner);
    made->key.name = "first";
    made->key.permissions = permissions;
    EXPECT_TRUE(api_->store().keys().Create(made->key, made->digest.Hex()));
    return *made;
  }

  template <class What>
  static bool Eventually(What what) {
    for (int i = 0; i < 10'000; ++i) {
      if (what()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return false;
  }

  // An execution that was accepted and has ended.
  void Execute(const NewKey& with, const std::string& language, schema::State state,
               std::chrono::milliseconds took) {
    schema::Execution execution;
    execution.id = schema::ExecutionId(NewUuidV7());
    execution.owner = with.key.owner;
    execution.key_id = with.key.id;
    execution.dialect = "exec0";
    execution.language = language;
    execution.client_address = "192.0.2.7";
    execution.request_id = "the-request";
    execution.created_unix_ms = clock_.UnixMillis();
    store::AcceptTerms terms;
    terms.per_minute = 50;  // else the minute is not counted
    std::promise<Result<store::Acceptance>> accepted;
    api_->store().executions().AcceptAsync(
        execution, terms, [&](Result<store::Acceptance> result) { accepted.set_value(result); });
    const auto verdict = accepted.get_future().get();
    ASSERT_TRUE(verdict) << verdict.error().message;
    schema::Outcome outcome;
    outcome.state = state;
    outcome.reason = schema::Reason::kExited;
    outcome.usage.wall = took;
    ASSERT_TRUE(api_->store().executions().Finish(execution.id, outcome, clock_.UnixMillis()));
  }

  store::TestDirectory directory_;
  FakeClock clock_;
  std::optional<Api> api_;
};

constexpr KeyPermissions kReadOnly{.read_only = true};

TEST_F(Exec0KeysHttpTest, TheFirstKeyComesFromOutside) {
  const json body{{"name", "mine"}, {"permissions", {"full_access"}}};
  const Answer refused = Post("/api/v1/keys", "", body);
  EXPECT_EQ(refused.status, 403) << "or anybody on this machine could lock out everybody else";
  EXPECT_EQ(refused.body["error"], "forbidden");
  EXPECT_EQ(Get("/api/v1/keys", "").body, (json{{"total", 0}, {"data", json::array()}}));
  EXPECT_EQ(Get("/api/v1/limits", "").body["rate"]["executionsPerMinute"], nullptr);

  const NewKey first = MakeInStore("acme");
  // The key itself is asked about at once; those without one are noticed within a second.
  EXPECT_EQ(Post("/api/v1/keys", first.text, body).status, 200);
  EXPECT_EQ(Get("/api/v1/limits", "").status, 401);
}

TEST_F(Exec0KeysHttpTest, AKeyLivesFromItsMakingToItsEnd) {
  const NewKey first = MakeInStore("acme");
  const Answer made = Post("/api/v1/keys", first.text,
                           {{"name", "Production API Key"},
                            {"description", "for the site"},
                            {"permissions", {"execute_only", "read_only"}},
                            {"expiresAt", "2027-01-28T00:00:00Z"},
                            {"unknown", {1, 2}}});
  ASSERT_EQ(made.status, 200) << made.raw.body;
  EXPECT_EQ(made.raw.Header("Cache-Control"), "no-store");
  const std::string key = made.body["key"];
  const std::string id = made.body["id"];
  EXPECT_EQ(key.substr(0, 6), "exec0_");
  EXPECT_EQ(key.size(), 38U);
  EXPECT_EQ(made.body["keyId"], id);
  EXPECT_EQ(made.body["name"], "Production API Key");
  EXPECT_EQ(made.body["description"], "for the site");
  EXPECT_EQ(made.body["permissions"], (json{"execute_only", "read_only"}));
  EXPECT_EQ(made.body["expiresAt"], "2027-01-28T00:00:00.000Z");
  EXPECT_EQ(made.body["createdAt"], "2023-11-14T22:13:20.000Z");

  EXPECT_EQ(Get("/api/v1/usage", key).status, 200);
  EXPECT_EQ(Get("/api/v1/keys", key).status, 403);
  const Answer list = Get("/api/v1/keys", first.text);
  ASSERT_EQ(list.status, 200);
  EXPECT_EQ(list.body["total"], 2);
  EXPECT_EQ(list.raw.body.find(key), std::string::npos) << "shown once only";
  const json& shown = list.body["data"][0];
  EXPECT_EQ(shown["id"], id);
  EXPECT_EQ(shown["prefix"], key.substr(0, 10));
  EXPECT_EQ(shown["lastUsedAt"], "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(shown["enabled"], true);
  EXPECT_EQ(shown["revokedAt"], nullptr);
  EXPECT_FALSE(list.body["data"][1].contains("description"));

  // Every member can be changed, and acts at once.
  Answer changed = Patch(id, first.text, {{"permissions", {"full_access"}}, {"name", "All"}});
  EXPECT_EQ(changed.status, 200);
  EXPECT_EQ(changed.body["name"], "All");
  EXPECT_EQ(changed.body["description"], "for the site");
  EXPECT_EQ(Get("/api/v1/keys", key).status, 200);
  changed = Patch(id, first.text, {{"expiresAt", nullptr}, {"description", ""}});
  EXPECT_EQ(changed.body["expiresAt"], nullptr);
  EXPECT_FALSE(changed.body.contains("description"));
  EXPECT_EQ(Patch(id, first.text, {{"enabled", false}}).body["enabled"], false);
  const Answer disabled = Get("/api/v1/limits", key);
  EXPECT_EQ(disabled.status, 403);
  EXPECT_EQ(disabled.body["message"], "API key is disabled");
  EXPECT_EQ(Post("/api/v1/keys/enable", first.text, {{"keyId", id}}).body,
            (json{{"success", true}}));
  EXPECT_EQ(Get("/api/v1/limits", key).status, 200);
  EXPECT_EQ(Post("/api/v1/keys/disable", first.text, {{"keyId", id}}).status, 200);
  EXPECT_EQ(Get("/api/v1/limits", key).status, 403);
  EXPECT_EQ(Post("/api/v1/keys/enable", first.text, {{"keyId", id}}).status, 200);

  EXPECT_EQ(Delete(id, key).body, (json{{"success", true}})) << "a key may revoke itself";
  const Answer revoked = Get("/api/v1/limits", key);
  EXPECT_EQ(revoked.status, 401);
  EXPECT_EQ(revoked.body["message"], "API key has been revoked");
  EXPECT_EQ(Delete(id, first.text).status, 404);
  EXPECT_EQ(Patch(id, first.text, {{"name", "x"}}).status, 409);
  for (const char* verb : {"revoke", "enable", "disable", "rotate"}) {
    const Answer again = Post(std::string("/api/v1/keys/") + verb, first.text, {{"keyId", id}});
    EXPECT_EQ(again.status, 409) << verb;
    EXPECT_EQ(again.body["error"], "conflict");
  }
  EXPECT_NE(Get("/api/v1/keys", first.text).body["data"][0]["revokedAt"], nullptr);
}

TEST_F(Exec0KeysHttpTest, ARotatedKeyHandsOverToItsSuccessor) {
  const NewKey first = MakeInStore("acme");
  const json made = Post("/api/v1/keys", first.text,
                         {{"name", "n"},
                          {"description", "d"},
                          {"permissions", {"read_only"}},
                          {"expiresAt", "2027-01-28T00:00:00Z"}})
                        .body;
  const Answer rotated = Post("/api/v1/keys/rotate", first.text, {{"keyId", made["id"]}});
  ASSERT_EQ(rotated.status, 200) << rotated.raw.body;
  EXPECT_EQ(rotated.body["success"], true);
  EXPECT_NE(rotated.body["key"], made["key"]);
  for (const char* same : {"name", "description", "permissions", "expiresAt"}) {
    EXPECT_EQ(rotated.body[same], made[same]) << same;
  }
  EXPECT_EQ(Get("/api/v1/limits", rotated.body["key"]).status, 200);
  EXPECT_EQ(Get("/api/v1/limits", made["key"]).status, 401);
  const Answer renamed =
      Post("/api/v1/keys/rotate", first.text,
           {{"keyId", rotated.body["id"]}, {"name", "m"}, {"permissions", {"execute_only"}}});
  EXPECT_EQ(renamed.body["name"], "m");
  EXPECT_EQ(renamed.body["permissions"], json{"execute_only"});
  const json data = Get("/api/v1/keys", first.text).body["data"];
  for (const json& key : data) {
    if (key["id"] != made["id"]) continue;
    EXPECT_EQ(key["rotatedTo"], rotated.body["id"]);
  }
  // The successor of an expired key would be as dead.
  clock_.Advance(std::chrono::hours(24 * 365 * 5));
  EXPECT_EQ(Post("/api/v1/keys/rotate", first.text, {{"keyId", renamed.body["id"]}}).status, 409);
  EXPECT_EQ(Get("/api/v1/limits", renamed.body["key"]).body["message"], "API key has expired");
}

TEST_F(Exec0KeysHttpTest, AccountsDoNotSeeEachOther) {
  const NewKey acme = MakeInStore("acme");
  const NewKey other = MakeInStore("other");
  EXPECT_EQ(Get("/api/v1/keys", other.text).body["total"], 1);
  const std::string id = acme.key.id.str();
  EXPECT_EQ(Patch(id, other.text, {{"name", "x"}}).status, 404);
  EXPECT_EQ(Delete(id, other.text).status, 404);
  for (const char* verb : {"revoke", "enable", "disable", "rotate"}) {
    EXPECT_EQ(Post(std::string("/api/v1/keys/") + verb, other.text, {{"keyId", id}}).status, 404)
        << verb;
  }
  EXPECT_EQ(Get("/api/v1/keys", acme.text).status, 200) << "unharmed";
  Execute(acme, "python", schema::State::kCompleted, std::chrono::milliseconds(5));
  EXPECT_EQ(Get("/api/v1/usage", acme.text).body["total"], 1);
  EXPECT_EQ(Get("/api/v1/usage", other.text).body["total"], 0);
  EXPECT_EQ(Get("/api/v1/usage/details", other.text).body, json::array());
  EXPECT_EQ(Get("/api/v1/audit", other.text).body["data"], json::array());
}

TEST_F(Exec0KeysHttpTest, EveryRightIsAskedForOnEveryPath) {
  const NewKey full = MakeInStore("acme");
  const NewKey execute = MakeInStore("acme", kExecuteOnly);
  const NewKey read = MakeInStore("acme", kReadOnly);
  struct Row {
    const char* method;
    const char* path;
    const char* body;
    bool full, execute, read;
  };
  for (const Row& row :
       {Row{"GET", "/api/v1/usage", "", true, false, true},
        Row{"GET", "/api/v1/usage/summary", "", true, false, true},
        Row{"GET", "/api/v1/usage/details", "", true, false, true},
        Row{"GET", "/api/v1/limits", "", true, true, true},
        Row{"GET", "/api/v1/audit", "", true, false, false},
        Row{"GET", "/api/v1/keys", "", true, false, false},
        Row{"POST", "/api/v1/keys", "{}", true, false, false},
        Row{"PATCH", "/api/v1/keys/x", "{}", true, false, false},
        Row{"DELETE", "/api/v1/keys/x", "", true, false, false},
        Row{"POST", "/api/v1/keys/rotate", "{}", true, false, false},
        Row{"POST", "/api/v1/keys/revoke", "{}", true, false, false},
        Row{"POST", "/api/v1/keys/enable", "{}", true, false, false},
        Row{"POST", "/api/v1/keys/disable", "{}", true, false, false},
        Row{"GET", "/api/v1/webhook-secrets", "", true, false, false},
        Row{"POST", "/api/v1/webhook-secrets", "{}", true, false, false},
        Row{"GET", "/api/v1/executions/x", "", true, true, true},
        Row{"GET", "/api/v1/executions/x/deliveries", "", true, true, true},
        Row{"POST", "/api/v1/executions/x/deliveries", "{}", true, true, false},
        Row{"POST", "/v1/exec", R"({"code":"1","language":"python"})", true, true, false},
        Row{"POST", "/v1/exec/batch", R"({"executions":[]})", true, true, false},
        Row{"POST", "/v1/code/execute/python", R"({"code":"1"})", true, true, false},
        Row{"POST", "/v1/toolkit/job/status", R"({"job_id":"1"})", true, true, true}}) {
    SCOPED_TRACE(std::string(row.method) + " " + row.path);
    const auto allowed = [&](const NewKey& key) {
      const Answer answer = Ask(api_->port(), row.method, row.path, key.text, row.body);
      EXPECT_NE(answer.status, 401);
      if (answer.status == 403) {
        EXPECT_NE(answer.raw.body.find("lacks the permission"), std::string::npos)
            << answer.raw.body;
      }
      return answer.status != 403;
    };
    EXPECT_EQ(allowed(full), row.full);
    EXPECT_EQ(allowed(execute), row.execute);
    EXPECT_EQ(allowed(read), row.read);
    EXPECT_EQ(Ask(api_->port(), row.method, row.path, "", row.body).status, 401);
    EXPECT_EQ(Ask(api_->port(), row.method, row.path, "exec0_wrong", row.body).status, 401);
  }
}

struct BadBody {
  const char* name;
  const char* verb;  // "": create; "PATCH"; else the last part of the path
  std::string body;
  const char* field;
  std::string received;  // "" for whatever
};
class Exec0KeysBadBodyTest : public Exec0KeysHttpTest,
                             public ::testing::WithParamInterface<BadBody> {};

TEST_P(Exec0KeysBadBodyTest, IsA400ThatNamesTheField) {
  const NewKey first = MakeInStore("acme");
  const BadBody& bad = GetParam();
  const std::string verb = bad.verb;
  const Answer answer =
      verb == "PATCH"
          ? Ask(api_->port(), "PATCH", "/api/v1/keys/" + first.key.id.str(), first.text, bad.body)
          : Ask(api_->port(), "POST", "/api/v1/keys" + (verb.empty() ? "" : "/" + verb), first.text,
                bad.body);
  EXPECT_EQ(answer.status, 400) << answer.raw.body;
  EXPECT_EQ(answer.body["error"], "validation_error");
  EXPECT_EQ(answer.body["details"]["field"], bad.field) << answer.raw.body;
  EXPECT_TRUE(answer.body["details"].contains("limit")) << answer.raw.body;
  if (!bad.received.empty()) {
    EXPECT_EQ(answer.body["details"]["received"], bad.received) << answer.raw.body;
  }
  EXPECT_EQ(Get("/api/v1/keys", first.text).body["total"], 1) << "nothing was made";
}

std::string With(const char* member, const json& value) {
  json body{{"name", "n"}, {"permissions", {"full_access"}}};
  body[member] = value;
  return body.dump();
}

INSTANTIATE_TEST_SUITE_P(
    Create, Exec0KeysBadBodyTest,
    ::testing::Values(
        BadBody{"no_json", "", "{", "body", ""}, BadBody{"empty", "", " ", "body", ""},
        BadBody{"an_array", "", "[]", "body", "an array of 0 items"},
        BadBody{"deep", "", std::string(100, '[') + std::string(100, ']'), "body", ""},
        BadBody{"lone_surrogate", "", R"({"name":"\ud800","permissions":["full_access"]})", "body",
                ""},
        BadBody{"no_name", "", R"({"permissions":["full_access"]})", "name", "nothing"},
        BadBody{"empty_name", "", With("name", ""), "name", "a string of 0 characters"},
        BadBody{"long_name", "", With("name", std::string(201, 'x')), "name",
                "a string of 201 characters"},
        BadBody{"name_with_nul", "", With("name", std::string("a\0b", 3)), "name", ""},
        BadBody{"name_with_line_break", "", With("name", "a\nb"), "name", ""},
        BadBody{"name_is_a_number", "", With("name", 7), "name", ""},
        BadBody{"no_permissions", "", R"({"name":"n"})", "permissions", "nothing"},
        BadBody{"empty_permissions", "", With("permissions", json::array()), "permissions",
                "an array of 0 items"},
        BadBody{"unknown_permission", "", With("permissions", {"full_access", "admin"}),
                "permissions[1]", "a string of 5 characters"},
        BadBody{"permission_is_a_number", "", With("permissions", {1}), "permissions[0]", ""},
        BadBody{"permissions_is_text", "", With("permissions", "full_access"), "permissions", ""},
        BadBody{"too_many_permissions", "",
                With("permissions", json(std::vector<std::string>(17, "read_only"))), "permissions",
                ""},
        BadBody{"long_description", "", With("description", std::string(1001, 'x')), "description",
                ""},
        BadBody{"description_is_null", "", With("description", nullptr), "description", ""},
        BadBody{"expires_in_the_past", "", With("expiresAt", "2020-01-01T00:00:00Z"), "expiresAt",
                "2020-01-01T00:00:00.000Z"},
        BadBody{"expires_now", "", With("expiresAt", "2023-11-14T22:13:20Z"), "expiresAt", ""},
        BadBody{"expires_as_a_date", "", With("expiresAt", "2027-01-28"), "expiresAt",
                "a string of 10 characters"},
        BadBody{"expires_with_an_offset", "", With("expiresAt", "2027-01-28T00:00:00+01:00"),
                "expiresAt", ""},
        BadBody{"expires_without_zone", "", With("expiresAt", "2027-01-28T00:00:00"), "expiresAt",
                ""},
        BadBody{"expires_in_small_letters", "", With("expiresAt", "2027-01-28t00:00:00z"),
                "expiresAt", ""},
        BadBody{"expires_on_no_day", "", With("expiresAt", "2027-02-30T00:00:00Z"), "expiresAt",
                ""},
        BadBody{"expires_as_a_number", "", With("expiresAt", 1'800'000'000), "expiresAt", ""}),
    [](const auto& test) { return test.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Others, Exec0KeysBadBodyTest,
    ::testing::Values(
        BadBody{"patch_empty", "PATCH", "{}", "body", ""},
        BadBody{"patch_unknown_only", "PATCH", R"({"scopes":["read"]})", "body", ""},
        BadBody{"patch_empty_name", "PATCH", R"({"name":""})", "name", ""},
        BadBody{"patch_empty_permissions", "PATCH", R"({"permissions":[]})", "permissions", ""},
        BadBody{"patch_enabled_is_text", "PATCH", R"({"enabled":"false"})", "enabled", ""},
        BadBody{"patch_expires_in_the_past", "PATCH", R"({"expiresAt":"2020-01-01T00:00:00Z"})",
                "expiresAt", ""},
        BadBody{"rotate_no_id", "rotate", "{}", "keyId", "nothing"},
        BadBody{"rotate_bad_name", "rotate", R"({"keyId":"x","name":""})", "name", ""},
        BadBody{"revoke_no_id", "revoke", "{}", "keyId", ""},
        BadBody{"revoke_empty_id", "revoke", R"({"keyId":""})", "keyId", ""},
        BadBody{"enable_id_is_a_number", "enable", R"({"keyId":1})", "keyId", ""},
        BadBody{"disable_null_id", "disable", R"({"keyId":null})", "keyId", ""}),
    [](const auto& test) { return test.param.name; });

TEST_F(Exec0KeysHttpTest, BadParametersAre400sThatNameThem) {
  const NewKey first = MakeInStore("acme");
  struct Row {
    const char* path;
    const char* field;
  };
  for (const Row& row :
       {Row{"/api/v1/usage?period=year", "period"}, Row{"/api/v1/usage?period=", "period"},
        Row{"/api/v1/usage/details?limit=0", "limit"},
        Row{"/api/v1/usage/details?limit=1001", "limit"},
        Row{"/api/v1/usage/details?limit=-1", "limit"},
        Row{"/api/v1/usage/details?limit=ten", "limit"},
        Row{"/api/v1/usage/details?limit=18446744073709551616", "limit"},
        Row{"/api/v1/usage/details?limit=5.0", "limit"},
        Row{"/api/v1/usage/details?since=yesterday", "since"},
        Row{"/api/v1/usage/details?since=-1", "since"}, Row{"/api/v1/audit?limit=0", "limit"},
        Row{"/api/v1/audit?before=2027-13-01T00:00:00Z", "before"},
        Row{"/api/v1/audit?before=1e9", "before"}}) {
    const Answer answer = Get(row.path, first.text);
    EXPECT_EQ(answer.status, 400) << row.path;
    EXPECT_EQ(answer.body["details"]["field"], row.field) << row.path;
  }
  // What no key can be called is nobody's key.
  for (const char* id : {"%00", "%F0%9F", "a%20b", "..", "%2e%2e%2f"}) {
    EXPECT_EQ(Delete(id, first.text).status, 404) << id;
  }
}

TEST_F(Exec0KeysHttpTest, AnAccountHasOnlySoManyKeys) {
  const NewKey first = MakeInStore("acme");
  const json body{{"name", "n"}, {"permissions", {"read_only"}}};
  for (int i = 0; i < 19; ++i) ASSERT_EQ(Post("/api/v1/keys", first.text, body).status, 200);
  const Answer full = Post("/api/v1/keys", first.text, body);
  EXPECT_EQ(full.status, 409);
  EXPECT_EQ(full.body["details"]["limit"], 20);
  const std::string id = Get("/api/v1/keys", first.text).body["data"][0]["id"];
  EXPECT_EQ(Post("/api/v1/keys/rotate", first.text, {{"keyId", id}}).status, 200)
      << "one goes, one comes";
  const std::string newest = Get("/api/v1/keys", first.text).body["data"][0]["id"];
  EXPECT_EQ(Delete(newest, first.text).status, 200);
  EXPECT_EQ(Post("/api/v1/keys", first.text, body).status, 200);
}

// It may take seconds to count, so what was counted is said again for half a minute, to all who
// ask.
TEST_F(Exec0KeysHttpTest, ASummaryIsKeptForAWhile) {
  const NewKey key = MakeInStore("acme");
  const NewKey other = MakeInStore("other");
  using schema::State;
  Execute(key, "python", State::kCompleted, std::chrono::milliseconds(30));
  std::vector<std::thread> askers;
  for (int i = 0; i < 8; ++i) {
    askers.emplace_back([&] { EXPECT_EQ(Get("/api/v1/usage", key.text).body["total"], 1); });
  }
  for (auto& asker : askers) asker.join();
  const json first = Get("/api/v1/usage", key.text).body;

  Execute(key, "python", State::kCompleted, std::chrono::milliseconds(30));
  clock_.Advance(std::chrono::seconds(29));
  const json again = Get("/api/v1/usage", key.text).body;
  EXPECT_EQ(again["total"], 1);
  EXPECT_EQ(again["window"], first["window"]) << "it says of when it is";
  EXPECT_EQ(again["quota"]["used"], 2) << "what is left is of now";
  EXPECT_EQ(Get("/api/v1/usage", other.text).body["total"], 0) << "nobody else's";
  EXPECT_EQ(Get("/api/v1/usage?period=day", key.text).body["total"], 2) << "another question";
  clock_.Advance(std::chrono::seconds(1));
  EXPECT_EQ(Get("/api/v1/usage", key.text).body["total"], 2);
}

TEST_F(Exec0KeysHttpTest, UsageAndLimitsCountWhatWasDone) {
  const NewKey key = MakeInStore("acme");
  ASSERT_TRUE(api_->store().keys().SetLimits(schema::OwnerId("acme"), {50, 5, 10}, 1));
  using schema::State;
  Execute(key, "python", State::kCompleted, std::chrono::milliseconds(30));
  Execute(key, "python", State::kTimeout, std::chrono::milliseconds(60));
  clock_.Advance(std::chrono::hours(24 * 2));  // 2023-11-16
  Execute(key, "javascript", State::kCancelled, std::chrono::milliseconds(0));

  json usage = Get("/api/v1/usage", key.text).body;
  EXPECT_EQ(usage["total"], 3);
  EXPECT_EQ(usage["byDay"], (json{{"2023-11-14", 2}, {"2023-11-16", 1}}));
  EXPECT_EQ(usage["byLanguage"], (json{{"python", 2}, {"javascript", 1}}));
  EXPECT_EQ(usage["byStatus"], (json{{"completed", 1}, {"timeout", 1}, {"error", 1}}));
  EXPECT_EQ(usage["period"], "month");
  EXPECT_EQ(usage["window"]["end"], "2023-11-16T22:13:20.000Z");
  EXPECT_EQ(usage["window"]["start"], "2023-10-17T22:13:20.000Z");
  EXPECT_EQ(usage["totalExecutionTime"], 90);
  EXPECT_EQ(usage["averageExecutionTime"], 30.0);
  EXPECT_EQ(
      usage["quota"],
      (json{
          {"limit", 10}, {"used", 3}, {"remaining", 7}, {"resetsAt", "2023-12-01T00:00:00.000Z"}}));
  EXPECT_EQ(Get("/api/v1/usage?period=day", key.text).body["total"], 1);
  EXPECT_EQ(Get("/api/v1/usage/summary?period=week", key.text).body,
            (json{{"total", 3},
                  {"byDay", {{"2023-11-14", 2}, {"2023-11-16", 1}}},
                  {"byLanguage", {{"python", 2}, {"javascript", 1}}},
                  {"period", "week"}}));
  EXPECT_EQ(Get("/api/v1/usage/summary?period=century", key.text).body["period"], "month");

  json details = Get("/api/v1/usage/details", key.text).body;
  ASSERT_EQ(details.size(), 3U);
  EXPECT_EQ(details[0]["language"], "python");
  EXPECT_EQ(details[0]["apiKeyId"], key.key.id.str());
  EXPECT_EQ(details[0]["ownerId"], "acme");
  EXPECT_EQ(details[2]["timestamp"], clock_.UnixMillis());
  EXPECT_EQ(Get("/api/v1/usage/details?limit=2", key.text).body.size(), 2U);
  EXPECT_EQ(Get("/api/v1/usage/details?since=2023-11-15T00:00:00Z", key.text).body.size(), 1U);

  const json limits = Get("/api/v1/limits", key.text).body;
  EXPECT_EQ(limits["execution"]["timeout"], (json{{"min", 5}, {"max", 300}, {"unit", "seconds"}}));
  EXPECT_EQ(limits["execution"]["memory"], (json{{"min", 64}, {"max", 2048}, {"unit", "MB"}}));
  EXPECT_EQ(limits["execution"]["concurrency"], (json{{"min", 1}, {"max", 20}, {"current", 5}}));
  EXPECT_EQ(limits["execution"]["outputSize"], 65'536);
  EXPECT_EQ(limits["execution"]["fileSize"], 10'485'760);
  EXPECT_EQ(limits["execution"]["codeSize"], 51'200);
  EXPECT_EQ(limits["rate"], (json{{"executionsPerMinute", 50},
                                  {"remaining", 49},
                                  {"resetsAt", "2023-11-16T22:14:00.000Z"}}));
  EXPECT_EQ(limits["quota"]["monthly"], 10);
  EXPECT_EQ(limits["quota"]["used"], 3);
}

TEST_F(Exec0KeysHttpTest, TheAuditLogSaysWhoDidWhatWhenFromWhere) {
  const NewKey first = MakeInStore("acme");
  const Answer made = Ask(api_->port(), "POST", "/api/v1/keys", first.text,
                          json{{"name", "n"}, {"permissions", {"read_only"}}}.dump(),
                          {{"X-Request-Id", "req-1"}, {"X-Forwarded-For", "203.0.113.7"}});
  const std::string id = made.body["id"];
  const auto step = [&] { clock_.Advance(std::chrono::milliseconds(1)); };
  step();
  Patch(id, first.text, {{"name", "m"}});
  step();
  Post("/api/v1/keys/disable", first.text, {{"keyId", id}});
  step();
  Post("/api/v1/keys/enable", first.text, {{"keyId", id}});
  step();
  const std::string successor = Post("/api/v1/keys/rotate", first.text, {{"keyId", id}}).body["id"];
  step();
  Delete(successor, first.text);
  step();
  Execute(first, "python", schema::State::kCompleted, std::chrono::milliseconds(1));
  Patch(id, first.text, {{"name", "x"}});            // refused: it is revoked
  Post("/api/v1/keys", first.text, json::object());  // refused

  const Answer log = Get("/api/v1/audit", first.text);
  ASSERT_EQ(log.status, 200);
  std::vector<std::string> actions;
  for (const json& entry : log.body["data"]) actions.push_back(entry["action"]);
  EXPECT_EQ(actions.front(), "execution.accepted");
  EXPECT_EQ(
      (std::multiset<std::string>(actions.begin(), actions.end())),
      (std::multiset<std::string>{"execution.accepted", "key.revoked", "key.created", "key.rotated",
                                  "key.enabled", "key.disabled", "key.changed", "key.created"}));
  const json& oldest = log.body["data"].back();
  EXPECT_EQ(oldest["action"], "key.created");
  EXPECT_EQ(oldest["target"], id);
  EXPECT_EQ(oldest["keyId"], first.key.id.str());
  EXPECT_EQ(oldest["clientAddress"], "203.0.113.7");
  EXPECT_EQ(oldest["requestId"], "req-1");
  EXPECT_EQ(oldest["time"], "2023-11-14T22:13:20.000Z");
  EXPECT_EQ(log.raw.body.find(first.text), std::string::npos);
  EXPECT_EQ(log.raw.body.find(made.body["key"].get<std::string>()), std::string::npos);

  // Page by page nothing is lost or shown twice, though two entries share a millisecond.
  std::vector<std::string> paged;
  std::string before;
  for (int page = 0; page < 20; ++page) {
    const json body = Get("/api/v1/audit?limit=2" + before, first.text).body;
    for (const json& entry : body["data"]) paged.push_back(entry["action"]);
    if (!body["hasMore"].get<bool>()) break;
    before = "&before=" + body["before"].get<std::string>();
  }
  EXPECT_EQ(paged, actions);
}

TEST_F(Exec0KeysHttpTest, TwoProcessesAgree) {
  const NewKey first = MakeInStore("acme");
  Api other(Database(), clock_);
  const auto ask_other = [&](const std::string& key) {
    return Ask(other.port(), "GET", "/api/v1/limits", key).status;
  };
  const json made =
      Post("/api/v1/keys", first.text, {{"name", "n"}, {"permissions", {"read_only"}}}).body;
  const std::string key = made["key"];
  EXPECT_EQ(ask_other(key), 200) << "at once";
  EXPECT_EQ(Patch(made["id"], first.text, {{"enabled", false}}).status, 200);
  EXPECT_TRUE(Eventually([&] { return ask_other(key) == 403; }));
  EXPECT_EQ(Delete(made["id"], first.text).status, 200);
  EXPECT_EQ(Get("/api/v1/limits", key).status, 401) << "at once where it was done";
  EXPECT_TRUE(Eventually([&] { return ask_other(key) == 401; }));
  // Many at once, none of which is known here: each is asked about once.
  std::vector<std::string> keys;
  for (int i = 0; i < 10; ++i) keys.push_back(MakeInStore("acme").text);
  std::vector<std::jthread> clients;
  std::atomic<int> good{0};
  for (int i = 0; i < 40; ++i) {
    clients.emplace_back(
        [&, i] { good += ask_other(keys[static_cast<std::size_t>(i) % 10]) == 200; });
  }
  clients.clear();
  EXPECT_EQ(good, 40);
}

TEST_F(Exec0KeysHttpTest, TheFilesKeysHaveAccountsOfTheirOwn) {
  KeyEntry entry;
  entry.digest = KeyDigest::Of("zb_live_of_the_file");
  KeyEntry demo;
  demo.digest = KeyDigest::Of("zb_demo_of_everybody");
  const NewKey stored = MakeInStore("acme");
  Api api(Database(), clock_, {entry, demo});
  const auto ask = [&](const char* method, const char* path, const std::string& key,
                       const std::string& body = "") {
    return Ask(api.port(), method, path, key, body);
  };
  const std::string wanted = json{{"name", "n"}, {"permissions", {"read_only"}}}.dump();
  const Answer made = ask("POST", "/api/v1/keys", "zb_live_of_the_file", wanted);
  ASSERT_EQ(made.status, 200) << made.raw.body;
  EXPECT_EQ(ask("GET", "/api/v1/keys", "zb_live_of_the_file").body["total"], 1);
  EXPECT_EQ(ask("GET", "/api/v1/keys", stored.text).body["total"], 1);
  EXPECT_EQ(ask("GET", "/api/v1/limits", made.body["key"]).status, 200);
  EXPECT_EQ(ask("POST", "/api/v1/keys", "zb_demo_of_everybody", wanted).status, 403);
}

}  // namespace
}  // namespace forkbox::api
