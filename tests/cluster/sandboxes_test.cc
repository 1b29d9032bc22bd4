// Long-lived sandboxes in a cluster: two APIs and two runners, of which each may go away.
#include <gtest/gtest.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/cluster/cluster.h"

namespace forkbox::tests {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

const Cluster::Flags kRunnerFlags{"--sandbox-listen", "127.0.0.1:0"};

Answer Ask(std::uint16_t port, const std::string& method, const std::string& path,
           const std::string& body = "", http::Fields headers = {}) {
  headers.emplace_back("Connection", "close");
  Answer answer;
  answer.raw = testing::ReadAnswer(testing::SendRequest(
      port, {.method = method, .path = path, .headers = headers, .body = body}));
  answer.status = answer.raw.status;
  answer.body = json::parse(answer.raw.body, nullptr, false);
  return answer;
}

struct Place {
  std::uint16_t port = 0;  // where its endpoint is
  std::string path;
  http::Fields token;
};

class ClusterSandboxesTest : public ::testing::Test {
 protected:
  // "" when it was refused.
  static std::string TryCreate(std::uint16_t api, const json& changes = json::object()) {
    json body{{"image", {{"uri", "python:3.11"}}},
              {"entrypoint", {"tail", "-f", "/dev/null"}},
              {"resourceLimits", {{"memory", "128Mi"}}},
              {"timeout", 600}};
    body.merge_patch(changes);
    const Answer made = Ask(api, "POST", "/v1/sandboxes", body.dump());
    return made.status == 202 ? made.body["id"].get<std::string>() : std::string();
  }
  static std::string Create(std::uint16_t api, const json& changes = json::object()) {
    std::string id;
    EXPECT_TRUE(Eventually([&] { return !(id = TryCreate(api, changes)).empty(); }, 30s));
    return id;
  }
  Place EndpointOf(std::uint16_t api, const std::string& id, bool server_proxy) {
    const Answer got = Ask(api, "GET",
                           "/v1/sandboxes/" + id + "/endpoints/44772?use_server_proxy=" +
                               (server_proxy ? "true" : "false"));
    EXPECT_EQ(got.status, 200) << got.raw.body;
    if (got.status != 200) return {};
    const std::string endpoint = got.body["endpoint"];
    const auto slash = endpoint.find('/');
    const auto colon = endpoint.rfind(':', slash);
    Place place{.port = api, .path = {}, .token = {}};  // our Host has no port
    if (colon != std::string::npos) {
      place.port =
          static_cast<std::uint16_t>(std::stoi(endpoint.substr(colon + 1, slash - colon - 1)));
    }
    place.path = endpoint.substr(slash);
    place.token = {{"X-EXECD-ACCESS-TOKEN", got.body["headers"]["X-EXECD-ACCESS-TOKEN"]}};
    return place;
  }
  static std::string Run(const Place& place, const std::string& command) {
    return Ask(place.port, "POST", place.path + "/command", json{{"command", command}}.dump(),
               place.token)
        .raw.body;
  }
  static json State(std::uint16_t api, const std::string& id) {
    const Answer got = Ask(api, "GET", "/v1/sandboxes/" + id);
    if (got.status != 200) return got.status;
    return got.body["status"];
  }

