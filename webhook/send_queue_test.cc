#include "webhook/send_queue.h"

#include <gtest/gtest.h>

namespace forkbox::webhook {
namespace {

using namespace std::chrono_literals;

constexpr SteadyTime kNow{1'000s};
constexpr SteadyTime kLater{2'000s};

class SendQueueTest : public testing::Test {
 protected:
  void Add(SendQueue& queue, const std::string& host, const std::string& owner, int count = 1) {
    for (int i = 0; i < count; ++i) {
      store::Delivery delivery;
      delivery.id = store::DeliveryId("d" + std::to_string(++added_));
      delivery.owner = schema::OwnerId(owner);
      delivery.url = "http://" + host + "/hook";
      queue.Add(std::move(delivery), kLater);
    }
  }
  // The hosts of all that may go now.
  static std::vector<SendQueue::Entry> Go(SendQueue& queue) {
    std::vector<SendQueue::Entry> gone;
    while (auto entry = queue.Next(kNow)) gone.push_back(std::move(*entry));
    return gone;
  }
  int added_ = 0;
};

TEST_F(SendQueueTest, KeepsTheOrderOfArrival) {
  SendQueue queue({});
  Add(queue, "a.test", "o");
  Add(queue, "B.test", "o");
  Add(queue, "a.test", "o");
  const auto gone = Go(queue);
  ASSERT_EQ(gone.size(), 3U);
  EXPECT_EQ(gone[0].delivery.id.str(), "d1");
  EXPECT_EQ(gone[1].host, "b.test");
  EXPECT_EQ(gone[2].delivery.id.str(), "d3");
  EXPECT_EQ(queue.in_flight(), 3U);
  for (const auto& entry : gone) queue.Done(entry, 1ms);
  EXPECT_EQ(queue.in_flight(), 0U);
}

TEST_F(SendQueueTest, NeitherAHostNorAnOwnerTakesAllPlaces) {
  SendQueue queue({.in_flight = 10, .in_flight_per_host = 2, .in_flight_per_owner = 4});
  Add(queue, "one.test", "greedy", 50);
  for (const std::string name : {"two", "three", "four"}) Add(queue, name + ".test", "greedy", 9);
  Add(queue, "fine.test", "modest", 1);
  auto gone = Go(queue);
  ASSERT_EQ(gone.size(), 5U);  // two to each of two hosts, and the modest one's
  EXPECT_EQ(gone.back().delivery.owner.str(), "modest");

  // A place that is free again is taken by the next in line.
  queue.Done(gone[3], 1ms);
  gone = Go(queue);
  ASSERT_EQ(gone.size(), 1U);
  EXPECT_EQ(gone[0].host, "two.test");
}

TEST_F(SendQueueTest, WithoutAuthenticationEverybodyIsOneOwner) {
  SendQueue queue({.in_flight = 10, .in_flight_per_host = 2, .in_flight_per_owner = 1});
  Add(queue, "one.test", "", 5);
  Add(queue, "two.test", "", 5);
  EXPECT_EQ(Go(queue).size(), 4U);
}

TEST_F(SendQueueTest, ThereIsABoundOverAll) {
  SendQueue queue({.in_flight = 3, .in_flight_per_owner = 9, .waiting = 5});
  for (const std::string name : {"a", "b", "c", "d", "e"}) Add(queue, name + ".test", "o");
  EXPECT_EQ(queue.Room(), 0U);
  EXPECT_EQ(Go(queue).size(), 3U);
  EXPECT_EQ(queue.Room(), 3U);
}

// It was full again before one that could not be sent came back.
TEST_F(SendQueueTest, OneBeyondTheBoundMakesNoRoom) {
  SendQueue queue({.waiting = 2});
  Add(queue, "a.test", "o", 3);
  EXPECT_EQ(queue.Room(), 0U);
}

TEST_F(SendQueueTest, FewMayWaitForWhoeverIsSlow) {
  SendQueue queue({.in_flight_per_host = 1, .waiting_when_slow = 3, .slow = 2s});
  Add(queue, "slow.test", "o", 100);
  Add(queue, "quick.test", "p", 50);
  auto gone = Go(queue);
  ASSERT_EQ(gone.size(), 2U);
  EXPECT_EQ(queue.waiting(), 148U);
  queue.Done(gone[1], 1'999ms);
  EXPECT_EQ(queue.waiting(), 148U);
  queue.Done(gone[0], 2s);
  EXPECT_EQ(queue.waiting(), 3U + 49U);
  Add(queue, "slow.test", "o", 100);
  Add(queue, "other.test", "o", 100);  // of the same owner
  EXPECT_EQ(queue.waiting(), 3U + 49U);
  Add(queue, "quick.test", "p", 10);
  EXPECT_EQ(queue.waiting(), 3U + 59U);

  // One that is quick again may have as many as it likes.
  gone = Go(queue);
  ASSERT_EQ(gone.size(), 2U);
  for (const auto& entry : gone) queue.Done(entry, 5ms);
  Add(queue, "slow.test", "o", 100);
  EXPECT_EQ(queue.waiting(), 2U + 58U + 100U);
}

TEST_F(SendQueueTest, WhatIsClaimedForTooShortIsNotBegun) {
  SendQueue queue({});
  Add(queue, "a.test", "o", 3);
  EXPECT_TRUE(queue.Next(kLater).has_value());
  EXPECT_FALSE(queue.Next(kLater + 1ms).has_value());
  EXPECT_EQ(queue.waiting(), 0U);
}

TEST_F(SendQueueTest, GivesBackWhatWaits) {
  SendQueue queue({.in_flight_per_host = 1});
  Add(queue, "a.test", "o", 3);
  const auto gone = Go(queue);
  ASSERT_EQ(gone.size(), 1U);
  EXPECT_TRUE(queue.Remove().has_value());
  EXPECT_TRUE(queue.Remove().has_value());
  EXPECT_FALSE(queue.Remove().has_value());
  queue.Done(gone[0], 5s);
  EXPECT_EQ(queue.in_flight() + queue.waiting(), 0U);
}

}  // namespace
}  // namespace forkbox::webhook
