// Requests handed on to another server, which is a second real one or a hand-made one.
#include "api/http/relay.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "tests/http/taken_trial.h"

namespace forkbox::http {
namespace {

using std::chrono::milliseconds;
using namespace std::chrono_literals;

UniqueFd ConnectTo(std::uint16_t port) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  return socket;
}

// Hands on to `port` what stands below /take.
Taker HandOn(std::uint16_t port, RelayOptions options = {}) {
  return [port, options](Call& call, TakenConnection& taken) {
    const UniqueFd peer = ConnectTo(port);
    const std::string query = call.raw_query.empty() ? "" : "?" + call.raw_query;
    const RelayEnd end = RelayRequest(call, taken, peer.get(),
                                      {.target = call.tail + query, .drop = {"X-Secret"}}, options);
    if (!end.answered) {
      (void)taken.Answer(502, "text/plain",
                         end.error ? std::string(ToString(end.error->code)) : "nothing");
    }
  };
}

// Takes one connection and hands it to `serve`.
class HandMade {
 public:
  explicit HandMade(std::function<void(int socket)> serve)
      : listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::listen(listener_.get(), 1), 0);
    ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, serve = std::move(serve)] {
      const UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      serve(socket.get());
    });
  }
  ~HandMade() { thread_.join(); }
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  UniqueFd listener_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

std::string ReadUntil(int socket, const std::string& mark) {
  std::string text;
  char c = 0;
  while (text.find(mark) == std::string::npos && ::recv(socket, &c, 1, 0) == 1) text.push_back(c);
  return text;
}

void Say(int socket, std::string_view text) {
  ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
}

