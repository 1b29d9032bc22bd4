// RabbitMqBroker on a real RabbitMQ: the contract of every broker, and what is its own.
#include "queue/rabbitmq_broker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "queue/amqp_connection.h"
#include "queue/broker_contract.h"
#include "queue/message_json.h"
#include "tests/queue/rabbitmq_under_test.h"

namespace forkbox::queue {
namespace {

using schema::ExecutionId;
using schema::Priority;
using tests::Server;

std::unique_ptr<RabbitMqBroker> Open(const RabbitMqBroker::Options& options) {
  auto broker = RabbitMqBroker::Open(options, Log::Null());
  EXPECT_TRUE(broker.has_value()) << broker.error().message;
  return broker ? std::move(*broker) : nullptr;
}

INSTANTIATE_TEST_SUITE_P(RabbitMq, BrokerContract,
                         testing::Values(BrokerFactory{
                             "OneProcess",
                             [](BrokerLimits limits) {
                               return Open(
                                   {.url = Server().url(),
                                    .prefix = Server().NewPrefix(),
                                    .max_waiting_interactive = limits.max_waiting_interactive,
                                    .max_waiting_background = limits.max_waiting_background,
                                    .slots = 4,
                                    .background_slots = 3});
                             },
                             4}),
                         BrokerFactory::Name);

// An API and a runner, as two processes would be.
class RabbitMqBrokerTest : public testing::Test {
 protected:
  std::unique_ptr<RabbitMqBroker> OpenApi(std::uint64_t limit = 1'000) {
    return Open({.url = Server().url(),
                 .prefix = prefix_,
                 .max_waiting_interactive = limit,
                 .max_waiting_background = limit});
  }
  std::unique_ptr<RabbitMqBroker> OpenRunner(std::size_t slots, std::size_t background_slots,
                                             std::uint64_t limit = 1'000) {
    return Open({.url = Server().url(),
                 .prefix = prefix_,
                 .max_waiting_interactive = limit,
                 .max_waiting_background = limit,
                 .slots = slots,
                 .background_slots = background_slots});
  }
  std::unique_ptr<AmqpConnection> Connect() {
    auto connection = AmqpConnection::Open(*ParseAmqpAddress(Server().url()), "test");
    EXPECT_TRUE(connection.has_value()) << connection.error().message;
    EXPECT_TRUE((*connection)->OpenChannel(1).has_value());
    return std::move(*connection);
  }
  // Into a queue of ours, past the codec.
  void PublishRaw(const std::string& queue, const std::string& body) {
    auto connection = Connect();
    AmqpPublication publication{.channel = 1, .routing_key = queue, .body = body};
    ASSERT_TRUE(connection->PublishSome(publication).value());
    connection->Close();
  }
  std::uint64_t Ready(const std::string& queue) {
    return Connect()->DeclareQueue(1, {.name = queue}, /*passive=*/true).value();
  }
  static std::uint64_t Waiting(Broker& broker, Priority lane) {
    const Result<Depth> depth = DepthNow(broker, lane);
    return depth ? depth->waiting : 999'999;
  }
  // The broker ends every connection it has.
  static void CloseConnections() {
    Server().Eval(
        "[rabbit_networking:close_connection(P, \"test\") || P <- "
        "rabbit_networking:connections()].");
  }
  static bool IsUp(Broker& broker) {
    return Eventually([&] { return broker.Status().has_value(); });
  }

