// The contract in process, and what is the embedded broker's own: whose turn it is.
#include "queue/embedded_broker.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "queue/broker_contract.h"

namespace forkbox::queue {
namespace {

using schema::ExecutionId;
using schema::Priority;

INSTANTIATE_TEST_SUITE_P(Embedded, BrokerContract,
                         testing::Values(BrokerFactory{
                             "InProcess",
                             [](BrokerLimits limits) {
                               return std::make_unique<EmbeddedBroker>(EmbeddedBroker::Options{
                                   .max_waiting_interactive = limits.max_waiting_interactive,
                                   .max_waiting_background = limits.max_waiting_background});
                             }}),
                         BrokerFactory::Name);

std::string Drain(Broker& broker) {
  std::string order;
  for (std::string id; !(id = TakeNext(broker, Now())).empty();) order += id + " ";
  return order;
}

TEST(EmbeddedBrokerTest, OwnersTakeTurnsAndKeepTheirOwnOrder) {
  EmbeddedBroker broker({});
  for (const char* id : {"a1", "a2", "a3", "a4", "b1", "b2", "c1"}) {
    ASSERT_TRUE(broker.Publish(NewMessage(id, std::string(1, id[0]))).has_value());
  }
  EXPECT_EQ(Drain(broker), "a1 b1 c1 a2 b2 a3 a4 ");
}

TEST(EmbeddedBrokerTest, AFloodDelaysAnotherOwnerByOneMessage) {
  EmbeddedBroker broker({.max_waiting_background = 20'000});
  for (int i = 0; i < 10'000; ++i) {
    ASSERT_TRUE(
        broker.Publish(NewMessage("flood" + std::to_string(i), "rich", Priority::kBackground))
            .has_value());
  }
  ASSERT_TRUE(broker.Publish(NewMessage("mine", "poor", Priority::kBackground)).has_value());
  EXPECT_EQ(TakeNext(broker, Now()), "flood0");
  EXPECT_EQ(TakeNext(broker, Now()), "mine");
}

TEST(EmbeddedBrokerTest, AnOwnerHasSoManyInFlightAndNoMore) {
  EmbeddedBroker broker({.max_in_flight_per_owner = 2});
  for (const char* id : {"a1", "a2", "a3", "b1"}) {
    ASSERT_TRUE(broker.Publish(NewMessage(id, std::string(1, id[0]))).has_value());
  }
  auto a1 = broker.Next(Now(), false);
  auto b1 = broker.Next(Now(), false);
  auto a2 = broker.Next(Now(), false);
  EXPECT_EQ((*a2)->message().id.str(), "a2");
  EXPECT_EQ(TakeNext(broker, Now()), "");
  EXPECT_EQ(broker.GetDepth(Priority::kInteractive)->waiting, 1U);
  // Its background lane is counted apart: a backlog of one's own delays no call of one's own.
  ASSERT_TRUE(broker.Publish(NewMessage("ab", "a", Priority::kBackground)).has_value());
  EXPECT_EQ(TakeNext(broker, Now()), "ab");

  auto waiting = std::async(std::launch::async, [&] { return TakeNext(broker, Soon()); });
  ASSERT_TRUE((*a1)->Ack().has_value());
  EXPECT_EQ(waiting.get(), "a3");
}

TEST(EmbeddedBrokerTest, WithoutKeysEverybodyIsOneOwnerAndUnlimited) {
  EmbeddedBroker broker({.max_in_flight_per_owner = 1});
  std::vector<std::unique_ptr<Lease>> leases;
  for (const char* id : {"1", "2", "3"}) {
    ASSERT_TRUE(broker.Publish(NewMessage(id, "")).has_value());
    leases.push_back(*broker.Next(Now(), false));
    EXPECT_NE(leases.back(), nullptr);
  }
}

// Two leases of an owner at its limit end before the sleeper that the first end woke has run: it
// gets one turn for two messages, and both sleepers must get theirs.
TEST(EmbeddedBrokerTest, NoSleeperIsForgottenWhenALimitLifts) {
  for (int round = 0; round < 200; ++round) {
    EmbeddedBroker broker({.max_in_flight_per_owner = 2});
    for (const char* id : {"1", "2", "3", "4"}) {
      ASSERT_TRUE(broker.Publish(NewMessage(id, "a")).has_value());
    }
    auto first = *broker.Next(Now(), false);
    auto second = *broker.Next(Now(), false);
    // Both keep what they get until both have some: neither helps the other by coming back.
    std::atomic<int> got = 0;
    std::vector<std::thread> sleepers;
    for (int i = 0; i < 2; ++i) {
      sleepers.emplace_back([&] {
        auto lease = broker.Next(Soon(), false);
        ASSERT_TRUE(lease.has_value() && *lease != nullptr);
        ++got;
        while (got < 2) std::this_thread::yield();
        ASSERT_TRUE((*lease)->Ack().has_value());
      });
    }
    if (round % 2 == 0) std::this_thread::yield();
    ASSERT_TRUE(first->Ack().has_value());
    ASSERT_TRUE(second->Ack().has_value());
    for (auto& sleeper : sleepers) sleeper.join();
  }
}

TEST(EmbeddedBrokerTest, AnIdThatWaitsIsTakenOnce) {
  EmbeddedBroker broker({.max_waiting_interactive = 1});
  ASSERT_TRUE(broker.Publish(NewMessage("a")).has_value());
  ASSERT_TRUE(broker.Publish(NewMessage("a")).has_value());  // even when the lane is full
  EXPECT_EQ(broker.GetDepth(Priority::kInteractive)->waiting, 1U);
  auto lease = *broker.Next(Now(), false);
  // Leased is not waiting: who released the row may publish before the old lease has ended.
  ASSERT_TRUE(broker.Publish(NewMessage("a")).has_value());
  lease.reset();
  EXPECT_EQ(broker.GetDepth(Priority::kInteractive)->waiting, 1U);
  EXPECT_EQ(Drain(broker), "a ");
}

TEST(EmbeddedBrokerTest, TheHeadIsTheOldestDispatchThatWaits) {
  EmbeddedBroker broker({});
  for (const auto& [id, at] : {std::pair{"a", 30}, {"b", 10}, {"c", 10}, {"d", 20}}) {
    Message message = NewMessage(id);
    message.dispatched_unix_ms = at;
    ASSERT_TRUE(broker.Publish(message).has_value());
  }
  std::vector<std::optional<std::int64_t>> oldest;
  for (int i = 0; i < 5; ++i) {
    oldest.push_back(*broker.OldestDispatch(Priority::kInteractive));
    (void)TakeNext(broker, Now());
  }
  EXPECT_EQ(oldest, (std::vector<std::optional<std::int64_t>>{10, 10, 10, 20, std::nullopt}));
}

TEST(EmbeddedBrokerTest, AfterCloseADroppedLeaseIsTheStores) {
  EmbeddedBroker broker({});
  ASSERT_TRUE(broker.Publish(NewMessage("a")).has_value());
  auto lease = *broker.Next(Now(), false);
  broker.Close();
  lease.reset();
  EXPECT_EQ(broker.GetDepth(Priority::kInteractive)->waiting, 0U);
  EXPECT_EQ(broker.GetDepth(Priority::kInteractive)->leased, 0U);
}

TEST(EmbeddedBrokerTest, TheExecutionTravelsAlong) {
  EmbeddedBroker broker({});
  auto execution = std::make_shared<schema::Execution>();
  execution->source.code = "print(1)";
  Message message = NewMessage("a");
  message.execution = execution;
  ASSERT_TRUE(broker.Publish(message).has_value());
  const auto lease = broker.Next(Now(), false);
  EXPECT_EQ((*lease)->message().execution, execution);
}

// Ten thousand of them, of 50 megabytes each, may wait.
TEST(EmbeddedBrokerTest, WhatIsBigWaitsForTheBackgroundInTheStore) {
  const struct {
    Priority lane;
    std::size_t bytes;
    bool travels;
  } cases[] = {{Priority::kBackground, 1'000, true},
               {Priority::kBackground, 1'000'000, false},
               {Priority::kInteractive, 1'000'000, true}};
  for (const auto& one : cases) {
    EmbeddedBroker broker({});
    auto execution = std::make_shared<schema::Execution>();
    execution->source.files = {{"a", std::string(one.bytes, 'a'), false}};
    Message message = NewMessage("a");
    message.lane = one.lane;
    message.execution = execution;
    ASSERT_TRUE(broker.Publish(message).has_value());
    const auto lease = broker.Next(Now(), false);
    EXPECT_EQ((*lease)->message().execution != nullptr, one.travels);
  }
}

}  // namespace
}  // namespace forkbox::queue
