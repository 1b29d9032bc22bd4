// Ports of the sandbox through `/proxy/{port}/`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/execd/face_server.h"

namespace forkbox::tests {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// Says what reached it, and streams when asked to.
constexpr const char* kEcho = R"(
import http.server, time
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def do_GET(self):
        if self.path == '/slow':
            self.send_response(200)
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            for part in (b'one', b'two'):
                self.wfile.write(b'%x\r\n%s\r\n' % (len(part), part))
                self.wfile.flush()
                time.sleep(0.5)
            self.wfile.write(b'0\r\n\r\n')
            return
        n = int(self.headers.get('Content-Length') or 0)
        body = self.rfile.read(n)
        if self.headers.get('Transfer-Encoding') == 'chunked':
            while True:
                size = int(self.rfile.readline(), 16)
                body += self.rfile.read(size)
                self.rfile.readline()
                if size == 0:
                    break
        text = (self.command + ' ' + self.path + '\n' + str(self.headers)).encode() + body
        self.send_response(201 if self.command == 'POST' else 200)
        self.send_header('X-Inside', 'yes')
        self.send_header('Content-Length', str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    do_POST = do_PUT = do_DELETE = do_GET
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(('127.0.0.1', 8123), Echo).serve_forever()
)";

class FaceProxyTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    server_ = new FaceServer({}, "t0ken");
    ASSERT_EQ(server_->Upload({{"path", "/tmp/echo.py"}}, kEcho).status, 200);
    const auto answer =
        server_->Post("/command", {{"command", "exec python3 /tmp/echo.py"}, {"background", true}});
    EXPECT_EQ(answer.status, 200);
    EXPECT_TRUE(http::Eventually([] { return server_->Get("/proxy/8123/").status == 200; }));
  }
  static void TearDownTestSuite() { delete server_; }
  static FaceServer* server_;
};

FaceServer* FaceProxyTest::server_ = nullptr;

TEST_F(FaceProxyTest, HandsOnARequestAsItIs) {
  const auto answer = server_->Ask(
      {.method = "POST",
       .target = "/proxy/8123/a%20b/c?d=e&f",
       .body = "the body",
       .lines = "X-Mine: 1\r\nX-Forwarded-Host: evil\r\nOPEN-SANDBOX-API-KEY: k3y\r\n"});
  EXPECT_EQ(answer.status, 201) << answer.body;
  EXPECT_EQ(answer.Header("X-Inside"), "yes");
  EXPECT_THAT(answer.body, HasSubstr("POST /a%20b/c?d=e&f\n"));
  EXPECT_THAT(answer.body, HasSubstr("X-Mine: 1"));
  EXPECT_THAT(answer.body, HasSubstr("Host: test"));
  EXPECT_THAT(answer.body, HasSubstr("X-Forwarded-Proto: http"));
  EXPECT_THAT(answer.body, HasSubstr("X-Forwarded-For: 127.0.0.1"));
  EXPECT_THAT(answer.body, HasSubstr("t0ken"));
  EXPECT_THAT(answer.body, Not(HasSubstr("k3y")));
  EXPECT_THAT(answer.body, Not(HasSubstr("evil")));
  EXPECT_THAT(answer.body, HasSubstr("the body"));
}

TEST_F(FaceProxyTest, HandsOnAnyMethodAndTheRoot) {
  EXPECT_THAT(server_->Get("/proxy/8123").body, HasSubstr("GET /\n"));
  EXPECT_THAT(server_->Get("/proxy/8123?a=b").body, HasSubstr("GET /?a=b\n"));
  EXPECT_THAT(server_->Delete("/proxy/8123/x").body, HasSubstr("DELETE /x\n"));
}

TEST_F(FaceProxyTest, HandsOnABodyInChunks) {
  http::HttpClient client(server_->port());
  client.Send(
      "PUT /proxy/8123/chunks HTTP/1.1\r\nHost: test\r\nX-EXECD-ACCESS-TOKEN: t0ken\r\n"
      "Transfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n");
  const auto answer = client.Read();
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->body, HasSubstr("firstsecond"));
}

TEST_F(FaceProxyTest, StreamsTheAnswer) {
  http::HttpClient client(server_->port());
  client.Send("GET /proxy/8123/slow HTTP/1.1\r\nHost: test\r\nX-EXECD-ACCESS-TOKEN: t0ken\r\n\r\n");
  std::string text;
  EXPECT_TRUE(http::Eventually([&] {
    client.ReadMore(std::chrono::seconds(5), &text);
    return text.find("one") != std::string::npos;
  }));
  EXPECT_EQ(text.find("two"), std::string::npos);
  client.ReadToEnd(&text, std::chrono::seconds(10));
  EXPECT_THAT(text, HasSubstr("two"));
}

TEST_F(FaceProxyTest, SaysWhenNobodyListens) {
  EXPECT_EQ(server_->Get("/proxy/8999/").status, 502);
  EXPECT_EQ(server_->Get("/proxy/8999/").body, "Bad Gateway");
  for (const char* target : {"/proxy/", "/proxy"}) {
    EXPECT_EQ(server_->Get(target).status, 400) << target;
    EXPECT_EQ(server_->Get(target).body, "port is required") << target;
  }
  for (const char* target : {"/proxy/x/", "/proxy/0/", "/proxy/65536/", "/proxy/-1/"}) {
    EXPECT_EQ(server_->Get(target).status, 400) << target;
  }
  EXPECT_EQ(server_->Get("/proxy/44772/ping").status, 200);
  EXPECT_EQ(Parse(server_->Get("/proxy/44772/metrics").body).contains("cpu_count"), true);
}

TEST_F(FaceProxyTest, HandsOnAWebSocket) {
  // A server that upgrades and then says back what comes, as plain bytes: frames are not its
  // matter.
  ASSERT_EQ(server_
                ->Upload({{"path", "/tmp/up.py"}}, R"(
import socket
s = socket.create_server(('127.0.0.1', 8124))
while True:
    c, _ = s.accept()
    head = b''
    while b'\r\n\r\n' not in head: head += c.recv(4096)
    c.sendall(b'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    c.sendall(b'hello ' + (b'asked' if b'pgrade: websocket' in head else b'plain'))
    while data := c.recv(4096): c.sendall(data.upper())
    c.close()
)")
                .status,
            200);
  server_->Post("/command", {{"command", "exec python3 /tmp/up.py"}, {"background", true}});
  std::string text;
  EXPECT_TRUE(http::Eventually([&] {
    http::HttpClient client(server_->port());
    client.Send(
        "GET /proxy/8124/ws HTTP/1.1\r\nHost: test\r\nX-EXECD-ACCESS-TOKEN: t0ken\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n");
    text.clear();
    while (text.find("hello asked") == std::string::npos) {
      if (client.ReadMore(std::chrono::seconds(5), &text)) return false;
    }
    client.Send("shout");
    while (text.find("SHOUT") == std::string::npos) {
      if (client.ReadMore(std::chrono::seconds(5), &text)) return false;
    }
    return true;
  })) << text;
  EXPECT_THAT(text, HasSubstr("HTTP/1.1 101 "));
}

}  // namespace
}  // namespace forkbox::tests
