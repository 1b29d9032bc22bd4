#include "queue/broker_contract.h"

#include <atomic>
#include <future>
#include <map>
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

bool Eventually(const std::function<bool()>& holds) {
  for (const Deadline deadline = Soon(); Now() < deadline;) {
    if (holds()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

Result<Depth> DepthNow(Broker& broker, Priority lane) {
  auto answer = std::make_shared<std::promise<Result<Depth>>>();
  broker.FreshDepth(lane, [answer](Result<Depth> depth) { answer->set_value(std::move(depth)); });
  return answer->get_future().get();
}

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

constexpr Priority kLanes[] = {Priority::kInteractive, Priority::kBackground};

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
  EXPECT_EQ(DepthNow(broker(), Priority::kInteractive)->waiting, 0U);
  EXPECT_EQ(TakeNext(broker(), Now()), "");
  EXPECT_TRUE((*lease)->Ack().has_value());
  EXPECT_TRUE((*lease)->Ack().has_value());
  EXPECT_EQ((*lease)->message().id.str(), "a");
  lease->reset();
  EXPECT_EQ(DepthNow(broker(), Priority::kInteractive)->waiting, 0U);
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
  // What is still on its way cannot be put in order.
  const auto both_wait = [&] {
    return Eventually([&] { return DepthNow(broker(), Priority::kInteractive)->waiting == 2; });
  };
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(both_wait());
    auto lease = broker().Next(Soon(), false);
    ASSERT_TRUE(lease.has_value() && *lease != nullptr);
    EXPECT_EQ((*lease)->message().id.str(), "a");
    EXPECT_EQ((*lease)->redelivered(), i > 0);
  }
  ASSERT_TRUE(both_wait());
  EXPECT_EQ(TakeNext(broker(), Soon()), "a");
  EXPECT_EQ(TakeNext(broker(), Soon()), "b");
}

// How a runner puts behind the others what it cannot run now.
TEST_P(BrokerContract, PublishedAnewBeforeItIsAcknowledgedItComesBehindTheOthersOnce) {
  for (const Priority lane : kLanes) {
    for (const char* id : {"a", "b", "c"}) {
      ASSERT_TRUE(broker().Publish(NewMessage(id, "o", lane)).has_value());
    }
    auto lease = broker().Next(Soon(), false);
    ASSERT_TRUE(lease.has_value() && *lease != nullptr);
    Message again = (*lease)->message();
    EXPECT_EQ(again.id.str(), "a");
    EXPECT_EQ(again.waits_since_unix_ms, 0);
    again.waits_since_unix_ms = 1'234;
    ASSERT_TRUE(broker().Publish(again).has_value());
    ASSERT_TRUE((*lease)->Ack().has_value());
    lease->reset();
    EXPECT_EQ(TakeNext(broker(), Soon()), "b");
    EXPECT_EQ(TakeNext(broker(), Soon()), "c");
    lease = broker().Next(Soon(), false);
    ASSERT_TRUE(lease.has_value() && *lease != nullptr);
    EXPECT_EQ((*lease)->message().id.str(), "a");
    EXPECT_EQ((*lease)->message().waits_since_unix_ms, 1'234);
    EXPECT_EQ((*lease)->message().enqueued_unix_ms, 1'000);
    EXPECT_FALSE((*lease)->redelivered());
    ASSERT_TRUE((*lease)->Ack().has_value());
    lease->reset();
    EXPECT_EQ(DepthNow(broker(), lane)->waiting, 0U);
    EXPECT_EQ(TakeNext(broker(), Now()), "");
  }
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
  EXPECT_EQ(DepthNow(broker(), Priority::kBackground)->waiting, 1U);
  EXPECT_EQ(TakeNext(broker(), Now(), true), "");
  ASSERT_TRUE(broker().Publish(NewMessage("i1")).has_value());
  ASSERT_TRUE(broker().Publish(NewMessage("i2")).has_value());
  EXPECT_EQ(DepthNow(broker(), Priority::kInteractive)->waiting, 2U);
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

TEST_P(BrokerContract, FreshDepthCountsWhatWasPublished) {
  for (int i = 1; i <= 20; ++i) {
    for (const Priority lane : kLanes) {
      const std::string id = std::string(ToString(lane)) + std::to_string(i);
      ASSERT_TRUE(broker().Publish(NewMessage(id, "o", lane)).has_value());
      const Result<Depth> depth = DepthNow(broker(), lane);
      ASSERT_TRUE(depth.has_value());
      EXPECT_EQ(depth->waiting, static_cast<std::uint64_t>(i));
      EXPECT_EQ(depth->leased, 0U);
      EXPECT_EQ(depth->limit, 100U);
    }
  }
}

TEST_P(BrokerContract, TheKnownDepthFollows) {
  const auto waiting_and_leased = [&](std::uint64_t waiting, std::uint64_t leased) {
    return Eventually([&] {
      const Result<Depth> depth = broker().GetDepth(Priority::kInteractive);
      return depth && depth->waiting == waiting && depth->leased == leased && depth->limit == 100;
    });
  };
  EXPECT_TRUE(waiting_and_leased(0, 0));
  ASSERT_TRUE(broker().Publish(NewMessage("a")).has_value());
  ASSERT_TRUE(broker().Publish(NewMessage("b")).has_value());
  EXPECT_TRUE(waiting_and_leased(2, 0));
  auto lease = broker().Next(Soon(), false);
  ASSERT_TRUE(lease.has_value() && *lease != nullptr);
  EXPECT_TRUE(waiting_and_leased(1, 1));
  lease->reset();
  EXPECT_TRUE(waiting_and_leased(2, 0));
}

// Publishes until the lane refuses; the ids that were taken.
std::vector<std::string> Fill(Broker& broker, Priority lane, const std::string& name) {
  std::vector<std::string> taken;
  for (;;) {
    const std::string id = name + std::to_string(taken.size());
    const Result<void> published = broker.Publish(NewMessage(id, "o", lane));
    if (!published) {
      EXPECT_EQ(published.error().code, ErrorCode::kQueueFull);
      return taken;
    }
    taken.push_back(id);
    (void)DepthNow(broker, lane);  // until it has come as far as it can
  }
}

TEST_P(BrokerContract, EachLaneIsBounded) {
  broker({.max_waiting_interactive = 2, .max_waiting_background = 1});
  const std::uint64_t underway = GetParam().underway;
  std::vector<std::string> interactive = Fill(broker(), Priority::kInteractive, "i");
  const std::vector<std::string> background = Fill(broker(), Priority::kBackground, "b");
  EXPECT_GE(interactive.size(), 2U);
  EXPECT_LE(interactive.size(), 2 + underway);
  EXPECT_GE(background.size(), 1U);
  EXPECT_LE(background.size(), 1 + underway);
  EXPECT_EQ(DepthNow(broker(), Priority::kInteractive)->waiting, interactive.size());
  EXPECT_EQ(DepthNow(broker(), Priority::kInteractive)->limit, 2U);
  EXPECT_EQ(DepthNow(broker(), Priority::kBackground)->waiting, background.size());
  EXPECT_EQ(DepthNow(broker(), Priority::kBackground)->limit, 1U);

  // A lease may make room. What was accepted once is not refused when it comes back.
  auto lease = broker().Next(Soon(), true);
  ASSERT_TRUE(lease.has_value() && *lease != nullptr);
  EXPECT_EQ((*lease)->message().id.str(), "i0");
  for (std::string& id : Fill(broker(), Priority::kInteractive, "j")) {
    interactive.push_back(std::move(id));
  }
  lease->reset();
  EXPECT_TRUE(Eventually(
      [&] { return DepthNow(broker(), Priority::kInteractive)->waiting == interactive.size(); }));

  std::multiset<std::string> taken(interactive.begin(), interactive.end());
  taken.insert(background.begin(), background.end());
  std::multiset<std::string> got;
  while (got.size() < taken.size()) got.insert(TakeNext(broker(), Soon()));
  EXPECT_EQ(got, taken);
  EXPECT_EQ(DepthNow(broker(), Priority::kInteractive)->waiting, 0U);
  EXPECT_EQ(DepthNow(broker(), Priority::kInteractive)->leased, 0U);
}

TEST_P(BrokerContract, TheOldestDispatchIsOfWhatStillWaits) {
  for (const Priority lane : kLanes) {
    std::map<std::string, std::int64_t> waiting;  // by id, when it was dispatched
    for (int i = 0; i < 10; ++i) {
      const std::string id = std::string(ToString(lane)) + std::to_string(i);
      Message message = NewMessage(id, "o", lane);
      message.dispatched_unix_ms = waiting[id] = 40 + i;
      ASSERT_TRUE(broker().Publish(message).has_value());
    }
    while (!waiting.empty()) {
      ASSERT_TRUE(Eventually([&] { return DepthNow(broker(), lane)->waiting == waiting.size(); }));
      EXPECT_EQ(*broker().OldestDispatch(lane), waiting.begin()->second);
      // Most often the oldest, but asking may have put it behind another.
      ASSERT_EQ(waiting.erase(TakeNext(broker(), Soon())), 1U);
    }
    EXPECT_EQ(*broker().OldestDispatch(lane), std::nullopt);
  }
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
  reply.to = broker().ReplyAddress();
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
  EXPECT_TRUE(Eventually(reached));
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

TEST_P(BrokerContract, AWatchReachesWhoRunsAndProgressWhoWatches) {
  std::promise<Watch> asked;
  const auto token = broker().OnWatch([&](const Watch& watch) { asked.set_value(watch); });
  ASSERT_TRUE(broker()
                  .SendWatch({.id = ExecutionId("a"),
                              .to = broker().ReplyAddress(),
                              .run = "run",
                              .stdout_from = 7,
                              .stderr_from = 1ULL << 33})
                  .has_value());
  const Watch watch = asked.get_future().get();
  EXPECT_EQ(watch.id, ExecutionId("a"));
  EXPECT_EQ(watch.to, broker().ReplyAddress());
  EXPECT_EQ(watch.run, "run");
  EXPECT_EQ(watch.stdout_from, 7U);
  EXPECT_EQ(watch.stderr_from, 1ULL << 33);
  EXPECT_FALSE(watch.stop);

  std::mutex mutex;
  std::vector<Progress> heard;
  broker().ExpectProgress(ExecutionId("a"), [&](Progress progress) {
    const std::lock_guard lock(mutex);
    heard.push_back(std::move(progress));
  });
  constexpr std::size_t kMessages = 300;
  for (std::size_t i = 0; i < kMessages; ++i) {
    broker().SendProgress({.id = ExecutionId("a"),
                           .to = watch.to,
                           .run = "run",
                           .state = "running",
                           .pieces = {{.is_stderr = i % 2 == 1, .at = i, .text = "\"\n\u20ac"}},
                           .caught_up = i % 3 == 0,
                           .finished = i + 1 == kMessages});
  }
  EXPECT_TRUE(Eventually([&] {
    const std::lock_guard lock(mutex);
    return heard.size() == kMessages;
  }));
  const std::lock_guard lock(mutex);
  for (std::size_t i = 0; i < heard.size(); ++i) {  // in the order in which they were sent
    ASSERT_EQ(heard[i].pieces.size(), 1U);
    EXPECT_EQ(heard[i].pieces[0].at, i);
    EXPECT_EQ(heard[i].pieces[0].is_stderr, i % 2 == 1);
    EXPECT_EQ(heard[i].pieces[0].text, "\"\n\u20ac");
    EXPECT_EQ(heard[i].caught_up, i % 3 == 0);
    EXPECT_EQ(heard[i].finished, i + 1 == kMessages);
    EXPECT_EQ(heard[i].run, "run");
    EXPECT_EQ(heard[i].state, "running");
  }
  broker().ForgetProgress(ExecutionId("a"));
}

// Neither waits for the other: progress that nobody fetches, or that floods, delays no reply.
TEST_P(BrokerContract, AFloodOfProgressLetsRepliesAndMessagesThrough) {
  broker().ExpectProgress(ExecutionId("flood"), [](const Progress&) {});
  const std::string text(8'000, 'x');
  for (int i = 0; i < 1'000; ++i) {
    broker().SendProgress({.id = ExecutionId("flood"),
                           .to = broker().ReplyAddress(),
                           .run = "run",
                           .state = "",
                           .pieces = {{.is_stderr = false, .at = 0, .text = text}}});
  }
  std::promise<void> replied;
  broker().Expect(ExecutionId("a"), [&](const Reply&) { replied.set_value(); });
  broker().SendReply({.id = ExecutionId("a"), .to = broker().ReplyAddress(), .outcome = {}});
  ASSERT_TRUE(broker().Publish(NewMessage("m")).has_value());
  EXPECT_EQ(TakeNext(broker(), Soon()), "m");
  replied.get_future().get();
  broker().ForgetProgress(ExecutionId("flood"));
}

TEST_P(BrokerContract, ProgressThatNobodyExpectsIsDropped) {
  std::atomic<int> heard = 0;
  broker().ExpectProgress(ExecutionId("a"), [&](const Progress&) { ++heard; });
  broker().ForgetProgress(ExecutionId("a"));
  const Progress progress{.id = ExecutionId("a"),
                          .to = broker().ReplyAddress(),
                          .run = "run",
                          .state = "",
                          .pieces = {}};
  broker().SendProgress(progress);
  Progress elsewhere = progress;
  elsewhere.to = "nowhere";
  broker().SendProgress(elsewhere);
  // What is sent after it has arrived by now, and so would that.
  std::promise<void> last;
  broker().ExpectProgress(ExecutionId("b"), [&](const Progress&) { last.set_value(); });
  Progress next = progress;
  next.id = ExecutionId("b");
  broker().SendProgress(next);
  last.get_future().get();
  broker().ForgetProgress(ExecutionId("b"));
  EXPECT_EQ(heard, 0);
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
  for (const Priority lane : kLanes) {
    EXPECT_EQ(DepthNow(broker(), lane)->waiting, 0U);
    EXPECT_EQ(DepthNow(broker(), lane)->leased, 0U);
  }
}

}  // namespace
}  // namespace forkbox::queue
