// Clients that are slow, silent, many, or do not read: each is bounded, and the others are served.
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/http/http_client.h"
#include "tests/http/trial_server.h"

namespace forkbox::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kNever{3'600'000};

Limits PatientLimits() {
  Limits limits;
  limits.idle_timeout = kNever;
  limits.head_timeout = kNever;
  limits.body_gap_timeout = kNever;
  limits.body_total_timeout = kNever;
  limits.write_gap_timeout = kNever;
  return limits;
}

struct SlowCase {
  std::string name;
  milliseconds Limits::*timeout;  // the only short one
  std::string first;              // sent at once
  std::string drip;               // sent again and again until the server ends it
  int status;                     // of the last answer; 0: closed without one
};

class HttpSlowClientTest : public testing::TestWithParam<SlowCase> {};

TEST_P(HttpSlowClientTest, IsEndedByItsTimer) {
  Limits limits = PatientLimits();
  limits.*GetParam().timeout = milliseconds(400);
  TrialServer trial({.limits = limits});
  trial.Start();
  HttpClient client = trial.Connect();
  ASSERT_TRUE(client.Send(GetParam().first));
  std::string bytes;
  std::optional<Ending> ending;
  ASSERT_TRUE(Eventually([&] {
    ending = client.ReadMore(milliseconds(50), &bytes);
    if (ending == Ending::kTimeout) {
      ending.reset();
      client.Send(GetParam().drip);
    }
    return ending.has_value();
  }));
  const std::size_t last = bytes.rfind("HTTP/1.1 ");
  EXPECT_EQ(last == std::string::npos ? 0 : std::atoi(bytes.c_str() + last + 9), GetParam().status)
      << bytes;
  if (GetParam().status == 408) {
    EXPECT_NE(bytes.find("{\"error\":\""), std::string::npos);
  }
  client.Close();
  EXPECT_TRUE(trial.IsAlive());
  EXPECT_TRUE(Eventually([&] { return trial.IsIdle(); }));
}

INSTANTIATE_TEST_SUITE_P(
    Timers, HttpSlowClientTest,
    testing::Values(
        SlowCase{"silent", &Limits::idle_timeout, "", "", 0},
        SlowCase{"only_empty_lines", &Limits::idle_timeout, "", "\r\n", 0},
        SlowCase{"silent_after_one", &Limits::idle_timeout, GetRequest("/q"), "", 200},
        SlowCase{"dripping_line", &Limits::head_timeout, "GET /q HT", "x", 408},
        SlowCase{"dripping_field", &Limits::head_timeout, "GET /q HTTP/1.1\r\nX-A: ", "x", 408},
        SlowCase{"half_a_head", &Limits::head_timeout, "GET /q HTTP/1.1\r\n", "", 408},
        SlowCase{"second_dripping", &Limits::head_timeout, GetRequest("/q") + "G", "E", 408},
        SlowCase{"dripping_body", &Limits::body_total_timeout,
                 "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", "x", 408},
        SlowCase{"silent_body", &Limits::body_gap_timeout,
                 "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nab", "", 408},
        SlowCase{"silent_chunks", &Limits::body_gap_timeout,
                 "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "",
                 408}),
    [](const auto& test) { return test.param.name; });

TEST(HttpClientsTest, AnAnswerMayTakeLongerThanAnyTimer) {
  Limits limits;
  limits.idle_timeout = limits.head_timeout = limits.body_gap_timeout = limits.body_total_timeout =
      limits.write_gap_timeout = milliseconds(300);
  TrialServer trial({.limits = limits});
  trial.Start();
  HttpClient client = trial.Connect();
  const auto response = client.Ask(GetRequest("/token?t=late&us=1500000"));
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->body, "late");
}

// 0.0.5 spins at 100 % on a full socket and serves nobody else on that worker.
TEST(HttpClientsTest, OneThatDoesNotReadDelaysNobody) {
  Limits limits;
  limits.write_gap_timeout = milliseconds(1500);
  TrialServer trial({.threads = 1, .limits = limits});
  trial.Start();
  HttpClient deaf = trial.Connect(4096);
  HttpClient deaf_to_files = trial.Connect(4096);
  HttpClient deaf_to_events = trial.Connect(4096);
  ASSERT_TRUE(deaf.Send(GetRequest("/big?bytes=3000000")));
  ASSERT_TRUE(deaf_to_files.Send(GetRequest("/file?bytes=30000000")));
  ASSERT_TRUE(deaf_to_events.Send(GetRequest("/events?id=1")));
  ASSERT_TRUE(Eventually([&] { return trial.server().stats().connections == 3; }));

  const rusage before = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage;
  }();
  const auto began = steady_clock::now();
  HttpClient other = trial.Connect();
  for (int i = 0; i < 50; ++i) {
    const auto response = other.Ask(GetRequest("/q"));
    ASSERT_TRUE(response && response->body == "ok") << i;
    std::this_thread::sleep_for(milliseconds(10));
  }
  rusage after{};
  ::getrusage(RUSAGE_SELF, &after);
  const auto wall = std::chrono::duration<double>(steady_clock::now() - began).count();
  const auto cpu = [](const rusage& usage) {
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  };
  EXPECT_LT(cpu(after) - cpu(before), wall * 0.7) << "a thread spins";

  // The write timer ends the first two; the third takes few bytes and may stay.
  EXPECT_TRUE(Eventually([&] { return trial.server().stats().connections == 2; }));
  std::string bytes;
  EXPECT_NE(deaf.ReadToEnd(&bytes), Ending::kTimeout);
  EXPECT_LT(bytes.size(), 3'000'000U);
}

