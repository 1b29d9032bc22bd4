// `forkbox serve` with sandboxes, as a client of the lifecycle API sees it.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/api/http_client.h"
#include "tests/api/openapi_contract.h"
#include "tests/cli/forkbox_process.h"

namespace forkbox::tests {

struct LifecycleAnswer {
  int status = 0;
  nlohmann::json body;
  testing::HttpAnswer raw;

  [[nodiscard]] std::string code() const { return Text("code"); }
  [[nodiscard]] std::string message() const { return Text("message"); }

 private:
  [[nodiscard]] std::string Text(const char* name) const {
    return body.is_object() && body.contains(name) && body[name].is_string()
               ? body[name].get<std::string>()
               : std::string();
  }
};

class LifecycleServer {
 public:
  explicit LifecycleServer(std::vector<std::string> flags = {}, bool keys = false) {
    if (keys) {
      for (const char* account : {"alice", "bob"}) {
        ForkboxProcess made(directory_.path(), {"keys", "create", "--owner", account});
        EXPECT_EQ(made.Wait(), 0) << made.Stderr();
        keys_.push_back(made.Stdout().substr(0, made.Stdout().find('\n')));
      }
    }
    flags.insert(flags.begin(), {"serve", "--listen", "127.0.0.1:0"});
    process_ = std::make_unique<ForkboxProcess>(directory_.path(), flags);
    const std::string url = process_->WaitForUrl();
    EXPECT_NE(url, "") << process_->Stderr();
    if (!url.empty()) {
      port_ = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
    }
  }

  LifecycleAnswer Ask(const std::string& method, const std::string& path,
                      const std::string& body = "", http::Fields headers = {}) const {
    headers.emplace_back("Connection", "close");
    const UniqueFd connection = testing::SendRequest(
        port_, {.method = method, .path = path, .headers = headers, .body = body});
    LifecycleAnswer answer;
    answer.raw = testing::ReadAnswer(connection);
    answer.status = answer.raw.status;
    testing::CheckAgainstOpenApi({.method = method,
                                  .target = path,
                                  .request_headers = headers,
                                  .request_body = body,
                                  .status = answer.status,
                                  .headers = answer.raw.headers,
                                  .body = answer.raw.body});
    answer.body = nlohmann::json::parse(answer.raw.body, nullptr, false);
    return answer;
  }
  LifecycleAnswer Create(const nlohmann::json& changes = nlohmann::json::object(),
                         const http::Fields& headers = {}) const {
    nlohmann::json body{{"image", {{"uri", "python:3.11"}}},
                        {"entrypoint", {"tail", "-f", "/dev/null"}},
                        {"resourceLimits", {{"cpu", "1"}, {"memory", "256Mi"}}},
                        {"timeout", 120}};
    body.merge_patch(changes);
    return Ask("POST", "/v1/sandboxes", body.dump(), headers);
  }
  std::string MustCreate(const nlohmann::json& changes = nlohmann::json::object(),
                         const http::Fields& headers = {}) const {
    const LifecycleAnswer made = Create(changes, headers);
    EXPECT_EQ(made.status, 202) << made.raw.body;
    return made.status == 202 ? made.body["id"].get<std::string>() : std::string("none");
  }
  // The token of one.
  [[nodiscard]] http::Fields TokenOf(const std::string& id,
                                     const http::Fields& headers = {}) const {
    const LifecycleAnswer endpoint =
        Ask("GET", "/v1/sandboxes/" + id + "/endpoints/44772", "", headers);
    EXPECT_EQ(endpoint.status, 200) << endpoint.raw.body;
    return {{"X-EXECD-ACCESS-TOKEN",
             endpoint.body["headers"]["X-EXECD-ACCESS-TOKEN"].get<std::string>()}};
  }
  [[nodiscard]] http::Fields Key(std::size_t which) const {
    return {{"OPEN-SANDBOX-API-KEY", keys_[which]}};
  }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  ForkboxProcess& process() { return *process_; }

 private:
  TemporaryDirectory directory_;
  std::vector<std::string> keys_;
  std::unique_ptr<ForkboxProcess> process_;
  std::uint16_t port_ = 0;
};

}  // namespace forkbox::tests
