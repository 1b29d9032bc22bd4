// What handlers may do with their replies: late, never, twice, in pieces, or by throwing.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "tests/http/http_client.h"
#include "tests/http/trial_server.h"

namespace forkbox::http {
namespace {

using std::chrono::milliseconds;

TEST(HttpRepliesTest, WhatAHandlerThrowsIsNotShown) {
  TrialServer trial;
  trial.Start();
  HttpClient client = trial.Connect();
  for (const char* path : {"/throw", "/throw-int", "/drop"}) {
    SCOPED_TRACE(path);
    const auto response = client.Ask(GetRequest(path));
    ASSERT_TRUE(response.has_value());
    EXPECT_EQ(response->status, 500);
    EXPECT_EQ(response->Header("Content-Type"), "application/json");
    EXPECT_EQ(response->body.find("secret"), std::string::npos);
  }
  EXPECT_TRUE(trial.IsAlive());
}

TEST(HttpRepliesTest, AnUnfinishedStreamIsCut) {
  TrialServer trial;
  trial.Start();
  HttpClient client = trial.Connect();
  const auto response = client.Ask(GetRequest("/drop-stream"));
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 200);
  EXPECT_EQ(response->body, "half of it");
  EXPECT_FALSE(response->complete);
  EXPECT_TRUE(trial.IsAlive());
}

TEST(HttpRepliesTest, OnlyTheFirstAnswerCounts) {
  TrialServer trial;
  trial.Start();
  HttpClient client = trial.Connect();
  ASSERT_TRUE(client.Send(GetRequest("/hold") + GetRequest("/q")));
  ASSERT_TRUE(Eventually([&] { return trial.held() == 1; }));
  Reply reply = trial.TakeHeld().front();
  EXPECT_TRUE(reply.Alive());
  std::atomic<int> accepted{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&accepted, reply]() mutable {
      if (reply.Send(200, "text/plain", "first")) ++accepted;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(accepted, 1);
  EXPECT_FALSE(reply.Alive());
  EXPECT_FALSE(reply.Start(200, "text/plain"));
  EXPECT_FALSE(reply.Write("x"));
  reply.End();
  reply.Abort();  // too late to hurt
  const auto first = client.Read();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->body, "first");
  const auto second = client.Read();
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->body, "ok");
}

TEST(HttpRepliesTest, ALeavingClientIsTold) {
  TrialServer trial;
  trial.Start();
  for (const bool by_reset : {false, true}) {
    HttpClient client = trial.Connect();
    ASSERT_TRUE(client.Send(GetRequest("/hold")));
    ASSERT_TRUE(Eventually([&] { return trial.held() == 1; }));
    Reply reply = trial.TakeHeld().front();
    std::atomic<int> replaced{0};
    std::atomic<int> called{0};
    reply.OnGone([&replaced] { ++replaced; });
    reply.OnGone([&called] {
      ++called;
      throw 42;  // must not reach the library's thread
    });
    EXPECT_EQ(called, 0);
    if (by_reset) {
      client.Reset();
    } else {
      client.Close();
    }
    ASSERT_TRUE(Eventually([&] { return called == 1; }));
    EXPECT_EQ(replaced, 0);
    EXPECT_FALSE(reply.Alive());
    EXPECT_FALSE(reply.Send(200, "text/plain", "too late"));
    reply.OnGone([&replaced] { ++replaced; });  // it has left: at once
    EXPECT_EQ(replaced, 1);
  }
  EXPECT_TRUE(Eventually([&] { return trial.IsIdle(); }));
}

TEST(HttpRepliesTest, AnAnsweredReplyForgetsItsCallback) {
  TrialServer trial;
  trial.Start();
  HttpClient client = trial.Connect();
  ASSERT_TRUE(client.Send(GetRequest("/hold")));
  ASSERT_TRUE(Eventually([&] { return trial.held() == 1; }));
  Reply reply = trial.TakeHeld().front();
  const auto guard = std::make_shared<int>(0);
  reply.OnGone([guard, reply] { ++*guard; });
  EXPECT_EQ(guard.use_count(), 2);
  EXPECT_TRUE(reply.Send(200, "text/plain", "x"));
  EXPECT_EQ(guard.use_count(), 1);
  client.Close();
  ASSERT_TRUE(Eventually([&] { return trial.IsIdle(); }));
  reply.OnGone([guard] { ++*guard; });
  EXPECT_EQ(*guard, 0);
}