TEST(HttpClientsTest, SlowButSteadyReadersGetEverything) {
  Limits limits;
  limits.write_gap_timeout = milliseconds(2000);
  TrialServer trial({.limits = limits});
  trial.Start();
  for (const std::string path : {"/big?bytes=2000000", "/file?bytes=2000000"}) {
    HttpClient client = trial.Connect(4096);
    // The next answer waits behind the first and must not be mixed into it.
    ASSERT_TRUE(client.Send(GetRequest(path) + GetRequest("/q")));
    const auto response = client.Read();
    ASSERT_TRUE(response.has_value());
    EXPECT_TRUE(response->complete);
    EXPECT_EQ(response->body, std::string(2'000'000, path[1]));
    const auto next = client.Read();
    ASSERT_TRUE(next.has_value());
    EXPECT_EQ(next->body, "ok");
  }
}

// Memory: a client that asks and asks and never reads would otherwise pile up its answers.
TEST(HttpClientsTest, OneThatPipelinesWithoutReadingIsBounded) {
  Limits limits;
  limits.write_gap_timeout = milliseconds(1000);
  limits.max_backlog_bytes = 1 << 20;
  TrialServer trial({.limits = limits});
  trial.Start();
  HttpClient client = trial.Connect(4096);
  const std::string requests = [] {
    std::string text;
    for (int i = 0; i < 100; ++i) text += GetRequest("/big?bytes=500000");
    return text;
  }();
  while (client.Send(requests)) {  // until the server cuts it
    ASSERT_LE(trial.server().stats().requests_in_flight, 1U);
  }
  EXPECT_TRUE(trial.IsAlive());
  EXPECT_TRUE(Eventually([&] { return trial.IsIdle(); }));
}

TEST(HttpClientsTest, PipelinedAnswersBeyondTheBacklogAllArriveWhenRead) {
  Limits limits;
  limits.max_backlog_bytes = 100'000;
  TrialServer trial({.limits = limits});
  trial.Start();
  HttpClient client = trial.Connect(4096);
  std::string requests;
  for (int i = 0; i < 30; ++i) requests += GetRequest("/big?bytes=200000");
  ASSERT_TRUE(client.Send(requests));
  for (int i = 0; i < 30; ++i) {
    const auto response = client.Read();
    ASSERT_TRUE(response.has_value()) << i;
    ASSERT_EQ(response->body.size(), 200'000U) << i;
  }
}

TEST(HttpClientsTest, AThousandIdleOnesCostNobodyAnything) {
  RaiseDescriptorLimit();
  TrialServer trial;
  trial.Start();
  std::vector<HttpClient> idle;
  for (int i = 0; i < 1000; ++i) {
    idle.push_back(trial.Connect());
    ASSERT_TRUE(idle.back().connected()) << i;
    if (i % 2 == 0) {
      const auto response = idle.back().Ask(GetRequest("/q"));
      ASSERT_TRUE(response && response->status == 200) << i;
    } else if (i % 3 == 0) {
      ASSERT_TRUE(idle.back().Send("GET /q HT"));
    }
  }
  ASSERT_TRUE(Eventually([&] { return trial.server().stats().connections == 1000; }));
  EXPECT_TRUE(trial.IsAlive());
  for (int i = 0; i < 1000; i += 100) {
    const auto response = idle[static_cast<std::size_t>(i)].Ask(GetRequest("/q"));
    EXPECT_TRUE(response && response->status == 200) << i;
  }
  idle.clear();
  EXPECT_TRUE(Eventually([&] { return trial.IsIdle(); }));
}

TEST(HttpClientsTest, OverTheLimitTheyAreTurnedAway) {
  Limits limits;
  limits.max_connections = 50;
  TrialServer trial({.limits = limits});
  trial.Start();
  std::vector<HttpClient> inside;
  for (int i = 0; i < 50; ++i) {
    inside.push_back(trial.Connect());
    const auto response = inside.back().Ask(GetRequest("/q"));
    ASSERT_TRUE(response && response->status == 200) << i;
  }
  for (int i = 0; i < 150; ++i) {
    HttpClient outside = trial.Connect();
    outside.Send(GetRequest("/q"));
    std::string bytes;
    ASSERT_NE(outside.ReadToEnd(&bytes), Ending::kTimeout);
    ASSERT_EQ(bytes, "");
  }
  for (HttpClient& client : inside) {
    const auto response = client.Ask(GetRequest("/q"));
    EXPECT_TRUE(response && response->status == 200);
  }
  inside.clear();
  ASSERT_TRUE(Eventually([&] { return trial.IsIdle(); }));
  EXPECT_TRUE(trial.IsAlive());
}

TEST(HttpClientsTest, BodiesOfAllTogetherAreBounded) {
  Limits limits;
  limits.max_body_total_bytes = 1'500'000;
  TrialServer trial({.limits = limits});
  trial.Start();
  const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n";
  HttpClient first = trial.Connect();
  ASSERT_TRUE(first.Send(head + std::string(900'000, 'x')));
  ASSERT_TRUE(Eventually([&] { return trial.server().stats().body_bytes == 900'000; }));
  HttpClient second = trial.Connect();
  second.Send(head + std::string(900'000, 'y'));
  const auto refused = second.Read();
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->status, 503);
  ASSERT_TRUE(first.Send(std::string(100'000, 'x')));
  const auto response = first.Read();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->body, std::string(1'000'000, 'x'));
  EXPECT_TRUE(Eventually([&] { return trial.server().stats().body_bytes == 0; }));
}

}  // namespace
}  // namespace forkbox::http
