// Terminals over WebSockets.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <thread>

#include "tests/execd/face_server.h"

namespace forkbox::tests {
namespace {

using ::testing::HasSubstr;

FaceServer& Server() { return FaceServer::Shared(); }

// The client's side of RFC 6455, as far as one test needs it.
class Socket {
 public:
  Socket(std::uint16_t port, const std::string& target) : client_(port) {
    client_.Send(
        "GET " + target +
        " HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    while (bytes_.find("\r\n\r\n") == std::string::npos) {
      if (client_.ReadMore(http::kPatience, &bytes_)) break;
    }
    const std::size_t end = bytes_.find("\r\n\r\n");
    head_ = bytes_.substr(0, end);
    bytes_.erase(0, end == std::string::npos ? bytes_.size() : end + 4);
  }

  [[nodiscard]] const std::string& head() const { return head_; }
  [[nodiscard]] bool open() const { return head_.starts_with("HTTP/1.1 101"); }

  struct Frame {
    int opcode = -1;  // -1: the connection ended
    std::string data;
  };
  Frame Read() {
    const auto have = [&](std::size_t size) {
      while (bytes_.size() < size) {
        if (client_.ReadMore(http::kPatience, &bytes_)) return false;
      }
      return true;
    };
    if (!have(2)) return {};
    const int opcode = bytes_[0] & 0x0F;
    std::size_t length = static_cast<unsigned char>(bytes_[1]) & 0x7FU;
    std::size_t at = 2;
    const std::size_t wide = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (!have(2 + wide)) return {};
    if (wide != 0) {
      length = 0;
      for (; at < 2 + wide; ++at) length = length << 8 | static_cast<unsigned char>(bytes_[at]);
    }
    if (!have(at + length)) return {};
    Frame frame{.opcode = opcode, .data = bytes_.substr(at, length)};
    bytes_.erase(0, at + length);
    return frame;
  }

  void Send(int opcode, const std::string& data) {
    std::string frame(1, static_cast<char>(0x80 | opcode));
    ASSERT_LT(data.size(), 126U);
    frame.push_back(static_cast<char>(0x80U | data.size()));
    frame += std::string("\0\0\0\0", 4);  // a mask that changes nothing
    client_.Send(frame + data);
  }
  void SendText(const Json& json) { Send(1, json.dump()); }
  void Type(const std::string& keys) { Send(2, std::string(1, '\0') + keys); }

  // Output until `text` stands in it; "" when that does not come.
  std::string ReadOutputUntil(const std::string& text) {
    std::string output;
    while (output.find(text) == std::string::npos) {
      const Frame frame = Read();
      if (frame.opcode == -1 || frame.opcode == 8) return "";
      if (frame.opcode != 2) continue;
      const std::size_t skip = frame.data.front() == '\x03' ? 9 : 1;
      output += frame.data.substr(skip);
    }
    return output;
  }
  // The next text frame of that type.
  Json ReadJson(const std::string& type) {
    for (;;) {
      const Frame frame = Read();
      if (frame.opcode == -1 || frame.opcode == 8) return nullptr;
      if (frame.opcode != 1) continue;
      Json json = Json::parse(frame.data, nullptr, false);
      if (json["type"] == type) return json;
    }
  }
  // The code of the frame that closes.
  int ReadClose() {
    for (;;) {
      const Frame frame = Read();
      if (frame.opcode == -1) return -1;
      if (frame.opcode != 8 || frame.data.size() < 2) continue;
      return static_cast<unsigned char>(frame.data[0]) << 8 |
             static_cast<unsigned char>(frame.data[1]);
    }
  }

