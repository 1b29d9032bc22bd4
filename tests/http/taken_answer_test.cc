// The answer to a taken request waits for nobody: handlers give it in the thread that reads for
// many clients.
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

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

using namespace std::chrono_literals;

// One thread reads for all clients, and /refuse refuses in it.
class TakenAnswerTest : public testing::Test {
 protected:
  void Start(std::size_t answer_bytes) {
    Server::Options options;
    options.threads = 1;
    // A test that fails ends before a client that takes nothing is given up.
    options.limits.write_gap_timeout = 10 * kPatience;
    trial_ = std::make_unique<TrialServer>(std::move(options));
    trial_->server().Tree(
        "/refuse",
        [this, answer_bytes](Call& call) {
          pollfd wait{.fd = call.taken->socket(), .events = POLLOUT, .revents = 0};
          if (::poll(&wait, 1, 0) == 0) ++full_;
          call.Answer(401, "text/plain", std::string(answer_bytes, 'x'));
          ++refused_;
        },
        [](Method, std::string_view, const Fields&) { return true; });
    trial_->Start();
  }
  [[nodiscard]] HttpClient ConnectNarrow() const { return HttpClient(trial_->port(), 2048, 536); }

  std::unique_ptr<TrialServer> trial_;
  std::atomic<int> refused_{0};
  std::atomic<int> full_{0};  // of these, on connections that took nothing more
};

TEST_F(TakenAnswerTest, ClientsThatReadNothingHoldUpNobody) {
  // A few bytes more than the room that is left, whatever that is.
  constexpr int kMostBefore = 400;
  Start(4000);
  struct Attacker {
    HttpClient client;
    int before;  // answers that lie in the socket when the request is taken, if there is room
  };
  std::vector<Attacker> attackers;
  for (int before = 0; before <= kMostBefore; before += 5) {
    Attacker& attacker = attackers.emplace_back(ConnectNarrow(), before);
    std::string requests;
    for (int i = 0; i < before; ++i) requests += GetRequest("/q");
    ASSERT_TRUE(attacker.client.Send(requests + GetRequest("/refuse")));
    ASSERT_TRUE(trial_->IsAlive()) << before;
  }
  EXPECT_GT(full_, 0);
  // Who reads after all gets everything.
  for (Attacker& attacker : attackers) {
    for (int i = 0; i < attacker.before; ++i) {
      const auto response = attacker.client.Read();
      ASSERT_TRUE(response.has_value()) << attacker.before << " " << i;
      ASSERT_EQ(response->body, "ok") << attacker.before << " " << i;
    }
    const auto refusal = attacker.client.Read();
    ASSERT_TRUE(refusal.has_value()) << attacker.before;
    EXPECT_EQ(refusal->status, 401) << attacker.before;
    EXPECT_EQ(refusal->body.size(), 4000U) << attacker.before;
    std::string rest;
    EXPECT_EQ(attacker.client.ReadToEnd(&rest), Ending::kClosed) << attacker.before;
    EXPECT_EQ(rest, "");
  }
  attackers.clear();
  EXPECT_TRUE(Eventually([&] { return trial_->IsIdle(); }));
}

TEST_F(TakenAnswerTest, ALargeAnswerIsTakenAtTheClientsPace) {
  Start(8'000'000);
  HttpClient slow = ConnectNarrow();
  ASSERT_TRUE(slow.Send(GetRequest("/refuse")));
  ASSERT_TRUE(trial_->IsAlive());
  HttpClient half_closed = trial_->Connect(4096);
  ASSERT_TRUE(half_closed.Send(GetRequest("/refuse")));
  half_closed.CloseSending();
  ASSERT_TRUE(trial_->IsAlive());
  HttpClient uploads = trial_->Connect(4096);
  // Sent whole before anything is read.
  ASSERT_TRUE(uploads.Send(PostRequest("/refuse", std::string(20U << 20, 'x'))));
  for (HttpClient* client : {&half_closed, &uploads}) {
    const auto response = client->Read();
    ASSERT_TRUE(response.has_value());
    EXPECT_EQ(response->status, 401);
    EXPECT_EQ(response->body.size(), 8'000'000U);
    EXPECT_TRUE(response->complete);
    std::string rest;
    EXPECT_EQ(client->ReadToEnd(&rest), Ending::kClosed);
  }
  slow.Reset();  // in the middle of it
  half_closed.Close();
  uploads.Close();
  EXPECT_TRUE(Eventually([&] { return trial_->IsIdle(); }));
}

TEST_F(TakenAnswerTest, DrainWaitsUntilItIsSent) {
  Start(8'000'000);
  HttpClient client = trial_->Connect(4096);
  ASSERT_TRUE(client.Send(GetRequest("/refuse")));
  ASSERT_TRUE(Eventually([&] { return refused_ == 1; }));
  EXPECT_EQ(trial_->server().Drain(50ms), 1U);
  std::atomic<std::size_t> busy{1};
  std::thread drains([&] { busy = trial_->server().Drain(kPatience); });
  const auto response = client.Read();
  drains.join();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->body.size(), 8'000'000U);
  EXPECT_EQ(busy, 0U);
}

}  // namespace
}  // namespace forkbox::http
