// Events and cancellation over real sockets and the real server; store and broker are fakes, the
// runner's board is the real one.
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>

#include "api/api_server.h"
#include "api/testing_fakes.h"
#include "base/uuid.h"
#include "runner/progress_board.h"
#include "tests/api/event_client.h"
#include "tests/api/http_client.h"

namespace forkbox::api {
namespace {

using namespace std::chrono_literals;
using forkbox::testing::EventClient;
using forkbox::testing::Fetch;
using forkbox::testing::HttpAnswer;
using forkbox::testing::Transcript;
using nlohmann::json;
using schema::Event;
using schema::EventKind;
using schema::ExecutionId;
using schema::State;

class EventsHttpTest : public ::testing::Test {
 protected:
  void Start(const std::vector<std::string>& keys = {}) {
    std::vector<KeyEntry> entries;
    for (const std::string& key : keys) {
      KeyEntry entry;
      entry.digest = KeyDigest::Of(key);
      entries.push_back(std::move(entry));
    }
    authenticator_.emplace(std::move(entries));
    options_.store_probe.interval = 5ms;
    options_.events.hub.retry = 321ms;
    options_.events.hub.ask_again = 100ms;
    options_.events.hub.first_look = 20ms;
    options_.events.cancellation.patience = 200ms;
    server_ = std::make_unique<ApiServer>(std::move(options_),
                                          ApiServer::Parts{.service = service_,
                                                           .store = database_,
                                                           .broker = broker_,
                                                           .authenticator = *authenticator_,
                                                           .metrics = metrics_,
                                                           .clock = clock_,
                                                           .address_guard = guard_,
                                                           .languages = {},
                                                           .pool_stats = {},
                                                           .log = Log::Null()});
    const Result<void> started = server_->Start();
    ASSERT_TRUE(started) << started.error().message;
  }
  std::uint16_t port() { return server_->port(); }

  ExecutionId Insert() {
    schema::Execution execution;
    execution.id = ExecutionId(NewUuidV7());
    execution.dialect = "exec0";
    execution.language = "python";
    execution.created_unix_ms = 1'700'000'000'000;
    EXPECT_TRUE(store_.Insert(execution));
    return execution.id;
  }
  std::shared_ptr<runner::ProgressBoard::Run> Begin(const ExecutionId& id) {
    store_.SetState(id, State::kRunning);
    return board_.Begin(id);
  }
  void End(const ExecutionId& id, std::string out, std::string err = "",
           std::optional<std::string> value = std::nullopt) {
    schema::Outcome outcome;
    outcome.state = State::kCompleted;
    outcome.reason = schema::Reason::kExited;
    outcome.exit_code = 0;
    outcome.stdout_text = std::move(out);
    outcome.stderr_text = std::move(err);
    outcome.value_json = std::move(value);
    EXPECT_TRUE(store_.Finish(id, outcome, 1'700'000'001'000));
    board_.End(id, /*finished=*/true);
  }
  static Event Out(std::string text) { return {EventKind::kStdout, std::move(text)}; }
  static Event Err(std::string text) { return {EventKind::kStderr, std::move(text)}; }
  static std::string Path(const ExecutionId& id) { return "/executions/" + id.str() + "/events"; }

  bool Eventually(const std::function<bool()>& holds) {
    for (int i = 0; i < 10'000; ++i) {
      if (holds()) return true;
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }

  FakeClock clock_;
  testing::FakeStore store_;
  testing::FakeDatabase database_{store_};
  testing::FakeBroker broker_;
  runner::ProgressBoard board_{{.interval = 5ms}, broker_};
  webhook::AddressGuard guard_;
  Metrics metrics_;
  std::optional<Authenticator> authenticator_;
  ExecutionService service_{{}, store_, broker_, metrics_, clock_, Log::Null()};
  ApiServer::Options options_;
  std::unique_ptr<ApiServer> server_;
};

TEST_F(EventsHttpTest, FromTheQueueToTheEndAsItHappens) {
  Start();
  const ExecutionId id = Insert();
  EventClient client(port(), "/api/v1" + Path(id));
  ASSERT_EQ(client.status(), 200);
  EXPECT_EQ(client.Header("Content-Type"), "text/event-stream");
  EXPECT_NE(client.Header("Cache-Control").find("no-cache"), std::string::npos);
  EXPECT_EQ(client.Header("X-Accel-Buffering"), "no");
  auto event = client.Next();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->event, "state");
  EXPECT_EQ(event->data, json({{"state", "queued"}}));

