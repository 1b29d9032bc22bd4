#include "api/call_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <memory>
#include <new>
#include <stdexcept>
#include <thread>

namespace forkbox::api {
namespace {

// Keeps a pool's only thread busy until it is let go.
class Busy {
 public:
  explicit Busy(CallPool& pool) {
    std::promise<void> begun;
    EXPECT_TRUE(pool.Post([this, &begun] {
      begun.set_value();
      end_.get_future().wait();
      ended_ = true;
    }));
    begun.get_future().wait();
  }
  void LetGo() { end_.set_value(); }
  [[nodiscard]] bool ended() const { return ended_; }

 private:
  std::promise<void> end_;
  std::atomic<bool> ended_{false};
};

TEST(CallPoolTest, ACallThatThrowsEndsAloneAndGivesBackWhatItHeld) {
  CallPool pool(1, 10);
  const auto held = std::make_shared<int>(0);
  ASSERT_TRUE(pool.Post([held] { throw std::runtime_error("no"); }));
  ASSERT_TRUE(pool.Post([held] { throw 42; }));
  std::promise<long> seen;
  ASSERT_TRUE(pool.Post([&] { seen.set_value(held.use_count()); }));
  EXPECT_EQ(seen.get_future().get(), 1);
}

TEST(CallPoolTest, TellsAtOnceWhenTooManyWait) {
  CallPool pool(1, 2);
  Busy busy(pool);
  const auto nothing = [] {};
  EXPECT_TRUE(pool.Post(nothing));
  EXPECT_TRUE(pool.Post(nothing));
  EXPECT_FALSE(pool.Post(nothing));
  busy.LetGo();
  pool.Close();
  EXPECT_FALSE(pool.Post(nothing));
}

TEST(CallPoolTest, CloseDropsWhatHasNotBegunAndWaitsForWhatHas) {
  CallPool pool(1, 10);
  Busy busy(pool);
  const auto held = std::make_shared<int>(0);
  std::atomic<int> made{0};
  std::promise<void> told;
  ASSERT_TRUE(pool.Post([held, &made] { ++made; }));
  ASSERT_TRUE(pool.Post([held, &made] { ++made; }, [held] { throw std::bad_alloc(); }));
  ASSERT_TRUE(pool.Post([held, &made] { ++made; }, [held, &told] { told.set_value(); }));
  std::thread closes([&] {
    pool.Close();
    EXPECT_TRUE(busy.ended());
  });
  told.get_future().wait();  // though the only thread is still busy
  EXPECT_FALSE(busy.ended());
  busy.LetGo();
  closes.join();
  EXPECT_EQ(made, 0);
  EXPECT_EQ(held.use_count(), 1);
}

TEST(CallPoolTest, WhatHasBegunIsNotTold) {
  CallPool pool(1, 10);
  std::promise<void> made;
  std::atomic<bool> told{false};
  ASSERT_TRUE(pool.Post([&] { made.set_value(); }, [&] { told = true; }));
  made.get_future().wait();
  pool.Close();
  EXPECT_FALSE(told);
}

}  // namespace
}  // namespace forkbox::api
