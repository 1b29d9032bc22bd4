#include "api/opensandbox/execd_threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

namespace forkbox::api {
namespace {

using namespace std::chrono_literals;

bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 10'000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(1ms);
  }
  return false;
}

// Jobs that wait for each other would hang in a pool with fewer threads than jobs.
TEST(ExecdThreadsTest, GivesEachJobAThreadAndRefusesOneTooMany) {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::atomic<int> running = 0;
  ExecdThreads threads(8);
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(threads.Run([&, released] {
      ++running;
      released.wait();
    }));
  }
  EXPECT_TRUE(Eventually([&] { return running == 8; }));
  EXPECT_FALSE(threads.Run([] {}));
  release.set_value();
  EXPECT_TRUE(Eventually([&] { return threads.Run([] {}); }));
}

TEST(ExecdThreadsTest, UsesAThreadAgainAndLetsItGoWhenIdle) {
  ExecdThreads threads(8, 50ms);
  for (int i = 0; i < 20; ++i) {
    std::promise<void> done;
    // More jobs than threads; the one before may not be idle yet.
    ASSERT_TRUE(Eventually([&] { return threads.Run([&] { done.set_value(); }); }));
    done.get_future().wait();
  }
  EXPECT_TRUE(Eventually([&] { return threads.size() == 0; }));
  std::promise<void> done;
  ASSERT_TRUE(threads.Run([&] { done.set_value(); }));
  done.get_future().wait();
}

TEST(ExecdThreadsTest, WaitsForWhatRunsWhenItGoes) {
  std::atomic<int> done = 0;
  {
    ExecdThreads threads(4);
    for (int i = 0; i < 4; ++i) {
      ASSERT_TRUE(threads.Run([&] {
        std::this_thread::sleep_for(20ms);
        ++done;
      }));
    }
  }
  EXPECT_EQ(done, 4);
}

}  // namespace
}  // namespace forkbox::api