  Cluster cluster_;
};

TEST_F(ClusterSandboxesTest, AnyApiHasAllSandboxesWhereverTheyAre) {
  auto first_runner = cluster_.StartRunner(kRunnerFlags);
  auto second_runner = cluster_.StartRunner(kRunnerFlags);
  auto first_api = cluster_.StartApi();
  auto second_api = cluster_.StartApi();
  const std::uint16_t a = PortOf(*first_api);
  const std::uint16_t b = PortOf(*second_api);
  const std::string id = Create(a, {{"env", {{"E", "env"}}}, {"metadata", {{"k", "v"}}}});
  const Place direct = EndpointOf(b, id, false);
  const Place relayed = EndpointOf(b, id, true);
  EXPECT_NE(direct.port, a);
  EXPECT_NE(direct.port, b);
  EXPECT_EQ(relayed.port, b);
  EXPECT_NE(Run(direct, "echo $E > file; cat file").find("\"env\""), std::string::npos);
  EXPECT_NE(Run(relayed, "cat file").find("\"env\""), std::string::npos);
  Place stranger = relayed;
  stranger.token = {};
  EXPECT_EQ(Ask(b, "GET", stranger.path + "/ping").status, 401);
  EXPECT_EQ(Ask(direct.port, "GET", stranger.path + "/ping").status, 401);
  // A long body goes through as well, without a length.
  const std::string large(3 << 20, 'x');
  const Answer up = Ask(b, "POST", relayed.path + "/files/upload",
                        "--B\r\nContent-Disposition: form-data; name=\"metadata\"; "
                        "filename=\"metadata\"\r\nContent-Type: application/json\r\n\r\n"
                        "{\"path\":\"/box/work/large\"}\r\n--B\r\nContent-Disposition: form-data; "
                        "name=\"file\"; filename=\"large\"\r\n\r\n" +
                            large + "\r\n--B--\r\n",
                        {relayed.token[0], {"Content-Type", "multipart/form-data; boundary=B"}});
  EXPECT_EQ(up.status, 200) << up.raw.body;
  EXPECT_EQ(Ask(b, "GET", relayed.path + "/files/download?path=/box/work/large", "", relayed.token)
                .raw.body.size(),
            large.size());

  EXPECT_EQ(Ask(b, "POST", "/v1/sandboxes/" + id + "/pause").status, 202);
  EXPECT_EQ(State(a, id)["state"], "Paused");
  EXPECT_EQ(Ask(a, "GET", relayed.path + "/ping", "", relayed.token).status, 409);
  EXPECT_EQ(Ask(a, "POST", "/v1/sandboxes/" + id + "/resume").status, 202);
  EXPECT_EQ(Ask(a, "POST", "/v1/sandboxes/" + id + "/resume").status, 409);
  EXPECT_EQ(Ask(a, "GET", relayed.path + "/ping", "", relayed.token).status, 200);
  EXPECT_EQ(Ask(b, "GET", "/v1/sandboxes?metadata=k%3Dv").body["items"].size(), 1U);
  const Answer forked = Ask(b, "POST", "/v1/sandboxes/" + id + "/fork");
  ASSERT_EQ(forked.status, 202) << forked.raw.body;
  EXPECT_NE(Run(EndpointOf(a, forked.body["id"], true), "cat file; echo $E").find("\"env\""),
            std::string::npos);

  // An API that dies takes nothing with it.
  first_api->Signal(SIGKILL);
  first_api->Wait();
  first_api = cluster_.StartApi();
  const std::uint16_t again = PortOf(*first_api);
  EXPECT_EQ(State(again, id)["state"], "Running");
  EXPECT_NE(Run(EndpointOf(again, id, true), "cat file").find("\"env\""), std::string::npos);
  EXPECT_EQ(Ask(again, "DELETE", "/v1/sandboxes/" + id).status, 204);
  EXPECT_EQ(State(b, id), 404);
  EXPECT_EQ(Ask(b, "GET", relayed.path + "/ping", "", relayed.token).status, 404);

  // Only API processes may ask runners for something.
  EXPECT_EQ(Ask(direct.port, "POST", "/internal/sandboxes", "{}").status, 401);
  EXPECT_EQ(Ask(direct.port, "DELETE", "/internal/sandboxes/" + id, "",
                {{"X-Forkbox-Control", std::string(64, '0')}})
                .status,
            401);
}

TEST_F(ClusterSandboxesTest, ARunnerThatDiesTakesItsSandboxesAndSaysSo) {
  auto doomed = cluster_.StartRunner(kRunnerFlags);
  auto stays = cluster_.StartRunner(kRunnerFlags);
  auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  std::vector<std::pair<std::string, Place>> made;
  std::set<std::uint16_t> runners;
  // The one with more room takes the next one, as soon as its heartbeat says so.
  ASSERT_TRUE(Eventually([&] {
    const std::string id = Create(port);
    made.emplace_back(id, EndpointOf(port, id, false));
    runners.insert(made.back().second.port);
    std::this_thread::sleep_for(500ms);
    return runners.size() == 2;
  }));

  doomed->Signal(SIGKILL);
  doomed->Wait();
  const auto served = [](const Place& place) {
    return Ask(place.port, "GET", place.path + "/ping", "", place.token).status;
  };
  std::size_t lost = 0;
  for (const auto& [id, place] : made) {
    if (served(place) == 200) {
      EXPECT_EQ(State(port, id)["state"], "Running");
      continue;
    }
    ++lost;
    const Place relayed{port, place.path, place.token};
    const int early = served(relayed);
    EXPECT_TRUE(early == 502 || early == 410) << early;
    ASSERT_TRUE(Eventually([&] { return State(port, id)["state"] == "Failed"; }));
    EXPECT_EQ(State(port, id)["reason"], "runner_lost");
    EXPECT_TRUE(Eventually([&] { return served(relayed) == 410; }));
    EXPECT_EQ(Ask(port, "GET", "/v1/sandboxes/" + id + "/endpoints/44772").status, 409);
    EXPECT_EQ(Ask(port, "POST", "/v1/sandboxes/" + id + "/pause").status, 409);
    EXPECT_EQ(Ask(port, "DELETE", "/v1/sandboxes/" + id).status, 204);
    EXPECT_EQ(Ask(port, "DELETE", "/v1/sandboxes/" + id).status, 404);
    EXPECT_EQ(State(port, id), 404);
  }
  EXPECT_GE(lost, 1U);
  EXPECT_LT(lost, made.size());

  // The other one goes in order: its sandboxes have ended, nothing failed.
  stays->Signal(SIGTERM);
  EXPECT_EQ(stays->Wait(), 0) << stays->Stderr();
  for (const auto& [id, place] : made) {
    const json state = State(port, id);
    EXPECT_TRUE(state == 404 || (state.is_object() && state["state"] == "Failed")) << state;
  }
  const Answer nobody =
      Ask(port, "POST", "/v1/sandboxes",
          R"({"image":{"uri":"x"},"entrypoint":["tail","-f","/dev/null"],"resourceLimits":{}})");
  EXPECT_EQ(nobody.status, 503) << nobody.raw.body;
}

TEST_F(ClusterSandboxesTest, AnOutageOfTheDatabaseEndsNoSandbox) {
  auto runner = cluster_.StartRunner(kRunnerFlags);
  auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  const std::string id = Create(port);
  const Place direct = EndpointOf(port, id, false);
  ASSERT_NE(Run(direct, "echo kept > file; cat file").find("\"kept\""), std::string::npos);
  Cluster::postgres().Stop();
  std::this_thread::sleep_for(20s);  // longer than a runner may stay unseen; nobody asks the API
  Cluster::postgres().Restart();
  for (int i = 0; i < 20; ++i) {
    const json state = State(port, id);
    EXPECT_TRUE(!state.is_object() || state["state"] == "Running") << state;
    std::this_thread::sleep_for(250ms);
  }
  ASSERT_TRUE(Eventually([&] { return State(port, id).is_object(); }));
  EXPECT_EQ(State(port, id)["state"], "Running");
  EXPECT_NE(Run(direct, "cat file").find("\"kept\""), std::string::npos);
}

TEST_F(ClusterSandboxesTest, OneSandboxHasItsShareOfWhatIsHandedOn) {
  auto runner = cluster_.StartRunner(kRunnerFlags);
  auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  const Place greedy = EndpointOf(port, Create(port), true);
  const Place other = EndpointOf(port, Create(port), true);
  const auto ping = [&](const Place& place) {
    return Ask(port, "GET", place.path + "/ping", "", place.token).status;
  };
  ASSERT_EQ(ping(greedy), 200);
  // Bodies that do not come.
  std::vector<UniqueFd> slow;
  const auto one_more = [&] {
    http::Fields headers = greedy.token;
    headers.emplace_back("Content-Length", "1000");
    slow.push_back(testing::SendRequest(
        port, {.method = "GET", .path = greedy.path + "/ping", .headers = headers, .body = ""}));
  };
  for (int i = 0; i < 64; ++i) one_more();
  // On a busy machine the first may have been given up before the last is handed on.
  EXPECT_TRUE(Eventually(
      [&] {
        if (ping(greedy) == 429) return true;
        one_more();
        return false;
      },
      60s));
  EXPECT_EQ(ping(other), 200);
  slow.clear();
  EXPECT_TRUE(Eventually([&] { return ping(greedy) == 200; }, 60s));
}

TEST_F(ClusterSandboxesTest, AnApiThatStopsWaitsForNoRunner) {
  auto runner = cluster_.StartRunner(kRunnerFlags);
  auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  Create(port);
  runner->Signal(SIGSTOP);
  std::jthread client([&] { TryCreate(port); });
  std::this_thread::sleep_for(1s);
  const auto begun = std::chrono::steady_clock::now();
  api->Signal(SIGTERM);
  std::this_thread::sleep_for(200ms);
  api->Signal(SIGTERM);  // now
  api->Wait();
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 25s) << "a call may take 30 s";
  runner->Signal(SIGCONT);
}

TEST_F(ClusterSandboxesTest, ARunnerThatStartsAnewOwnsUpToWhatItLost) {
  Cluster::Flags flags = kRunnerFlags;
  flags.insert(flags.end(), {"--runner-id", "the-one"});
  auto runner = cluster_.StartRunner(flags);
  auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  const std::string id = Create(port);
  runner->Signal(SIGKILL);
  runner->Wait();
  runner = cluster_.StartRunner(flags);
  ASSERT_TRUE(Eventually([&] { return State(port, id)["state"] == "Failed"; }));
  EXPECT_EQ(State(port, id)["reason"], "runner_restarted");
  EXPECT_NE(Run(EndpointOf(port, Create(port), false), "echo anew").find("\"anew\""),
            std::string::npos);
}

}  // namespace
}  // namespace forkbox::tests