  const std::string prefix_ = Server().NewPrefix();
};

// ---- opening --------------------------------------------------------------------------------

TEST_F(RabbitMqBrokerTest, OpenSaysWhyItCannotAndNeverThePassword) {
  const std::string port = Server().url().substr(Server().url().rfind(':'));
  const struct {
    std::string url;
    ErrorCode code;
    std::string words;
  } cases[] = {
      {"amqp://forkbox:secret@127.0.0.1" + port, ErrorCode::kUnauthenticated, "ACCESS_REFUSED"},
      {"amqp://forkbox:forkbox@127.0.0.1" + port + "nowhere", ErrorCode::kUnauthenticated,
       "nowhere"},
      {"amqp://forkbox:secret@127.0.0.1:1/", ErrorCode::kUnavailable, "connecting to 127.0.0.1:1"},
      {"amqp://forkbox:secret@name.invalid/", ErrorCode::kUnavailable, "name.invalid"},
  };
  for (const auto& one : cases) {
    const auto broker = RabbitMqBroker::Open(
        {.url = one.url, .prefix = prefix_, .open_timeout = std::chrono::milliseconds(300)},
        Log::Null());
    ASSERT_FALSE(broker.has_value()) << one.url;
    EXPECT_EQ(broker.error().code, one.code) << broker.error().message;
    EXPECT_NE(broker.error().message.find(one.words), std::string::npos) << broker.error().message;
    EXPECT_EQ(broker.error().message.find("secret"), std::string::npos);
  }
}

// An operator has raised a limit by hand: that is no reason not to start.
TEST_F(RabbitMqBrokerTest, QueuesThatDifferAreUsedAsTheyAre) {
  auto connection = Connect();
  ASSERT_TRUE(
      connection
          ->DeclareQueue(1, {.name = prefix_ + "interactive", .arguments = {{"x-max-length", 77}}})
          .has_value());
  auto runner = OpenRunner(1, 0);
  ASSERT_TRUE(runner->Publish(NewMessage("a")).has_value());
  EXPECT_EQ(TakeNext(*runner, Soon()), "a");
}

// ---- from one process to the other ------------------------------------------------------------

TEST_F(RabbitMqBrokerTest, MessagesGoOneWayRepliesAndCancelsTheOther) {
  auto api = OpenApi();
  auto runner = OpenRunner(2, 1);
  EXPECT_NE(api->ReplyAddress(), runner->ReplyAddress());

  auto execution = std::make_shared<schema::Execution>();
  execution->id = ExecutionId("a");
  execution->owner = schema::OwnerId("o");
  execution->source.code = "print(1)";
  execution->reply_to = api->ReplyAddress();
  Message message = NewMessage("a");
  message.execution = execution;
  std::promise<Reply> heard;
  api->Expect(message.id, [&](Reply reply) { heard.set_value(std::move(reply)); });
  ASSERT_TRUE(api->Publish(message).has_value());

  auto lease = runner->Next(Soon(), true);
  ASSERT_TRUE(lease.has_value() && *lease != nullptr);
  ASSERT_NE((*lease)->message().execution, nullptr);
  EXPECT_EQ((*lease)->message().execution->source.code, "print(1)");
  // Larger than any frame and any buffer on the way.
  Reply reply{.id = message.id, .to = (*lease)->message().execution->reply_to, .outcome = {}};
  reply.outcome.stdout_text = std::string(5'000'000, 'x') + "\n";
  runner->SendReply(reply);
  EXPECT_TRUE((*lease)->Ack().has_value());
  EXPECT_EQ(heard.get_future().get().outcome.stdout_text, reply.outcome.stdout_text);

  std::promise<std::string> in_api;
  std::promise<std::string> in_runner;
  const auto api_token = api->OnCancel([&](const ExecutionId& id) { in_api.set_value(id.str()); });
  const auto runner_token =
      runner->OnCancel([&](const ExecutionId& id) { in_runner.set_value(id.str()); });
  ASSERT_TRUE(api->Cancel(ExecutionId("a")).has_value());
  EXPECT_EQ(in_api.get_future().get(), "a");
  EXPECT_EQ(in_runner.get_future().get(), "a");
}

TEST_F(RabbitMqBrokerTest, ManyRepliesOfEverySizeArrive) {
  auto api = OpenApi();
  auto runner = OpenRunner(1, 0);
  std::mutex mutex;
  std::map<std::string, std::size_t> sizes;
  for (int i = 0; i < 200; ++i) {
    api->Expect(ExecutionId(std::to_string(i)), [&](const Reply& reply) {
      const std::lock_guard lock(mutex);
      sizes[reply.id.str()] = reply.outcome.stdout_text.size();
    });
    Reply reply{.id = ExecutionId(std::to_string(i)), .to = api->ReplyAddress(), .outcome = {}};
    reply.outcome.stdout_text = std::string(static_cast<std::size_t>(i * i) * 20, 'x');
    runner->SendReply(reply);
    // Messages travel between the parts of large replies.
    if (i % 10 != 0) continue;
    ASSERT_TRUE(runner->Publish(NewMessage(std::to_string(i))).has_value());
  }
  EXPECT_TRUE(Eventually([&] {
    const std::lock_guard lock(mutex);
    return sizes.size() == 200;
  }));
  for (const auto& [id, size] : sizes) {
    EXPECT_EQ(size, static_cast<std::size_t>(std::stoi(id) * std::stoi(id)) * 20);
  }
}

TEST_F(RabbitMqBrokerTest, RepliesGoToReplyQueuesAndNowhereElse) {
  auto api = OpenApi();
  for (const std::string& to :
       {prefix_ + "interactive", std::string("elsewhere"), prefix_ + "reply.gone",
        prefix_ + "reply." + std::string(300, 'x')}) {
    api->SendReply({.id = ExecutionId("a"), .to = to, .outcome = {}});
  }
  ASSERT_TRUE(api->Publish(NewMessage("a")).has_value());
  EXPECT_EQ(Waiting(*api, Priority::kInteractive), 1U);
  EXPECT_TRUE(api->Status().has_value());
}

// ---- bounds ---------------------------------------------------------------------------------

TEST_F(RabbitMqBrokerTest, AFullLaneRefusesExactly) {
  auto api = OpenApi(3);
  for (const Priority lane : kLanes) {
    int taken = 0;
    for (int i = 0; i < 10; ++i) {
      const Result<void> published = api->Publish(NewMessage(std::to_string(i), "o", lane));
      if (published) {
        ++taken;
      } else {
        EXPECT_EQ(published.error().code, ErrorCode::kQueueFull);
      }
    }
    EXPECT_EQ(taken, 3);
    EXPECT_EQ(Waiting(*api, lane), 3U);
    EXPECT_EQ(DepthNow(*api, lane)->limit, 3U);
  }
}

TEST_F(RabbitMqBrokerTest, NoMessageIsHeldThatNoSlotIsFreeFor) {
  auto api = OpenApi();
  auto runner = OpenRunner(2, 1);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(api->Publish(NewMessage(std::to_string(i))).has_value());
  }
  const auto left = [&](std::uint64_t waiting) {
    return Eventually([&] { return Waiting(*api, Priority::kInteractive) == waiting; });
  };
  const auto stays = [&](std::uint64_t waiting) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    return Waiting(*api, Priority::kInteractive) == waiting;
  };
  EXPECT_TRUE(left(8));
  auto first = runner->Next(Soon(), false);
  auto second = runner->Next(Soon(), false);
  EXPECT_TRUE(stays(8));
  ASSERT_TRUE((*first)->Ack().has_value());
  EXPECT_TRUE(left(7));