TEST(HttpRelayTest, AnotherServerAnswers) {
  TrialServer other;
  other.Start();
  TakenTrial taken(HandOn(other.port()));
  const auto ask = [&](const std::string& request) {
    HttpClient client = taken.Connect();
    const auto response = client.Ask(request);
    std::string rest;
    EXPECT_EQ(client.ReadToEnd(&rest), Ending::kClosed);
    EXPECT_EQ(rest, "");
    return response.value_or(HttpResponse{});
  };
  EXPECT_EQ(ask(GetRequest("/take/q")).body, "ok");
  EXPECT_EQ(ask(GetRequest("/take/token?t=a%20b")).body, "a b");
  EXPECT_EQ(ask(GetRequest("/take/nowhere")).status, 404);
  EXPECT_EQ(ask(GetRequest("/take/count?n=1000")).body.size(), 3890U);
  EXPECT_EQ(ask(GetRequest("/take/big?bytes=5000000")).body.size(), 5'000'000U);
  const std::string body(900'000, 'x');
  EXPECT_EQ(ask(PostRequest("/take/echo", body)).body, body);
  EXPECT_EQ(ask("POST /take/echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-T: 1\r\n\r\n")
                .body,
            "abcdefg");
  EXPECT_EQ(ask(PostRequest("/take/echo", std::string(2'000'000, 'x'))).status, 413);
  EXPECT_TRUE(Eventually([&] { return taken.records().size() == 8; }));
  EXPECT_EQ(taken.records().at(2), "/take 404");
  EXPECT_EQ(taken.records().at(7), "/take 413");
}

TEST(HttpRelayTest, ContinueIsOurs) {
  TrialServer other;
  other.Start();
  TakenTrial taken(HandOn(other.port()));
  HttpClient client = taken.Connect();
  EXPECT_EQ(client
                .Ask("POST /take/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
                     "Expect: 100-continue\r\n\r\n")
                ->status,
            100);
  ASSERT_TRUE(client.Send("body"));
  EXPECT_EQ(client.Read()->body, "body");
}

TEST(HttpRelayTest, FieldsBetweenUsAndTheClientStayHere) {
  std::string head;
  HandMade other([&](int socket) {
    head = ReadUntil(socket, "\r\n\r\n");
    Say(socket, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
  });
  TakenTrial taken(HandOn(other.port()));
  HttpClient client = taken.Connect();
  const std::string second = GetRequest("/not-for-the-other");
  EXPECT_EQ(client
                .Ask(GetRequest("/take/a%2Fb//c?d=%20",
                                "X-Keep: 1\r\nx-secret: s\r\nKeep-Alive: 5\r\nTE: trailers\r\n"
                                "Connection: X-Own, keep-alive\r\nX-Own: 1\r\n"
                                "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Proto: https\r\n") +
                     second)
                ->body,
            "ok");
  taken.Join();
  EXPECT_EQ(head,
            "GET /a%2Fb//c?d=%20 HTTP/1.1\r\nHost: x\r\nX-Keep: 1\r\n"
            "X-Forwarded-For: 10.0.0.1, 127.0.0.1\r\nX-Forwarded-Proto: https\r\n"
            "Connection: close\r\n\r\n");
}

TEST(HttpRelayTest, AProtocolIsChangedWhenThePeerAgrees) {
  HandMade other([](int socket) {
    EXPECT_NE(ReadUntil(socket, "\r\n\r\n").find("Connection: Upgrade\r\nUpgrade: own\r\n"),
              std::string::npos);
    Say(socket,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: own\r\nConnection: Upgrade\r\n\r\nhi");
    for (char c = 0; ::recv(socket, &c, 1, 0) == 1;) Say(socket, {&c, 1});
    Say(socket, "bye");
  });
  TakenTrial taken(HandOn(other.port()));
  HttpClient client = taken.Connect();
  const auto response = client.Ask(GetRequest("/take/", "Connection: Upgrade\r\nUpgrade: own\r\n"));
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 101);
  ASSERT_TRUE(client.Send("and more"));
  EXPECT_EQ(client.ReadBytes(10), "hiand more");
  client.CloseSending();
  std::string rest;
  EXPECT_EQ(client.ReadToEnd(&rest), Ending::kClosed);
  EXPECT_EQ(rest, "bye");
  EXPECT_TRUE(Eventually([&] { return taken.records().size() == 1; }));
  EXPECT_EQ(taken.records().front(), "/take 101");
}

TEST(HttpRelayTest, ARefusedChangeGetsNothingMoreOfTheClient) {
  std::string more;
  HandMade other([&](int socket) {
    ReadUntil(socket, "\r\n\r\n");
    Say(socket, "HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno");
    more = ReadUntil(socket, "never");  // it keeps the connection open
  });
  TakenTrial taken(HandOn(other.port()));
  HttpClient client = taken.Connect();
  const auto response = client.Ask(GetRequest("/take/", "Connection: Upgrade\r\nUpgrade: own\r\n") +
                                   "GET /x HTTP/1.1");
  EXPECT_EQ(response->body, "no");
  std::string rest;
  client.ReadToEnd(&rest);
  taken.Join();
  EXPECT_EQ(more, "");
}

TEST(HttpRelayTest, AnInterimAnswerIsNotTheStatus) {
  HandMade other([](int socket) {
    ReadUntil(socket, "\r\n\r\n");
    Say(socket,
        "HTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\nHTTP/1.1 201 Created\r\n"
        "Content-Length: 0\r\n\r\n");
  });
  TakenTrial taken(HandOn(other.port()));
  HttpClient client = taken.Connect();
  EXPECT_EQ(client.Ask(GetRequest("/take/"))->status, 103);
  EXPECT_EQ(client.Read()->status, 201);
  EXPECT_TRUE(Eventually([&] { return taken.records().size() == 1; }));
  EXPECT_EQ(taken.records().front(), "/take 201");
}

TEST(HttpRelayTest, APeerThatSaysNothingIsABadGateway) {
  for (const bool silent : {false, true}) {
    std::atomic<bool> done{false};
    HandMade other([&](int socket) {
      ReadUntil(socket, "\r\n\r\n");
      while (silent && !done) std::this_thread::sleep_for(1ms);
    });
    {
      TakenTrial taken(HandOn(other.port(), {.idle_limit = 300ms}));
      HttpClient client = taken.Connect();
      const auto response = client.Ask(GetRequest("/take/"));
      EXPECT_EQ(response->status, 502);
      EXPECT_EQ(response->body, silent ? "deadline_exceeded" : "nothing");
      done = true;
    }
  }
}

struct BadBodyCase {
  std::string name;
  std::string request;  // after "POST /take/ HTTP/1.1" and Host
  int fault;
  milliseconds idle_limit = kPatience;
};
class HttpRelayBadBodyTest : public testing::TestWithParam<BadBodyCase> {};

TEST_P(HttpRelayBadBodyTest, IsTheClientsFaultAndNotThePeers) {
  const BadBodyCase& c = GetParam();
  HandMade other([](int socket) { ReadUntil(socket, "never"); });
  Server::Options options;
  options.limits.body_gap_timeout = 300ms;
  TakenTrial taken(
      [&](Call& call, TakenConnection& connection) {
        const UniqueFd peer = ConnectTo(other.port());
        const RelayEnd end = RelayRequest(call, connection, peer.get(), {.target = "/", .drop = {}},
                                          {.idle_limit = c.idle_limit});
        EXPECT_FALSE(end.answered);
        EXPECT_TRUE(end.error.has_value());
        (void)connection.Answer(end.client_fault != 0 ? end.client_fault : 502, "text/plain", "");
      },
      options, 1000);
  HttpClient client = taken.Connect();
  const auto response = client.Ask("POST /take/ HTTP/1.1\r\nHost: x\r\n" + c.request);
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, c.fault);
}

INSTANTIATE_TEST_SUITE_P(
    Table, HttpRelayBadBodyTest,
    testing::Values(BadBodyCase{"size", "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
                    BadBodyCase{"chunk_end", "Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n", 400},
                    BadBodyCase{"length_over", "Content-Length: 1001\r\n\r\n", 413},
                    BadBodyCase{"chunk_over", "Transfer-Encoding: chunked\r\n\r\n3e9\r\n", 413},
                    BadBodyCase{"silence_in_size", "Transfer-Encoding: chunked\r\n\r\n5", 408},
                    BadBodyCase{"silence", "Content-Length: 9\r\n\r\nxxx", 408, 300ms},
                    BadBodyCase{"silent_peer", "Content-Length: 3\r\n\r\nxxx", 502, 300ms}),
    [](const auto& test) { return test.param.name; });

TEST(HttpRelayTest, AClientThatLeavesEndsIt) {
  std::atomic<bool> left{false};
  HandMade other([&](int socket) {
    ReadUntil(socket, "\r\n\r\n");
    Say(socket, "HTTP/1.1 200 OK\r\n\r\nsome");
    char c = 0;
    left = ::recv(socket, &c, 1, 0) <= 0;
  });
  TakenTrial taken(HandOn(other.port()));
  HttpClient client = taken.Connect();
  ASSERT_TRUE(client.Send(GetRequest("/take/")));
  client.ReadBytes(10);
  client.Close();
  EXPECT_TRUE(Eventually([&] { return left.load(); }));
}

TEST(HttpRelayTest, AnEarlyAnswerComesWhileTheBodyIsStillSent) {
  HandMade other([](int socket) {
    ReadUntil(socket, "\r\n\r\n");
    Say(socket, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno");
    ::shutdown(socket, SHUT_WR);
    char dropped[65536];
    while (::recv(socket, dropped, sizeof dropped, 0) > 0) {
    }
  });
  TakenTrial taken(HandOn(other.port()));
  HttpClient client = taken.Connect();
  client.Send(PostRequest("/take/", std::string(30U << 20, 'x')));
  EXPECT_EQ(client.Read()->status, 413);
}

TEST(HttpRelayTest, ManyBytesBothWaysAtOnce) {
  HandMade other([](int socket) {
    char bytes[65536];
    for (ssize_t got = 0; (got = ::recv(socket, bytes, sizeof bytes, 0)) > 0;) {
      Say(socket, {bytes, static_cast<std::size_t>(got)});
    }
  });
  TakenTrial taken([&](Call&, TakenConnection& connection) {
    const UniqueFd peer = ConnectTo(other.port());
    const RelayEnd end = RelayBytes(connection, peer.get(), {.buffer_bytes = 10'000});
    EXPECT_FALSE(end.error.has_value());
    EXPECT_EQ(end.to_peer_bytes, 20U << 20);
    EXPECT_EQ(end.to_client_bytes, 20U << 20);
  });
  std::string noise(20U << 20, '\0');
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = static_cast<char>(i * 31 >> 7);
  HttpClient client = taken.Connect();
  std::thread sender([&] {
    client.Send(GetRequest("/take") + noise);
    client.CloseSending();
  });
  std::string back;
  EXPECT_EQ(client.ReadToEnd(&back), Ending::kClosed);
  sender.join();
  EXPECT_TRUE(back == noise) << back.size();
}

}  // namespace
}  // namespace forkbox::http
