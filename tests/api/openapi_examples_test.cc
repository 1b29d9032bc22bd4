// The document's own examples against the real program: whoever pastes one gets what it promises.
// Each answer is held against the document by the client.
#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/rfc3339.h"
#include "tests/api/http_client.h"
#include "tests/api/openapi_contract.h"
#include "tests/cli/forkbox_process.h"

namespace forkbox::tests {
namespace {

using nlohmann::json;
using testing::Fetch;
using testing::HttpAnswer;
using testing::OpenApi;

class OpenApiExamplesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(directory_.path() / "keys.json") << R"(["exec0_abc123"])";
    server_ = std::make_unique<ForkboxProcess>(
        directory_.path(),
        std::vector<std::string>{"serve", "--listen", "127.0.0.1:0", "--data-dir", "var",
                                 "--keys-file", "keys.json"});
    const std::string url = server_->WaitForUrl();
    ASSERT_NE(url, "") << server_->Stderr();
    port_ = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  }

  HttpAnswer Ask(const std::string& method, const std::string& path, const std::string& body = "") {
    http::Fields headers{{"Authorization", "Bearer exec0_abc123"}};
    if (!body.empty()) headers.push_back({"Content-Type", "application/json"});
    return Fetch(port_, {method, path, headers, body});
  }

  std::string NewKey() {
    const HttpAnswer made =
        Ask("POST", "/api/v1/keys", R"({"name":"one of many","permissions":["read_only"]})");
    return json::parse(made.body).value("keyId", "");
  }

  TemporaryDirectory directory_;
  std::unique_ptr<ForkboxProcess> server_;
  std::uint16_t port_ = 0;
};

std::vector<json> ExamplesOf(const json& operation) {
  const json& media = operation["requestBody"]["content"]["application/json"];
  if (media.contains("example")) return {media["example"]};
  std::vector<json> examples;
  for (const auto& [name, example] : media["examples"].items()) {
    examples.push_back(example["value"]);
  }
  return examples;
}

TEST_F(OpenApiExamplesTest, EveryExampleOfARequestIsTaken) {
  std::size_t sent = 0;
  for (const auto& [path, item] : OpenApi()["paths"].items()) {
    if (!item.contains("post") || !item["post"].contains("requestBody")) continue;
    if (path.find('{') != path.npos) continue;  // see AndThoseOfASandbox
    for (json example : ExamplesOf(item["post"])) {
      if (example.contains("keyId")) example["keyId"] = NewKey();
      const HttpAnswer answer = Ask("POST", path, example.dump());
      const bool asks_for_a_job = example.contains("job_id");
      EXPECT_EQ(answer.status / 100, asks_for_a_job ? 4 : 2) << path << ": " << answer.body;
      const json body = json::parse(answer.body, nullptr, false);
      if (path == "/api/v1/execute" && answer.status == 200) {
        EXPECT_EQ(body["status"], "completed") << answer.body;
      }
      if (path == "/api/v1/execute" && example.contains("tests")) {
        EXPECT_EQ(body["summary"]["passed"], body["summary"]["total"]) << answer.body;
      }
      if (path == "/v1/exec") {
        EXPECT_EQ(body["exit_code"], 0) << answer.body;
      }
      ++sent;
    }
  }
  EXPECT_GT(sent, 15U);
}

TEST_F(OpenApiExamplesTest, AndThoseOfASandbox) {
  const json& paths = OpenApi()["paths"];
  json wanted = ExamplesOf(paths["/v1/sandboxes"]["post"])[0];
  wanted["timeout"] = 600;  // one that never expires cannot be renewed
  const HttpAnswer made = Ask("POST", "/v1/sandboxes", wanted.dump());
  ASSERT_EQ(made.status, 202) << made.body;
  const std::string root = "/v1/sandboxes/{id}/";
  const std::string own = "/v1/sandboxes/" + json::parse(made.body)["id"].get<std::string>() + "/";
  const json endpoint = json::parse(Ask("GET", own + "endpoints/44772").body);
  const http::Fields token{{"X-EXECD-ACCESS-TOKEN", endpoint["headers"]["X-EXECD-ACCESS-TOKEN"]},
                           {"Authorization", "Bearer exec0_abc123"},
                           {"Content-Type", "application/json"}};
  const auto ask = [&](const std::string& method, const std::string& path, const json& body) {
    return Fetch(port_, {method, own + path, token, body.dump()});
  };
  const json shell = json::parse(ask("POST", "proxy/44772/session", json::object()).body);
  std::size_t sent = 0;
  for (const auto& [path, item] : paths.items()) {
    if (!path.starts_with(root)) continue;
    std::string below = path.substr(root.size());
    if (const auto at = below.find("{sessionId}"); at != below.npos) {
      below.replace(at, 11, shell["session_id"].get<std::string>());
    }
    for (const char* method : {"post", "patch"}) {
      if (!item.contains(method) || !item[method].contains("requestBody")) continue;
      const json& content = item[method]["requestBody"]["content"];
      if (!content.contains("application/json")) continue;  // of several parts
      for (json example : ExamplesOf(item[method])) {
        if (example.contains("expiresAt")) {
          example["expiresAt"] = Rfc3339Millis(SystemClock().UnixMillis() + 600'000);
        }
        // What examples speak of.
        const std::string folder = "/tmp/forkbox-example";
        ask("POST", "proxy/44772/command",
            {{"command", "rm -rf b " + folder + "; printf blue > a.txt" +
                             (below.ends_with("directories") ? "" : "; touch " + folder)}});
        const HttpAnswer answer =
            ask(method == std::string("post") ? "POST" : "PATCH", below, example);
        EXPECT_EQ(answer.status / 100, 2) << below << ": " << answer.body;
        ++sent;
      }
    }
  }
  EXPECT_GT(sent, 12U);
  EXPECT_EQ(Ask("DELETE", own).status, 204);
}

TEST_F(OpenApiExamplesTest, EveryQuestionHasAnAnswer) {
  // So that there is something to list.
  const HttpAnswer ran =
      Ask("POST", "/api/v1/execute", R"json({"language":"python","code":"print(1)"})json");
  ASSERT_EQ(ran.status, 200);
  for (const auto& [path, item] : OpenApi()["paths"].items()) {
    if (!item.contains("get") || path.find('{') != path.npos) continue;
    // The toolkit's test of a storage that there is none of; pools, which there are not.
    const int expected = path == "/v1/toolkit/test" ? 500 : path == "/v1/pools" ? 501 : 200;
    EXPECT_EQ(Ask("GET", path).status, expected) << path;
    EXPECT_EQ(Ask("HEAD", path).status, expected) << path;
  }
}

TEST_F(OpenApiExamplesTest, TheProgramFindsItsBundle) {
  const std::string page = Ask("GET", "/scalar").body;
  const std::size_t begin = page.find("/scalar/scalar-");
  ASSERT_NE(begin, page.npos) << page;
  const HttpAnswer bundle = Ask("GET", page.substr(begin, page.find('"', begin) - begin));
  EXPECT_EQ(bundle.status, 200);
  EXPECT_GT(bundle.body.size(), 1U << 20);
}

}  // namespace
}  // namespace forkbox::tests