TEST(HttpRepliesTest, StreamsKeepTheirOrderAndTheirIds) {
  TrialServer trial;
  trial.Start();
  constexpr int kStreams = 100;
  std::vector<HttpClient> clients;
  for (int i = 0; i < kStreams; ++i) {
    clients.push_back(trial.Connect());
    ASSERT_TRUE(clients.back().Send(GetRequest("/events?id=" + std::to_string(i))));
  }
  // Every third leaves early, by turns; new ones take over their descriptors.
  for (int round = 0; round < 10; ++round) {
    for (int i = round % 3; i < kStreams; i += 3) {
      HttpClient& client = clients[static_cast<std::size_t>(i)];
      if (i % 2 == 0) {
        client.Reset();
      } else {
        client.Close();
      }
      client = trial.Connect();
      ASSERT_TRUE(client.Send(GetRequest("/events?id=" + std::to_string(i))));
    }
    std::this_thread::sleep_for(milliseconds(50));
  }
  for (int i = 0; i < kStreams; ++i) {
    SCOPED_TRACE(i);
    HttpClient& client = clients[static_cast<std::size_t>(i)];
    std::string bytes;
    const std::string prefix = "id " + std::to_string(i) + " ";
    ASSERT_TRUE(Eventually([&] {
      client.ReadMore(milliseconds(100), &bytes);
      return bytes.find("\n" + prefix + "5\n") != std::string::npos;
    }));
    int expected = 0;
    for (std::size_t at = bytes.find("\nid "); at != std::string::npos;
         at = bytes.find("\nid ", at + 1)) {
      const std::string line = prefix + std::to_string(expected++) + "\n";
      if (at + 1 + line.size() > bytes.size()) break;
      ASSERT_EQ(bytes.substr(at + 1, line.size()), line);
    }
  }
  clients.clear();
  EXPECT_TRUE(Eventually([&] { return trial.IsIdle(); }));
}

