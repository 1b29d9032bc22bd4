// WebSocket: the server's side of RFC 6455 over a taken connection, without extensions.
//
// Reading belongs to one thread; sending is thread-safe. Text is checked to be UTF-8, frames from
// the client to be masked, a message to be at most `max_message_bytes`: what breaks the rules
// closes with 1002, 1007 or 1009.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "api/http/call.h"
#include "api/http/taken_connection.h"
#include "base/result.h"

namespace forkbox::http {

// True when the request asks for a WebSocket as it must (RFC 6455, 4.2.1).
bool IsWebSocketRequest(const Call& call);

class WebSocket {
 public:
  struct Options {
    std::size_t max_message_bytes = 1U << 20;
    std::chrono::milliseconds ping_interval{30'000};
    std::chrono::milliseconds read_timeout{60'000};  // without any frame: closed
    std::chrono::milliseconds write_timeout{10'000};
  };
  // Sends 101. kInvalidArgument when the request was not one; then nothing was sent.
  static Result<std::unique_ptr<WebSocket>> Accept(const Call& call,
                                                   std::shared_ptr<TakenConnection> connection,
                                                   Options options);
  virtual ~WebSocket() = default;

  struct Message {
    enum class Kind { kText, kBinary, kClosed };
    Kind kind = Kind::kClosed;
    std::string data;
  };
  // The next message; answers pings and sends ours. kClosed once and for all, however it ended.
  virtual Message Receive() = 0;

  // False when the client is gone or takes nothing.
  virtual bool SendText(std::string_view text) = 0;
  virtual bool SendBinary(std::string_view data) = 0;
  // The closing handshake; Receive() then returns kClosed soon. Thread-safe, idempotent.
  virtual void Close(std::uint16_t code, std::string_view reason) = 0;
};

}  // namespace forkbox::http
