// The lifecycle API when many ask at once, and some of them mean no good.
#include <gtest/gtest.h>
#include <poll.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "tests/execd/lifecycle_server.h"

namespace forkbox::tests {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using Answer = LifecycleAnswer;
using Server = LifecycleServer;

bool Answered(const UniqueFd& connection) {
  pollfd one{connection.get(), POLLIN, 0};
  return ::poll(&one, 1, 0) > 0;
}

// Stops whoever packs its files, so that a fork takes as long as forks may.
std::string MakeStubborn(const Server& server, const http::Fields& headers = {}) {
  const std::string id = server.MustCreate({{"resourceLimits", {{"memory", "192Mi"}}}}, headers);
  const std::string command =
      "head -c 40000000 /dev/urandom > large; echo 'while :; do for p in /proc/[0-9]*; do"
      " read -r c < $p/comm; [ \"$c\" = tar ] && kill -STOP ${p#/proc/};"
      " done 2>/dev/null; done' > guard; setsid bash guard > /dev/null 2>&1 & sleep 0.3";
  const Answer ran = server.Ask("POST", "/v1/sandboxes/" + id + "/proxy/44772/command",
                                json{{"command", command}}.dump(), server.TokenOf(id, headers));
  EXPECT_EQ(ran.status, 200) << ran.raw.body;
  return id;
}

UniqueFd AskForFork(const Server& server, const std::string& id, http::Fields headers = {}) {
  headers.emplace_back("Connection", "close");
  return testing::SendRequest(
      server.port(),
      {.method = "POST", .path = "/v1/sandboxes/" + id + "/fork", .headers = headers, .body = ""});
}

TEST(LifecycleManyTest, ForksThatDoNotEndHoldNobodyUp) {
  const Server server;
  const std::string source = MakeStubborn(server);
  std::vector<UniqueFd> forks;
  for (int i = 0; i < 20; ++i) forks.push_back(AskForFork(server, source));
  std::this_thread::sleep_for(1s);
  EXPECT_EQ(server.Ask("GET", "/v1/sandboxes").status, 200);
  const std::string other = server.MustCreate({{"resourceLimits", {{"memory", "64Mi"}}}});
  EXPECT_TRUE(std::ranges::none_of(forks, Answered)) << "all of them are under way or wait";
  EXPECT_EQ(server.Ask("DELETE", "/v1/sandboxes/" + other).status, 204);
  EXPECT_EQ(server.Ask("DELETE", "/v1/sandboxes/" + source).status, 204);
  for (const UniqueFd& fork : forks) {
    const int status = testing::ReadAnswer(fork).status;
    EXPECT_TRUE(status == 503 || status == 404) << status;
  }
  EXPECT_EQ(server.Ask("GET", "/v1/sandboxes").body["items"], json::array());
}

TEST(LifecycleManyTest, AnAccountHasOneForkAtATime) {
  const Server server({}, /*keys=*/true);
  const std::string source = MakeStubborn(server, server.Key(0));
  const UniqueFd first = AskForFork(server, source, server.Key(0));
  std::this_thread::sleep_for(1s);
  ASSERT_FALSE(Answered(first));
  const Answer second = server.Ask("POST", "/v1/sandboxes/" + source + "/fork", "", server.Key(0));
  EXPECT_EQ(second.status, 429) << second.raw.body;
  EXPECT_EQ(second.code(), "SANDBOX::TOO_MANY_FORKS");
  const std::string bobs = server.MustCreate(json::object(), server.Key(1));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(server.Ask("POST", "/v1/sandboxes/" + bobs + "/fork", "", server.Key(1)).status, 202)
        << "one after the other is as it should be";
  }
  server.Ask("DELETE", "/v1/sandboxes/" + source, "", server.Key(0));
  testing::ReadAnswer(first);
}

TEST(LifecycleManyTest, NoPatchOfManyIsLost) {
  const Server server;
  const std::string id = server.MustCreate();
  constexpr int kClients = 6;
  constexpr int kPatches = 5;
  {
    std::vector<std::jthread> clients;
    for (int client = 0; client < kClients; ++client) {
      clients.emplace_back([&, client] {
        for (int i = 0; i < kPatches; ++i) {
          const std::string key = "c" + std::to_string(client) + "-" + std::to_string(i);
          EXPECT_EQ(
              server.Ask("PATCH", "/v1/sandboxes/" + id + "/metadata", json{{key, "v"}}.dump())
                  .status,
              200);
        }
      });
    }
  }
  EXPECT_EQ(server.Ask("GET", "/v1/sandboxes/" + id).body["metadata"].size(),
            std::size_t{kClients * kPatches});
}

TEST(LifecycleManyTest, OneQueryMayNameManyFiles) {
  const Server server;
  const std::string id = server.MustCreate();
  std::string query = "path=/box/work";
  for (int i = 0; i < 1'000; ++i) query += "&path=/box/work";
  const Answer named = server.Ask("GET", "/v1/sandboxes/" + id + "/proxy/44772/files/info?" + query,
                                  "", server.TokenOf(id));
  EXPECT_EQ(named.status, 200) << named.raw.body.substr(0, 500);
}

TEST(LifecycleManyTest, ToUseItDoesNotRenewItBeyondWhatIsAllowed) {
  const Server server({"--sandbox-max-timeout-seconds", "600"});
  const auto with = [](const char* seconds) {
    return json{{"extensions", {{"access.renew.extend.seconds", seconds}}}};
  };
  const Answer refused = server.Create(with("601"));
  EXPECT_EQ(refused.status, 400) << refused.raw.body;
  EXPECT_NE(refused.message().find("access.renew.extend.seconds: at most 600"), std::string::npos)
      << refused.raw.body;
  EXPECT_EQ(server.Create(with("600")).status, 202);
}

}  // namespace
}  // namespace forkbox::tests
