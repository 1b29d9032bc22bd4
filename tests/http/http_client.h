// HttpClient: one TCP connection to a server under test, blocking, with a deadline on every wait.
//
// It says what arrived and judges nothing. One thread at a time.
#pragma once

#include <time.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/http/fields.h"
#include "base/unique_fd.h"

namespace forkbox::http {

// Long enough for the slowest loaded machine; nothing is expected to take it.
inline constexpr std::chrono::milliseconds kPatience{20'000};

struct HttpResponse {
  int status = 0;
  Fields fields;
  std::string body;  // chunks joined
  bool complete = false;

  [[nodiscard]] std::string Header(std::string_view name) const {
    const std::string* value = FindField(fields, name);
    return value != nullptr ? *value : std::string();
  }
};

enum class Ending { kClosed, kReset, kTimeout };

class HttpClient {
 public:
  HttpClient() = default;
  // Not connected when the server refuses. `segment_bytes`: what the server may send at once, which
  // keeps its send buffer small.
  explicit HttpClient(std::uint16_t port, int receive_buffer_bytes = 0, int segment_bytes = 0);

  [[nodiscard]] bool connected() const { return socket_.valid(); }
  // False when the server has closed the connection.
  bool Send(std::string_view bytes);
  // The next response, or nothing when the connection ended or time ran out before a complete head.
  // `head_only`: the answer to HEAD has no body. 1xx responses are returned like any other.
  std::optional<HttpResponse> Read(std::chrono::milliseconds patience = kPatience,
                                   bool head_only = false);
  std::optional<HttpResponse> Ask(std::string_view request) {
    return Send(request) ? Read() : std::nullopt;
  }
  // The next bytes as they are; fewer when the connection ended or time ran out.
  std::string ReadBytes(std::size_t bytes, std::chrono::milliseconds patience = kPatience);
  // Waits for more bytes and appends them; nullopt while there are some.
  std::optional<Ending> ReadMore(std::chrono::milliseconds patience, std::string* bytes);
  // Reads on to the end of the connection.
  Ending ReadToEnd(std::string* bytes, std::chrono::milliseconds patience = kPatience);

  void Close() { socket_.Reset(); }
  void Reset();  // by RST
  void CloseSending();
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] std::uint16_t local_port() const;

 private:
  bool FillUntil(std::string_view mark, std::chrono::steady_clock::time_point deadline,
                 std::size_t* end);
  bool FillTo(std::size_t bytes, std::chrono::steady_clock::time_point deadline);

  UniqueFd socket_;
  std::string input_;  // read and not yet given out
};

// "GET <target> HTTP/1.1" with Host and the given lines, each ending in CR LF.
std::string GetRequest(std::string_view target, std::string_view lines = "");
std::string PostRequest(std::string_view target, std::string_view body,
                        std::string_view lines = "");

// Waits until `condition` holds; false when it does not come true in time.
template <class Condition>
bool Eventually(Condition condition, std::chrono::milliseconds patience = kPatience) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    timespec pause{.tv_sec = 0, .tv_nsec = 2'000'000};
    ::nanosleep(&pause, nullptr);
  }
  return true;
}

// Lets the process open as many files as it may. Before servers start.
void RaiseDescriptorLimit();
std::size_t OpenDescriptors();

}  // namespace forkbox::http
