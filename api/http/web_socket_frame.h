// Frames of the WebSocket protocol (RFC 6455, 5), as a server reads and writes them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace forkbox::http {

enum class WebSocketOpcode : std::uint8_t {
  kContinuation = 0,
  kText = 1,
  kBinary = 2,
  kClose = 8,
  kPing = 9,
  kPong = 10,
};

inline constexpr std::size_t kMaxControlBytes = 125;

struct WebSocketFrame {
  WebSocketOpcode opcode = WebSocketOpcode::kText;
  bool final = true;
  std::string payload;  // unmasked
};

// A whole frame, not masked.
std::string FormatWebSocketFrame(WebSocketOpcode opcode, std::string_view payload);

// Whether a client may say it (RFC 6455, 7.4, and what is registered since).
bool IsWebSocketCloseCode(std::uint16_t code);

// WebSocketFrameParser: the bytes of a client, cut into frames. What breaks the rules is refused as
// soon as it shows; the parser then stays refused. One thread at a time.
class WebSocketFrameParser {
 public:
  enum class Step { kNeedMore, kFrame, kRefused };

  // The frames of one message together have at most `max_message_bytes`; no more is ever held.
  explicit WebSocketFrameParser(std::size_t max_message_bytes)
      : max_message_bytes_(max_message_bytes) {}

  void Append(std::string_view bytes);
  Step Next(WebSocketFrame* frame);
  // After kRefused; static.
  [[nodiscard]] std::uint16_t close_code() const { return close_code_; }
  [[nodiscard]] std::string_view reason() const { return reason_; }

 private:
  Step Refuse(std::uint16_t code, std::string_view reason);
  Step NextHead();

  const std::size_t max_message_bytes_;
  std::string input_;
  std::size_t position_ = 0;
  std::uint16_t close_code_ = 0;
  std::string_view reason_;
  // Of the frame whose payload comes.
  bool in_payload_ = false;
  WebSocketOpcode opcode_ = WebSocketOpcode::kText;
  bool final_ = true;
  std::array<char, 4> mask_{};
  std::size_t length_ = 0;
  // Of the message that has begun.
  bool in_message_ = false;
  std::size_t message_bytes_ = 0;
};

}  // namespace forkbox::http
