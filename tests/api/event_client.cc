#include "tests/api/event_client.h"

#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <sstream>

#include "tests/api/http_client.h"
#include "tests/api/openapi_contract.h"

namespace forkbox::testing {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

void Transcript::Add(const ServerEvent& event) {
  last_id = event.id;
  if (event.event == "state") {
    if (event.data.value("reset", false)) {
      gone_back = true;
      stdout_text.clear();
      stderr_text.clear();
    }
    states.push_back(event.data.value("state", ""));
  } else if (event.event == "stdout") {
    stdout_text += event.data.value("text", "");
  } else if (event.event == "stderr") {
    stderr_text += event.data.value("text", "");
  } else if (event.event == "compile") {
    compile_text += event.data.value("text", "");
  } else if (event.event == "value") {
    value = event.data.value("value", nlohmann::json());
  } else if (event.event == "done") {
    done = event.data;
  }
}

EventClient::EventClient(std::uint16_t port, const std::string& path,
                         const std::string& last_event_id, http::Fields headers)
    : path_(path) {
  if (!last_event_id.empty()) headers.push_back({"Last-Event-ID", last_event_id});
  connection_ = SendRequest(port, {"GET", path, std::move(headers), ""});
  std::size_t end = std::string::npos;
  while ((end = raw_.find("\r\n\r\n")) == std::string::npos) {
    if (!Receive(std::chrono::seconds(30))) return;
  }
  std::istringstream head(raw_.substr(0, end + 2));
  raw_.erase(0, end + 4);
  std::string line;
  std::getline(head, line);
  status_ = std::stoi(line.substr(line.find(' ')));
  while (std::getline(head, line)) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    headers_.emplace_back(line.substr(0, colon), line.substr(colon + 2, line.size() - colon - 3));
  }
  Decode();
  Check("");
}

void EventClient::Check(std::string_view body) const {
  CheckAgainstOpenApi({.method = "GET",
                       .target = path_,
                       .request_headers = {},
                       .request_body = "",
                       .status = status_,
                       .headers = headers_,
                       .body = body});
}

std::string EventClient::Header(const std::string& name) const {
  const std::string* value = http::FindField(headers_, name);
  return value == nullptr ? "" : *value;
}

bool EventClient::Receive(milliseconds patience) {
  if (ended_ || !connection_) return false;
  pollfd polled{connection_.get(), POLLIN, 0};
  if (::poll(&polled, 1, static_cast<int>(patience.count())) <= 0) return false;
  std::array<char, 64 * 1024> chunk{};
  const ssize_t got = ::recv(connection_.get(), chunk.data(), chunk.size(), 0);
  if (got <= 0) {
    ended_ = true;
    return false;
  }
  raw_.append(chunk.data(), static_cast<std::size_t>(got));
  if (status_ != 0) Decode();
  return true;
}

void EventClient::Decode() {
  if (Header("Transfer-Encoding") != "chunked") {
    text_ += raw_;
    raw_.clear();
    return;
  }
  std::size_t line_end = 0;
  while ((line_end = raw_.find("\r\n")) != std::string::npos) {
    const std::size_t size = std::stoul(raw_.substr(0, line_end), nullptr, 16);
    if (raw_.size() < line_end + 2 + size + 2) return;
    text_ += raw_.substr(line_end + 2, size);
    raw_.erase(0, line_end + 2 + size + 2);
    if (size == 0) complete_ = ended_ = true;
  }
}

std::optional<ServerEvent> EventClient::Next(milliseconds patience) {
  const auto give_up = steady_clock::now() + patience;
  for (;;) {
    const std::size_t end = text_.find("\n\n");
    if (end == std::string::npos) {
      const auto left = std::chrono::ceil<milliseconds>(give_up - steady_clock::now());
      if (left.count() <= 0 || !Receive(left)) return std::nullopt;
      continue;
    }
    Check(text_.substr(0, end + 2));
    std::istringstream block(text_.substr(0, end));
    text_.erase(0, end + 2);
    ServerEvent event;
    std::string line;
    while (std::getline(block, line)) {
      if (line.starts_with(":")) ++comments_;
      if (line.starts_with("id: ")) event.id = line.substr(4);
      if (line.starts_with("event: ")) event.event = line.substr(7);
      if (line.starts_with("data: ")) {
        event.data = nlohmann::json::parse(line.substr(6), nullptr, false);
      }
    }
    if (!event.event.empty()) return event;
  }
}

Transcript EventClient::ReadTo(const std::string& event) {
  Transcript transcript;
  while (const auto next = Next()) {
    transcript.Add(*next);
    if (next->event == event) break;
  }
  return transcript;
}

std::string EventClient::Body() {
  while (Receive(std::chrono::seconds(30))) {
  }
  Check(text_);
  return text_;
}

}  // namespace forkbox::testing
