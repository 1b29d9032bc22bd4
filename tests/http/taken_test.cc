// Connections that a handler takes: not a byte is lost or comes twice, nothing is left behind, and
// the server still counts, records, drains and cuts them.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/http/http_client.h"
#include "tests/http/taken_trial.h"

namespace forkbox::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using namespace std::chrono_literals;

std::string Noise(std::size_t bytes, unsigned seed) {
  std::mt19937 random(seed);
  std::string noise(bytes, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  return noise;
}

std::string InChunks(std::string_view body, std::size_t most, unsigned seed) {
  std::mt19937 random(seed);
  std::string text;
  while (!body.empty()) {
    const std::string_view part = body.substr(0, 1 + random() % most);
    body.remove_prefix(part.size());
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", part.size());
    text.append(size).append(part).append("\r\n");
  }
  return text + "0\r\nX-Trailer: dropped\r\n\r\n";
}

// Reads the body by pieces of `piece` bytes and answers with it, or with the error.
Taker EchoBody(std::size_t piece) {
  return [piece](Call&, TakenConnection& taken) {
    std::string body;
    std::vector<char> into(piece);
    for (;;) {
      const Result<std::size_t> got = taken.ReadBody(into);
      if (!got) {
        const std::string again(taken.ReadBody(into).has_value() ? "" : "!");  // it is final
        (void)taken.Answer(got.error().code == ErrorCode::kQueueFull ? 413 : 400, "text/plain",
                           std::string(ToString(got.error().code)) + again);
        return;
      }
      if (*got == 0) break;
      body.append(into.data(), *got);
    }
    (void)taken.Answer(200, "application/octet-stream", body, {{"X-Own", "1"}});
  };
}

// Sends back every byte as it comes.
void EchoRaw(Call& /*call*/, TakenConnection& taken) {
  taken.SetStatus(101);
  std::array<char, 4096> bytes;
  for (;;) {
    const auto got = taken.Read(bytes, steady_clock::now() + kPatience);
    if (!got || *got == 0) return;
    if (!taken.Write({bytes.data(), *got}, steady_clock::now() + kPatience)) return;
  }
}

struct BodyCase {
  std::string name;
  bool chunked;
  std::size_t bytes;
  std::size_t piece;      // of ReadBody
  std::size_t send_step;  // of the client; 0: all at once
};
class HttpTakenBodyTest : public testing::TestWithParam<BodyCase> {};

TEST_P(HttpTakenBodyTest, ArrivesWhole) {
  const BodyCase& c = GetParam();
  TakenTrial taken(EchoBody(c.piece));
  const std::string body = Noise(c.bytes, 1);
  const std::string request =
      c.chunked ? "POST /take/x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" +
                      InChunks(body, 1 + c.bytes / 3, 2)
                : PostRequest("/take/x", body);
  HttpClient client = taken.Connect();
  std::thread sender([&] {
    const std::size_t step = c.send_step == 0 ? request.size() : c.send_step;
    for (std::size_t at = 0; at < request.size(); at += step) {
      if (!client.Send(std::string_view(request).substr(at, step))) return;
      if (c.send_step != 0) std::this_thread::sleep_for(1ms);
    }
  });
  const auto response = client.Read();
  sender.join();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->Header("Connection"), "close");
  EXPECT_EQ(response->Header("X-Own"), "1");
  EXPECT_EQ(response->Header("X-Request-Id").size(), 36U);
  EXPECT_TRUE(response->body == body) << response->body.size() << " of " << body.size();
  std::string rest;
  EXPECT_EQ(client.ReadToEnd(&rest), Ending::kClosed);
  EXPECT_EQ(rest, "");
  EXPECT_TRUE(Eventually([&] { return taken.records().size() == 1; }));
  EXPECT_EQ(taken.records().front(), "/take 200");
}

