#include "api/paced_batch.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace forkbox::api {
namespace {

using schema::ExecutionId;

// Items that run until they are told to end.
class PacedBatchTest : public ::testing::Test {
 protected:
  PacedBatch::Start Start() {
    return [this](std::size_t index, std::function<void()> ended) {
      started_.push_back(index);
      ends_.push_back(std::move(ended));
      return std::optional<ExecutionId>("item " + std::to_string(index));
    };
  }
  PacedBatch::Cancel Cancel() {
    return [this](const ExecutionId& id) { cancelled_.push_back(id.str()); };
  }

  std::vector<std::size_t> started_;
  std::vector<std::function<void()>> ends_;
  std::vector<std::string> cancelled_;
};

TEST_F(PacedBatchTest, TheNextStartsWhenOneEndsAndAllRunInTheEnd) {
  const auto batch = PacedBatch::Run(5, 2, Start(), Cancel());
  EXPECT_EQ(started_, (std::vector<std::size_t>{0, 1}));
  for (std::size_t i = 0; i < 5; ++i) ends_[i]();
  EXPECT_EQ(started_, (std::vector<std::size_t>{0, 1, 2, 3, 4}));
  EXPECT_TRUE(cancelled_.empty());
}

TEST_F(PacedBatchTest, WithoutALimitAllStartAtOnce) {
  const auto batch = PacedBatch::Run(100, 0, Start(), Cancel());
  EXPECT_EQ(started_.size(), 100U);
}

TEST_F(PacedBatchTest, AnAbandonedOneCancelsWhatRunsAndStartsNothingMore) {
  const auto batch = PacedBatch::Run(5, 2, Start(), Cancel());
  ends_[0]();
  batch->Abandon();
  EXPECT_EQ(cancelled_, (std::vector<std::string>{"item 1", "item 2"}));
  ends_[1]();
  ends_[2]();
  EXPECT_EQ(started_.size(), 3U);
}

TEST_F(PacedBatchTest, ManyThatEndAtOnceDoNotPileUp) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  std::size_t ran = 0;
  PacedBatch::Run(
      100'000, 1,
      [&](std::size_t, const std::function<void()>& ended) {
        deepest = std::max(deepest, ++depth);
        ++ran;
        ended();
        --depth;
        return std::optional<ExecutionId>();
      },
      Cancel());
  EXPECT_EQ(ran, 100'000U);
  EXPECT_EQ(deepest, 1U);
}

TEST_F(PacedBatchTest, EndsOfAllThreadsAreCounted) {
  std::mutex mutex;
  std::vector<std::jthread> threads;
  std::size_t running = 0;
  std::size_t most = 0;
  std::size_t ran = 0;
  PacedBatch::Run(
      200, 7,
      [&](std::size_t, std::function<void()> ended) {
        const std::lock_guard lock(mutex);
        most = std::max(most, ++running);
        threads.emplace_back([&, ended = std::move(ended)] {
          {
            const std::lock_guard inside(mutex);
            --running;
            ++ran;
          }
          ended();
        });
        return std::optional<ExecutionId>();
      },
      Cancel());
  for (;;) {
    const std::lock_guard lock(mutex);
    if (ran == 200) break;
  }
  threads.clear();
  EXPECT_LE(most, 7U);
}

}  // namespace
}  // namespace forkbox::api