  const auto run = Begin(id);
  run->On({EventKind::kState, "compiling"});
  EXPECT_EQ(client.Next()->data["state"], "compiling");
  run->On({EventKind::kState, "running"});
  EXPECT_EQ(client.Next()->data["state"], "running");
  run->On(Out("one\n"));
  event = client.Next();
  EXPECT_EQ(event->event, "stdout");
  EXPECT_EQ(event->data, json({{"text", "one\n"}}));
  EXPECT_TRUE(event->id.starts_with("r-4-0-")) << event->id;
  run->On(Err("two\xE2\x82"));  // the character is not complete: it waits
  event = client.Next();
  EXPECT_EQ(event->event, "stderr");
  EXPECT_EQ(event->data["text"], "two");
  run->On(Err("\xAC"));
  EXPECT_EQ(client.Next()->data["text"], "\xE2\x82\xAC");
  End(id, "one\n", "two\xE2\x82\xAC", "{\"a\":\n[1]}");
  event = client.Next();
  EXPECT_EQ(event->event, "value");
  EXPECT_EQ(event->data, json({{"value", {{"a", {1}}}}}));
  event = client.Next();
  EXPECT_EQ(event->event, "done");
  EXPECT_EQ(event->data["status"], "completed");
  EXPECT_EQ(event->data["result"]["stdout"], "one\n");
  const std::string done = event->id;
  EXPECT_FALSE(client.Next());
  EXPECT_TRUE(client.complete());
  // A browser comes back by itself, and is told that there is no more.
  EXPECT_EQ(EventClient(port(), Path(id), done).status(), 204);
  EXPECT_TRUE(Eventually([&] { return broker_.watched() == 0; }));
}

// A program that prints nothing for long: who watches knows that it runs.
TEST_F(EventsHttpTest, ASilentProgramRunsAllTheSame) {
  Start();
  const ExecutionId id = Insert();
  EventClient client(port(), Path(id));
  EXPECT_EQ(client.Next()->data["state"], "queued");
  const auto run = Begin(id);
  EXPECT_EQ(client.Next()->data["state"], "running");
  End(id, "");
  EXPECT_EQ(client.Next()->event, "done");
}

TEST_F(EventsHttpTest, AfterTheEndEveryPlaceCanBeReadOnFrom) {
  Start();
  const ExecutionId id = Insert();
  Begin(id);
  std::string out;
  while (out.size() < 100'000) out += "line \xE2\x82\xAC\n";
  End(id, out, "err", "1");
  std::vector<forkbox::testing::ServerEvent> events;
  EventClient whole(port(), Path(id));
  while (auto event = whole.Next()) events.push_back(*event);
  ASSERT_GT(events.size(), 8U);
  EXPECT_EQ(events.front().data["state"], "running");
  EXPECT_EQ(events.back().event, "done");
  Transcript before;
  for (const auto& event : events) {
    before.Add(event);
    EventClient rest(port(), Path(id), event.id);
    if (event.event == "done") {
      EXPECT_EQ(rest.status(), 204);
      break;
    }
    Transcript after = rest.ReadTo();
    EXPECT_EQ(before.stdout_text + after.stdout_text, out) << event.id;
    EXPECT_EQ(before.stderr_text + after.stderr_text, "err") << event.id;
    EXPECT_EQ(after.done["status"], "completed");
    EXPECT_EQ(before.value.is_null(), !after.value.is_null()) << event.id;
    EXPECT_TRUE(after.states.empty()) << event.id;
    EXPECT_FALSE(after.gone_back);
  }
  EXPECT_EQ(before.stdout_text, out);
}

TEST_F(EventsHttpTest, TwoWatchersAndOneThatComesBackHaveTheSame) {
  Start();
  const ExecutionId id = Insert();
  const auto run = Begin(id);
  run->On(Out("before "));
  EventClient first(port(), Path(id));
  EXPECT_EQ(first.ReadTo("stdout").stdout_text, "before ");
  EventClient second(port(), Path(id));
  EXPECT_EQ(second.ReadTo("stdout").stdout_text, "before ");
  EXPECT_EQ(broker_.watched(), 1U);
  run->On(Out("middle "));
  const auto middle = first.Next();
  EXPECT_EQ(middle->data["text"], "middle ");
  EventClient third(port(), Path(id), middle->id);
  EXPECT_EQ(third.status(), 200);
  run->On(Out("after"));
  End(id, "before middle after");
  EXPECT_EQ(first.ReadTo().stdout_text, "after");
  EXPECT_EQ(second.ReadTo().stdout_text, "middle after");
  const Transcript rest = third.ReadTo();
  EXPECT_EQ(rest.stdout_text, "after");
  EXPECT_FALSE(rest.gone_back);
}

// Its runner dies, another runs it anew and it prints something else: the stream says so.
TEST_F(EventsHttpTest, ASecondRunIsToldAnewOnlyIfItDiffers) {
  Start();
  const ExecutionId id = Insert();
  EventClient client(port(), Path(id));
  Begin(id)->On(Out("same 1"));
  EXPECT_EQ(client.ReadTo("stdout").stdout_text, "same 1");
  board_.End(id, /*finished=*/false);
  auto run = Begin(id);
  run->On(Out("same 1 and more"));
  auto event = client.Next();
  EXPECT_EQ(event->data["text"], " and more");
  board_.End(id, /*finished=*/false);

  run = Begin(id);
  run->On({EventKind::kState, "running"});
  run->On(Out("other"));
  End(id, "other");
  const Transcript rest = client.ReadTo();
  EXPECT_TRUE(rest.gone_back);
  EXPECT_EQ(rest.stdout_text, "other");
  EXPECT_EQ(rest.done["result"]["stdout"], "other");
  // And to who comes back with an id of the run that does not count.
  EventClient back(port(), Path(id), event->id);
  const Transcript again = back.ReadTo();
  EXPECT_TRUE(again.gone_back);
  EXPECT_EQ(again.stdout_text, "other");
}

TEST_F(EventsHttpTest, WhatIsLostOnTheWayIsAskedForAgain) {
  Start();
  const ExecutionId id = Insert();
  const auto run = Begin(id);
  EventClient client(port(), Path(id));
  EXPECT_TRUE(Eventually([&] { return broker_.watched() == 1; }));
  broker_.lose_progress = true;
  run->On(Out("lost "));
  std::this_thread::sleep_for(20ms);
  broker_.lose_progress = false;
  run->On(Out("and found"));
  Transcript transcript;
  while (transcript.stdout_text.size() < 14) {
    const auto event = client.Next();
    ASSERT_TRUE(event);
    transcript.Add(*event);
  }
  EXPECT_EQ(transcript.stdout_text, "lost and found");
  // The last words are lost: nothing shows it but the silence.
  broker_.lose_progress = true;
  run->On(Out("!"));
  std::this_thread::sleep_for(20ms);
  broker_.lose_progress = false;
  EXPECT_EQ(client.Next()->data["text"], "!");
  End(id, "lost and found!");
  EXPECT_EQ(client.Next()->event, "done");
}

TEST_F(EventsHttpTest, ItIsNotTheRunnerAloneWhoTellsOfTheEnd) {
  Start();
  const ExecutionId id = Insert();
  EventClient client(port(), Path(id));
  EXPECT_EQ(client.Next()->data["state"], "queued");
  schema::Outcome lost;
  lost.state = State::kLost;
  lost.reason = schema::Reason::kRunnerLost;
  EXPECT_TRUE(store_.Finish(id, lost, 1));
  const auto event = client.Next();
  ASSERT_TRUE(event);
  EXPECT_EQ(event->event, "done");
  EXPECT_EQ(event->data["state"], "lost");
}

TEST_F(EventsHttpTest, SilenceIsFilledWithComments) {
  options_.events.hub.heartbeat = 50ms;
  Start();
  const ExecutionId id = Insert();
  EventClient client(port(), Path(id));
  EXPECT_EQ(client.Next()->data["state"], "queued");
  EXPECT_FALSE(client.Next(500ms));
  EXPECT_GE(client.comments(), 2);
  EXPECT_LE(client.comments(), 10);
}

TEST_F(EventsHttpTest, AClientThatNeverReadsIsWaitedForAndThenCut) {
  options_.http.limits.write_gap_timeout = 500ms;
  Start();
  const ExecutionId id = Insert();
  Begin(id);
  const std::string flood(1U << 20, '\x01');  // six bytes each as JSON
  End(id, flood);
  const UniqueFd deaf = forkbox::testing::SendRequest(port(), {"GET", Path(id), {}, ""});
  int small = 4096;
  ::setsockopt(deaf.get(), SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  // Another one is served beside it, in full.
  EventClient reader(port(), Path(id));
  const Transcript transcript = reader.ReadTo();
  EXPECT_EQ(transcript.stdout_text.size(), flood.size());
  EXPECT_TRUE(reader.complete());
  EXPECT_TRUE(Eventually([&] { return server_->events().streams() == 0; }));
}

TEST_F(EventsHttpTest, WhoLeavesIsForgotten) {
  Start();
  const ExecutionId id = Insert();
  {
    EventClient one(port(), Path(id));
    EventClient two(port(), Path(id));
    EXPECT_EQ(two.Next()->event, "state");
    EXPECT_EQ(server_->events().streams(), 2U);
    EXPECT_EQ(server_->events().watched(), 1U);
  }
  EXPECT_TRUE(Eventually([&] { return server_->events().streams() == 0; }));
  EXPECT_TRUE(Eventually([&] { return server_->events().watched() == 0; }));
  EXPECT_EQ(broker_.watched(), 0U);
}

TEST_F(EventsHttpTest, StreamsAreBounded) {
  options_.events.hub.max_streams = 2;
  Start();
  const ExecutionId id = Insert();
  EventClient one(port(), Path(id));
  EventClient two(port(), Path(id));
  EventClient three(port(), Path(id));
  EXPECT_EQ(two.status(), 200);
  EXPECT_EQ(three.status(), 503);
  EXPECT_EQ(three.Header("Retry-After"), "1");
}

TEST_F(EventsHttpTest, ADrainEndsStreamsInOrder) {
  Start();
  const ExecutionId id = Insert();
  const auto run = Begin(id);
  EventClient client(port(), Path(id));
  run->On(Out("x"));
  EXPECT_EQ(client.ReadTo("stdout").stdout_text, "x");
  EXPECT_EQ(server_->Drain(10s), 0U);
  EXPECT_FALSE(client.Next());
  EXPECT_TRUE(client.complete());  // and comes back to another process with its last id
  board_.End(id, false);
}

TEST_F(EventsHttpTest, WhatCannotBeStreamedIsRefused) {
  Start();
  const ExecutionId id = Insert();
  const auto get = [&](const std::string& path, const std::string& last = "") {
    EventClient client(port(), path, last);
    return std::pair(client.status(), json::parse(client.Body(), nullptr, false));
  };
  auto [status, body] = get("/api/v1/executions/0190b5a0-0000-7000-8000-000000000000/events");
  EXPECT_EQ(status, 404);
  EXPECT_EQ(body["error"], "not_found");
  for (const std::string last : {"17", "r-1-2-zz", "r-1-2-0123456789abcdef-", "🦊"}) {
    std::tie(status, body) = get(Path(id), last);
    EXPECT_EQ(status, 400) << last;
    EXPECT_EQ(body["details"]["field"], "Last-Event-ID");
  }
  EXPECT_EQ(Fetch(port(), {"POST", Path(id), {}, "{}"}).status, 405);
  const HttpAnswer head = Fetch(port(), {"HEAD", Path(id), {}, ""});
  EXPECT_EQ(head.status, 200);
  EXPECT_EQ(head.body, "");
  EXPECT_TRUE(Eventually([&] { return server_->events().streams() == 0; }));
}

TEST_F(EventsHttpTest, AnIdFromNowhereBeginsAnew) {
  Start();
  const ExecutionId id = Insert();
  Begin(id);
  End(id, "abc");
  for (const char* last : {"r-2-0-0123456789abcdef", "r-1000000-0-0123456789abcdef",
                           "d-3-0-0123456789abcdef", "v-0-0-0000000000000000"}) {
    EventClient client(port(), Path(id), last);
    ASSERT_EQ(client.status(), 200) << last;
    const Transcript transcript = client.ReadTo();
    EXPECT_TRUE(transcript.gone_back) << last;
    EXPECT_EQ(transcript.stdout_text, "abc") << last;
    EXPECT_FALSE(transcript.done.is_null());
  }
}

// ---- DELETE -------------------------------------------------------------------------------------

TEST_F(EventsHttpTest, DeleteCancelsWhatWaitsAndEndsItsStream) {
  Start();
  const ExecutionId id = Insert();
  EventClient client(port(), Path(id));
  EXPECT_EQ(client.Next()->data["state"], "queued");
  HttpAnswer answer = Fetch(port(), {"DELETE", "/api/v1/executions/" + id.str(), {}, ""});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(json::parse(answer.body)["state"], "cancelled");
  EXPECT_EQ(client.ReadTo("done").done["state"], "cancelled");
  answer = Fetch(port(), {"DELETE", "/executions/" + id.str(), {}, ""});
  EXPECT_EQ(answer.status, 409);
  const json body = json::parse(answer.body);
  EXPECT_EQ(body["error"], "conflict");
  EXPECT_EQ(body["details"]["state"], "cancelled");
  EXPECT_EQ(Fetch(port(), {"DELETE", "/executions/none", {}, ""}).status, 404);
}

TEST_F(EventsHttpTest, DeleteKeepsWhatARunningProgramHasPrinted) {
  Start();
  const ExecutionId id = Insert();
  const auto run = Begin(id);
  run->On(Out("half"));
  EventClient client(port(), Path(id));
  EXPECT_EQ(client.ReadTo("stdout").stdout_text, "half");
  std::jthread runner([&] {
    broker_.AwaitCancelled(1);
    schema::Outcome outcome;
    outcome.state = State::kCancelled;
    outcome.reason = schema::Reason::kCancelled;
    outcome.stdout_text = "half";
    EXPECT_TRUE(store_.Finish(id, outcome, 1));
    board_.End(id, /*finished=*/true);
  });
  const HttpAnswer answer = Fetch(port(), {"DELETE", "/executions/" + id.str(), {}, ""});
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(json::parse(answer.body)["result"]["stdout"], "half");
  const Transcript rest = client.ReadTo();
  EXPECT_FALSE(rest.gone_back);
  EXPECT_EQ(rest.stdout_text, "");
  EXPECT_EQ(rest.done["reason"], "cancelled");
}

TEST_F(EventsHttpTest, AnothersExecutionIsUnknown) {
  Start({"key-number-one-with-length"});
  const ExecutionId id = Insert();  // of nobody
  const http::Fields key{{"Authorization", "Bearer key-number-one-with-length"}};
  EXPECT_EQ(EventClient(port(), Path(id), "", key).status(), 404);
  EXPECT_EQ(EventClient(port(), Path(id)).status(), 401);
  EXPECT_EQ(Fetch(port(), {"DELETE", "/executions/" + id.str(), key, ""}).status, 404);
  EXPECT_EQ(Fetch(port(), {"DELETE", "/executions/" + id.str(), {}, ""}).status, 401);
  EXPECT_FALSE(store_.Get(id, std::nullopt)->outcome);
}

// Many clients of many executions that come, go and are cancelled: nothing is left.
TEST_F(EventsHttpTest, AStormLeavesNothing) {
  Start();
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        const ExecutionId id = Insert();
        std::optional<EventClient> early;
        if (i % 2 == 0) early.emplace(port(), Path(id));
        const auto run = Begin(id);
        std::string all;
        for (int line = 0; line < 200; ++line) {
          const std::string text = std::to_string(t) + " " + std::to_string(line) + "\n";
          run->On(Out(text));
          all += text;
          if (line == 100 && i % 3 == 0) early.reset();
        }
        EventClient late(port(), Path(id));
        End(id, all);
        EXPECT_EQ(late.ReadTo().stdout_text, all);
        if (early) {
          EXPECT_EQ(early->ReadTo().stdout_text, all);
        }
      }
    });
  }
  threads.clear();
  EXPECT_TRUE(Eventually([&] { return server_->events().streams() == 0; }));
  EXPECT_TRUE(Eventually([&] { return server_->events().watched() == 0; }));
  EXPECT_EQ(broker_.watched(), 0U);
}

}  // namespace
}  // namespace forkbox::api