INSTANTIATE_TEST_SUITE_P(
    Table, HttpTakenBodyTest,
    testing::Values(BodyCase{"none", false, 0, 10, 0}, BodyCase{"sized", false, 1000, 100, 0},
                    BodyCase{"sized_byte_by_byte", false, 100, 7, 1},
                    BodyCase{"sized_large", false, 20U << 20, 100'000, 0},
                    BodyCase{"sized_large_small_reads", false, 3U << 20, 999, 0},
                    BodyCase{"sized_slow", false, 300'000, 65536, 4099},
                    BodyCase{"chunked", true, 1000, 100, 0},
                    BodyCase{"chunked_none", true, 0, 10, 0},
                    BodyCase{"chunked_byte_by_byte", true, 60, 7, 1},
                    BodyCase{"chunked_large", true, 20U << 20, 100'000, 0},
                    BodyCase{"chunked_large_small_reads", true, 3U << 20, 999, 0},
                    BodyCase{"chunked_one_byte_reads", true, 3000, 1, 50},
                    BodyCase{"chunked_slow", true, 300'000, 65536, 4099}),
    [](const auto& test) { return test.param.name; });

struct BadBodyCase {
  std::string name;
  std::string lines;
  std::string body;
  int status;
  std::string text;
};
class HttpTakenBadBodyTest : public testing::TestWithParam<BadBodyCase> {};

TEST_P(HttpTakenBadBodyTest, IsAnErrorThatStays) {
  Server::Options options;
  options.limits.body_gap_timeout = 300ms;
  TakenTrial taken(EchoBody(1000), options, 1000);
  HttpClient client = taken.Connect();
  const BadBodyCase& c = GetParam();
  ASSERT_TRUE(client.Send("POST /take HTTP/1.1\r\nHost: x\r\n" + c.lines + "\r\n" + c.body));
  const auto response = client.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, c.status);
  EXPECT_EQ(response->body, c.text);
  EXPECT_TRUE(taken.trial().IsAlive());
}

INSTANTIATE_TEST_SUITE_P(
    Table, HttpTakenBadBodyTest,
    testing::Values(
        BadBodyCase{"length_over", "Content-Length: 1001\r\n", "x", 413, "queue_full!"},
        BadBodyCase{"length_far_over", "Content-Length: 999999999999999999\r\n", "", 413,
                    "queue_full!"},
        BadBodyCase{"chunks_over", "Transfer-Encoding: chunked\r\n",
                    "3e8\r\n" + std::string(1000, 'x') + "\r\n1\r\nx\r\n", 413, "queue_full!"},
        BadBodyCase{"chunk_far_over", "Transfer-Encoding: chunked\r\n", "ffffffffffffffffff\r\n",
                    413, "queue_full!"},
        BadBodyCase{"bad_size", "Transfer-Encoding: chunked\r\n", "xyz\r\n", 400,
                    "invalid_argument!"},
        BadBodyCase{"bad_end", "Transfer-Encoding: chunked\r\n", "1\r\nxy\r\n", 400,
                    "invalid_argument!"},
        BadBodyCase{"bad_trailer", "Transfer-Encoding: chunked\r\n", "0\r\nno colon\r\n\r\n", 400,
                    "invalid_argument!"},
        BadBodyCase{"silence", "Content-Length: 10\r\n", "xxx", 400, "deadline_exceeded!"},
        BadBodyCase{"silence_in_chunk", "Transfer-Encoding: chunked\r\n", "5\r\nxxx", 400,
                    "deadline_exceeded!"}),
    [](const auto& test) { return test.param.name; });

TEST(HttpTakenTest, ContinueIsSentWhenTheBodyIsWanted) {
  std::atomic<bool> wanted{false};
  TakenTrial taken([&](Call& call, TakenConnection& connection) {
    while (!wanted) std::this_thread::sleep_for(1ms);
    EchoBody(100)(call, connection);
  });
  HttpClient client = taken.Connect();
  ASSERT_TRUE(client.Send(
      "PUT /take HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"));
  EXPECT_FALSE(client.Read(200ms).has_value());
  wanted = true;
  EXPECT_EQ(client.Read()->status, 100);
  ASSERT_TRUE(client.Send("body"));
  EXPECT_EQ(client.Read()->body, "body");
}

TEST(HttpTakenTest, ARefusalComesInsteadOfContinue) {
  TakenTrial taken([](Call&, TakenConnection& connection) {
    EXPECT_TRUE(connection.Answer(403, "text/plain", "no").has_value());
    std::array<char, 10> into;
    EXPECT_FALSE(connection.ReadBody(into).has_value());
    EXPECT_FALSE(connection.Write("x", steady_clock::now() + 1s).has_value());
    EXPECT_FALSE(connection.Answer(200, "text/plain", "yes").has_value());
  });
  HttpClient client = taken.Connect();
  const auto response = client.Ask(
      "PUT /take HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
  EXPECT_EQ(response->status, 403);
  std::string rest;
  EXPECT_EQ(client.ReadToEnd(&rest), Ending::kClosed);
  EXPECT_EQ(rest, "");
}

TEST(HttpTakenTest, AnUploadAnsweredEarlySeesTheAnswer) {
  TakenTrial taken([](Call&, TakenConnection& connection) {
    (void)connection.Answer(413, "text/plain", "too much");
  });
  HttpClient client = taken.Connect();
  const std::string body(40U << 20, 'x');  // sent whole before anything is read
  EXPECT_TRUE(client.Send(PostRequest("/take", body)));
  const auto response = client.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 413);
  EXPECT_EQ(response->body, "too much");
  client.Close();
  EXPECT_TRUE(Eventually([&] { return taken.trial().IsIdle(); }));
}

TEST(HttpTakenTest, RawBytesGoBothWaysInOrder) {
  TakenTrial taken(EchoRaw);
  const std::string noise = Noise(8U << 20, 3);
  for (const std::size_t with_head : {std::size_t{0}, std::size_t{10}, std::size_t{100'000}}) {
    HttpClient client = taken.Connect();
    std::thread sender([&] {
      EXPECT_TRUE(client.Send(GetRequest("/take") + noise.substr(0, with_head)));
      EXPECT_TRUE(client.Send(std::string_view(noise).substr(with_head)));
      client.CloseSending();
    });
    std::string back;
    EXPECT_EQ(client.ReadToEnd(&back), Ending::kClosed);
    sender.join();
    EXPECT_TRUE(back == noise) << back.size();
  }
  EXPECT_TRUE(Eventually([&] { return taken.records().size() == 3; }));
  EXPECT_EQ(taken.records().front(), "/take 101");
}

TEST(HttpTakenTest, AThousandTakeoversLeaveNothingBehind) {
  TakenTrial taken([](Call& call, TakenConnection& connection) {
    if (call.tail == "/drop") return;
    if (call.tail == "/cut") return connection.Cut();
    if (call.tail == "/raw") return EchoRaw(call, connection);
    EchoBody(100)(call, connection);
  });
  ASSERT_TRUE(Eventually([&] { return taken.trial().IsAlive() && taken.trial().IsIdle(); }));
  const std::size_t before = OpenDescriptors();
  std::vector<std::thread> clients;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    clients.emplace_back([&, t] {
      for (int i = 0; i < 250; ++i) {
        HttpClient client = taken.Connect();
        std::string rest;
        const std::string body = std::to_string(t) + "-" + std::to_string(i);
        switch (i % 6) {
          case 0:
            client.Send(PostRequest("/take/drop", body));
            client.ReadToEnd(&rest);
            if (!rest.empty()) ++wrong;
            break;
          case 1:
            client.Send(PostRequest("/take/cut", body));
            client.ReadToEnd(&rest);
            break;
          case 2:
            client.Send(GetRequest("/take/raw") + body);
            client.CloseSending();
            client.ReadToEnd(&rest);
            if (rest != body) ++wrong;
            break;
          case 3:  // leaves in the middle of the body
            client.Send("POST /take/x HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf");
            if (i % 4 == 1) client.Reset();
            break;
          case 4:  // after other requests on the same connection
            if (client.Ask(GetRequest("/token?t=a&us=100"))->body != "a") ++wrong;
            if (client.Ask(PostRequest("/take/not", body))->body != "not taken: " + body) ++wrong;
            if (client.Ask(GetRequest("/q"))->body != "ok") ++wrong;
            [[fallthrough]];
          default:
            if (client.Ask(PostRequest("/take/x", body))->body != body) ++wrong;
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
  taken.Join();
  EXPECT_TRUE(Eventually([&] { return taken.trial().IsIdle(); }));
  EXPECT_TRUE(Eventually([&] { return OpenDescriptors() <= before; }))
      << OpenDescriptors() << " open, before " << before;
  EXPECT_TRUE(taken.trial().IsAlive());
}

// The thread that ends the answer before, or the hub, finds the request that takes the connection;
// the socket must be let go by the thread that reads it.
TEST(HttpTakenTest, APipelinedRequestCanTakeTheConnection) {
  TakenTrial taken([](Call& call, TakenConnection& connection) {
    call.tail == "/raw" ? EchoRaw(call, connection) : EchoBody(1000)(call, connection);
  });
  const std::string noise = Noise(20'000, 4);
  std::vector<std::thread> clients;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    clients.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        HttpClient client = taken.Connect();
        client.Send(GetRequest("/token?t=a&us=" + std::to_string(i * 20)) +
                    GetRequest("/token?t=b&us=0&bytes=" + std::to_string(i * 1000)) +
                    (t % 2 == 0 ? GetRequest("/take/raw") + noise : PostRequest("/take", noise)));
        if (client.Read()->body != "a") ++wrong;
        if (client.Read()->body.front() != 'b') ++wrong;
        if (t % 2 == 0) {
          if (client.ReadBytes(noise.size()) != noise) ++wrong;
        } else if (client.Read()->body != noise) {
          ++wrong;
        }
      }
    });
  }
  for (std::thread& client : clients) client.join();
  EXPECT_EQ(wrong, 0);
}

TEST(HttpTakenTest, WaitsBehindAnAnswerThatIsTakenSlowly) {
  TakenTrial taken(EchoBody(1000));
  HttpClient client = taken.Connect(4096);
  client.Send(GetRequest("/big?bytes=3000000") + PostRequest("/take", "mine"));
  std::this_thread::sleep_for(300ms);
  EXPECT_TRUE(taken.records().size() <= 1);
  EXPECT_EQ(client.Read()->body.size(), 3'000'000U);
  EXPECT_EQ(client.Read()->body, "mine");
}

TEST(HttpTakenTest, TheServersTimesDoNotCount) {
  Server::Options options;
  options.limits.idle_timeout = 200ms;
  options.limits.head_timeout = 200ms;
  options.limits.body_total_timeout = 200ms;
  options.limits.body_gap_timeout = 5s;
  options.limits.write_gap_timeout = 200ms;
  TakenTrial taken(
      [](Call& call, TakenConnection& connection) {
        call.tail == "/raw" ? EchoRaw(call, connection) : EchoBody(1000)(call, connection);
      },
      options);
  HttpClient raw = taken.Connect();
  HttpClient upload = taken.Connect();
  raw.Send(GetRequest("/take/raw"));
  upload.Send("POST /take HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab");
  std::this_thread::sleep_for(1500ms);
  raw.Send("still here");
  raw.CloseSending();
  std::string back;
  raw.ReadToEnd(&back);
  EXPECT_EQ(back, "still here");
  upload.Send("cd");
  EXPECT_EQ(upload.Read()->body, "abcd");
}

TEST(HttpTakenTest, CountsAsAConnectionAndInDrain) {
  Server::Options options;
  options.limits.max_connections = 2;
  TakenTrial taken(EchoRaw, options);
  Server& server = taken.trial().server();
  HttpClient first = taken.Connect();
  HttpClient second = taken.Connect();
  for (HttpClient* client : {&first, &second}) {
    std::string echo;
    client->Send(GetRequest("/take") + "x");
    client->ReadMore(kPatience, &echo);
    EXPECT_EQ(echo, "x");
  }
  EXPECT_EQ(server.stats().connections, 2U);
  EXPECT_EQ(server.stats().requests_in_flight, 2U);
  EXPECT_FALSE(taken.trial().IsAlive());
  first.Close();
  EXPECT_TRUE(Eventually([&] { return server.stats().connections == 1; }));
  EXPECT_TRUE(taken.trial().IsAlive());
  EXPECT_EQ(server.Drain(100ms), 1U);
  std::string echo;
  second.Send("y");
  second.ReadMore(kPatience, &echo);
  EXPECT_EQ(echo, "y");
  std::thread leaves([&] {
    std::this_thread::sleep_for(100ms);
    second.Close();
  });
  EXPECT_EQ(server.Drain(kPatience), 0U);
  leaves.join();
}

TEST(HttpTakenTest, StopCutsAndTheTakerMayOutliveTheServer) {
  std::shared_ptr<TakenConnection> kept;
  std::atomic<int> ends{0};
  {
    std::mutex mutex;
    std::vector<std::string> records;
    Server::Options options;
    options.on_request = [&](const RequestRecord& record) {
      std::lock_guard lock(mutex);
      records.push_back(std::string(record.route) + " " + std::to_string(record.status));
    };
    TrialServer trial(options);
    std::vector<std::thread> readers;
    std::atomic<bool> has_kept{false};
    const Server::TakesOver all = [](Method, std::string_view, const Fields&) { return true; };
    trial.server().Tree(
        "/keep",
        [&](Call& call) {
          kept = call.taken;
          has_kept = true;
        },
        all);
    trial.server().Tree(
        "/read",
        [&](Call& call) {
          readers.emplace_back([&ends, taken = call.taken]() mutable {
            std::array<char, 10> into;
            const auto got = taken->Read(into, steady_clock::now() + kPatience);
            if (!got || *got == 0) ++ends;
            taken.reset();
          });
        },
        all);
    trial.Start();
    HttpClient reading = trial.Connect();
    HttpClient keeping = trial.Connect();
    reading.Send(GetRequest("/read"));
    keeping.Send(GetRequest("/keep"));
    EXPECT_TRUE(
        Eventually([&] { return has_kept && trial.server().stats().requests_in_flight == 2; }));
    trial.server().Stop();
    for (std::thread& reader : readers) reader.join();
    EXPECT_EQ(ends, 1);
    EXPECT_EQ(trial.server().stats().connections, 0U);
    std::lock_guard lock(mutex);
    EXPECT_EQ(records.size(), 2U);
  }
  std::array<char, 10> into;
  const auto got = kept->Read(into, steady_clock::now() + 1s);
  EXPECT_TRUE(!got || *got == 0);
  (void)kept->Answer(200, "text/plain", "late");
  kept->Cut();
  kept.reset();
}

TEST(HttpTakenTest, CutEndsAWaitInAnotherThread) {
  std::atomic<TakenConnection*> waiting{nullptr};
  std::atomic<bool> ended{false};
  TakenTrial taken([&](Call&, TakenConnection& connection) {
    waiting = &connection;
    std::array<char, 10> into;
    const auto got = connection.Read(into, steady_clock::now() + kPatience);
    EXPECT_TRUE(!got || *got == 0);
    ended = true;
  });
  HttpClient client = taken.Connect();
  client.Send(GetRequest("/take"));
  ASSERT_TRUE(Eventually([&] { return waiting.load() != nullptr; }));
  waiting.load()->Cut();
  EXPECT_TRUE(Eventually([&] { return ended.load(); }));
  std::string rest;
  EXPECT_NE(client.ReadToEnd(&rest), Ending::kTimeout);
  EXPECT_TRUE(Eventually([&] { return taken.trial().IsIdle(); }));
  EXPECT_EQ(taken.records(), std::vector<std::string>{"/take 499"});
}

TEST(HttpTakenTest, AHandlerThatThrowsIsA500) {
  TrialServer trial;
  trial.server().Tree(
      "/throw", [](Call&) { throw 42; },
      [](Method, std::string_view tail, const Fields&) -> bool {
        if (tail == "/hook") throw 43;
        return true;
      });
  trial.Start();
  for (const char* path : {"/throw", "/throw/hook"}) {
    HttpClient client = trial.Connect();
    const auto response = client.Ask(PostRequest(path, "body"));
    ASSERT_TRUE(response.has_value()) << path;
    EXPECT_EQ(response->status, 500);
    EXPECT_EQ(response->body, "{\"error\":\"internal error\"}");
  }
  EXPECT_TRUE(Eventually([&] { return trial.IsIdle(); }));
}

TEST(HttpTakenTest, HeadGetsNoBody) {
  TakenTrial taken([](Call&, TakenConnection& connection) {
    EXPECT_TRUE(connection.Answer(200, "text/plain", "measured").has_value());
  });
  HttpClient client = taken.Connect();
  client.Send("HEAD /take HTTP/1.1\r\nHost: x\r\n\r\n");
  const auto response = client.Read(kPatience, true);
  EXPECT_EQ(response->Header("Content-Length"), "8");
  std::string rest;
  client.ReadToEnd(&rest);
  EXPECT_EQ(rest, "");
}

}  // namespace
}  // namespace forkbox::http
