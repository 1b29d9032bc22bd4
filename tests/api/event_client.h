// A client of Server-Sent Events for tests, as `curl -N` is one: it reads what is there and keeps
// the connection.
#pragma once

#include <chrono>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/http/fields.h"
#include "base/unique_fd.h"

namespace forkbox::testing {

struct ServerEvent {
  std::string id;
  std::string event;
  nlohmann::json data;
};

// What a client can put together of a stream.
struct Transcript {
  std::vector<std::string> states;
  std::string stdout_text;
  std::string stderr_text;
  std::string compile_text;
  nlohmann::json value;
  nlohmann::json done;
  std::string last_id;
  bool gone_back = false;  // a reset was said

  void Add(const ServerEvent& event);
};

class EventClient {
 public:
  // Waits for the head of the answer.
  EventClient(std::uint16_t port, const std::string& path, const std::string& last_event_id = "",
              http::Fields headers = {});

  [[nodiscard]] int status() const { return status_; }  // 0: no answer
  [[nodiscard]] std::string Header(const std::string& name) const;
  [[nodiscard]] int comments() const { return comments_; }
  // The answer came to its end in order, not by a cut.
  [[nodiscard]] bool complete() const { return complete_; }

  // The next event; null at the end, or when none came for so long.
  std::optional<ServerEvent> Next(std::chrono::milliseconds patience = std::chrono::seconds(30));
  // Everything up to the end, or to the event of that name.
  Transcript ReadTo(const std::string& event = "");
  // What is not an event stream: the body to its end.
  std::string Body();

 private:
  bool Receive(std::chrono::milliseconds patience);
  void Decode();
  // Against schema/openapi.yaml; `body` is some whole events of it.
  void Check(std::string_view body) const;

  std::string path_;
  UniqueFd connection_;
  int status_ = 0;
  http::Fields headers_;
  std::string raw_;   // chunked, not decoded yet
  std::string text_;  // decoded, not taken yet
  int comments_ = 0;
  bool complete_ = false;
  bool ended_ = false;
};

}  // namespace forkbox::testing
