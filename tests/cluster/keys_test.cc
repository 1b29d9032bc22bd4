// Keys of one account on several API processes over PostgreSQL.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/cluster/cluster.h"

namespace forkbox::tests {
namespace {

using nlohmann::json;

class ClusterKeysTest : public ::testing::Test {
 protected:
  // Of the command line, beside running servers.
  std::string Run(std::vector<std::string> args) {
    args.insert(args.end(), {"--database", cluster_.database_url()});
    ForkboxProcess process(cluster_.directory().path(), args);
    EXPECT_EQ(process.Wait(), 0) << process.Stderr();
    const std::string out = process.Stdout();
    return out.substr(0, out.find('\n'));
  }
  static Answer Ask(const Cluster::Process& api, const char* method, const std::string& path,
                    const std::string& key, const json& body = nullptr) {
    http::Fields headers{{"Authorization", "Bearer " + key}};
    if (!body.is_null()) headers.push_back({"Content-Type", "application/json"});
    Answer answer;
    answer.raw =
        testing::Fetch(PortOf(*api), {method, path, headers, body.is_null() ? "" : body.dump()});
    answer.status = answer.raw.status;
    answer.body = json::parse(answer.raw.body, nullptr, false);
    return answer;
  }
  static int Status(const Cluster::Process& api, const std::string& key) {
    return Ask(api, "GET", "/api/v1/limits", key).status;
  }

  Cluster cluster_;
};

TEST_F(ClusterKeysTest, WhatOneProcessDoesToKeysHoldsOnTheOthers) {
  const std::string first = Run({"keys", "create", "--owner", "acme"});
  const auto a = cluster_.StartApi();
  const auto b = cluster_.StartApi();
  EXPECT_EQ(Status(a, first), 200);
  EXPECT_EQ(Status(b, ""), 401);

  // Made on one, it is good on the other in the next moment, again and again.
  std::vector<json> made;
  for (int i = 0; i < 5; ++i) {
    made.push_back(
        Ask(a, "POST", "/api/v1/keys", first, {{"name", "n"}, {"permissions", {"full_access"}}})
            .body);
    EXPECT_EQ(Status(b, made.back()["key"]), 200);
  }
  const std::string key = made[0]["key"];
  const std::string id = made[0]["id"];

  // Changed, disabled, rotated, revoked on one: on the other soon, there at once.
  Ask(a, "PATCH", "/api/v1/keys/" + id, first, {{"permissions", {"execute_only"}}});
  EXPECT_EQ(Ask(a, "GET", "/api/v1/usage", key).status, 403);
  EXPECT_TRUE(Eventually([&] { return Ask(b, "GET", "/api/v1/usage", key).status == 403; }));
  Ask(b, "POST", "/api/v1/keys/disable", first, {{"keyId", id}});
  EXPECT_EQ(Status(b, key), 403);
  EXPECT_TRUE(Eventually([&] { return Status(a, key) == 403; }));
  Ask(b, "POST", "/api/v1/keys/enable", first, {{"keyId", id}});
  EXPECT_TRUE(Eventually([&] { return Status(a, key) == 200; }));
  const Answer rotated = Ask(a, "POST", "/api/v1/keys/rotate", first, {{"keyId", id}});
  EXPECT_EQ(Status(b, rotated.body["key"]), 200);
  EXPECT_TRUE(Eventually([&] { return Status(b, key) == 401; }));
  Ask(b, "DELETE", "/api/v1/keys/" + rotated.body["id"].get<std::string>(), first);
  EXPECT_TRUE(Eventually([&] { return Status(a, rotated.body["key"]) == 401; }));
  Run({"keys", "revoke", made[1]["id"]});
  EXPECT_TRUE(Eventually([&] { return Status(a, made[1]["key"]) == 401; }));

  // And limits that are set from outside.
  Run({"accounts", "set", "acme", "--per-minute", "7", "--monthly-quota", "70"});
  for (const auto* api : {&a, &b}) {
    EXPECT_TRUE(Eventually([&] {
      const json limits = Ask(*api, "GET", "/api/v1/limits", first).body;
      return limits["rate"]["executionsPerMinute"] == 7 && limits["quota"]["monthly"] == 70;
    }));
  }

  // When each was last used is known to both in the end.
  EXPECT_TRUE(Eventually([&] {
    const json keys = Ask(b, "GET", "/api/v1/keys", first).body["data"];
    for (const json& one : keys) {
      if (one["id"] == id) return one.contains("lastUsedAt");
    }
    return false;
  }));
  // Everything that was done is in the audit log, with the key it was done with, or none.
  const json log = Ask(a, "GET", "/api/v1/audit", first).body["data"];
  std::map<std::string, int> times;
  for (const json& entry : log) ++times[entry["action"]];
  EXPECT_EQ(times["key.created"], 7) << log.dump();
  EXPECT_EQ(times["key.revoked"], 2);
  EXPECT_EQ(times["key.rotated"], 1);
  EXPECT_EQ(times["key.changed"], 1);
  EXPECT_EQ(times["account.limits_set"], 1);
  EXPECT_EQ(log.back()["keyId"], "") << "the command line";
  EXPECT_EQ(log.back()["clientAddress"], "");
}

TEST_F(ClusterKeysTest, TheFirstKeyTurnsThemOnEverywhere) {
  const auto a = cluster_.StartApi();
  const auto b = cluster_.StartApi();
  EXPECT_EQ(Status(a, ""), 200);
  const std::string first = Run({"keys", "create"});
  EXPECT_EQ(Status(b, first), 200);
  for (const auto* api : {&a, &b}) {
    EXPECT_TRUE(Eventually([&] { return Status(*api, "") == 401; }));
  }
}

TEST_F(ClusterKeysTest, WithoutTheDatabaseAStrangersKeyIsNotCalledWrong) {
  const std::string known = Run({"keys", "create"});
  const auto api = cluster_.StartApi();
  ASSERT_EQ(Status(api, known), 200);
  const std::string fresh = Run({"keys", "create"});
  std::string made_up = fresh;
  made_up.back() = made_up.back() == 'a' ? 'b' : 'a';
  EXPECT_EQ(Status(api, made_up), 401);
  Cluster::postgres().Stop();
  made_up.back() = made_up.back() == 'c' ? 'd' : 'c';
  const Answer asked = Ask(api, "GET", "/api/v1/queue", made_up);
  EXPECT_EQ(asked.status, 503);
  EXPECT_NE(asked.raw.Header("Retry-After"), "");
  EXPECT_NE(Ask(api, "GET", "/api/v1/queue", known).status, 401) << "it goes on being known";
  EXPECT_EQ(Ask(api, "GET", "/v1/metrics", made_up).status, 200);
  Cluster::postgres().Restart();
  EXPECT_TRUE(Eventually([&] { return Status(api, made_up) == 401; }));
  EXPECT_TRUE(Eventually([&] { return Status(api, fresh) == 200; }));
}

}  // namespace
}  // namespace forkbox::tests
