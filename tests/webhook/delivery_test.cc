// Webhooks from the store to receivers and back: the real dispatcher, sender and SQLite.
#include <gmock/gmock.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <set>

#include "base/uuid.h"
#include "store/store.h"
#include "tests/webhook/fake_resolver.h"
#include "tests/webhook/receiver.h"
#include "webhook/dispatcher.h"
#include "webhook/signature.h"

namespace forkbox::webhook {
namespace {

using namespace std::chrono_literals;
using schema::ExecutionId;
using store::DeliveryState;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
using tests::Post;
using tests::Receiver;
using Talk = Receiver::Talk;

// What must come, comes; the bound is only there to end a test that failed.
template <class Condition>
bool Eventually(Condition condition) {
  for (const Deadline end = std::chrono::steady_clock::now() + 60s; !condition();) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(5ms);
  }
  return true;
}

// The store as a process sees it that has been killed: nothing it says arrives any more.
class CutOff final : public store::DeliveryStore {
 public:
  explicit CutOff(store::DeliveryStore& real) : real_(real) {}
  std::atomic<bool> killed{false};

  Result<std::vector<store::Delivery>> ClaimDue(const std::string& sender, std::int64_t now,
                                                std::int64_t expires, std::size_t limit) override {
    if (killed) return Dead();
    return real_.ClaimDue(sender, now, expires, limit);
  }
  Result<std::string> FixBody(const store::DeliveryId& id, const std::string& body) override {
    if (killed) return Dead();
    return real_.FixBody(id, body);
  }
  Result<void> RecordAttempt(const store::DeliveryId& id, const std::string& sender,
                             const store::AttemptResult& result) override {
    if (killed) return Dead();
    return real_.RecordAttempt(id, sender, result);
  }
  Result<void> ReleaseDelivery(const store::DeliveryId& id, const std::string& sender) override {
    if (killed) return Dead();
    return real_.ReleaseDelivery(id, sender);
  }
  Result<std::vector<store::DeliveryHistory>> ListDeliveries(
      const ExecutionId& execution, const std::optional<schema::OwnerId>& owner) override {
    return real_.ListDeliveries(execution, owner);
  }
  Result<store::DeliveryId> Redeliver(const ExecutionId& execution,
                                      const std::optional<schema::OwnerId>& owner,
                                      std::int64_t now) override {
    return real_.Redeliver(execution, owner, now);
  }
  Result<store::DeliveryCounts> CountDeliveries() override { return real_.CountDeliveries(); }

