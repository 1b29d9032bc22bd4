// Starting and stopping: taken ports, draining under load, answers that outlive the server.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/http/http_client.h"
#include "tests/http/trial_server.h"

namespace forkbox::http {
namespace {

using std::chrono::milliseconds;

TEST(HttpLifecycleTest, ATakenPortIsAnError) {
  TrialServer first;
  first.Start();
  Server second({.port = first.port()});
  const Result<void> started = second.Start();
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code, ErrorCode::kUnavailable);
  EXPECT_NE(started.error().message.find(std::to_string(first.port())), std::string::npos)
      << started.error().message;
  EXPECT_TRUE(first.IsAlive());
}

TEST(HttpLifecycleTest, ABadAddressIsAnError) {
  for (const char* address : {"", "nowhere", "1.2.3", "127.0.0.1:80", "[::1", "::1]"}) {
    Server server({.address = address});
    const Result<void> started = server.Start();
    ASSERT_FALSE(started.has_value()) << address;
    EXPECT_EQ(started.error().code, ErrorCode::kInvalidArgument) << address;
  }
  Server elsewhere({.address = "192.0.2.1"});  // TEST-NET-1: nobody's own address
  const Result<void> started = elsewhere.Start();
  ASSERT_FALSE(started.has_value());
  EXPECT_EQ(started.error().code, ErrorCode::kUnavailable);
}

TEST(HttpLifecycleTest, TheSamePortServesAgainAfterStop) {
  std::uint16_t port = 0;
  for (int i = 0; i < 3; ++i) {
    TrialServer trial({.port = port});
    trial.Start();
    port = trial.port();
    EXPECT_TRUE(trial.IsAlive());
  }
}

TEST(HttpLifecycleTest, NeverStartedIsNothingToStop) {
  Server server({});
  server.Route(Method::kGet, "/", [](Call&) {});
  server.Stop();
}

TEST(HttpLifecycleTest, DrainAnswersWhatIsInFlightAndRefusesTheRest) {
  TrialServer trial;
  trial.Start();
  HttpClient idle = trial.Connect();
  ASSERT_TRUE(idle.Ask(GetRequest("/q")).has_value());
  HttpClient busy = trial.Connect();
  ASSERT_TRUE(busy.Send(GetRequest("/hold")));
  ASSERT_TRUE(Eventually([&] { return trial.held() == 1; }));

  EXPECT_EQ(trial.server().Drain(milliseconds(50)), 1U);
  std::string bytes;
  EXPECT_NE(idle.ReadToEnd(&bytes), Ending::kTimeout);
  HttpClient late = trial.Connect();
  late.Send(GetRequest("/q"));
  EXPECT_NE(late.ReadToEnd(&bytes), Ending::kTimeout);
  EXPECT_EQ(bytes, "");

  std::thread answer([&trial] {
    std::this_thread::sleep_for(milliseconds(100));
    trial.TakeHeld().front().Send(200, "text/plain", "in time");
  });
  EXPECT_EQ(trial.server().Drain(kPatience), 0U);
  answer.join();
  const auto response = busy.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->body, "in time");
}

// Ten times: clients ask as fast as they can while the server drains and stops. Every answer that
// comes is whole, and the end comes.
TEST(HttpLifecycleTest, DrainUnderLoad) {
  for (int round = 0; round < 10; ++round) {
    auto trial = std::make_unique<TrialServer>();
    trial->Start();
    std::atomic<bool> draining{false};
    std::atomic<int> answered{0};
    std::atomic<int> broken{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 20; ++i) {
      clients.emplace_back([&, port = trial->port(), i] {
        HttpClient client(port);
        for (int n = 0; client.connected(); ++n) {
          const std::string token = std::to_string(i) + "." + std::to_string(n) + ";";
          if (!client.Send(GetRequest("/token?t=" + token + "&us=" + std::to_string(n % 3 * 500) +
                                      "&bytes=2000"))) {
            break;
          }
          const auto response = client.Read();
          if (!response) break;  // cut between two requests
          if (!response->complete || !response->body.starts_with(token)) ++broken;
          ++answered;
          if (response->Header("Connection") == "close") break;
        }
        if (!draining) ++broken;  // ended before anybody asked for it
      });
    }
    ASSERT_TRUE(Eventually([&] { return answered > 500; }));
    draining = true;
    EXPECT_EQ(trial->server().Drain(kPatience), 0U);
    trial.reset();
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(broken, 0);
  }
}

TEST(HttpLifecycleTest, RepliesMayOutliveTheServer) {
  auto trial = std::make_unique<TrialServer>();
  trial->Start();
  std::atomic<int> gone{0};
  std::vector<HttpClient> clients;
  for (int i = 0; i < 10; ++i) {
    clients.push_back(trial->Connect());
    ASSERT_TRUE(clients.back().Send(GetRequest("/hold") + GetRequest("/q")));
  }
  ASSERT_TRUE(Eventually([&] { return trial->held() == 10; }));
  std::vector<Reply> held = trial->TakeHeld();
  for (Reply& reply : held) reply.OnGone([&gone] { ++gone; });
  ASSERT_TRUE(held[0].Start(200, "text/plain"));
  trial.reset();
  EXPECT_EQ(gone, 10);
  EXPECT_FALSE(held[0].Write("x"));
  for (Reply& reply : held) {
    EXPECT_FALSE(reply.Send(200, "text/plain", "x"));
    EXPECT_FALSE(reply.Alive());
  }
  for (HttpClient& client : clients) {
    std::string bytes;
    EXPECT_NE(client.ReadToEnd(&bytes), Ending::kTimeout);
  }
}

// Answers given by other threads while the server goes: no answer runs into a server that is gone.
TEST(HttpLifecycleTest, StopWhileOthersAnswer) {
  for (int round = 0; round < 30; ++round) {
    Later later(3);
    TrialServer trial;
    trial.server().Route(Method::kGet, "/later", [&later](Call& call) {
      later.Run(std::chrono::microseconds(200),
                [reply = call.reply]() mutable { reply.Send(200, "text/plain", "x"); });
    });
    trial.Start();
    std::vector<HttpClient> clients;
    for (int i = 0; i < 20; ++i) {
      clients.push_back(trial.Connect());
      std::string requests;
      for (int n = 0; n < 50; ++n) requests += GetRequest("/later");
      ASSERT_TRUE(clients.back().Send(requests));
    }
    ASSERT_TRUE(clients.front().Read().has_value());
    trial.server().Stop();
    EXPECT_TRUE(trial.IsIdle());
  }
}

}  // namespace
}  // namespace forkbox::http