  // Who asks for more while the last results are being written has a slot to spare.
  auto third = runner->Next(Soon(), false);
  auto fourth = runner->Next(Soon(), false);
  ASSERT_TRUE(third.has_value() && *third != nullptr);
  ASSERT_TRUE(fourth.has_value() && *fourth != nullptr);
  EXPECT_EQ((*fourth)->message().id.str(), "3");
  EXPECT_TRUE(stays(6));
  // Their end brings none: two slots are left, and both run something.
  ASSERT_TRUE((*second)->Ack().has_value());
  EXPECT_TRUE(stays(6));
  ASSERT_TRUE((*third)->Ack().has_value());
  EXPECT_TRUE(left(5));
  EXPECT_EQ(DepthNow(*runner, Priority::kInteractive)->leased, 1U);
}

TEST_F(RabbitMqBrokerTest, TheBackgroundLaneLeavesSlotsForTheOther) {
  auto api = OpenApi();
  auto runner = OpenRunner(3, 1);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(
        api->Publish(NewMessage("b" + std::to_string(i), "o", Priority::kBackground)).has_value());
  }
  auto background = runner->Next(Soon(), false);
  ASSERT_TRUE(background.has_value() && *background != nullptr);
  EXPECT_EQ(TakeNext(*runner, Now() + std::chrono::milliseconds(200)), "");
  EXPECT_EQ(Waiting(*api, Priority::kBackground), 4U);
  // A backlog there delays nobody here, and both share the slots.
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(api->Publish(NewMessage("i" + std::to_string(i))).has_value());
  }
  EXPECT_TRUE(Eventually([&] { return Waiting(*api, Priority::kInteractive) == 3; }));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(Waiting(*api, Priority::kInteractive), 3U);
  EXPECT_EQ(Waiting(*api, Priority::kBackground), 4U);
  for (const char* id : {"i0", "i1", "i2", "i3", "i4"}) {
    EXPECT_EQ(TakeNext(*runner, Soon(), true), id);
  }
}

