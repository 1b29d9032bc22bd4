#include "tests/execd/face_server.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <utility>

#include "tests/api/openapi_contract.h"

namespace forkbox::tests {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

std::string Text(const FaceRequest& request) {
  std::string text =
      request.method + " " + request.target + " HTTP/1.1\r\nHost: test\r\n" + request.lines;
  if (request.method != "GET" && request.method != "HEAD" &&
      request.lines.find("ontent-Length:") == std::string::npos &&
      request.lines.find("Transfer-Encoding:") == std::string::npos) {
    text += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  }
  return text + "\r\n" + request.body;
}

// The document has execd where a sandbox's proxy has it.
void CheckAgainstDocument(const FaceRequest& request, const http::HttpResponse& response) {
  const std::string_view path =
      std::string_view(request.target).substr(0, request.target.find('?'));
  // Redirected; and what is no path at all.
  if (!path.starts_with('/') || path.ends_with('/')) return;
  const http::Fields none;
  testing::CheckAgainstOpenApi({.method = request.method,
                                .target = "/v1/sandboxes/1/proxy/44772" + request.target,
                                .request_headers = none,
                                .request_body = {},
                                .status = response.status,
                                .headers = response.fields,
                                .body = response.body});
}

// The first event of a kind that the document does not have fails the test.
void CheckEvent(const Json& event) {
  const auto problem = testing::SchemaProblem({{"$ref", "#/components/schemas/ExecdEvent"}}, event);
  EXPECT_FALSE(problem) << *problem << "\n" << event.dump().substr(0, 600);
}

}  // namespace

FaceStream::FaceStream(std::uint16_t port, const FaceRequest& request, int receive_buffer_bytes)
    : client_(port, receive_buffer_bytes) {
  EXPECT_TRUE(client_.Send(Text(request)));
  const auto until = steady_clock::now() + std::chrono::seconds(30);
  while (raw_.find("\r\n\r\n") == std::string::npos) {
    if (!Fill(until)) return;
  }
  const std::size_t end = raw_.find("\r\n\r\n");
  head_ = raw_.substr(0, end + 2);
  raw_.erase(0, end + 4);
  Dechunk();
}

int FaceStream::status() const { return head_.size() < 12 ? 0 : std::atoi(head_.c_str() + 9); }

bool FaceStream::Fill(steady_clock::time_point until) {
  const auto left = std::chrono::duration_cast<milliseconds>(until - steady_clock::now());
  if (left.count() <= 0) return false;
  return !client_.ReadMore(left, &raw_).has_value();
}

// True when something was added.
bool FaceStream::Dechunk() {
  bool any = false;
  for (;;) {
    const std::size_t line = raw_.find("\r\n");
    if (line == std::string::npos) return any;
    const std::size_t size = std::stoul(raw_.substr(0, line), nullptr, 16);
    if (size == 0) {
      complete_ = true;
      return any;
    }
    if (raw_.size() < line + 2 + size + 2) return any;
    text_ += raw_.substr(line + 2, size);
    raw_.erase(0, line + 2 + size + 2);
    any = true;
  }
}

std::optional<Json> FaceStream::NextOrPing(milliseconds patience) {
  const auto until = steady_clock::now() + patience;
  for (;;) {
    if (const std::size_t end = text_.find("\n\n"); end != std::string::npos) {
      Json event = Json::parse(text_.substr(0, end), nullptr, false);
      EXPECT_TRUE(event.is_object()) << text_.substr(0, end);
      text_.erase(0, end + 2);
      CheckEvent(event);
      return event;
    }
    if (complete_ || !Fill(until)) return std::nullopt;
    Dechunk();
  }
}

std::optional<Json> FaceStream::Next(milliseconds patience) {
  const auto until = steady_clock::now() + patience;
  for (;;) {
    auto event = NextOrPing(std::chrono::duration_cast<milliseconds>(until - steady_clock::now()));
    if (!event || (*event)["type"] != "ping") return event;
  }
}

