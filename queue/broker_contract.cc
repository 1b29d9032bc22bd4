#include "queue/broker_contract.h"

#include <atomic>
#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace forkbox::queue {

using schema::ExecutionId;
using schema::OwnerId;
using schema::Priority;

Deadline Soon() { return std::chrono::steady_clock::now() + std::chrono::seconds(30); }
Deadline Now() { return std::chrono::steady_clock::now(); }

Message NewMessage(std::string id, std::string owner, Priority lane) {
  Message message;
  message.id = ExecutionId(std::move(id));
  message.owner = OwnerId(std::move(owner));
  message.lane = lane;
  message.enqueued_unix_ms = 1'000;
  return message;
}

std::string TakeNext(Broker& broker, Deadline deadline, bool interactive_only) {
  Result<std::unique_ptr<Lease>> lease = broker.Next(deadline, interactive_only);
  if (!lease) return "error: " + lease.error().message;
  if (*lease == nullptr) return "";
  if (!(*lease)->Ack()) return "not acknowledged";
  return (*lease)->message().id.str();
}

namespace {

TEST_P(BrokerContract, WhatIsPublishedIsLeasedOnce) {
  Message message = NewMessage("a", "owner");
  message.enqueued_unix_ms = 123;
  ASSERT_TRUE(broker().Publish(message).has_value());
  auto lease = broker().Next(Soon(), false);
  ASSERT_TRUE(lease.has_value() && *lease != nullptr);
  EXPECT_EQ((*lease)->message().id.str(), "a");
  EXPECT_EQ((*lease)->message().owner.str(), "owner");
  EXPECT_EQ((*lease)->message().lane, Priority::kInteractive);
  EXPECT_EQ((*lease)->message().enqueued_unix_ms, 123);
  EXPECT_FALSE((*lease)->redelivered());
  EXPECT_EQ(TakeNext(broker(), Now()), "");
  EXPECT_TRUE((*lease)->Ack().has_value());
  EXPECT_TRUE((*lease)->Ack().has_value());
  EXPECT_EQ((*lease)->message().id.str(), "a");
  lease->reset();
  EXPECT_EQ(TakeNext(broker(), Now()), "");
}

TEST_P(BrokerContract, NothingComesOfNothing) {
  EXPECT_EQ(TakeNext(broker(), Now()), "");
  EXPECT_EQ(TakeNext(broker(), Now(), true), "");
  EXPECT_EQ(TakeNext(broker(), Now() - std::chrono::hours(1)), "");
}

TEST_P(BrokerContract, ADroppedLeaseComesBackFirstAndSaysSo) {
  ASSERT_TRUE(broker().Publish(NewMessage("a")).has_value());
  ASSERT_TRUE(broker().Publish(NewMessage("b")).has_value());
  for (int i = 0; i < 3; ++i) {
    auto lease = broker().Next(Soon(), false);
    ASSERT_TRUE(lease.has_value() && *lease != nullptr);
    EXPECT_EQ((*lease)->message().id.str(), "a");
    EXPECT_EQ((*lease)->redelivered(), i > 0);
  }
  EXPECT_EQ(TakeNext(broker(), Soon()), "a");
  EXPECT_EQ(TakeNext(broker(), Soon()), "b");
}

TEST_P(BrokerContract, ADroppedLeaseWakesWhoWaits) {
  ASSERT_TRUE(broker().Publish(NewMessage("a")).has_value());
  auto lease = broker().Next(Soon(), false);
  ASSERT_TRUE(lease.has_value() && *lease != nullptr);
  auto other = std::async(std::launch::async, [&] { return TakeNext(broker(), Soon()); });
  lease->reset();
  EXPECT_EQ(other.get(), "a");
}

TEST_P(BrokerContract, InteractiveGoesFirstAndCanBeAskedForAlone) {
  ASSERT_TRUE(broker().Publish(NewMessage("b1", "o", Priority::kBackground)).has_value());
  EXPECT_EQ(TakeNext(broker(), Now(), true), "");
  ASSERT_TRUE(broker().Publish(NewMessage("i1")).has_value());
  ASSERT_TRUE(broker().Publish(NewMessage("i2")).has_value());
  EXPECT_EQ(TakeNext(broker(), Soon(), true), "i1");
  EXPECT_EQ(TakeNext(broker(), Soon()), "i2");
  EXPECT_EQ(TakeNext(broker(), Soon()), "b1");
}

TEST_P(BrokerContract, WhoTakesOnlyInteractiveDoesNotEatTheWakeOfOthers) {
  auto interactive =
      std::async(std::launch::async, [&] { return TakeNext(broker(), Soon(), true); });
  auto any = std::async(std::launch::async, [&] { return TakeNext(broker(), Soon()); });
  ASSERT_TRUE(broker().Publish(NewMessage("b", "o", Priority::kBackground)).has_value());
  EXPECT_EQ(any.get(), "b");
  ASSERT_TRUE(broker().Publish(NewMessage("i")).has_value());
  EXPECT_EQ(interactive.get(), "i");
}

TEST_P(BrokerContract, EachLaneIsBoundedAndSaysHowDeepItIs) {
  broker({.max_waiting_interactive = 2, .max_waiting_background = 1});
  for (const char* id : {"i1", "i2"}) {
    Message message = NewMessage(id);
    message.enqueued_unix_ms = id[1] == '1' ? 50 : 40;
    ASSERT_TRUE(broker().Publish(message).has_value());
  }
  EXPECT_EQ(broker().Publish(NewMessage("i3")).error().code, ErrorCode::kQueueFull);
  ASSERT_TRUE(broker().Publish(NewMessage("b1", "o", Priority::kBackground)).has_value());
  EXPECT_EQ(broker().Publish(NewMessage("b2", "o", Priority::kBackground)).error().code,
            ErrorCode::kQueueFull);

  Result<Depth> depth = broker().GetDepth(Priority::kInteractive);
  ASSERT_TRUE(depth.has_value());
  EXPECT_EQ(depth->waiting, 2U);
  EXPECT_EQ(depth->leased, 0U);
  EXPECT_EQ(depth->limit, 2U);
  EXPECT_EQ(broker().GetDepth(Priority::kBackground)->limit, 1U);

  auto lease = broker().Next(Soon(), false);
  depth = broker().GetDepth(Priority::kInteractive);
  EXPECT_EQ(depth->waiting, 1U);
  EXPECT_EQ(depth->leased, 1U);
  ASSERT_TRUE(broker().Publish(NewMessage("i3")).has_value());
  // What was accepted once is not refused when it comes back.
  lease->reset();
  EXPECT_EQ(broker().GetDepth(Priority::kInteractive)->waiting, 3U);
  EXPECT_EQ(TakeNext(broker(), Soon()), "i1");
  EXPECT_EQ(TakeNext(broker(), Soon()), "i2");
  EXPECT_EQ(TakeNext(broker(), Soon()), "i3");
  EXPECT_EQ(TakeNext(broker(), Soon()), "b1");
  depth = broker().GetDepth(Priority::kInteractive);
  EXPECT_EQ(depth->waiting, 0U);
  EXPECT_EQ(depth->leased, 0U);
  EXPECT_EQ(depth->oldest_enqueued_unix_ms, 0);
}

TEST_P(BrokerContract, AReplyReachesWhoExpectsItOnce) {
  std::promise<std::string> heard;
  int calls = 0;
  broker().Expect(ExecutionId("a"), [&](Reply reply) {
    ++calls;
    heard.set_value(reply.id.str() + " " + reply.outcome.stdout_text);
  });
  Reply reply;
  reply.id = ExecutionId("b");
  broker().SendReply(reply);  // nobody's
  reply.id = ExecutionId("a");
  reply.outcome.stdout_text = "2\n";
  broker().SendReply(reply);
  EXPECT_EQ(heard.get_future().get(), "a 2\n");
  broker().SendReply(reply);
  broker().Forget(ExecutionId("a"));
  EXPECT_EQ(calls, 1);
}

TEST_P(BrokerContract, WhoForgetsHearsNothing) {
  std::atomic<int> calls = 0;
  broker().Expect(ExecutionId("a"), [&](const Reply&) { ++calls; });
  broker().Forget(ExecutionId("a"));
  broker().Forget(ExecutionId("never expected"));
  Reply reply;
  reply.id = ExecutionId("a");
  broker().SendReply(reply);
  std::promise<void> later;
  broker().Expect(ExecutionId("b"), [&](const Reply&) { later.set_value(); });
  reply.id = ExecutionId("b");
  broker().SendReply(reply);
  later.get_future().get();
  EXPECT_EQ(calls, 0);
}

// The one who waits may well ask the next thing from within the answer.
TEST_P(BrokerContract, AReplyMayExpectAndForget) {
  std::promise<void> second;
  broker().Expect(ExecutionId("a"), [&](const Reply& reply) {
    broker().Forget(reply.id);
    broker().Expect(ExecutionId("b"), [&](const Reply&) { second.set_value(); });
    Reply next;
    next.id = ExecutionId("b");
    broker().SendReply(next);
  });
  Reply reply;
  reply.id = ExecutionId("a");
  broker().SendReply(reply);
  second.get_future().get();
}

TEST_P(BrokerContract, ACancelReachesEverySubscriberUntilItsTokenIsGone) {
  std::mutex mutex;
  std::multiset<std::string> heard;
  std::promise<void> all;
  const auto subscribe = [&](const char* name) {
    return broker().OnCancel([&, name](const ExecutionId& id) {
      const std::lock_guard lock(mutex);
      heard.insert(name + id.str());
      if (heard.size() == 3) all.set_value();
    });
  };
  auto first = subscribe("1");
  auto second = subscribe("2");
  ASSERT_TRUE(broker().Cancel(ExecutionId("a")).has_value());
  const auto reached = [&] {
    const std::lock_guard lock(mutex);
    return heard.size() >= 2;
  };
  while (!reached()) std::this_thread::yield();
  first.reset();
  ASSERT_TRUE(broker().Cancel(ExecutionId("b")).has_value());
  all.get_future().get();
  EXPECT_EQ(heard, (std::multiset<std::string>{"1a", "2a", "2b"}));
}

TEST_P(BrokerContract, AnEndedSubscriptionNeverRunsAgain) {
  std::atomic<bool> stop = false;
  std::thread canceller([&] {
    while (!stop) (void)broker().Cancel(ExecutionId("a"));
  });
  for (int i = 0; i < 200; ++i) {
    auto alive = std::make_unique<std::atomic<bool>>(true);
    auto token =
        broker().OnCancel([flag = alive.get()](const ExecutionId&) { EXPECT_TRUE(flag->load()); });
    token.reset();
    alive->store(false);
    alive.reset();  // a late call would read freed memory
  }
  stop = true;
  canceller.join();
}

TEST_P(BrokerContract, CloseWakesEveryoneAndRefusesMore) {
  ASSERT_TRUE(broker().Publish(NewMessage("a")).has_value());
  auto lease = broker().Next(Soon(), false);
  std::vector<std::future<std::string>> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.push_back(
        std::async(std::launch::async, [&, i] { return TakeNext(broker(), Soon(), i == 0); }));
  }
  broker().Close();
  for (auto& one : waiting) EXPECT_EQ(one.get(), "");
  EXPECT_EQ(broker().Publish(NewMessage("b")).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(TakeNext(broker(), Soon()), "");
  EXPECT_TRUE((*lease)->Ack().has_value());
  lease->reset();
  broker().Close();
}

TEST_P(BrokerContract, ManyPublishersAndRunnersLoseAndDoubleNothing) {
  broker({.max_waiting_interactive = 100'000, .max_waiting_background = 100'000});
  constexpr int kPublishers = 4;
  constexpr int kEach = 500;
  std::mutex mutex;
  std::multiset<std::string> done;
  std::atomic<int> left = kPublishers * kEach;
  std::vector<std::thread> threads;
  for (int runner = 0; runner < 4; ++runner) {
    threads.emplace_back([&, runner] {
      int count = 0;
      while (left > 0) {
        auto lease = broker().Next(Now() + std::chrono::milliseconds(5), runner == 0);
        if (!lease || *lease == nullptr) continue;
        if (++count % 7 == 0) continue;  // dropped: comes back
        ASSERT_TRUE((*lease)->Ack().has_value());
        const std::lock_guard lock(mutex);
        done.insert((*lease)->message().id.str());
        --left;
      }
    });
  }
  for (int publisher = 0; publisher < kPublishers; ++publisher) {
    threads.emplace_back([&, publisher] {
      for (int i = 0; i < kEach; ++i) {
        const std::string id = std::to_string(publisher) + "-" + std::to_string(i);
        const Priority lane = i % 2 == 0 ? Priority::kInteractive : Priority::kBackground;
        ASSERT_TRUE(broker().Publish(NewMessage(id, std::to_string(i % 3), lane)).has_value());
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(done.size(), static_cast<std::size_t>(kPublishers * kEach));
  EXPECT_EQ(std::set<std::string>(done.begin(), done.end()).size(), done.size());
  for (const Priority lane : {Priority::kInteractive, Priority::kBackground}) {
    EXPECT_EQ(broker().GetDepth(lane)->waiting, 0U);
    EXPECT_EQ(broker().GetDepth(lane)->leased, 0U);
  }
}

}  // namespace
}  // namespace forkbox::queue
