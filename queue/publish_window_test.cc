#include "queue/publish_window.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

namespace forkbox::queue {
namespace {

using std::chrono::seconds;

const SteadyTime kStart{seconds(1'000)};

PendingPublish Publish(const std::string& body, seconds after = seconds(5)) {
  return {.publication = {.body = body}, .deadline = kStart + after};
}

std::string Bodies(const std::vector<PendingPublish>& publishes) {
  std::string bodies;
  for (const PendingPublish& one : publishes) bodies += one.publication.body;
  return bodies;
}

class PublishWindowTest : public testing::Test {
 protected:
  PublishWindowTest() {
    for (const char* body : {"a", "b", "c", "d", "e"}) window_.Add(Publish(body));
  }
  PublishWindow window_;
};

TEST_F(PublishWindowTest, TagsCountFromOne) {
  EXPECT_EQ(PublishWindow().next_tag(), 1U);
  EXPECT_EQ(window_.next_tag(), 6U);
}

TEST_F(PublishWindowTest, ConfirmsSettleOneOrAllUpToIt) {
  EXPECT_EQ(Bodies(window_.Settle(2, false)), "b");
  EXPECT_EQ(Bodies(window_.Settle(2, false)), "");  // again: nobody's
  EXPECT_EQ(Bodies(window_.Settle(3, true)), "ac");
  EXPECT_EQ(Bodies(window_.Settle(3, true)), "");
  EXPECT_EQ(Bodies(window_.Settle(0, false)), "");
  EXPECT_EQ(Bodies(window_.Settle(99, false)), "");
  EXPECT_EQ(window_.bytes(), 2U);
  EXPECT_EQ(Bodies(window_.Settle(99, true)), "de");
  EXPECT_EQ(window_.bytes(), 0U);
  EXPECT_TRUE(window_.empty());
}

TEST_F(PublishWindowTest, WhatIsLateLeavesAndItsConfirmIsNobodys) {
  PublishWindow window;
  window.Add(Publish("a", seconds(1)));
  window.Add(Publish("b", seconds(2)));
  EXPECT_EQ(window.first_deadline(), kStart + seconds(1));
  EXPECT_EQ(Bodies(window.TakeExpired(kStart)), "");
  EXPECT_EQ(Bodies(window.TakeExpired(kStart + seconds(1))), "a");
  EXPECT_EQ(window.first_deadline(), kStart + seconds(2));
  EXPECT_EQ(Bodies(window.Settle(1, false)), "");
  EXPECT_EQ(Bodies(window.Settle(2, true)), "b");
  EXPECT_EQ(window.first_deadline(), Deadline::max());
}

TEST_F(PublishWindowTest, ANewChannelCountsAnew) {
  EXPECT_EQ(Bodies(window_.Settle(1, false)), "a");
  EXPECT_EQ(Bodies(window_.TakeAll()), "bcde");
  EXPECT_EQ(window_.bytes(), 0U);
  EXPECT_EQ(window_.next_tag(), 1U);
  window_.Add(Publish("b"));
  EXPECT_EQ(Bodies(window_.Settle(1, false)), "b");
}

}  // namespace
}  // namespace forkbox::queue