 private:
  static tl::unexpected<Error> Dead() { return Fail(ErrorCode::kUnavailable, "killed"); }
  store::DeliveryStore& real_;
};

class DeliveryTest : public testing::Test {
 protected:
  DeliveryTest() {
    std::string name = (std::filesystem::temp_directory_path() / "forkbox-webhook-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    directory_ = name;
    store_ = OpenAnother();
    options_.sender_id = "first";
    options_.poll_interval = 10ms;
    options_.attempt_deadline = 2s;
    options_.claim_lifetime = 5s;
    options_.claim_margin = 1s;
    options_.retry.delays = {5ms, 5ms, 5ms, 5ms, 5ms};
    options_.retry.delays_when_refused = 2;
  }
  ~DeliveryTest() override {
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  std::unique_ptr<store::Store> OpenAnother() {
    auto opened = store::OpenStore("sqlite:" + (directory_ / "forkbox.db").string(), Log::Null());
    EXPECT_TRUE(opened.has_value()) << opened.error().message;
    return std::move(*opened);
  }

  // An execution that has just ended, with its webhook.
  ExecutionId Finish(const std::string& url, const std::string& owner = "alice") {
    return FinishAll({url}, owner)[0];
  }
  // Many, in few writes.
  std::vector<ExecutionId> FinishAll(const std::vector<std::string>& urls,
                                     const std::string& owner) {
    std::vector<ExecutionId> ids;
    std::atomic<std::size_t> finished{0};
    for (const std::string& url : urls) ids.push_back(FinishAsync(url, owner, finished));
    EXPECT_TRUE(Eventually([&] { return finished == urls.size(); }));
    return ids;
  }
  ExecutionId FinishAsync(const std::string& url, const std::string& owner,
                          std::atomic<std::size_t>& finished) {
    schema::Execution execution;
    execution.id = ExecutionId(NewUuidV7());
    execution.owner = schema::OwnerId(owner);
    execution.dialect = "native";
    execution.language = "python";
    execution.source.code = "print(1)";
    execution.webhook_url = url;
    execution.created_unix_ms = clock_.UnixMillis();
    store_->executions().InsertAsync(execution, [](const Result<void>&) {});
    schema::Outcome outcome;
    outcome.state = schema::State::kCompleted;
    outcome.reason = schema::Reason::kExited;
    outcome.exit_code = 0;
    outcome.stdout_text = "1\n";
    store_->executions().FinishAsync(execution.id, outcome, clock_.UnixMillis(),
                                     [&finished](const Result<bool>&) { ++finished; });
    return execution.id;
  }

  std::unique_ptr<Dispatcher> Start() { return Start(*store_, store_->deliveries()); }
  std::unique_ptr<Dispatcher> Start(store::Store& store, store::DeliveryStore& deliveries) {
    auto dispatcher = std::make_unique<Dispatcher>(
        options_, deliveries, store.webhook_secrets(), store.executions(),
        [this](const store::ExecutionRecord& record) -> Result<std::string> {
          return "{\"id\":\"" + record.execution.id.str() + "\",\"stdout\":\"" +
                 (record.outcome->stdout_text == "1\n" ? "1" : "?") +
                 "\",\"draft\":" + std::to_string(++drafts_) + "}";
        },
        *AddressGuard::Parse("127.0.0.1"), clock_, Log::Null());
    dispatcher->Start();
    return dispatcher;
  }

  store::DeliveryHistory History(const ExecutionId& id) {
    const auto list = store_->deliveries().ListDeliveries(id, std::nullopt);
    EXPECT_TRUE(list.has_value() && list->size() == 1);
    return list->at(0);
  }
  bool Becomes(const ExecutionId& id, DeliveryState state) {
    return Eventually([&] { return History(id).delivery.state == state; });
  }
  std::vector<int> Statuses(const ExecutionId& id) {
    std::vector<int> statuses;
    for (const auto& attempt : History(id).attempts) statuses.push_back(attempt.status);
    return statuses;
  }

  SystemClock clock_;
  std::filesystem::path directory_;
  std::unique_ptr<store::Store> store_;
  DispatcherOptions options_;
  std::atomic<int> drafts_{0};
};

TEST_F(DeliveryTest, AReceiverCanTellThatItIsFromUs) {
  const std::string secret = NewSecret();
  ASSERT_TRUE(
      store_->webhook_secrets().AddSecret(schema::OwnerId("alice"), secret, 1, 0).has_value());
  Receiver receiver([](Talk& talk) { talk.Answer(200); });
  const ExecutionId id = Finish(receiver.Url("/hook?token=1"));
  const auto dispatcher = Start();
  ASSERT_TRUE(Becomes(id, DeliveryState::kDelivered));
  EXPECT_THAT(Statuses(id), ElementsAre(200));
  ASSERT_THAT(receiver.posts(), SizeIs(1));
  const Post post = receiver.posts()[0];
  EXPECT_EQ(post.target, "/hook?token=1");
  EXPECT_EQ(post.body, "{\"id\":\"" + id.str() + "\",\"stdout\":\"1\",\"draft\":1}");
  EXPECT_EQ(post.headers.at("content-type"), "application/json");
  EXPECT_EQ(post.headers.at("webhook-id"), History(id).delivery.id.str());
  EXPECT_EQ(post.headers.at("webhook-signature"),
            *Sign(secret, post.headers.at("webhook-id"),
                  std::stoll(post.headers.at("webhook-timestamp")), post.body));
}

TEST_F(DeliveryTest, AReceiverThatIsDownForAWhileGetsItWhenItIsUp) {
  Receiver receiver([](Talk& talk) {
    switch (talk.number) {
      case 1:
        return talk.Reset();
      case 2:
        return talk.Answer(503);
      case 3:
        return;  // no answer at all
      case 4:
        return talk.Answer(404);
      default:
        return talk.Answer(200);
    }
  });
  const ExecutionId id = Finish(receiver.Url());
  const auto dispatcher = Start();
  ASSERT_TRUE(Becomes(id, DeliveryState::kDelivered));
  EXPECT_THAT(Statuses(id), ElementsAre(0, 503, 0, 404, 200));
  const auto posts = receiver.posts();
  ASSERT_THAT(posts, SizeIs(5));
  for (const Post& post : posts) {
    EXPECT_EQ(post.body, posts[0].body);
    EXPECT_EQ(post.headers.at("webhook-id"), posts[0].headers.at("webhook-id"));
  }
  for (const auto& attempt : History(id).attempts) {
    EXPECT_EQ(attempt.error.empty(), attempt.status == 200);
    EXPECT_THAT(attempt.error, testing::Not(HasSubstr("127.0.0.1")));
  }
}

TEST_F(DeliveryTest, GivesUpWhenNobodyEverAnswersWell) {
  Receiver broken([](Talk& talk) { talk.Answer(500); });
  Receiver gone([](Talk& talk) { talk.Answer(410); });
  Receiver moved([](Talk& talk) { talk.Answer(302, "Location: http://127.0.0.2/\r\n"); });
  tests::SetName("public.test", {"127.0.0.2"});
  const ExecutionId to_broken = Finish(broken.Url());
  const ExecutionId to_gone = Finish(gone.Url());
  const ExecutionId to_moved = Finish(moved.Url());
  const ExecutionId to_inside = Finish("http://public.test/");
  const ExecutionId to_nonsense = Finish("not a url");
  const auto dispatcher = Start();
  for (const ExecutionId& id : {to_broken, to_gone, to_moved, to_inside, to_nonsense}) {
    EXPECT_TRUE(Becomes(id, DeliveryState::kDead)) << id.str();
  }
  EXPECT_THAT(Statuses(to_broken), ElementsAre(500, 500, 500, 500, 500, 500));
  EXPECT_THAT(Statuses(to_gone), ElementsAre(410));
  EXPECT_THAT(Statuses(to_moved), ElementsAre(302, 302, 302, 302, 302, 302));
  EXPECT_THAT(Statuses(to_inside), ElementsAre(0, 0, 0));
  EXPECT_EQ(History(to_inside).attempts[0].error,
            "the host resolves to an address that webhooks may not be sent to");
  EXPECT_THAT(Statuses(to_nonsense), ElementsAre(0));
  EXPECT_TRUE(Eventually([&] { return dispatcher->Stats().dead == 5; }));
  EXPECT_EQ(dispatcher->Stats().failed_attempts, 6U + 1U + 6U + 3U + 1U);
}

TEST_F(DeliveryTest, ComesAgainWhenItIsAskedTo) {
  const std::time_t in_an_hour = std::time(nullptr) + 3'600;
  char date[64];
  std::strftime(date, sizeof(date), "%a, %d %b %Y %H:%M:%S GMT", std::gmtime(&in_an_hour));
  for (const std::string& when : {std::string("3600"), std::string(date)}) {
    Receiver busy([&](Talk& talk) { talk.Answer(429, "Retry-After: " + when + "\r\n"); });
    const ExecutionId id = Finish(busy.Url());
    const std::int64_t before = clock_.UnixMillis();
    const auto dispatcher = Start();
    ASSERT_TRUE(Eventually([&] { return !History(id).attempts.empty(); }));
    EXPECT_THAT(Statuses(id), ElementsAre(429));
    const std::int64_t wait = History(id).delivery.next_attempt_unix_ms - before;
    EXPECT_GE(wait, 3'590'000);
    EXPECT_LE(wait, 3'700'000);
  }
}

// One owner's receivers hang, by the hundred. Another owner's webhooks do not wait for them.
TEST_F(DeliveryTest, ManyThatHangDelayNobodyElse) {
  options_.attempt_deadline = 10min;  // none ends by itself
  options_.claim_lifetime = 11min;
  Receiver hanging([](Talk& talk) { talk.WaitForClose(); });
  Receiver healthy([](Talk& talk) { talk.Answer(200); });
  std::vector<std::string> urls;
  for (int i = 0; i < 150; ++i) {
    const std::string name = "hanging" + std::to_string(i % 10) + ".test";
    tests::SetName(name, {"127.0.0.1"});
    urls.push_back(hanging.Url("/", name));
  }
  FinishAll(urls, "mallory");
  const auto dispatcher = Start();
  ASSERT_TRUE(Eventually([&] { return hanging.connections() == options_.max_in_flight / 2; }));
  const auto good = FinishAll(std::vector(20, healthy.Url()), "alice");
  dispatcher->Wake();
  for (const ExecutionId& id : good) EXPECT_TRUE(Becomes(id, DeliveryState::kDelivered));
  EXPECT_EQ(hanging.connections(), options_.max_in_flight / 2) << "none has ended meanwhile";
  EXPECT_EQ(dispatcher->Stats().failed_attempts, 0U);
}

TEST_F(DeliveryTest, TwoDispatchersSendEachOnce) {
  Receiver receiver([](Talk& talk) { talk.Answer(200); });
  const auto ids = FinishAll(std::vector(500, receiver.Url()), "");
  const auto second_store = OpenAnother();
  const auto first = Start();
  options_.sender_id = "second";
  const auto second = Start(*second_store, second_store->deliveries());
  ASSERT_TRUE(Eventually([&] { return store_->deliveries().CountDeliveries()->pending == 0; }));
  std::map<std::string, int> seen;
  for (const Post& post : receiver.posts()) ++seen[post.headers.at("webhook-id")];
  EXPECT_THAT(seen, SizeIs(500));
  for (const auto& [id, times] : seen) EXPECT_EQ(times, 1) << id;
  for (const ExecutionId& id : ids) {
    EXPECT_THAT(Statuses(id), ElementsAre(200));
    EXPECT_EQ(History(id).delivery.state, DeliveryState::kDelivered);
  }
  EXPECT_TRUE(
      Eventually([&] { return first->Stats().delivered + second->Stats().delivered == 500; }));
}

// It dies with deliveries in every state: claimed, on the wire, answered but not recorded. Its
// successor sends all that were not recorded, as the receiver knows them.
TEST_F(DeliveryTest, WhatAKilledDispatcherLeftBehindIsDelivered) {
  std::atomic<bool> up{false};
  Receiver receiver([&](Talk& talk) {
    if (talk.number > 10 && !up) return talk.WaitForClose();
    talk.Answer(200);
  });
  const auto ids = FinishAll(std::vector(40, receiver.Url()), "");
  CutOff store_until_death(store_->deliveries());
  auto killed = Start(*store_, store_until_death);
  ASSERT_TRUE(Eventually([&] { return receiver.posts().size() >= 15; }));
  store_until_death.killed = true;
  killed.reset();
  up = true;

  options_.sender_id = "second";
  const auto successor = Start();
  for (const ExecutionId& id : ids) EXPECT_TRUE(Becomes(id, DeliveryState::kDelivered));
  std::map<std::string, std::set<std::string>> bodies;  // by id
  for (const Post& post : receiver.posts()) {
    bodies[post.headers.at("webhook-id")].insert(post.body);
  }
  EXPECT_THAT(bodies, SizeIs(40));
  for (const auto& [id, variants] : bodies) EXPECT_THAT(variants, SizeIs(1)) << id;
  for (const ExecutionId& id : ids) EXPECT_THAT(Statuses(id), ElementsAre(200));
}

TEST_F(DeliveryTest, ADrainedDispatcherLeavesTheRestToOthersAtOnce) {
  options_.claim_lifetime = 1h;
  options_.max_in_flight = 4;
  std::atomic<bool> up{false};
  Receiver receiver([&](Talk& talk) {
    if (!up) return talk.WaitForClose();
    talk.Answer(200);
  });
  const auto ids = FinishAll(std::vector(40, receiver.Url()), "");
  const auto first = Start();
  ASSERT_TRUE(Eventually([&] { return receiver.posts().size() == 4; }));
  first->Drain(std::chrono::steady_clock::now());
  for (const ExecutionId& id : ids) EXPECT_THAT(Statuses(id), IsEmpty());
  up = true;

  options_.sender_id = "second";
  const auto second = Start();
  for (const ExecutionId& id : ids) EXPECT_TRUE(Becomes(id, DeliveryState::kDelivered));
}

TEST_F(DeliveryTest, IsSentAgainOnDemandAsANewDelivery) {
  Receiver receiver([](Talk& talk) { talk.Answer(talk.number == 1 ? 410 : 200); });
  const ExecutionId id = Finish(receiver.Url());
  const auto dispatcher = Start();
  ASSERT_TRUE(Becomes(id, DeliveryState::kDead));
  ASSERT_TRUE(store_->deliveries().Redeliver(id, std::nullopt, clock_.UnixMillis()).has_value());
  ASSERT_TRUE(Eventually([&] {
    const auto list = store_->deliveries().ListDeliveries(id, std::nullopt);
    return list->size() == 2 && list->at(1).delivery.state == DeliveryState::kDelivered;
  }));
  const auto posts = receiver.posts();
  ASSERT_THAT(posts, SizeIs(2));
  EXPECT_NE(posts[0].headers.at("webhook-id"), posts[1].headers.at("webhook-id"));
}

}  // namespace
}  // namespace forkbox::webhook