 private:
  http::HttpClient client_;
  std::string head_;
  std::string bytes_;
};

std::string NewTerminal(const Json& body = Json::object()) {
  const auto answer = Server().Post("/pty", body);
  EXPECT_EQ(answer.status, 201) << answer.body;
  return Parse(answer.body).value("session_id", "");
}

std::string Target(const std::string& id, const std::string& query = "") {
  return "/pty/" + id + "/ws" + query;
}

TEST(FacePtyTest, IsATerminalThatOutlivesItsClients) {
  const std::string id = NewTerminal({{"cwd", "/tmp/of-pty"}});
  EXPECT_EQ(Parse(Server().Get("/pty/" + id).body)["running"], false);
  std::string offset;
  {
    Socket socket(Server().port(), Target(id));
    ASSERT_TRUE(socket.open()) << socket.head();
    // RFC 6455, 1.3.
    EXPECT_THAT(socket.head(), HasSubstr("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    const Json connected = socket.ReadJson("connected");
    EXPECT_EQ(connected["mode"], "pty");
    EXPECT_EQ(connected["session_id"], id);
    socket.Type("echo $((20 + 22)); pwd; tty\r");
    EXPECT_THAT(socket.ReadOutputUntil("/dev/"), HasSubstr("/tmp/of-pty"));
    socket.SendText({{"type", "resize"}, {"cols", 100}, {"rows", 30}});
    socket.SendText({{"type", "stdin"}, {"data", "stty size; KEPT=kept\r"}});
    EXPECT_NE(socket.ReadOutputUntil("30 100"), "");
    socket.SendText({{"type", "ping"}});
    EXPECT_EQ(socket.ReadJson("pong")["type"], "pong");
    socket.SendText({{"type", "what"}});
    EXPECT_EQ(socket.ReadJson("error")["code"], "INVALID_FRAME");
    socket.Send(1, "no json");
    socket.Type("echo sl''eeping; sleep 4321\r");
    EXPECT_NE(socket.ReadOutputUntil("sleeping"), "");
    // Once it sleeps: between two commands an interrupt has nobody to reach.
    EXPECT_TRUE(http::Eventually(
        [] { return Server().Shell("grep -lsz '^4321$' /proc/[0-9]*/cmdline | wc -l") == "1"; }));
    socket.Type("\x03");
    EXPECT_NE(socket.ReadOutputUntil("$ "), "");  // what is typed before the prompt may be dropped
    socket.Type("echo in''terrupted\r");
    EXPECT_NE(socket.ReadOutputUntil("interrupted"), "");
    const Json status = Parse(Server().Get("/pty/" + id).body);
    EXPECT_EQ(status["running"], true);
    EXPECT_GT(status["output_offset"].get<int>(), 0);
  }
  // Back again: what was said before, then live.
  std::unique_ptr<Socket> socket;
  EXPECT_TRUE(http::Eventually([&] {
    socket = std::make_unique<Socket>(Server().port(), Target(id));
    return socket->open();
  }));
  EXPECT_NE(socket->ReadOutputUntil("30 100"), "");
  socket->Type("echo $KEPT; exit 3\r");
  EXPECT_EQ(socket->ReadJson("exit")["exit_code"], 3);
  EXPECT_EQ(socket->ReadClose(), 1000);
  EXPECT_EQ(Server().Delete("/pty/" + id).status, 200);
  EXPECT_EQ(Server().Get("/pty/" + id).status, 404);
}

TEST(FacePtyTest, KeepsStderrApartWithoutATerminal) {
  const std::string id = NewTerminal({{"command", "echo out; echo err >&2; cat"}});
  Socket socket(Server().port(), Target(id, "?pty=0"));
  ASSERT_TRUE(socket.open()) << socket.head();
  EXPECT_EQ(socket.ReadJson("connected")["mode"], "pipe");
  std::string out;
  std::string err;
  socket.Type("in\n");
  while (out.find("in\n") == std::string::npos || err.empty()) {
    const auto frame = socket.Read();
    ASSERT_NE(frame.opcode, -1);
    if (frame.opcode != 2) continue;
    (frame.data.front() == '\x02' ? err : out) += frame.data.substr(1);
  }
  EXPECT_EQ(out, "out\nin\n");
  EXPECT_EQ(err, "err\n");
  EXPECT_EQ(Server().Delete("/pty/" + id).status, 200);
}

TEST(FacePtyTest, HasOneClientUnlessItIsTakenOver) {
  const std::string id = NewTerminal();
  Socket first(Server().port(), Target(id));
  ASSERT_TRUE(first.open());
  first.ReadJson("connected");
  Socket second(Server().port(), Target(id));
  EXPECT_THAT(second.head(), HasSubstr(" 409 "));
  Socket third(Server().port(), Target(id, "?takeover=1"));
  ASSERT_TRUE(third.open()) << third.head();
  EXPECT_EQ(first.ReadClose(), 4001);
  third.ReadJson("connected");
  third.Type("echo st''ill\r");
  EXPECT_NE(third.ReadOutputUntil("still"), "");
  EXPECT_EQ(Server().Delete("/pty/" + id).status, 200);
}

TEST(FacePtyTest, EndsAtOnceWithItsServerAndSoDoWatchedMetrics) {
  FaceServer server({"--graceful-shutdown-timeout", "1h"});
  const auto made = server.Post("/pty", Json::object());
  ASSERT_EQ(made.status, 201) << made.body;
  Socket socket(server.port(), Target(Parse(made.body).value("session_id", "")));
  ASSERT_TRUE(socket.open()) << socket.head();
  socket.ReadJson("connected");
  FaceStream watched(server.port(), {.target = "/metrics/watch"});
  EXPECT_EQ(watched.status(), 200);
  server.process().Signal(SIGTERM);
  EXPECT_EQ(socket.ReadClose(), 1001);
  watched.Rest();
  EXPECT_TRUE(watched.complete());
  EXPECT_EQ(server.process().Wait(), 0) << server.process().Stderr();
}

TEST(FacePtyTest, WantsAWebSocket) {
  const std::string id = NewTerminal();
  const auto plain = Server().Get(Target(id));
  EXPECT_EQ(plain.status, 400);
  EXPECT_THAT(plain.body, HasSubstr("WebSocket"));
  Socket unknown(Server().port(), Target("none"));
  EXPECT_THAT(unknown.head(), HasSubstr(" 404 "));
}

}  // namespace
}  // namespace forkbox::tests
