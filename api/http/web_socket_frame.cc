#include "api/http/web_socket_frame.h"

#include <cstring>

namespace forkbox::http {
namespace {

constexpr unsigned kFinal = 0x80;
constexpr unsigned kReserved = 0x70;
constexpr unsigned kMasked = 0x80;
constexpr unsigned kLength16 = 126;
constexpr unsigned kLength64 = 127;

std::uint64_t BigEndian(std::string_view bytes) {
  std::uint64_t number = 0;
  for (const char c : bytes) number = number << 8 | static_cast<unsigned char>(c);
  return number;
}

void AppendBigEndian(std::uint64_t number, int bytes, std::string* text) {
  for (int i = bytes - 1; i >= 0; --i) text->push_back(static_cast<char>(number >> (8 * i)));
}

void Unmask(const std::array<char, 4>& mask, std::string* payload) {
  std::array<char, 8> twice{mask[0], mask[1], mask[2], mask[3], mask[0], mask[1], mask[2], mask[3]};
  std::uint64_t key = 0;
  std::memcpy(&key, twice.data(), sizeof key);
  std::size_t at = 0;
  for (; at + sizeof key <= payload->size(); at += sizeof key) {
    std::uint64_t word = 0;
    std::memcpy(&word, payload->data() + at, sizeof word);
    word ^= key;
    std::memcpy(payload->data() + at, &word, sizeof word);
  }
  for (; at < payload->size(); ++at)
    (*payload)[at] = static_cast<char>((*payload)[at] ^ mask[at % 4]);
}

}  // namespace

std::string FormatWebSocketFrame(WebSocketOpcode opcode, std::string_view payload) {
  std::string frame;
  frame.reserve(payload.size() + 10);
  frame.push_back(static_cast<char>(kFinal | static_cast<unsigned>(opcode)));
  if (payload.size() < kLength16) {
    frame.push_back(static_cast<char>(payload.size()));
  } else if (payload.size() <= 0xffff) {
    frame.push_back(static_cast<char>(kLength16));
    AppendBigEndian(payload.size(), 2, &frame);
  } else {
    frame.push_back(static_cast<char>(kLength64));
    AppendBigEndian(payload.size(), 8, &frame);
  }
  return frame.append(payload);
}

bool IsWebSocketCloseCode(std::uint16_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
         (code >= 3000 && code <= 4999);
}

void WebSocketFrameParser::Append(std::string_view bytes) {
  if (close_code_ != 0) return;
  input_.erase(0, position_);
  position_ = 0;
  input_.append(bytes);
}

WebSocketFrameParser::Step WebSocketFrameParser::Refuse(std::uint16_t code,
                                                        std::string_view reason) {
  close_code_ = code;
  reason_ = reason;
  input_ = {};
  position_ = 0;
  return Step::kRefused;
}

WebSocketFrameParser::Step WebSocketFrameParser::NextHead() {
  const std::string_view input = std::string_view(input_).substr(position_);
  if (input.empty()) return Step::kNeedMore;
  const auto first = static_cast<unsigned char>(input[0]);
  if ((first & kReserved) != 0) return Refuse(1002, "a reserved bit is set");
  const unsigned opcode = first & 0x0fU;
  const bool control = opcode >= 8;
  if ((opcode > 2 && opcode < 8) || opcode > 10) return Refuse(1002, "no such kind of frame");
  final_ = (first & kFinal) != 0;
  opcode_ = static_cast<WebSocketOpcode>(opcode);
  if (control && !final_) return Refuse(1002, "a control frame is fragmented");
  if (!control && (opcode_ == WebSocketOpcode::kContinuation) != in_message_) {
    return Refuse(1002, in_message_ ? "a message inside a message" : "nothing to continue");
  }
  if (input.size() < 2) return Step::kNeedMore;
  const auto second = static_cast<unsigned char>(input[1]);
  if ((second & kMasked) == 0) return Refuse(1002, "a frame is not masked");
  const unsigned short_length = second & 0x7fU;
  if (control && short_length > kMaxControlBytes)
    return Refuse(1002, "a control frame is too long");
  const std::size_t length_bytes = short_length == kLength16   ? 2
                                   : short_length == kLength64 ? 8
                                                               : 0;
  if (input.size() < 2 + length_bytes) return Step::kNeedMore;
  const std::uint64_t length =
      length_bytes == 0 ? short_length : BigEndian(input.substr(2, length_bytes));
  if ((length_bytes == 2 && length < kLength16) || (length_bytes == 8 && length <= 0xffff) ||
      length >> 63 != 0) {
    return Refuse(1002, "a length is not in its shortest form");
  }
  const std::size_t before = control ? 0 : message_bytes_;
  if (length > max_message_bytes_ || before > max_message_bytes_ - length) {
    if (!control) return Refuse(1009, "the message is too large");
  }
  if (input.size() < 2 + length_bytes + mask_.size()) return Step::kNeedMore;
  input.copy(mask_.data(), mask_.size(), 2 + length_bytes);
  position_ += 2 + length_bytes + mask_.size();
  length_ = length;
  in_payload_ = true;
  return Step::kFrame;
}

WebSocketFrameParser::Step WebSocketFrameParser::Next(WebSocketFrame* frame) {
  if (close_code_ != 0) return Step::kRefused;
  if (!in_payload_) {
    if (const Step step = NextHead(); step != Step::kFrame) return step;
  }
  if (input_.size() - position_ < length_) return Step::kNeedMore;
  frame->opcode = opcode_;
  frame->final = final_;
  frame->payload = input_.substr(position_, length_);
  position_ += length_;
  in_payload_ = false;
  Unmask(mask_, &frame->payload);
  if (static_cast<unsigned>(opcode_) < 8) {
    in_message_ = !final_;
    message_bytes_ = final_ ? 0 : message_bytes_ + length_;
  }
  return Step::kFrame;
}

}  // namespace forkbox::http