TEST_F(RabbitMqBrokerTest, WithoutSlotsNothingIsTaken) {
  auto api = OpenApi();
  ASSERT_TRUE(api->Publish(NewMessage("a")).has_value());
  EXPECT_EQ(TakeNext(*api, Now() + std::chrono::milliseconds(100)), "");
  EXPECT_EQ(Waiting(*api, Priority::kInteractive), 1U);
}

TEST_F(RabbitMqBrokerTest, ClosingGivesBackWhatWasNotLeased) {
  auto api = OpenApi();
  auto runner = OpenRunner(3, 3);
  for (const char* id : {"a", "b", "c", "d"}) {
    ASSERT_TRUE(api->Publish(NewMessage(id)).has_value());
  }
  auto lease = runner->Next(Soon(), false);
  ASSERT_TRUE(lease.has_value() && *lease != nullptr);
  runner->Close();
  EXPECT_TRUE(Eventually([&] { return Waiting(*api, Priority::kInteractive) == 3; }));
  ASSERT_TRUE((*lease)->Ack().has_value());

  // Replies and cancels still come and go.
  std::promise<void> cancelled;
  const auto token = runner->OnCancel([&](const ExecutionId&) { cancelled.set_value(); });
  ASSERT_TRUE(runner->Cancel(ExecutionId("a")).has_value());
  cancelled.get_future().get();
  std::promise<void> replied;
  api->Expect(ExecutionId("a"), [&](const Reply&) { replied.set_value(); });
  runner->SendReply({.id = ExecutionId("a"), .to = api->ReplyAddress(), .outcome = {}});
  replied.get_future().get();

  lease->reset();
  runner.reset();
  auto other = OpenRunner(1, 1);
  for (const char* id : {"b", "c", "d"}) EXPECT_EQ(TakeNext(*other, Soon()), id);
}

// ---- hostile messages -------------------------------------------------------------------------

