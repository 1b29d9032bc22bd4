// `forkbox execd` as a process, and a client for it: what the tests of the face talk to.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/cli/forkbox_process.h"
#include "tests/http/http_client.h"

namespace forkbox::tests {

using Json = nlohmann::json;

struct FaceRequest {
  std::string method = "GET";
  std::string target;
  std::string body = {};
  std::string lines = {};  // further fields, each ending in CR LF
};

// The events of one stream as they arrive. One thread.
class FaceStream {
 public:
  FaceStream(std::uint16_t port, const FaceRequest& request, int receive_buffer_bytes = 0);

  [[nodiscard]] const std::string& head() const { return head_; }
  [[nodiscard]] int status() const;
  // The next event but pings; null at the end of the stream, or when none came in time.
  std::optional<Json> Next(std::chrono::milliseconds patience = std::chrono::seconds(30));
  std::optional<Json> NextOrPing(std::chrono::milliseconds patience = std::chrono::seconds(30));
  // All that are left, without pings.
  std::vector<Json> Rest();
  // The stream was ended as it should be.
  [[nodiscard]] bool complete() const { return complete_; }
  // What of the body was no event.
  [[nodiscard]] const std::string& text() const { return text_; }
  void Close() { client_.Close(); }
  void Reset() { client_.Reset(); }

 private:
  bool Fill(std::chrono::steady_clock::time_point until);
  bool Dechunk();

  http::HttpClient client_;
  std::string head_;
  std::string raw_;   // chunks
  std::string text_;  // what was in them
  bool complete_ = false;
};

class FaceServer {
 public:
  explicit FaceServer(std::vector<std::string> flags = {}, std::string token = "");

  // The one that all tests share that do nothing to it.
  static FaceServer& Shared();

  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] ForkboxProcess& process() { return *process_; }
  [[nodiscard]] std::size_t RssKib() const;

  // One request over a connection of its own.
  http::HttpResponse Ask(const FaceRequest& request) const;
  http::HttpResponse Get(const std::string& target, const std::string& lines = "") const;
  http::HttpResponse Post(const std::string& target, const Json& body) const;
  http::HttpResponse Delete(const std::string& target) const;
  FaceStream Stream(const std::string& target, const Json& body) const;

  // A shell command to its end: its stdout, lines joined by "\n".
  std::string Shell(const std::string& command) const;
  // One file in one multipart body.
  http::HttpResponse Upload(const Json& metadata, std::string_view content) const;

 private:
  TemporaryDirectory directory_;
  std::unique_ptr<ForkboxProcess> process_;
  std::string token_line_;
  std::uint16_t port_ = 0;
};

std::string UrlEncode(std::string_view text);
Json Parse(const std::string& body);

// Parts of a multipart body with the boundary "xyz".
std::string Part(const std::string& name, const std::string& file_name, std::string_view content);
inline constexpr const char* kMultipartLine = "Content-Type: multipart/form-data; boundary=xyz\r\n";

}  // namespace forkbox::tests
