#include "api/http/web_socket.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <optional>
#include <utility>

#include "api/http/field_syntax.h"
#include "api/http/web_socket_frame.h"
#include "schema/base64.h"
#include "schema/utf8.h"

namespace forkbox::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr std::size_t kKeyBytes = 16;
constexpr std::size_t kReadBytes = 16 * 1024;
// How long the client has for its half of the closing handshake.
constexpr milliseconds kCloseTime{2000};
// Receive() looks this often whether another thread has begun to close.
constexpr milliseconds kLook{500};

// The fields of that name; what must be there once must not be there twice.
const std::string* OnlyField(const Fields& fields, std::string_view name) {
  const std::string* only = nullptr;
  for (const auto& [key, value] : fields) {
    if (!EqualIgnoringCase(key, name)) continue;
    if (only != nullptr) return nullptr;
    only = &value;
  }
  return only;
}

std::string AcceptOf(std::string_view key) {
  const std::string text = std::string(key).append(kGuid);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr);
  return schema::EncodeBase64({reinterpret_cast<const char*>(digest.data()), size});
}

class TakenWebSocket final : public WebSocket {
 public:
  TakenWebSocket(std::shared_ptr<TakenConnection> connection, Options options)
      : connection_(std::move(connection)),
        options_(options),
        last_frame_(steady_clock::now()),
        last_ping_(last_frame_) {}
  ~TakenWebSocket() override { Close(1001, "going away"); }
  TakenWebSocket(const TakenWebSocket&) = delete;
  TakenWebSocket& operator=(const TakenWebSocket&) = delete;

  Message Receive() override;
  bool SendText(std::string_view text) override {
    return Send(WebSocketOpcode::kText,
                schema::IsValidUtf8(text) ? text : schema::ToValidUtf8(std::string(text)));
  }
  bool SendBinary(std::string_view data) override { return Send(WebSocketOpcode::kBinary, data); }
  void Close(std::uint16_t code, std::string_view reason) override;

 private:
  bool Send(WebSocketOpcode opcode, std::string_view payload);
  // With the mutex held.
  bool SendLocked(WebSocketOpcode opcode, std::string_view payload);
  // More bytes into input_, and what is due meanwhile. False when this is over.
  bool Await();
  // A message once one is complete; what breaks the rules closes.
  std::optional<Message> Take(WebSocketFrame frame);
  void TakeClose(std::string_view payload);
  void Fail(std::uint16_t code, std::string_view reason) {
    Close(code, reason);
    over_ = true;
  }

  const std::shared_ptr<TakenConnection> connection_;  // shared with whoever cuts it
  const Options options_;

  std::mutex mutex_;
  bool broken_ = false;                                    // by mutex_: nothing more can be sent
  std::optional<steady_clock::time_point> closing_since_;  // by mutex_: our close frame is out

  // The rest belongs to the thread that receives.
  WebSocketFrameParser parser_{options_.max_message_bytes};
  steady_clock::time_point last_frame_;
  steady_clock::time_point last_ping_;
  std::string message_;
  std::optional<Message::Kind> kind_;  // of the message that has begun
  bool over_ = false;
};

bool TakenWebSocket::SendLocked(WebSocketOpcode opcode, std::string_view payload) {
  if (broken_ || closing_since_) return false;
  const auto deadline = steady_clock::now() + options_.write_timeout;
  if (connection_->Write(FormatWebSocketFrame(opcode, payload), deadline)) return true;
  broken_ = true;
  connection_->Cut();  // nobody could tell where the next frame begins
  return false;
}

bool TakenWebSocket::Send(WebSocketOpcode opcode, std::string_view payload) {
  std::lock_guard lock(mutex_);
  return SendLocked(opcode, payload);
}

void TakenWebSocket::Close(std::uint16_t code, std::string_view reason) {
  std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)};
  std::string text = schema::ToValidUtf8(std::string(reason.substr(0, kMaxControlBytes - 2)));
  if (text.size() > kMaxControlBytes - 2) text.clear();
  std::lock_guard lock(mutex_);
  if (SendLocked(WebSocketOpcode::kClose, payload + text)) closing_since_ = steady_clock::now();
}

bool TakenWebSocket::Await() {
  const auto now = steady_clock::now();
  auto until = std::min(now + kLook, last_frame_ + options_.read_timeout);
  {
    std::lock_guard lock(mutex_);
    if (broken_) return false;
    if (closing_since_) {
      if (now > *closing_since_ + kCloseTime) return false;
      until = std::min(until, *closing_since_ + kCloseTime);
    } else if (now >= last_frame_ + options_.read_timeout) {
      until = now;  // said below, without the mutex
    } else if (now >= std::max(last_frame_, last_ping_) + options_.ping_interval) {
      last_ping_ = now;
      if (!SendLocked(WebSocketOpcode::kPing, "")) return false;
    }
  }
  if (now >= last_frame_ + options_.read_timeout) {
    Close(1001, "silence");
    return false;
  }
  until = std::min(until, std::max(last_frame_, last_ping_) + options_.ping_interval);
  std::array<char, kReadBytes> bytes;
  const Result<std::size_t> got = connection_->Read(bytes, until);
  if (!got) return got.error().code == ErrorCode::kDeadlineExceeded;
  if (*got == 0) return false;
  parser_.Append({bytes.data(), *got});
  return true;
}