TEST(HttpRepliesTest, AStreamIsChunksOrTheRestOfTheConnection) {
  TrialServer trial;
  trial.Start();
  HttpClient modern = trial.Connect();
  for (int i = 0; i < 2; ++i) {
    const auto response = modern.Ask(GetRequest("/count?n=4"));
    ASSERT_TRUE(response.has_value());
    EXPECT_TRUE(response->complete);
    EXPECT_EQ(response->Header("Transfer-Encoding"), "chunked");
    EXPECT_EQ(response->body, "0\n1\n2\n3\n");
  }
  HttpClient old = trial.Connect();
  const auto response = old.Ask("GET /count?n=4 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->Header("Transfer-Encoding"), "");
  EXPECT_EQ(response->Header("Connection"), "close");
  EXPECT_EQ(response->body, "0\n1\n2\n3\n");
  EXPECT_TRUE(response->complete);
}

TEST(HttpRepliesTest, AStreamNobodyReadsIsCutAtItsBacklog) {
  Limits limits;
  limits.max_backlog_bytes = 200'000;
  TrialServer trial({.limits = limits});
  trial.Start();
  HttpClient client = trial.Connect(4096);
  ASSERT_TRUE(client.Send(GetRequest("/hold")));
  ASSERT_TRUE(Eventually([&] { return trial.held() == 1; }));
  Reply reply = trial.TakeHeld().front();
  std::atomic<bool> gone{false};
  reply.OnGone([&gone] { gone = true; });
  ASSERT_TRUE(reply.Start(200, "text/plain"));
  std::size_t written = 0;
  while (reply.Write(std::string(10'000, 'x'))) {
    written += 10'000;
    ASSERT_LT(written, 100'000'000U);
    ASSERT_LE(reply.Backlog(), 210'000U);
  }
  EXPECT_TRUE(Eventually([&] { return gone.load(); }));
}

TEST(HttpRepliesTest, AStreamCanWaitForItsReader) {
  Limits limits;
  limits.max_backlog_bytes = 200'000;
  TrialServer trial({.limits = limits});
  trial.Start();
  HttpClient client = trial.Connect(4096);
  ASSERT_TRUE(client.Send(GetRequest("/hold")));
  ASSERT_TRUE(Eventually([&] { return trial.held() == 1; }));
  Reply reply = trial.TakeHeld().front();
  constexpr std::size_t kTotal = 20'000'000;
  std::thread writer([&reply] {
    ASSERT_TRUE(reply.Start(200, "text/plain"));
    for (std::size_t written = 0; written < kTotal; written += 50'000) {
      ASSERT_TRUE(reply.AwaitBacklog(100'000, kPatience));
      ASSERT_TRUE(reply.Write(std::string(50'000, 'x')));
    }
    reply.End();
  });
  std::this_thread::sleep_for(milliseconds(100));
  const auto response = client.Read();
  writer.join();
  ASSERT_TRUE(response.has_value());
  EXPECT_TRUE(response->complete);
  EXPECT_EQ(response->body.size(), kTotal);
  EXPECT_FALSE(Reply().AwaitBacklog(0, kPatience));
}

TEST(HttpRepliesTest, WaitingForAReaderEnds) {
  TrialServer trial;
  trial.Start();
  for (const bool leaves : {false, true}) {
    HttpClient client = trial.Connect(4096);
    ASSERT_TRUE(client.Send(GetRequest("/hold")));
    ASSERT_TRUE(Eventually([&] { return trial.held() == 1; }));
    Reply reply = trial.TakeHeld().front();
    ASSERT_TRUE(reply.Start(200, "text/plain"));
    while (reply.Backlog() < 1'000'000) ASSERT_TRUE(reply.Write(std::string(10'000, 'x')));
    std::thread leaver([&] {
      std::this_thread::sleep_for(milliseconds(50));
      if (leaves) client.Reset();
    });
    EXPECT_FALSE(reply.AwaitBacklog(1000, leaves ? kPatience : milliseconds(200)));
    leaver.join();
    EXPECT_EQ(reply.Alive(), !leaves);
  }
}

TEST(HttpRepliesTest, FilesAreSentFromWhereAsked) {
  TrialServer trial;
  trial.server().Route(Method::kGet, "/part", [](Call& call) {
    UniqueFd file(::memfd_create("part", MFD_CLOEXEC));
    ASSERT_EQ(::write(file.get(), "0123456789", 10), 10);
    call.reply.SendFile(206, "text/plain", std::move(file), 3, 4,
                        {{"Content-Range", "bytes 3-6/10"}});
  });
  trial.Start();
  const std::size_t descriptors = OpenDescriptors();
  HttpClient client = trial.Connect();
  for (int i = 0; i < 20; ++i) {
    const auto response = client.Ask(GetRequest("/part"));
    ASSERT_TRUE(response.has_value());
    EXPECT_EQ(response->status, 206);
    EXPECT_EQ(response->body, "3456");
  }
  for (int i = 0; i < 20; ++i) {  // left in the middle
    HttpClient leaver = trial.Connect(4096);
    ASSERT_TRUE(leaver.Send(GetRequest("/file?bytes=5000000")));
    leaver.Read(milliseconds(20));
    leaver.Reset();
  }
  client.Close();
  EXPECT_TRUE(Eventually([&] { return trial.IsIdle() && OpenDescriptors() <= descriptors; }));
}

TEST(HttpRepliesTest, HandlersSeeTheRequest) {
  TrialServer trial;
  std::mutex mutex;
  std::string seen;  // by mutex
  trial.server().Route(Method::kPut, "/things/:id/:part", [&mutex, &seen](Call& call) {
    std::string q;
    call.Query("q", &q);
    std::lock_guard lock(mutex);
    seen = std::string(ToString(call.method)) + '|' + call.path + '|' + call.raw_query + '|' +
           call.Param(":id") + '|' + call.Param(":part") + '|' + q + '|' + call.body + '|' +
           *call.Header("x-a") + '|' + call.client_address + '|' + call.request_id;
    call.reply.Send(204, "", "");
  });
  trial.Start();
  HttpClient client = trial.Connect();
  const auto response = client.Ask(
      "PUT /things/a%20b/c?q=1%2B1&r HTTP/1.1\r\nHost: x\r\nX-A: v\r\n"
      "X-Request-Id: r-1\r\nContent-Length: 2\r\n\r\nhi");
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->status, 204);
  EXPECT_EQ(response->Header("Content-Length"), "");
  std::lock_guard lock(mutex);
  EXPECT_EQ(seen, "PUT|/things/a%20b/c|q=1%2B1&r|a b|c|1+1|hi|v|127.0.0.1|r-1");
}

TEST(HttpRepliesTest, HooksShapeErrorsAndCountRequests) {
  struct Seen {
    std::mutex mutex;
    std::vector<std::string> records;
  } seen;
  const UniqueFd log_file(::memfd_create("log", MFD_CLOEXEC));
  TrialServer trial(
      {.log = Log(log_file.get(), LogLevel::kInfo),
       .body_limit = [](Method, std::string_view target, const Fields&) -> std::size_t {
         if (target == "/echo?throw") throw 42;
         return 10;
       },
       .error_body = [](const OwnAnswer& answer) -> AnswerBody {
         if (answer.status == 405) throw 42;
         return {"application/problem+json", "{\"detail\":\"" + std::to_string(answer.status) +
                                                 " " + std::string(answer.method) + " " +
                                                 std::string(answer.path) + "\"}"};
       },
       .on_request =
           [&seen](const RequestRecord& record) {
             std::lock_guard lock(seen.mutex);
             seen.records.push_back(std::string(record.method) + " " + std::string(record.route) +
                                    " " + std::to_string(record.status) + " " +
                                    std::to_string(record.body_bytes));
             throw 42;
           }});
  trial.Start();
  HttpClient client = trial.Connect();
  EXPECT_EQ(client.Ask(GetRequest("/q?secret=1", "X-Request-Id: r-1\r\n"))->body, "ok");
  const auto not_found = client.Ask(GetRequest("/nothing"));
  EXPECT_EQ(not_found->Header("Content-Type"), "application/problem+json");
  EXPECT_EQ(not_found->body, "{\"detail\":\"404 GET /nothing\"}");
  EXPECT_EQ(client.Ask("PUT /q HTTP/1.1\r\nHost: x\r\n\r\n")->Header("Content-Type"),
            "application/json");
  EXPECT_EQ(client.Ask(PostRequest("/echo?throw", std::string(20, 'x')))->status, 200);
  EXPECT_EQ(client.Ask(PostRequest("/echo", std::string(20, 'x')))->status, 413);
  HttpClient odd = trial.Connect();
  EXPECT_EQ(odd.Ask("?\r\n\r\n")->status, 400);
  HttpClient leaver = trial.Connect();
  ASSERT_TRUE(leaver.Send(GetRequest("/hold")));
  ASSERT_TRUE(Eventually([&] { return trial.held() == 1; }));
  leaver.Close();
  ASSERT_TRUE(Eventually([&] {
    std::lock_guard lock(seen.mutex);
    return seen.records.size() >= 7;
  }));
  trial.TakeHeld();
  client.Close();
  odd.Close();
  ASSERT_TRUE(Eventually([&] { return trial.IsIdle(); }));
  EXPECT_EQ(seen.records, (std::vector<std::string>{"GET /q 200 2", "GET  404 29", "PUT  405 46",
                                                    "POST /echo 200 20", "POST  413 27", "  400 18",
                                                    "GET /hold 499 0"}));

  std::string log(100'000, '\0');
  log.resize(static_cast<std::size_t>(::pread(log_file.get(), log.data(), log.size(), 0)));
  EXPECT_NE(log.find("\"event\":\"http.request\",\"request_id\":\"r-1\",\"method\":\"GET\","
                     "\"path\":\"/q\",\"status\":200,\"bytes\":2,\"duration_ms\":"),
            std::string::npos)
      << log;
  EXPECT_NE(log.find("\"client\":\"127.0.0.1\""), std::string::npos);
  EXPECT_EQ(log.find("secret"), std::string::npos);
}

}  // namespace
}  // namespace forkbox::http
