// The lifecycle API of `forkbox serve` over HTTP: what it makes, and every way to be refused.
#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/rfc3339.h"
#include "tests/execd/lifecycle_server.h"

namespace forkbox::tests {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Answer = LifecycleAnswer;
using Server = LifecycleServer;

// One for all tests that need nothing special.
Server& Shared() {
  static Server server;
  return server;
}

TEST(LifecycleTest, MakesASandboxAndShowsIt) {
  const Server& server = Shared();
  const Answer made = server.Create({{"metadata", {{"team", "blue"}}}});
  ASSERT_EQ(made.status, 202) << made.raw.body;
  EXPECT_EQ(made.body["status"]["state"], "Running");
  EXPECT_FALSE(made.body.contains("image"));
  EXPECT_NE(made.raw.Header("X-Request-Id"), "");
  const std::string id = made.body["id"];
  for (const std::string root : {"/v1", ""}) {
    const Answer got = server.Ask("GET", root + "/sandboxes/" + id);
    ASSERT_EQ(got.status, 200) << got.raw.body;
    EXPECT_EQ(got.body["image"]["uri"], "python:3.11");
    EXPECT_EQ(got.body["metadata"], json({{"team", "blue"}}));
    EXPECT_EQ(got.body["entrypoint"][0], "tail");
    EXPECT_EQ(*ParseRfc3339(got.body["expiresAt"].get<std::string>()),
              *ParseRfc3339(got.body["createdAt"].get<std::string>()) + 120'000);
  }
  const Answer forever = server.Create({{"timeout", nullptr}});
  ASSERT_EQ(forever.status, 202);
  EXPECT_FALSE(forever.body.contains("expiresAt"));
  for (const std::string& one : {id, forever.body["id"].get<std::string>()}) {
    EXPECT_EQ(server.Ask("DELETE", "/v1/sandboxes/" + one).status, 204);
    EXPECT_EQ(server.Ask("DELETE", "/v1/sandboxes/" + one).status, 404);
    EXPECT_EQ(server.Ask("GET", "/v1/sandboxes/" + one).status, 404);
  }
}

struct BadCreate {
  const char* name;
  json changes;
  int status;
  const char* code;
  const char* said;  // a part of the message
};
class BadCreateTest : public ::testing::TestWithParam<BadCreate> {};

TEST_P(BadCreateTest, IsRefusedByName) {
  const Answer refused = Shared().Create(GetParam().changes);
  EXPECT_EQ(refused.status, GetParam().status) << refused.raw.body;
  EXPECT_EQ(refused.code(), GetParam().code);
  EXPECT_NE(refused.message().find(GetParam().said), std::string::npos) << refused.raw.body;
  EXPECT_EQ(refused.body.contains("detail"), refused.status == 422);
}

constexpr char kParameter[] = "SANDBOX::INVALID_PARAMETER";
constexpr char kLabel[] = "SANDBOX::INVALID_METADATA_LABEL";
constexpr char kNot[] = "SANDBOX::API_NOT_SUPPORTED";

INSTANTIATE_TEST_SUITE_P(
    Bodies, BadCreateTest,
    ::testing::Values(
        BadCreate{"image_missing", {{"image", nullptr}}, 400, kParameter, "image"},
        BadCreate{"image_uri_missing", {{"image", {{"uri", nullptr}}}}, 422, kParameter, "image"},
        BadCreate{"image_uri_empty", {{"image", {{"uri", ""}}}}, 422, kParameter, "image.uri"},
        BadCreate{"image_not_object", {{"image", "python"}}, 422, kParameter, "image"},
        BadCreate{"entrypoint_missing",
                  {{"entrypoint", nullptr}},
                  400,
                  "DOCKER::INVALID_ENTRYPOINT",
                  "entrypoint"},
        BadCreate{
            "entrypoint_empty", {{"entrypoint", json::array()}}, 422, kParameter, "entrypoint"},
        BadCreate{"entrypoint_empty_word",
                  {{"entrypoint", {""}}},
                  400,
                  "DOCKER::INVALID_ENTRYPOINT",
                  "entrypoint"},
        BadCreate{"entrypoint_long",
                  {{"entrypoint", {"echo", std::string(140'000, 'x')}}},
                  400,
                  "DOCKER::INVALID_ENTRYPOINT",
                  "128 KiB"},
        // 40 000 bytes, of which each takes four in the shell's quotes.
        BadCreate{"entrypoint_long_in_quotes",
                  {{"entrypoint", {"echo", std::string(40'000, '\'')}}},
                  400,
                  "DOCKER::INVALID_ENTRYPOINT",
                  "128 KiB"},
        BadCreate{"timeout_short", {{"timeout", 59}}, 422, kParameter, "timeout"},
        BadCreate{"timeout_text", {{"timeout", "60"}}, 422, kParameter, "timeout"},
        BadCreate{"timeout_fraction", {{"timeout", 60.5}}, 422, kParameter, "timeout"},
        BadCreate{"timeout_long", {{"timeout", 86'401}}, 400, kParameter, "timeout: at most 86400"},
        BadCreate{
            "limits_missing", {{"resourceLimits", nullptr}}, 422, kParameter, "resourceLimits"},
        BadCreate{"limit_not_text",
                  {{"resourceLimits", {{"cpu", 1}}}},
                  422,
                  kParameter,
                  "resourceLimits.cpu"},
        BadCreate{"cpu_word",
                  {{"resourceLimits", {{"cpu", "many"}}}},
                  400,
                  kParameter,
                  "resourceLimits.cpu"},
        BadCreate{"cpu_zero",
                  {{"resourceLimits", {{"cpu", "0"}}}},
                  400,
                  kParameter,
                  "resourceLimits.cpu"},
        BadCreate{"memory_word",
                  {{"resourceLimits", {{"memory", "lots"}}}},
                  400,
                  kParameter,
                  "resourceLimits.memory"},
        BadCreate{"memory_negative",
                  {{"resourceLimits", {{"memory", "-1Gi"}}}},
                  400,
                  kParameter,
                  "resourceLimits.memory"},
        BadCreate{"memory_small",
                  {{"resourceLimits", {{"memory", "1Mi"}}}},
                  400,
                  kParameter,
                  "at least 16Mi"},
        BadCreate{"memory_large",
                  {{"resourceLimits", {{"memory", "9Gi"}}}},
                  400,
                  kParameter,
                  "at most 8192Mi"},
        BadCreate{"disk_beyond_memory",
                  {{"resourceLimits", {{"disk", "1Gi"}}}},
                  400,
                  kParameter,
                  "resourceLimits.disk"},
        BadCreate{
            "gpu", {{"resourceLimits", {{"gpu", "1"}}}}, 400, kParameter, "resourceLimits.gpu"},
        BadCreate{"env_name", {{"env", {{"A=B", "1"}}}}, 400, kParameter, "env"},
        BadCreate{"env_number", {{"env", {{"A", 1}}}}, 422, kParameter, "env.A"},
        BadCreate{
            "env_large", {{"env", {{"A", std::string(100'000, 'x')}}}}, 400, kParameter, "env"},
        BadCreate{
            "label_reserved", {{"metadata", {{"opensandbox.io/a", "1"}}}}, 400, kLabel, "reserved"},
        BadCreate{"label_key", {{"metadata", {{"-a", "1"}}}}, 400, kLabel, "metadata.-a"},
        BadCreate{"label_key_long",
                  {{"metadata", {{std::string(64, 'a'), "1"}}}},
                  400,
                  kLabel,
                  "metadata."},
        BadCreate{"label_prefix", {{"metadata", {{"A_B/c", "1"}}}}, 400, kLabel, "prefix"},
        BadCreate{"label_value", {{"metadata", {{"a", "x y"}}}}, 400, kLabel, "metadata.a"},
        BadCreate{"label_value_long",
                  {{"metadata", {{"a", std::string(64, 'v')}}}},
                  400,
                  kLabel,
                  "metadata.a"},
        BadCreate{"renewal_short",
                  {{"extensions", {{"access.renew.extend.seconds", "299"}}}},
                  400,
                  kParameter,
                  "300 to 86400"},
        BadCreate{
            "platform_os", {{"platform", {{"os", "windows"}}}}, 400, kParameter, "platform.os"},
        BadCreate{
            "platform_arch", {{"platform", {{"arch", "s390x"}}}}, 400, kParameter, "platform.arch"},
        BadCreate{"snapshot", {{"snapshotId", "s"}, {"image", nullptr}}, 501, kNot, "snapshotId"},
        BadCreate{"pool", {{"extensions", {{"poolRef", "p"}}}}, 501, kNot, "poolRef"},
        BadCreate{
            "volumes", {{"volumes", {{{"name", "v"}, {"mountPath", "/v"}}}}}, 501, kNot, "volumes"},
        BadCreate{"secure_access", {{"secureAccess", true}}, 501, kNot, "secureAccess"},
        BadCreate{"credential_proxy",
                  {{"credentialProxy", {{"enabled", true}}}},
                  501,
                  kNot,
                  "credentialProxy"},
        BadCreate{"network_allow",
                  {{"networkPolicy", {{"defaultAction", "allow"}}}},
                  501,
                  kNot,
                  "networkPolicy"},
        BadCreate{"network_rule",
                  {{"networkPolicy",
                    {{"defaultAction", "deny"},
                     {"egress", {{{"action", "allow"}, {"target", "pypi.org"}}}}}}},
                  501,
                  kNot,
                  "networkPolicy"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(LifecycleTest, TakesWhatItNeedNotUnderstand) {
  const Server& server = Shared();
  const std::string id = server.MustCreate(
      {{"secureAccess", false},
       {"volumes", json::array()},
       {"extensions", {{"some.thing", "x"}}},
       {"networkPolicy", {{"defaultAction", "deny"}, {"egress", json::array()}}},
       {"credentialProxy", {{"enabled", false}}},
       {"platform", {{"os", "linux"}}},
       {"resourceLimits", {{"cpu", "500m"}, {"memory", "0.5Gi"}, {"disk", "64M"}, {"pids", "64"}}},
       {"env", {{"A", "1"}, {"B", nullptr}}},
       {"unknown", {1, 2}}});
  EXPECT_EQ(server.Ask("DELETE", "/sandboxes/" + id).status, 204);
}

TEST(LifecycleTest, BodiesThatAreNone) {
  const Server& server = Shared();
  for (const char* body : {"", "{", "[]", "null", "{} {}", "{\"a\":\"\xFF\"}"}) {
    const Answer refused = server.Ask("POST", "/v1/sandboxes", body);
    EXPECT_EQ(refused.status, 422) << body;
    EXPECT_NE(refused.message(), "") << body;
  }
  EXPECT_EQ(server.Ask("POST", "/v1/sandboxes", std::string(300'000, ' ')).status, 413);
  const Answer huge = server.Ask("POST", "/v1/sandboxes", std::string(2 << 20, ' '));
  EXPECT_EQ(huge.status, 413);
  EXPECT_NE(huge.message(), "") << huge.raw.body;
}

TEST(LifecycleTest, UnknownSandboxesAreNotFoundAnywhere) {
  const Server& server = Shared();
  const std::string one = "/v1/sandboxes/00000000-0000-4000-8000-000000000000";
  struct Case {
    const char* method;
    std::string path;
    const char* body;
  };
  for (const Case& call :
       {Case{"GET", one, ""}, Case{"DELETE", one, ""}, Case{"PATCH", one + "/metadata", "{}"},
        Case{"POST", one + "/pause", ""}, Case{"POST", one + "/resume", ""},
        Case{"POST", one + "/renew-expiration", "{\"expiresAt\":\"2999-01-01T00:00:00Z\"}"},
        Case{"GET", one + "/endpoints/44772", ""}, Case{"POST", one + "/fork", ""},
        Case{"POST", one + "/snapshots", "{}"}, Case{"GET", one + "/diagnostics/inspect", ""},
        Case{"GET", one + "/proxy/44772/ping", ""},
        Case{"GET", "/v1/sandboxes/%00%FF%20/proxy/44772/ping", ""},
        Case{"GET", "/v1/snapshots/x", ""}, Case{"DELETE", "/v1/snapshots/x", ""}}) {
    const Answer refused = server.Ask(call.method, call.path, call.body);
    EXPECT_EQ(refused.status, 404) << call.method << " " << call.path << refused.raw.body;
    EXPECT_NE(refused.code(), "") << call.path;
    EXPECT_NE(refused.message(), "") << call.path;
  }
}

TEST(LifecycleTest, RenewalsThatCannotBe) {
  const Server& server = Shared();
  const std::string id = server.MustCreate();
  const std::string forever = server.MustCreate({{"timeout", nullptr}});
  const auto renew = [&](const std::string& which, const std::string& body) {
    return server.Ask("POST", "/v1/sandboxes/" + which + "/renew-expiration", body);
  };
  const auto at = [](std::chrono::seconds from_now) {
    const std::int64_t now = SystemClock().UnixMillis();
    return json{{"expiresAt", Rfc3339Millis(now + 1000 * from_now.count())}}.dump();
  };
  EXPECT_EQ(renew(id, "").status, 422);
  EXPECT_EQ(renew(id, "{}").status, 422);
  EXPECT_EQ(renew(id, R"({"expiresAt":5})").status, 422);
  EXPECT_EQ(renew(id, R"({"expiresAt":"tomorrow"})").status, 422);
  EXPECT_EQ(renew(id, at(-1s)).status, 400);
  EXPECT_EQ(renew(id, at(-1s)).code(), "DOCKER::INVALID_EXPIRATION");
  EXPECT_EQ(renew(id, at(25h)).status, 400);
  EXPECT_EQ(renew(forever, at(600s)).status, 409);
  const Answer renewed = renew(id, at(600s));
  EXPECT_EQ(renewed.status, 200) << renewed.raw.body;
  EXPECT_EQ(server.Ask("GET", "/v1/sandboxes/" + id).body["expiresAt"], renewed.body["expiresAt"]);
  server.Ask("DELETE", "/v1/sandboxes/" + id);
  server.Ask("DELETE", "/v1/sandboxes/" + forever);
}

TEST(LifecycleTest, PausesAndGoesOn) {
  const Server& server = Shared();
  const std::string id = server.MustCreate();
  const std::string one = "/v1/sandboxes/" + id;
  const http::Fields token = server.TokenOf(id);
  EXPECT_EQ(server.Ask("POST", one + "/resume").status, 409);
  EXPECT_EQ(server.Ask("GET", one + "/proxy/44772/ping", "", token).status, 200);
  const Answer paused = server.Ask("POST", one + "/pause");
  EXPECT_EQ(paused.status, 202) << paused.raw.body;
  EXPECT_EQ(paused.raw.Header("Content-Length"), "0");
  EXPECT_EQ(server.Ask("GET", one).body["status"]["state"], "Paused");
  EXPECT_EQ(server.Ask("POST", one + "/pause").status, 409);
  EXPECT_EQ(server.Ask("POST", one + "/fork").status, 409);
  EXPECT_EQ(server.Ask("GET", one + "/proxy/44772/ping", "", token).status, 409);
  EXPECT_EQ(server.Ask("POST", one + "/resume").status, 202);
  EXPECT_EQ(server.Ask("GET", one + "/proxy/44772/ping", "", token).status, 200);
  EXPECT_EQ(server.Ask("DELETE", one).status, 204);
  EXPECT_EQ(server.Ask("GET", one + "/proxy/44772/ping", "", token).status, 404);
}

TEST(LifecycleTest, EachSandboxHasItsOwnToken) {
  const Server& server = Shared();
  const std::string a = server.MustCreate();
  const std::string b = server.MustCreate();
  const std::string ping = "/v1/sandboxes/" + a + "/proxy/44772/ping";
  EXPECT_EQ(server.Ask("GET", ping, "", server.TokenOf(a)).status, 200);
  for (const http::Fields& wrong :
       {http::Fields{}, server.TokenOf(b), http::Fields{{"X-EXECD-ACCESS-TOKEN", "x"}}}) {
    for (const char* port : {"44772/ping", "18080/policy", "8080/x"}) {
      const Answer refused = server.Ask("GET", "/v1/sandboxes/" + a + "/proxy/" + port, "", wrong);
      EXPECT_EQ(refused.status, 401) << port;
      EXPECT_TRUE(refused.body.contains("error")) << refused.raw.body;
      EXPECT_NE(refused.raw.Header("X-Request-Id"), "");
    }
  }
  for (const std::string& id : {a, b}) server.Ask("DELETE", "/v1/sandboxes/" + id);
}

TEST(LifecycleTest, Endpoints) {
  const Server& server = Shared();
  const std::string id = server.MustCreate();
  const std::string one = "/v1/sandboxes/" + id;
  for (const char* port : {"44772", "18080", "1", "65535"}) {
    const Answer got = server.Ask("GET", one + "/endpoints/" + port + "?use_server_proxy=false");
    ASSERT_EQ(got.status, 200) << got.raw.body;
    const std::string endpoint = got.body["endpoint"];
    EXPECT_EQ(endpoint.substr(endpoint.find('/')), one + "/proxy/" + port);
    EXPECT_GT(endpoint.find('/'), 0U) << "as the request called us";
  }
  for (const char* port : {"0", "65536", "-1", "x", "80x"}) {
    EXPECT_EQ(server.Ask("GET", one + "/endpoints/" + port).status, 400) << port;
    EXPECT_EQ(server.Ask("GET", one + "/proxy/" + port + "/x", "", server.TokenOf(id)).status, 400)
        << port;
  }
  EXPECT_EQ(server.Ask("GET", one + "/endpoints/80?expires=1").status, 400);
  EXPECT_EQ(server.Ask("GET", one + "/endpoints/80?use_server_proxy=maybe").status, 422);

  const http::Fields token = server.TokenOf(id);
  const std::string egress = one + "/proxy/18080/";
  EXPECT_EQ(server.Ask("GET", egress + "policy", "", token).body["policy"]["defaultAction"],
            "deny");
  EXPECT_EQ(server.Ask("PATCH", egress + "policy", "[]", token).status, 501);
  EXPECT_EQ(server.Ask("DELETE", egress + "policy", "[]", token).status, 501);
  EXPECT_EQ(server.Ask("GET", egress + "credential-vault", "", token).status, 501);
  EXPECT_EQ(server.Ask("GET", egress + "x", "", token).status, 404);
  EXPECT_EQ(server.Ask("GET", one + "/proxy/9/x", "", token).status, 502);
  server.Ask("DELETE", one);
}

TEST(LifecycleTest, ListsWhatIsAskedFor) {
  const Server server;
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) {
    ids.push_back(server.MustCreate({{"metadata", {{"n", std::to_string(i)}, {"all", "yes"}}}}));
  }
  server.Ask("POST", "/v1/sandboxes/" + ids[0] + "/pause");
  const auto list = [&](const std::string& query) {
    const Answer answer = server.Ask("GET", "/v1/sandboxes?" + query);
    EXPECT_EQ(answer.status, 200) << answer.raw.body;
    std::vector<std::string> found;
    for (const json& item : answer.body["items"]) found.push_back(item["id"]);
    return found;
  };
  using Ids = std::vector<std::string>;
  EXPECT_EQ(list(""), (Ids{ids[2], ids[1], ids[0]}));
  EXPECT_EQ(list("state=paused"), (Ids{ids[0]}));
  EXPECT_EQ(list("state=Paused&state=RUNNING"), (Ids{ids[2], ids[1], ids[0]}));
  EXPECT_EQ(list("state=Allocated"), Ids{});
  EXPECT_EQ(list("metadata=n%3D1%26all%3Dyes"), (Ids{ids[1]}));
  EXPECT_EQ(list("metadata=n%3D%2531"), (Ids{ids[1]})) << "decoded twice";
  EXPECT_EQ(list("metadata=n%3D"), Ids{});
  EXPECT_EQ(list("page=2&pageSize=2"), (Ids{ids[0]}));
  const json page = server.Ask("GET", "/v1/sandboxes?page=1&pageSize=2").body["pagination"];
  EXPECT_EQ(page, json({{"page", 1},
                        {"pageSize", 2},
                        {"totalItems", 3},
                        {"totalPages", 2},
                        {"hasNextPage", true}}));
  for (const char* bad : {"page=0", "page=x", "page=-1", "pageSize=0", "pageSize=201"}) {
    EXPECT_EQ(server.Ask("GET", std::string("/v1/sandboxes?") + bad).status, 422) << bad;
  }
  for (const char* bad : {"metadata=n", "metadata=%3D1", "metadata=a%3D%2525zz%25"}) {
    const Answer refused = server.Ask("GET", std::string("/v1/sandboxes?") + bad);
    EXPECT_EQ(refused.status, 400) << bad;
    EXPECT_EQ(refused.code(), "INVALID_METADATA_FORMAT");
  }
}

TEST(LifecycleTest, MetadataIsMerged) {
  const Server& server = Shared();
  const std::string id = server.MustCreate({{"metadata", {{"a", "1"}, {"b", "2"}}}});
  const std::string path = "/v1/sandboxes/" + id + "/metadata";
  const Answer patched = server.Ask("PATCH", path, R"({"a":null,"c":"3","none":null})");
  EXPECT_EQ(patched.status, 200) << patched.raw.body;
  EXPECT_EQ(patched.body["metadata"], json({{"b", "2"}, {"c", "3"}}));
  EXPECT_EQ(patched.body["id"], id);
  EXPECT_EQ(server.Ask("PATCH", path, R"({"opensandbox.io/x":"1"})").status, 400);
  EXPECT_EQ(server.Ask("PATCH", path, R"({"a":"no blanks"})").status, 400);
  EXPECT_EQ(server.Ask("PATCH", path, R"({"a":1})").status, 422);
  EXPECT_EQ(server.Ask("PATCH", path, "[]").status, 422);
  json many = json::object();
  for (int i = 0; i < 65; ++i) many["k" + std::to_string(i)] = "v";
  EXPECT_EQ(server.Ask("PATCH", path, many.dump()).status, 400);
  EXPECT_EQ(server.Ask("GET", "/v1/sandboxes/" + id).body["metadata"],
            json({{"b", "2"}, {"c", "3"}}));
  server.Ask("DELETE", "/v1/sandboxes/" + id);
}

TEST(LifecycleTest, WhatThereIsNotSaysSo) {
  const Server& server = Shared();
  const std::string id = server.MustCreate();
  const std::string one = "/v1/sandboxes/" + id;
  EXPECT_EQ(server.Ask("POST", one + "/snapshots", "{}").status, 501);
  EXPECT_EQ(server.Ask("GET", "/v1/snapshots").body["items"], json::array());
  EXPECT_EQ(server.Ask("GET", "/v1/snapshots?page=0").status, 422);
  EXPECT_EQ(server.Ask("GET", "/v1/pools").status, 501);
  EXPECT_EQ(server.Ask("GET", "/pools/x").status, 501);
  EXPECT_EQ(server.Ask("GET", one + "/diagnostics/logs").status, 501);
  EXPECT_EQ(server.Ask("GET", one + "/diagnostics/inspect").status, 200);
  EXPECT_EQ(server.Ask("GET", one + "/diagnostics/other").status, 404);
  EXPECT_EQ(server.Ask("POST", "/v1/metrics/events", "{}").status, 204);
  const Answer wrong = server.Ask("PUT", one, "{}");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_NE(wrong.message(), "") << wrong.raw.body;
  EXPECT_EQ(server.Ask("GET", one + "/nothing").status, 404);
  server.Ask("DELETE", one);
}

TEST(LifecycleTest, AForkIsASandboxWithTheSameFiles) {
  const Server& server = Shared();
  const std::string id = server.MustCreate({{"metadata", {{"k", "v"}}}, {"env", {{"E", "env"}}}});
  const auto run = [&](const std::string& which, const std::string& command) {
    return server
        .Ask("POST", "/v1/sandboxes/" + which + "/proxy/44772/command",
             json{{"command", command}}.dump(), server.TokenOf(which))
        .raw.body;
  };
  run(id, "echo kept > file");
  const Answer forked = server.Ask("POST", "/v1/sandboxes/" + id + "/fork");
  ASSERT_EQ(forked.status, 202) << forked.raw.body;
  EXPECT_EQ(forked.body["forkedFrom"], id);
  EXPECT_EQ(forked.body["metadata"], json({{"k", "v"}}));
  const std::string copy = forked.body["id"];
  EXPECT_NE(run(copy, "cat file; echo $E").find("\"kept\""), std::string::npos);
  EXPECT_NE(run(copy, "echo $E").find("\"env\""), std::string::npos);
  for (const std::string& one : {id, copy}) server.Ask("DELETE", "/v1/sandboxes/" + one);
}

TEST(LifecycleKeysTest, ASandboxIsItsAccountsAlone) {
  const Server server({"--sandbox-max-per-account", "2"}, true);
  const Answer missing = server.Create();
  EXPECT_EQ(missing.status, 401);
  EXPECT_EQ(missing.code(), "MISSING_API_KEY");
  const Answer invalid = server.Create(json::object(), {{"OPEN-SANDBOX-API-KEY", "nonsense"}});
  EXPECT_EQ(invalid.status, 401);
  EXPECT_EQ(invalid.code(), "INVALID_API_KEY");

  const std::string id = server.MustCreate(json::object(), server.Key(0));
  const std::string one = "/v1/sandboxes/" + id;
  EXPECT_EQ(server.Ask("GET", one, "", server.Key(0)).status, 200);
  EXPECT_EQ(server.Ask("GET", one, "", {{"x-api-key", server.Key(0)[0].second}}).status, 200);
  EXPECT_EQ(
      server.Ask("GET", one, "", {{"Authorization", "Bearer " + server.Key(0)[0].second}}).status,
      200);
  for (const char* method : {"GET", "DELETE"}) {
    EXPECT_EQ(server.Ask(method, one, "", server.Key(1)).status, 404) << method;
  }
  EXPECT_EQ(server.Ask("GET", one + "/endpoints/44772", "", server.Key(1)).status, 404);
  EXPECT_EQ(server.Ask("GET", "/v1/sandboxes", "", server.Key(1)).body["items"], json::array());
  EXPECT_EQ(server.Ask("GET", "/v1/sandboxes", "", server.Key(0)).body["items"].size(), 1U);
  // The way in is the sandbox's token, not a key.
  const http::Fields token = server.TokenOf(id, server.Key(0));
  EXPECT_EQ(server.Ask("GET", one + "/proxy/44772/ping", "", token).status, 200);
  EXPECT_EQ(server.Ask("GET", one + "/proxy/44772/ping", "", server.Key(0)).status, 401);

  server.MustCreate(json::object(), server.Key(0));
  const Answer third = server.Create(json::object(), server.Key(0));
  EXPECT_EQ(third.status, 429) << third.raw.body;
  EXPECT_NE(third.raw.Header("Retry-After"), "");
  EXPECT_NE(third.message().find("2"), std::string::npos);
  server.MustCreate(json::object(), server.Key(1));
  EXPECT_EQ(server.Ask("DELETE", one, "", server.Key(0)).status, 204);
  server.MustCreate(json::object(), server.Key(0));
}

TEST(LifecycleFullTest, AFullServerSaysSo) {
  const Server server({"--sandbox-max", "2"});
  server.MustCreate();
  server.MustCreate();
  const Answer third = server.Create();
  EXPECT_EQ(third.status, 429) << third.raw.body;
  EXPECT_NE(third.raw.Header("Retry-After"), "");
}

TEST(LifecycleFullTest, EndpointsAreWhereItWasSaid) {
  const Server server({"--sandbox-endpoint", "boxes.example:8443"});
  const std::string one = "/v1/sandboxes/" + server.MustCreate();
  EXPECT_EQ(server.Ask("GET", one + "/endpoints/44772").body["endpoint"],
            "boxes.example:8443" + one + "/proxy/44772");
}

TEST(LifecycleFullTest, WithoutSandboxesThereIsNoSuchApi) {
  const Server server({"--sandbox-max", "0"});
  // Not held against the document, which is of servers that have it.
  const UniqueFd connection = testing::SendRequest(
      server.port(), {.method = "POST", .path = "/v1/sandboxes", .headers = {}, .body = "{}"});
  EXPECT_EQ(testing::ReadAnswer(connection).status, 404);
}

TEST(LifecycleFullTest, MetricsAndHealthCountThem) {
  const Server server;
  server.MustCreate();
  server.MustCreate();
  std::string text;
  for (int i = 0; i < 200; ++i) {
    text = server.Ask("GET", "/metrics").raw.body;
    if (text.find("forkbox_sandboxes 2") != std::string::npos) break;
    std::this_thread::sleep_for(100ms);
  }
  EXPECT_NE(text.find("forkbox_sandboxes 2"), std::string::npos);
  EXPECT_EQ(server.Ask("GET", "/api/v1/health").body["components"]["runners"]["sandboxes"], 2);
}

TEST(LifecycleEndTest, RowsSayThatTheServerWasStopped) {
  Server server;
  const std::string id = server.MustCreate();
  server.process().Signal(SIGTERM);
  EXPECT_EQ(server.process().Wait(), 0) << server.process().Stderr();
}

}  // namespace
}  // namespace forkbox::tests
