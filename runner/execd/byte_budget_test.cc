#include "runner/execd/byte_budget.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace forkbox::execd {
namespace {

constexpr std::size_t kFree = ByteBudget::kAlwaysFree;

TEST(ByteBudget, SharesHaveWhatIsThereAndGiveItBack) {
  ByteBudget budget(100);
  ByteBudget::Share one(budget);
  EXPECT_TRUE(one.Resize(kFree + 60));
  EXPECT_TRUE(one.Resize(kFree + 60));
  {
    ByteBudget::Share two(budget);
    EXPECT_TRUE(two.Resize(kFree + 40));
    EXPECT_FALSE(two.Resize(kFree + 41));
    EXPECT_FALSE(one.Resize(kFree + 61));
    EXPECT_EQ(budget.used(), 100U);  // a refusal changes nothing
    EXPECT_TRUE(one.Resize(kFree + 50));
    const ByteBudget::Share moved(std::move(two));
    EXPECT_EQ(budget.used(), 90U);
  }
  EXPECT_EQ(budget.used(), 50U);
  EXPECT_TRUE(one.Resize(0));
  EXPECT_EQ(budget.used(), 0U);
  EXPECT_FALSE(one.Resize(static_cast<std::size_t>(-1)));
}

TEST(ByteBudget, WhoNeedsLittleGetsItFromAnEmptyOneToo) {
  ByteBudget budget(1);
  ByteBudget::Share greedy(budget);
  EXPECT_TRUE(greedy.Resize(kFree + 1));
  ByteBudget::Share modest(budget);
  EXPECT_TRUE(modest.Resize(kFree));
  EXPECT_FALSE(modest.Resize(kFree + 1));
}

TEST(ByteBudget, NeverMoreThanItsLimitWhoeverAsks) {
  ByteBudget budget(1000);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&budget] {
        for (std::size_t j = 0; j < 20'000; ++j) {
          ByteBudget::Share share(budget);
          (void)share.Resize(kFree + j % 700);
          EXPECT_LE(budget.used(), 1000U);
        }
      });
    }
  }
  EXPECT_EQ(budget.used(), 0U);
}

}  // namespace
}  // namespace forkbox::execd