TEST_F(RabbitMqBrokerTest, WhatIsNoMessageOfOursIsPutAside) {
  auto runner = OpenRunner(2, 1);
  const std::string good = *EncodeMessage(NewMessage("good"));
  std::string newer = good;
  newer.replace(newer.find("\"version\":1"), 11, "\"version\":2");
  std::string other_lane = good;
  other_lane.replace(other_lane.find("interactive"), 11, "background");
  const std::vector<std::string> bad = {"",
                                        "garbage",
                                        newer,
                                        other_lane,
                                        good.substr(0, good.size() / 2),
                                        std::string(70'000, '['),
                                        std::string(60'000, '\xff')};
  for (const std::string& body : bad) PublishRaw(prefix_ + "interactive", body);
  PublishRaw(prefix_ + "interactive", good);
  EXPECT_EQ(TakeNext(*runner, Soon()), "good");
  EXPECT_EQ(runner->Rejected(), bad.size());
  EXPECT_TRUE(Eventually([&] { return Ready(prefix_ + "dead") == bad.size(); }));
  EXPECT_EQ(Waiting(*runner, Priority::kInteractive), 0U);
  EXPECT_TRUE(runner->Status().has_value());
}

TEST_F(RabbitMqBrokerTest, TheSweepIsNotStoppedByABadHead) {
  auto api = OpenApi();
  PublishRaw(prefix_ + "background", "garbage");
  PublishRaw(prefix_ + "background", "{}");
  Message message = NewMessage("a", "o", Priority::kBackground);
  message.dispatched_unix_ms = 42;
  ASSERT_TRUE(api->Publish(message).has_value());
  EXPECT_EQ(*api->OldestDispatch(Priority::kBackground), 42);
  EXPECT_EQ(api->Rejected(), 2U);
  EXPECT_TRUE(Eventually([&] { return Waiting(*api, Priority::kBackground) == 1; }));
}

TEST_F(RabbitMqBrokerTest, BadRepliesAndCancelsAreDropped) {
  auto api = OpenApi();
  PublishRaw(api->ReplyAddress(), "garbage");
  PublishRaw(api->ReplyAddress(), "");
  auto connection = Connect();
  for (const std::string& body : {std::string(), std::string("a b"), std::string(200'000, 'a')}) {
    AmqpPublication cancel{.channel = 1, .exchange = prefix_ + "cancel", .body = body};
    while (!connection->PublishSome(cancel).value()) {
    }
  }
  std::atomic<int> cancels = 0;
  const auto token = api->OnCancel([&](const ExecutionId&) { ++cancels; });
  std::promise<void> replied;
  api->Expect(ExecutionId("a"), [&](const Reply&) { replied.set_value(); });
  PublishRaw(api->ReplyAddress(), *EncodeReply({.id = ExecutionId("a"), .to = "", .outcome = {}}));
  replied.get_future().get();
  ASSERT_TRUE(api->Cancel(ExecutionId("a")).has_value());
  EXPECT_TRUE(Eventually([&] { return cancels == 1; }));
}

// ---- connections and processes that end -------------------------------------------------------

TEST_F(RabbitMqBrokerTest, LeasesOfALostConnectionAreVoid) {
  auto api = OpenApi();
  auto runner = OpenRunner(2, 1);
  const std::string address = api->ReplyAddress();
  ASSERT_TRUE(api->Publish(NewMessage("a")).has_value());
  auto old = runner->Next(Soon(), false);
  ASSERT_TRUE(old.has_value() && *old != nullptr);
  EXPECT_FALSE((*old)->redelivered());

  CloseConnections();
  auto again = runner->Next(Soon(), false);
  ASSERT_TRUE(again.has_value() && *again != nullptr);
  EXPECT_EQ((*again)->message().id.str(), "a");
  EXPECT_TRUE((*again)->redelivered());
  // Its tag may well be that of the new one.
  EXPECT_EQ((*old)->Ack().error().code, ErrorCode::kUnavailable);
  old->reset();
  EXPECT_EQ(DepthNow(*runner, Priority::kInteractive)->leased, 1U);
  ASSERT_TRUE((*again)->Ack().has_value());
  EXPECT_EQ(Waiting(*runner, Priority::kInteractive), 0U);

  // The address has lasted.
  ASSERT_TRUE(IsUp(*api) && IsUp(*runner));
  EXPECT_EQ(api->ReplyAddress(), address);
  std::promise<void> replied;
  api->Expect(ExecutionId("a"), [&](const Reply&) { replied.set_value(); });
  runner->SendReply({.id = ExecutionId("a"), .to = address, .outcome = {}});
  replied.get_future().get();
}

TEST_F(RabbitMqBrokerTest, ADeadRunnersMessagesGoToAnother) {
  tests::ChildProcess dead([&](const std::function<void()>& ready) {
    auto runner = OpenRunner(2, 1);
    const auto lease = runner->Next(Soon(), false);
    if (lease.has_value() && *lease != nullptr) ready();
    std::this_thread::sleep_for(std::chrono::hours(1));
  });
  auto api = OpenApi();
  for (const char* id : {"a", "b", "c"}) ASSERT_TRUE(api->Publish(NewMessage(id)).has_value());
  dead.WaitUntilReady();
  auto runner = OpenRunner(1, 0);
  EXPECT_EQ(TakeNext(*runner, Soon()), "c");  // the others are held
  dead.Kill();
  for (const char* id : {"a", "b"}) {
    auto lease = runner->Next(Soon(), false);
    ASSERT_TRUE(lease.has_value() && *lease != nullptr);
    EXPECT_EQ((*lease)->message().id.str(), id);
    EXPECT_TRUE((*lease)->redelivered());
    ASSERT_TRUE((*lease)->Ack().has_value());
  }
}

TEST_F(RabbitMqBrokerTest, ADeletedQueueIsMadeAnew) {
  auto api = OpenApi();
  auto runner = OpenRunner(2, 1);
  ASSERT_TRUE(api->Publish(NewMessage("a")).has_value());
  auto lease = runner->Next(Soon(), false);
  ASSERT_TRUE(lease.has_value() && *lease != nullptr);
  Server().DeleteQueue(prefix_ + "interactive");
  // Refused, and said so, until somebody has declared it again.
  EXPECT_TRUE(Eventually([&] {
    const Result<void> published = api->Publish(NewMessage("b"));
    EXPECT_TRUE(published || published.error().code == ErrorCode::kUnavailable)
        << published.error().message;
    return published.has_value();
  }));
  EXPECT_EQ(TakeNext(*runner, Soon()), "b");
  EXPECT_EQ((*lease)->Ack().error().code, ErrorCode::kUnavailable);
  EXPECT_TRUE(IsUp(*api) && IsUp(*runner));
}

// ---- a broker in trouble ----------------------------------------------------------------------

TEST_F(RabbitMqBrokerTest, UnderAnAlarmPublishersAreToldAndRunnersWorkOn) {
  auto api = OpenApi();
  auto runner = OpenRunner(2, 1);
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(api->Publish(NewMessage(std::to_string(i))).has_value());
  }
  Server().RaiseMemoryAlarm();

  // The first ones find out; then nobody waits any more.
  std::atomic<int> answered = 0;
  int asked = 0;
  bool at_once = false;
  while (!at_once && asked < 100'000) {
    ++asked;
    api->PublishAsync(NewMessage("x" + std::to_string(asked)), [&](const Result<void>& result) {
      at_once = !result && result.error().code == ErrorCode::kUnavailable &&
                result.error().message.find("alarm") != std::string::npos;
      ++answered;
    });
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(at_once);
  EXPECT_EQ(api->Status().error().code, ErrorCode::kUnavailable);

  // Replies block the runner's publishing, too, and yet the queue is worked off.
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(TakeNext(*runner, Soon()), std::to_string(i));
    Reply reply{.id = ExecutionId("a"), .to = api->ReplyAddress(), .outcome = {}};
    reply.outcome.stdout_text = std::string(3'000'000, 'x');
    runner->SendReply(reply);
  }
  EXPECT_EQ(Waiting(*runner, Priority::kInteractive), 0U);

  Server().ClearMemoryAlarm();
  EXPECT_TRUE(Eventually([&] { return api->Publish(NewMessage("after")).has_value(); }));
  EXPECT_TRUE(Eventually([&] { return answered == asked; })) << "each was answered, once";
  EXPECT_TRUE(IsUp(*api) && IsUp(*runner));
}

TEST_F(RabbitMqBrokerTest, AHangingBrokerHoldsNobodyUp) {
  auto api = OpenApi();
  auto runner = OpenRunner(2, 1);
  Server().Freeze();
  std::promise<Result<Depth>> depth;
  api->FreshDepth(Priority::kInteractive,
                  [&](Result<Depth> answer) { depth.set_value(std::move(answer)); });
  // More than any buffer on the way takes.
  for (int i = 0; i < 8; ++i) {
    Reply reply{.id = ExecutionId("a"), .to = runner->ReplyAddress(), .outcome = {}};
    reply.outcome.stdout_text = std::string(3'000'000, 'x');
    api->SendReply(reply);
  }
  const Result<void> published = api->Publish(NewMessage("a"));
  EXPECT_TRUE(published.error().code == ErrorCode::kDeadlineExceeded ||
              published.error().code == ErrorCode::kUnavailable)
      << published.error().message;
  EXPECT_EQ(depth.get_future().get().error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(api->GetDepth(Priority::kInteractive).error().code, ErrorCode::kUnavailable);
  Server().Thaw();
  ASSERT_TRUE(IsUp(*api) && IsUp(*runner));
  EXPECT_TRUE(Eventually([&] { return api->Publish(NewMessage("b")).has_value(); }));
  EXPECT_EQ(TakeNext(*runner, Soon()), "b");
}

class RestartTest : public RabbitMqBrokerTest, public testing::WithParamInterface<bool> {};

// What a publish said was taken is leased, whenever the broker went; what it did not take says so.
TEST_P(RestartTest, NothingAcknowledgedIsLost) {
  auto api = OpenApi(100'000);
  auto runner = OpenRunner(16, 16, 100'000);
  std::mutex mutex;
  std::map<std::string, int> leased;
  std::map<std::string, bool> taken;
  std::atomic<int> published = 0;
  std::atomic<int> answered = 0;
  std::atomic<bool> stop_publishing = false;
  std::atomic<bool> stop_running = false;

  std::thread publisher([&] {
    while (!stop_publishing) {
      const std::string id = std::to_string(published++);
      api->PublishAsync(NewMessage(id, "o", Priority::kBackground), [&, id](Result<void> result) {
        const std::lock_guard lock(mutex);
        EXPECT_FALSE(taken.contains(id)) << "answered twice";
        taken[id] = result.has_value();
        ++answered;
      });
      if (published % 10 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(4));
    }
  });
  std::vector<std::thread> runners;
  for (int i = 0; i < 4; ++i) {
    runners.emplace_back([&] {
      while (!stop_running) {
        auto lease = runner->Next(Now() + std::chrono::milliseconds(100), false);
        if (!lease || *lease == nullptr) continue;
        const std::string id = (*lease)->message().id.str();
        if (!(*lease)->Ack()) continue;  // it comes again
        const std::lock_guard lock(mutex);
        ++leased[id];
      }
    });
  }
  std::this_thread::sleep_for(std::chrono::seconds(1));
  GetParam() ? Server().Kill() : Server().Stop();
  EXPECT_TRUE(Eventually([&] { return !api->Publish(NewMessage("nobody-there")).has_value(); }));
  Server().Restart();
  ASSERT_TRUE(IsUp(*api) && IsUp(*runner));
  ASSERT_TRUE(Eventually([&] { return api->Publish(NewMessage("again")).has_value(); }));
  std::this_thread::sleep_for(std::chrono::seconds(1));

  stop_publishing = true;
  publisher.join();
  EXPECT_TRUE(Eventually([&] { return answered == published; }));
  EXPECT_TRUE(Eventually([&] {
    return Waiting(*api, Priority::kBackground) == 0 &&
           DepthNow(*runner, Priority::kBackground)->leased == 0;
  }));
  // The last acknowledgement is a little ahead of the note that it was made.
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  stop_running = true;
  for (auto& thread : runners) thread.join();

  int lost = 0;
  int count_taken = 0;
  int twice = 0;
  for (const auto& [id, was_taken] : taken) {
    if (was_taken) ++count_taken;
    if (was_taken && !leased.contains(id)) ++lost;
  }
  for (const auto& [id, count] : leased) twice += count > 1 ? 1 : 0;
  EXPECT_EQ(lost, 0);
  EXPECT_GT(count_taken, 200);
  RecordProperty("taken", count_taken);
  RecordProperty("twice", twice);
}

INSTANTIATE_TEST_SUITE_P(Ways, RestartTest, testing::Bool(),
                         [](const auto& test) { return test.param ? "Killed" : "Stopped"; });

}  // namespace
}  // namespace forkbox::queue
