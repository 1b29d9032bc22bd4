// WebSockets over taken connections: the handshake, and a hand-made client that behaves or does
// not.
#include "api/http/web_socket.h"

#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "tests/http/taken_trial.h"

namespace forkbox::http {
namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;

constexpr char kHandshake[] =
    "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";  // of RFC 6455, 1.3

std::string Frame(unsigned first, const std::string& payload) {
  std::string frame(1, static_cast<char>(first));
  if (payload.size() < 126) {
    frame.push_back(static_cast<char>(0x80U | payload.size()));
  } else {
    frame.push_back(static_cast<char>(0x80 | 127));
    for (int i = 7; i >= 0; --i) frame.push_back(static_cast<char>(payload.size() >> (8 * i)));
  }
  frame += "abcd";
  for (std::size_t i = 0; i < payload.size(); ++i) {
    frame.push_back(static_cast<char>(payload[i] ^ "abcd"[i % 4]));
  }
  return frame;
}

// The next frame of the server as "opcode:payload"; "end" when there is none.
std::string ReadFrame(HttpClient& client) {
  const std::string head = client.ReadBytes(2);
  if (head.size() < 2) return "end";
  std::size_t length = static_cast<unsigned char>(head[1]);
  const std::size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
  if (more != 0) length = 0;
  for (const char c : client.ReadBytes(more)) length = length << 8 | static_cast<unsigned char>(c);
  return std::to_string(static_cast<unsigned char>(head[0]) & 0x7f) + ":" +
         client.ReadBytes(length);
}

std::string CloseOf(int code, const std::string& reason = "") {
  return ""s + static_cast<char>(code >> 8) + static_cast<char>(code & 0xff) + reason;
}

// Echoes messages until the end; refuses what is no WebSocket.
Taker Echo(WebSocket::Options options = {}) {
  return [options](Call& call, TakenConnection& taken) {
    // The trial owns the connection; it outlives the socket.
    std::shared_ptr<TakenConnection> shared(&taken, [](TakenConnection*) {});
    auto socket = WebSocket::Accept(call, shared, options);
    if (!socket) {
      EXPECT_EQ(socket.error().code, ErrorCode::kInvalidArgument);
      (void)taken.Answer(426, "text/plain", "no");
      return;
    }
    for (;;) {
      const WebSocket::Message message = (*socket)->Receive();
      if (message.kind == WebSocket::Message::Kind::kClosed) break;
      if (message.data == "close yourself") (*socket)->Close(4000, "as you say");
      if (message.kind == WebSocket::Message::Kind::kText) {
        (*socket)->SendText(message.data);
      } else {
        (*socket)->SendBinary(message.data);
      }
    }
    EXPECT_EQ((*socket)->Receive().kind, WebSocket::Message::Kind::kClosed);
    EXPECT_FALSE((*socket)->SendText("late"));
  };
}

HttpClient Open(const TakenTrial& taken) {
  HttpClient client = taken.Connect();
  const auto response = client.Ask(GetRequest("/take", kHandshake));
  EXPECT_TRUE(response && response->status == 101);
  EXPECT_TRUE(response &&
              response->Header("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
  return client;
}

struct HandshakeCase {
  std::string name;
  std::string from;  // of the good one
  std::string to;
  int status;
};
class WebSocketHandshakeTest : public testing::TestWithParam<HandshakeCase> {};
TEST_P(WebSocketHandshakeTest, IsTakenOrRefused) {
  TakenTrial taken(Echo());
  HttpClient client = taken.Connect();
  std::string request = GetRequest("/take", kHandshake);
  const std::size_t at = request.find(GetParam().from);
  ASSERT_NE(at, std::string::npos);
  request.replace(at, GetParam().from.size(), GetParam().to);
  const auto response = client.Ask(request);
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, GetParam().status);
}
INSTANTIATE_TEST_SUITE_P(
    Table, WebSocketHandshakeTest,
    testing::Values(HandshakeCase{"good", "GET", "GET", 101},
                    HandshakeCase{"other_case", "Upgrade: websocket", "upgrade: WebSocket", 101},
                    HandshakeCase{"post", "GET", "POST", 426},
                    HandshakeCase{"no_upgrade", "Upgrade: websocket", "X: y", 426},
                    HandshakeCase{"other_upgrade", "websocket", "h2c", 426},
                    HandshakeCase{"no_connection", "keep-alive, Upgrade", "keep-alive", 426},
                    HandshakeCase{"version_8", "Version: 13", "Version: 8", 426},
                    HandshakeCase{"no_version", "Sec-WebSocket-Version: 13\r\n", "", 426},
                    HandshakeCase{"short_key", "dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", 426},
                    HandshakeCase{"no_base64", "dGhl", "!!!!", 426},
                    HandshakeCase{"two_keys", "Sec-WebSocket-Key",
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                  "Sec-WebSocket-Key",
                                  426}),
    [](const auto& test) { return test.param.name; });

struct TalkCase {
  std::string name;
  std::string sent;
  std::vector<std::string> frames;  // of the server, to the end
};
class WebSocketTalkTest : public testing::TestWithParam<TalkCase> {};
TEST_P(WebSocketTalkTest, IsAnsweredAsTheProtocolSays) {
  TakenTrial taken(Echo({.max_message_bytes = 1U << 20}));
  HttpClient client = Open(taken);
  ASSERT_TRUE(client.Send(GetParam().sent));
  std::vector<std::string> frames;
  do {
    frames.push_back(ReadFrame(client));
  } while (frames.back() != "end" && frames.size() <= GetParam().frames.size());
  frames.pop_back();
  EXPECT_EQ(frames, GetParam().frames);
  client.Close();
  EXPECT_TRUE(Eventually([&] { return taken.records().size() == 1; }));
  EXPECT_EQ(taken.records().front(), "/take 101");
}

const std::string kBye = Frame(0x88, CloseOf(1000));
const std::string kBack = "8:" + CloseOf(1000);

INSTANTIATE_TEST_SUITE_P(
    Table, WebSocketTalkTest,
    testing::Values(
        TalkCase{"text", Frame(0x81, "h\xc3\xa9") + kBye, {"1:h\xc3\xa9", kBack}},
        TalkCase{"binary", Frame(0x82, "\0\xff"s) + kBye, {"2:\0\xff"s, kBack}},
        TalkCase{"many",
                 Frame(0x81, "1") + Frame(0x81, "2") + Frame(0x81, "") + kBye,
                 {"1:1", "1:2", "1:", kBack}},
        TalkCase{"pieces",
                 Frame(0x01, "a\xc3") + Frame(0x89, "p") + Frame(0x80, "\xa9") + kBye,
                 {"10:p", "1:a\xc3\xa9", kBack}},
        TalkCase{"large",
                 Frame(0x82, std::string(1U << 20, 'x')) + kBye,
                 {"2:" + std::string(1U << 20, 'x'), kBack}},
        TalkCase{"pong_alone", Frame(0x8a, "?") + kBye, {kBack}},
        TalkCase{"close_without_code", Frame(0x88, ""), {"8:"}},
        TalkCase{"close_with_reason", Frame(0x88, CloseOf(3000, "why")), {"8:" + CloseOf(3000)}},
        TalkCase{"nothing_after_close", kBye + Frame(0x81, "x"), {kBack}},
        TalkCase{"server_closes",
                 Frame(0x81, "close yourself") + Frame(0x81, "x") + kBye,
                 {"8:" + CloseOf(4000, "as you say")}},
        TalkCase{"too_large",
                 Frame(0x82, std::string((1U << 20) + 1, 'x')),
                 {"8:" + CloseOf(1009, "the message is too large")}},
        TalkCase{"bad_text", Frame(0x81, "\xff"), {"8:" + CloseOf(1007, "a text is not UTF-8")}},
        TalkCase{
            "half_a_character", Frame(0x81, "\xc3"), {"8:" + CloseOf(1007, "a text is not UTF-8")}},
        TalkCase{"surrogate",
                 Frame(0x81, "\xed\xa0\x80"),
                 {"8:" + CloseOf(1007, "a text is not UTF-8")}},
        TalkCase{"bad_reason",
                 Frame(0x88, CloseOf(1000, "\xff")),
                 {"8:" + CloseOf(1007, "a close reason is not UTF-8")}},
        TalkCase{
            "bad_code", Frame(0x88, CloseOf(1005)), {"8:" + CloseOf(1002, "no such close code")}},
        TalkCase{
            "half_a_code", Frame(0x88, "x"), {"8:" + CloseOf(1002, "a close code has two bytes")}},
        TalkCase{"not_masked", "\x81\x01x", {"8:" + CloseOf(1002, "a frame is not masked")}}),
    [](const auto& test) { return test.param.name; });

TEST(WebSocketTest, ASilentClientIsPingedAndClosed) {
  TakenTrial taken(Echo({.ping_interval = 100ms, .read_timeout = 600ms}));
  HttpClient client = Open(taken);
  EXPECT_EQ(ReadFrame(client), "9:");
  ASSERT_TRUE(client.Send(Frame(0x8a, "")));
  EXPECT_EQ(ReadFrame(client), "9:");
  std::string last;
  for (std::string frame = ReadFrame(client); frame != "end"; frame = ReadFrame(client))
    last = frame;
  EXPECT_EQ(last, "8:" + CloseOf(1001, "silence"));
}

TEST(WebSocketTest, ACloseThatIsNotAnsweredEnds) {
  TakenTrial taken(Echo());
  HttpClient client = Open(taken);
  ASSERT_TRUE(client.Send(Frame(0x81, "close yourself")));
  EXPECT_EQ(ReadFrame(client), "8:" + CloseOf(4000, "as you say"));
  EXPECT_EQ(ReadFrame(client), "end");
}

TEST(WebSocketTest, AClientThatTakesNothingIsCut) {
  TakenTrial taken([](Call& call, TakenConnection& connection) {
    std::shared_ptr<TakenConnection> shared(&connection, [](TakenConnection*) {});
    auto socket = WebSocket::Accept(call, shared, {.write_timeout = 200ms});
    const std::string much(1U << 20, 'x');
    int sent = 0;
    while ((*socket)->SendBinary(much)) ++sent;
    EXPECT_LT(sent, 100);
    EXPECT_EQ((*socket)->Receive().kind, WebSocket::Message::Kind::kClosed);
  });
  HttpClient client = taken.Connect(4096);
  ASSERT_TRUE(client.Send(GetRequest("/take", kHandshake)));
  EXPECT_TRUE(Eventually([&] { return taken.records().size() == 1; }));
}

}  // namespace
}  // namespace forkbox::http
