// Trees: what lies below a prefix, beside fixed routes.
#include <gtest/gtest.h>

#include <mutex>
#include <string>
#include <vector>

#include "tests/http/http_client.h"
#include "tests/http/trial_server.h"

namespace forkbox::http {
namespace {

// Says which tree it is and what it was given: "name|id=7|/tail".
Handler Say(const std::string& name) {
  return [name](Call& call) {
    std::string text = name;
    for (const auto& [key, value] : call.params) text += "|" + key.substr(1) + "=" + value;
    text += "|" + call.tail;
    call.reply.Send(200, "text/plain", text);
  };
}

struct TreeCase {
  std::string name;
  std::string method;
  std::string target;
  int status;
  std::string body;  // of a 200
};

class HttpTreeTest : public testing::TestWithParam<TreeCase> {};

TEST_P(HttpTreeTest, TheLongestPrefixTakesWhatNoRouteTakes) {
  TrialServer trial;
  Server& server = trial.server();
  server.Tree("/v1/boxes/:id/proxy/:port", Say("proxy"));
  server.Tree("/v1/boxes/:id/proxy/self", Say("self"));
  server.Tree("/v1/boxes/", Say("boxes"));
  server.Tree("/any/*/of", Say("star"));
  server.Route(Method::kGet, "/v1/boxes/:id", Say("route"));
  trial.Start();
  HttpClient client = trial.Connect();
  const TreeCase& c = GetParam();
  ASSERT_TRUE(client.Send(c.method + " " + c.target + " HTTP/1.1\r\nHost: x\r\n\r\n"));
  const auto response = client.Read(kPatience, c.method == "HEAD");
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, c.status) << response->body;
  if (c.status == 200) {
    EXPECT_EQ(response->body, c.body);
  }
  EXPECT_TRUE(trial.IsAlive());
}

INSTANTIATE_TEST_SUITE_P(
    Table, HttpTreeTest,
    testing::Values(
        TreeCase{"route_first", "GET", "/v1/boxes/7", 200, "route|id=7|"},
        TreeCase{"other_method_is_the_trees", "DELETE", "/v1/boxes/7", 200, "boxes|/7"},
        TreeCase{"below", "GET", "/v1/boxes/7/files", 200, "boxes|/7/files"},
        TreeCase{"at_the_prefix", "POST", "/v1/boxes", 200, "boxes|"},
        TreeCase{"slash_is_a_tail", "POST", "/v1/boxes/", 200, "boxes|/"},
        TreeCase{"longest", "PUT", "/v1/boxes/7/proxy/80", 200, "proxy|id=7|port=80|"},
        TreeCase{"tail_as_sent", "PATCH", "/v1/boxes/7/proxy/80/a%2Fb//c/?q=%2F", 200,
                 "proxy|id=7|port=80|/a%2Fb//c/"},
        TreeCase{"param_decoded", "GET", "/v1/boxes/a%2Fb/proxy/80/x", 200,
                 "proxy|id=a/b|port=80|/x"},
        TreeCase{"text_before_name", "GET", "/v1/boxes/7/proxy/self/x", 200, "self|id=7|/x"},
        TreeCase{"empty_segments", "GET", "//v1///boxes/7//proxy/80//x", 200,
                 "proxy|id=7|port=80|//x"},
        TreeCase{"options", "OPTIONS", "/v1/boxes/x/y", 200, "boxes|/x/y"},
        TreeCase{"head_to_the_route_of_get", "HEAD", "/v1/boxes/7", 200, ""},
        TreeCase{"head_to_the_tree", "HEAD", "/v1/boxes/7/x", 200, ""},
        TreeCase{"star", "GET", "/any/thing/of/it", 200, "star|/it"},
        TreeCase{"bad_escape", "GET", "/v1/boxes/%zz/proxy/80", 400, ""},
        TreeCase{"bad_escape_in_the_tail", "GET", "/v1/boxes/7/x/%zz", 200, "boxes|/7/x/%zz"},
        TreeCase{"half_a_segment", "GET", "/v1/boxesandmore", 404, ""},
        TreeCase{"above", "GET", "/v1", 404, ""},
        TreeCase{"fixed_keeps_its_405", "POST", "/q", 405, ""}),
    [](const auto& test) { return test.param.name; });

TEST(HttpTreesTest, TheRootTakesEverythingElse) {
  TrialServer trial;
  trial.server().Tree("/", Say("root"));
  trial.Start();
  HttpClient client = trial.Connect();
  EXPECT_EQ(client.Ask(GetRequest("/"))->body, "root|/");
  EXPECT_EQ(client.Ask(GetRequest("/a/b?c"))->body, "root|/a/b");
  EXPECT_EQ(client.Ask(PostRequest("/q", "x"))->body, "root|/q");
  EXPECT_EQ(client.Ask(GetRequest("/q"))->body, "ok");
}

TEST(HttpTreesTest, HooksAndRecordsKnowThePrefix) {
  std::mutex mutex;
  std::vector<std::string> hooked;
  std::vector<std::string> recorded;
  Server::Options options;
  options.before_handler = [&hooked](const std::string& path, Handler handler) -> Handler {
    hooked.push_back(path);
    return [handler = std::move(handler)](Call& call) {
      if (call.Header("X-Key") == nullptr) {
        call.Answer(401, "text/plain", "no");
      } else {
        handler(call);
      }
    };
  };
  options.on_request = [&](const RequestRecord& record) {
    std::lock_guard lock(mutex);
    recorded.push_back(std::string(record.route) + " " + std::to_string(record.status));
  };
  TrialServer trial(options);
  hooked.clear();
  trial.server().Tree("/t/:id", Say("tree"));
  trial.server().Tree(
      "/taken", [](Call& call) { call.Answer(200, "text/plain", "ok"); },
      [](Method, std::string_view, const Fields&) { return true; });
  trial.Start();
  EXPECT_EQ(hooked, (std::vector<std::string>{"/t/:id", "/taken"}));
  {
    HttpClient client = trial.Connect();
    EXPECT_EQ(client.Ask(GetRequest("/t/1/x"))->status, 401);
    EXPECT_EQ(client.Ask(GetRequest("/t/1/x", "X-Key: k\r\n"))->body, "tree|id=1|/x");
    EXPECT_EQ(client.Ask(GetRequest("/taken/x"))->status, 401);
  }
  EXPECT_TRUE(Eventually([&] { return trial.IsIdle(); }));
  std::lock_guard lock(mutex);
  EXPECT_EQ(recorded, (std::vector<std::string>{"/t/:id 401", "/t/:id 200", "/taken 401"}));
}

}  // namespace
}  // namespace forkbox::http
