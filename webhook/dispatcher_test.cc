#include "webhook/dispatcher.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <unistd.h>

#include <thread>

#include "base/unique_fd.h"
#include "webhook/signature.h"
#include "webhook/testing_fakes.h"

namespace forkbox::webhook {
namespace {

using namespace std::chrono_literals;
using store::DeliveryState;
using ::testing::Contains;
using ::testing::ElementsAre;
using testing::FakeDeliveries;
using testing::FakeExecutions;
using testing::FakeSecrets;
using testing::FakeSender;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

// What must come, comes; the bound is only there to end a test that failed.
template <class Condition>
bool Eventually(Condition condition) {
  for (const Deadline end = std::chrono::steady_clock::now() + 30s; !condition();) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

class DispatcherTest : public ::testing::Test {
 protected:
  DispatcherTest() {
    options_.sender_id = "me";
    options_.poll_interval = 2ms;
    options_.retry.delays = {10s, 20s};
    options_.retry.delays_when_refused = 1;
  }

  void Start() {
    auto sender = std::make_unique<FakeSender>();
    sender_ = sender.get();
    dispatcher_ = std::make_unique<Dispatcher>(
        options_, deliveries_, secrets_, executions_,
        [this](const store::ExecutionRecord& record) -> Result<std::string> {
          if (render_failure_) return Fail(*render_failure_);
          return "{\"id\":\"" + record.execution.id.str() +
                 "\",\"draft\":" + std::to_string(++drafts_) + "}";
        },
        AddressGuard(), clock_, log_, std::move(sender));
    dispatcher_->Start();
  }

  void Owe(const std::string& id, const std::string& url = "https://example.com/hook?token=t0p",
           const std::string& owner = "alice") {
    store::Delivery delivery;
    delivery.id = store::DeliveryId(id);
    delivery.execution_id = schema::ExecutionId("execution-of-" + id);
    delivery.owner = schema::OwnerId(owner);
    delivery.url = url;
    delivery.next_attempt_unix_ms = clock_.UnixMillis();
    deliveries_.Owe(delivery);
  }
  bool Becomes(const std::string& id, DeliveryState state) {
    return Eventually([&] { return deliveries_.Row(id).state == state; });
  }
  bool IsRecorded(const std::string& id, std::size_t attempts) {
    return Eventually([&] { return deliveries_.Attempts(id).size() == attempts; });
  }

  FakeClock clock_;
  FakeDeliveries deliveries_;
  FakeSecrets secrets_;
  FakeExecutions executions_;
  std::atomic<int> drafts_{0};
  std::optional<Error> render_failure_;
  Log log_ = Log::Null();
  DispatcherOptions options_;
  FakeSender* sender_ = nullptr;
  std::unique_ptr<Dispatcher> dispatcher_;
};

TEST_F(DispatcherTest, SendsWhatIsOwed) {
  secrets_.of_owner["alice"] = {NewSecret()};
  Owe("d1");
  Start();
  const Request request = sender_->Take();
  const std::int64_t seconds = clock_.UnixMillis() / 1'000;
  EXPECT_EQ(request.url, "https://example.com/hook?token=t0p");
  EXPECT_EQ(request.body, R"({"id":"execution-of-d1","draft":1})");
  EXPECT_THAT(request.headers,
              ElementsAre("content-type: application/json", "webhook-id: d1",
                          "webhook-timestamp: " + std::to_string(seconds),
                          "webhook-signature: " +
                              *Sign(secrets_.of_owner["alice"][0], "d1", seconds, request.body)));
  EXPECT_EQ(deliveries_.Row("d1").body, request.body);
  EXPECT_EQ(dispatcher_->Stats().in_flight, 1U);

  clock_.Advance(70ms);
  sender_->Reply(204);
  EXPECT_TRUE(Becomes("d1", DeliveryState::kDelivered));
  const auto attempts = deliveries_.Attempts("d1");
  ASSERT_EQ(attempts.size(), 1U);
  EXPECT_EQ(attempts[0].number, 1);
  EXPECT_EQ(attempts[0].status, 204);
  EXPECT_EQ(attempts[0].duration_ms, 70);
  EXPECT_EQ(attempts[0].started_unix_ms, clock_.UnixMillis() - 70);
  EXPECT_EQ(attempts[0].error, "");
  EXPECT_TRUE(Eventually([&] { return dispatcher_->Stats().delivered == 1; }));
  EXPECT_EQ(dispatcher_->Stats().in_flight, 0U);
}

TEST_F(DispatcherTest, AllAttemptsCarryTheSameBodyAndId) {
  Owe("d1");
  Start();
  const Request first = sender_->Take();
  sender_->Reply(503);
  ASSERT_TRUE(IsRecorded("d1", 1));
  EXPECT_EQ(deliveries_.Attempts("d1")[0].error, "the receiver answered 503");
  EXPECT_EQ(deliveries_.Row("d1").state, DeliveryState::kPending);

  executions_.set_failure(Error{ErrorCode::kNotFound, "removed meanwhile"});
  clock_.Advance(12s);
  const Request second = sender_->Take();
  EXPECT_EQ(second.body, first.body);
  EXPECT_EQ(second.headers[1], first.headers[1]);
  EXPECT_NE(second.headers[2], first.headers[2]) << "signed anew, at its own time";
  sender_->Reply({.end = Answer::End::kFailed, .error = "the connection broke off"});
  ASSERT_TRUE(IsRecorded("d1", 2));
  EXPECT_EQ(deliveries_.Attempts("d1")[1].error, "the connection broke off");

  clock_.Advance(24s);
  sender_->Take();
  sender_->Reply(500);
  EXPECT_TRUE(Becomes("d1", DeliveryState::kDead));
  EXPECT_TRUE(Eventually([&] { return dispatcher_->Stats().dead == 1; }));
  EXPECT_EQ(dispatcher_->Stats().failed_attempts, 3U);
}

TEST_F(DispatcherTest, ALongBodyThatWaitedIsStillTheSame) {
  Owe("d1");
  const std::string fixed(1 << 20, 'x');
  ASSERT_EQ(deliveries_.FixBody(store::DeliveryId("d1"), fixed), fixed);
  Start();
  EXPECT_EQ(sender_->Take().body, fixed);
}

TEST_F(DispatcherTest, SignsWithEverySecretThatIsActive) {
  secrets_.of_owner["alice"] = {NewSecret(), NewSecret()};
  Owe("d1");
  Start();
  const Request both = sender_->Take();
  const std::int64_t seconds = clock_.UnixMillis() / 1'000;
  const auto& secrets = secrets_.of_owner["alice"];
  EXPECT_EQ(both.headers.back(),
            "webhook-signature: " + *Sign(secrets[0], "d1", seconds, both.body) + " " +
                *Sign(secrets[1], "d1", seconds, both.body));
  Owe("d2", "https://example.com/", "bob");
  EXPECT_THAT(sender_->Take().headers, Not(Contains(StartsWith("webhook-signature"))));
}

TEST_F(DispatcherTest, NeverSendsUnsignedWhatShouldBeSigned) {
  secrets_.of_owner["alice"] = {"whsec_damaged"};
  Owe("d1");
  Start();
  ASSERT_TRUE(IsRecorded("d1", 1));
  EXPECT_EQ(deliveries_.Attempts("d1")[0].error, "the signing secret cannot be read");
  EXPECT_EQ(sender_->sent(), 0U);
}

TEST_F(DispatcherTest, WhatCannotBeSentIsDeadAndSaysWhy) {
  struct Case {
    const char* id;
    std::optional<Error> store;
    std::optional<Error> render;
    const char* url;
    const char* error;
  };
  const char* const good = "https://example.com/";
  const Case cases[] = {
      {"d1", Error{ErrorCode::kNotFound, "row 7"}, {}, good, "the execution is gone"},
      {"d2", {}, Error{ErrorCode::kInvalidArgument, "secret"}, good, "the result cannot be worded"},
      {"d3", {}, {}, "http://10.0.0.1/", "webhook_url: the host is an address"},
      {"d4", {}, {}, "not a url", "webhook_url: "},
      {"d5", {}, {}, "", "webhook_url: "}};
  for (const Case& one : cases) {
    executions_.set_failure(one.store);
    render_failure_ = one.render;
    Owe(one.id, one.url);
    Start();
    EXPECT_TRUE(Becomes(one.id, DeliveryState::kDead)) << one.id;
    dispatcher_.reset();
    const auto attempts = deliveries_.Attempts(one.id);
    ASSERT_EQ(attempts.size(), 1U);
    EXPECT_EQ(attempts[0].status, 0);
    EXPECT_THAT(attempts[0].error, StartsWith(one.error));
  }
}

TEST_F(DispatcherTest, AResultThatCannotBeReadIsTriedAFewTimes) {
  executions_.set_failure(Error{ErrorCode::kInternal, "execution 7: stored outcome: damaged"});
  Owe("d1");
  Start();
  ASSERT_TRUE(IsRecorded("d1", 1));
  EXPECT_EQ(deliveries_.Row("d1").state, DeliveryState::kPending);
  clock_.Advance(12s);
  EXPECT_TRUE(Becomes("d1", DeliveryState::kDead));
  EXPECT_EQ(deliveries_.Attempts("d1")[1].error, "the result cannot be read");
  EXPECT_EQ(sender_->sent(), 0U);
}

TEST_F(DispatcherTest, WaitsForAStoreThatIsAwayAndLosesNothing) {
  executions_.set_failure(Error{ErrorCode::kUnavailable, "away"});
  Owe("d1");
  Start();
  ASSERT_TRUE(Eventually([&] { return deliveries_.calls > 0; }));
  std::this_thread::sleep_for(20ms);
  EXPECT_THAT(deliveries_.Attempts("d1"), IsEmpty());
  executions_.set_failure(std::nullopt);

  sender_->Take();
  deliveries_.away = true;
  sender_->Reply(200);
  const std::size_t calls = deliveries_.calls;
  ASSERT_TRUE(Eventually([&] { return deliveries_.calls > calls; }));
  deliveries_.away = false;
  EXPECT_TRUE(Becomes("d1", DeliveryState::kDelivered));
  EXPECT_EQ(sender_->sent(), 1U) << "recorded late, not sent again";
}

TEST_F(DispatcherTest, AsksAStoreThatIsAwayLessAndLessOften) {
  deliveries_.away = true;
  const auto start = std::chrono::steady_clock::now();
  Start();
  ASSERT_TRUE(Eventually([&] { return deliveries_.calls >= 4; }));
  EXPECT_GE(std::chrono::steady_clock::now() - start, 100ms + 200ms + 400ms);
}

TEST_F(DispatcherTest, WhatAnotherTookOverIsNotRecorded) {
  Owe("d1");
  Start();
  sender_->Take();
  deliveries_.LoseClaims();
  sender_->Reply(200);
  ASSERT_TRUE(Eventually([&] { return dispatcher_->Stats().in_flight == 0; }));
  dispatcher_.reset();
  EXPECT_THAT(deliveries_.Attempts("d1"), IsEmpty());
  EXPECT_EQ(deliveries_.Sender("d1"), "another");
}

TEST_F(DispatcherTest, ABoundForEachHostLeavesRoomForOthers) {
  options_.threads = 1;  // sends in order
  options_.max_in_flight_per_host = 2;
  for (int i = 10; i < 50; ++i) Owe("d" + std::to_string(i), "https://slow.example.com/");
  Owe("d99", "https://quick.example.com/");
  Start();
  std::vector<std::string> urls;
  for (int i = 0; i < 3; ++i) urls.push_back(sender_->Take().url);
  EXPECT_THAT(urls, ElementsAre("https://slow.example.com/", "https://slow.example.com/",
                                "https://quick.example.com/"));
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(sender_->sent(), 3U);
  sender_->Reply(200);
  EXPECT_EQ(sender_->Take().url, "https://slow.example.com/");
}

TEST_F(DispatcherTest, BeginsNothingThatItsClaimDoesNotOutlast) {
  options_.max_in_flight = 1;
  Owe("d1", "https://one.example.com/");
  Owe("d2", "https://two.example.com/");
  Start();
  sender_->Take();
  ASSERT_TRUE(Eventually([&] { return dispatcher_->Stats().waiting == 1; }));
  clock_.Advance(36s);  // of 60, and 25 are needed
  sender_->Reply(200);
  ASSERT_TRUE(Becomes("d1", DeliveryState::kDelivered));
  ASSERT_TRUE(Eventually([&] { return dispatcher_->Stats().waiting == 0; }));
  EXPECT_EQ(sender_->sent(), 1U);
  clock_.Advance(24s);  // it ends, and is claimed anew
  EXPECT_EQ(sender_->Take().url, "https://two.example.com/");
}

TEST_F(DispatcherTest, BeginsNothingWhenTheStoreWasTooSlow) {
  executions_.on_get = [this] { clock_.Advance(50s); };  // of 60, and 15 are needed
  Owe("d1");
  Start();
  EXPECT_EQ(sender_->Take().body, R"({"id":"execution-of-d1","draft":1})");
  EXPECT_EQ(deliveries_.released, 1U) << "and claimed anew";
  EXPECT_EQ(sender_->sent(), 1U);
  EXPECT_THAT(deliveries_.Attempts("d1"), IsEmpty());
}

TEST_F(DispatcherTest, WakesForWhatIsNew) {
  options_.poll_interval = 1h;
  Start();
  ASSERT_TRUE(Eventually([&] { return deliveries_.calls == 1; }));
  Owe("d1");
  dispatcher_->Wake();
  sender_->Take();
}

TEST_F(DispatcherTest, DrainsWhatIsInFlightAndGivesBackTheRest) {
  options_.max_in_flight = 1;
  Owe("d1");
  Owe("d2");
  Start();
  sender_->Take();
  ASSERT_TRUE(Eventually([&] { return dispatcher_->Stats().waiting == 1; }));
  std::jthread receiver([&] {
    ASSERT_TRUE(Eventually([&] { return deliveries_.Sender("d2").empty(); }));
    sender_->Reply(200);
  });
  dispatcher_->Drain(std::chrono::steady_clock::now() + 30s);
  EXPECT_EQ(deliveries_.Row("d1").state, DeliveryState::kDelivered);
  EXPECT_THAT(deliveries_.Attempts("d2"), IsEmpty());
  EXPECT_EQ(deliveries_.Sender("d2"), "");
  Owe("d3");
  dispatcher_->Wake();
  EXPECT_EQ(sender_->sent(), 1U);
}

TEST_F(DispatcherTest, AtTheDeadlineOfADrainAttemptsAreCutOffAndOwedAsBefore) {
  Owe("d1");
  Start();
  sender_->Take();
  dispatcher_->Drain(std::chrono::steady_clock::now() + 10ms);
  EXPECT_THAT(deliveries_.Attempts("d1"), IsEmpty());
  EXPECT_EQ(deliveries_.Sender("d1"), "");
  EXPECT_EQ(deliveries_.Row("d1").state, DeliveryState::kPending);
}

TEST_F(DispatcherTest, DrainsWithoutAStore) {
  Owe("d1");
  Owe("d2");
  Start();
  sender_->Take();
  sender_->Take();
  deliveries_.away = true;
  sender_->Reply(200);
  dispatcher_->Drain(std::chrono::steady_clock::now() + 10ms);
  dispatcher_.reset();
  EXPECT_EQ(deliveries_.Sender("d1"), "me") << "until the claim ends";
}

TEST_F(DispatcherTest, MayEndBeforeItBegan) {
  options_.threads = 0;
  Start();
  dispatcher_->Drain(std::chrono::steady_clock::now() + 1h);
}

TEST_F(DispatcherTest, LogsNoQueryNoBodyAndNoSecret) {
  UniqueFd file(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  ASSERT_TRUE(file.valid());
  log_ = Log(file.get(), LogLevel::kDebug);
  secrets_.of_owner["alice"] = {NewSecret()};
  Owe("d1");
  Start();
  const Request request = sender_->Take();
  sender_->Reply(503);
  ASSERT_TRUE(IsRecorded("d1", 1));
  clock_.Advance(12s);
  sender_->Take();
  sender_->Reply(200);
  ASSERT_TRUE(IsRecorded("d1", 2));
  dispatcher_.reset();

  std::string text(1 << 16, '\0');
  text.resize(static_cast<std::size_t>(::pread(file.get(), text.data(), text.size(), 0)));
  EXPECT_THAT(text, HasSubstr(R"("event":"webhook.attempt_failed")"));
  EXPECT_THAT(text, HasSubstr(R"("event":"webhook.delivered")"));
  for (const char* const field :
       {R"("delivery_id":"d1")", R"("execution_id":"execution-of-d1")", R"("attempt":2)",
        R"("host":"example.com")", R"("status":503)", R"("duration_ms":)"}) {
    EXPECT_THAT(text, HasSubstr(field));
  }
  for (const std::string& kept : {std::string("t0p"), std::string("draft"), std::string("whsec_"),
                                  std::string("v1,"), std::string("/hook")}) {
    EXPECT_THAT(text, Not(HasSubstr(kept)));
  }
}

}  // namespace
}  // namespace forkbox::webhook