void TakenWebSocket::TakeClose(std::string_view payload) {
  std::uint16_t code = 1005;  // none
  if (payload.size() == 1) return Fail(1002, "a close code has two bytes");
  if (payload.size() >= 2) {
    code = static_cast<std::uint16_t>(static_cast<unsigned char>(payload[0]) << 8 |
                                      static_cast<unsigned char>(payload[1]));
    if (!IsWebSocketCloseCode(code)) return Fail(1002, "no such close code");
    if (!schema::IsValidUtf8(payload.substr(2))) return Fail(1007, "a close reason is not UTF-8");
  }
  {
    std::lock_guard lock(mutex_);
    const std::string_view echo = payload.substr(0, std::min<std::size_t>(payload.size(), 2));
    if (SendLocked(WebSocketOpcode::kClose, echo)) closing_since_ = steady_clock::now();
  }
  over_ = true;
}

std::optional<WebSocket::Message> TakenWebSocket::Take(WebSocketFrame frame) {
  switch (frame.opcode) {
    case WebSocketOpcode::kPing:
      Send(WebSocketOpcode::kPong, frame.payload);
      return std::nullopt;
    case WebSocketOpcode::kPong:
      return std::nullopt;
    case WebSocketOpcode::kClose:
      TakeClose(frame.payload);
      return std::nullopt;
    default:
      break;
  }
  if (frame.opcode != WebSocketOpcode::kContinuation) {
    kind_ = frame.opcode == WebSocketOpcode::kText ? Message::Kind::kText : Message::Kind::kBinary;
    message_ = std::move(frame.payload);
  } else {
    message_ += frame.payload;
  }
  if (!frame.final) return std::nullopt;
  Message message{.kind = *std::exchange(kind_, std::nullopt), .data = std::move(message_)};
  message_ = {};
  if (message.kind == Message::Kind::kText && !schema::IsValidUtf8(message.data)) {
    Fail(1007, "a text is not UTF-8");
    return std::nullopt;
  }
  std::lock_guard lock(mutex_);
  if (closing_since_ || broken_) return std::nullopt;  // too late
  return message;
}

WebSocket::Message TakenWebSocket::Receive() {
  while (!over_) {
    WebSocketFrame frame;
    switch (parser_.Next(&frame)) {
      case WebSocketFrameParser::Step::kNeedMore:
        over_ = !Await();
        break;
      case WebSocketFrameParser::Step::kRefused:
        Fail(parser_.close_code(), parser_.reason());
        break;
      case WebSocketFrameParser::Step::kFrame:
        last_frame_ = steady_clock::now();
        if (auto message = Take(std::move(frame))) return *std::move(message);
        break;
    }
  }
  std::lock_guard lock(mutex_);
  broken_ = true;  // nobody is there to be sent anything
  return {};
}

}  // namespace

bool IsWebSocketRequest(const Call& call) {
  if (call.method != Method::kGet || !FieldsHaveToken(call.fields, "upgrade", "websocket") ||
      !FieldsHaveToken(call.fields, "connection", "upgrade")) {
    return false;
  }
  const std::string* version = OnlyField(call.fields, "sec-websocket-version");
  const std::string* key = OnlyField(call.fields, "sec-websocket-key");
  if (version == nullptr || *version != "13" || key == nullptr) return false;
  const auto bytes = schema::DecodeBase64(*key);
  return bytes && bytes->size() == kKeyBytes;
}

Result<std::unique_ptr<WebSocket>> WebSocket::Accept(const Call& call,
                                                     std::shared_ptr<TakenConnection> connection,
                                                     Options options) {
  if (connection == nullptr || !IsWebSocketRequest(call)) {
    return Fail(ErrorCode::kInvalidArgument, "the request does not ask for a WebSocket");
  }
  const std::string answer =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: " +
      AcceptOf(*call.Header("sec-websocket-key")) + "\r\nX-Request-Id: " + call.request_id +
      "\r\n\r\n";
  Result<void> sent = connection->Write(answer, steady_clock::now() + options.write_timeout);
  if (!sent) return Fail(sent.error());
  connection->SetStatus(101);
  return std::unique_ptr<WebSocket>(
      std::make_unique<TakenWebSocket>(std::move(connection), options));
}

}  // namespace forkbox::http