std::vector<Json> FaceStream::Rest() {
  std::vector<Json> events;
  while (auto event = Next(std::chrono::seconds(60))) events.push_back(*std::move(event));
  return events;
}

FaceServer::FaceServer(std::vector<std::string> flags, std::string token) {
  std::vector<std::string> args{"execd", "--listen", "127.0.0.1:0", "--log-level", "info"};
  args.insert(args.end(), flags.begin(), flags.end());
  std::vector<std::string> environment;
  if (!token.empty()) {
    environment.push_back("EXECD_ACCESS_TOKEN=" + token);
    token_line_ = "X-EXECD-ACCESS-TOKEN: " + token + "\r\n";
  }
  process_ = std::make_unique<ForkboxProcess>(directory_.path(), std::move(args), "", environment);
  const std::string url = process_->WaitForUrl();
  EXPECT_NE(url, "") << process_->Stderr();
  const std::size_t colon = url.rfind(':');
  if (colon != std::string::npos) {
    port_ = static_cast<std::uint16_t>(std::stoi(url.substr(colon + 1)));
  }
}

FaceServer& FaceServer::Shared() {
  static FaceServer server({"--memory-mb", "1024", "--disk-mb", "384"});
  return server;
}

std::size_t FaceServer::RssKib() const {
  std::ifstream status("/proc/" + std::to_string(process_->pid()) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoul(line.substr(6));
  }
  return 0;
}

http::HttpResponse FaceServer::Ask(const FaceRequest& request) const {
  http::HttpClient client(port_);
  FaceRequest with_token = request;
  with_token.lines = token_line_ + request.lines;
  client.Send(Text(with_token));
  auto response = client.Read(std::chrono::seconds(60), request.method == "HEAD");
  if (response) CheckAgainstDocument(request, *response);
  return response.value_or(http::HttpResponse{});
}

http::HttpResponse FaceServer::Get(const std::string& target, const std::string& lines) const {
  return Ask({.target = target, .lines = lines});
}

http::HttpResponse FaceServer::Post(const std::string& target, const Json& body) const {
  return Ask({.method = "POST", .target = target, .body = body.dump()});
}

http::HttpResponse FaceServer::Delete(const std::string& target) const {
  return Ask({.method = "DELETE", .target = target});
}

FaceStream FaceServer::Stream(const std::string& target, const Json& body) const {
  return FaceStream(
      port_, {.method = "POST", .target = target, .body = body.dump(), .lines = token_line_});
}

std::string FaceServer::Shell(const std::string& command) const {
  FaceStream stream = Stream("/command", {{"command", command}});
  EXPECT_EQ(stream.status(), 200) << stream.head() << command;
  std::string out;
  for (const Json& event : stream.Rest()) {
    if (event["type"] != "stdout") continue;
    if (!out.empty()) out += "\n";
    out += event["text"].get<std::string>();
  }
  return out;
}

std::string Part(const std::string& name, const std::string& file_name, std::string_view content) {
  std::string part = "--xyz\r\nContent-Disposition: form-data; name=\"" + name + "\"";
  if (!file_name.empty()) part += "; filename=\"" + file_name + "\"";
  part += "\r\nContent-Type: application/octet-stream\r\n\r\n";
  part.append(content);
  return part + "\r\n";
}

http::HttpResponse FaceServer::Upload(const Json& metadata, std::string_view content) const {
  return Ask({.method = "POST",
              .target = "/files/upload",
              .body = Part("metadata", "metadata", metadata.dump()) + Part("file", "f", content) +
                      "--xyz--\r\n",
              .lines = kMultipartLine});
}

std::string UrlEncode(std::string_view text) {
  std::string encoded;
  for (const char c : text) {
    char escape[4];
    std::snprintf(escape, sizeof escape, "%%%02X",
                  static_cast<unsigned>(static_cast<unsigned char>(c)));
    encoded += escape;
  }
  return encoded;
}

Json Parse(const std::string& body) { return Json::parse(body, nullptr, false); }

}  // namespace forkbox::tests
