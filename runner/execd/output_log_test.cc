#include "runner/execd/output_log.h"

#include <gtest/gtest.h>

#include <string>

namespace forkbox::execd {
namespace {

TEST(OutputLogTest, ReadsOnFromWhereItWas) {
  OutputLog log(1000);
  std::uint64_t start = 99;
  EXPECT_EQ(log.Read(5, 10, &start), "");
  EXPECT_EQ(start, 0U);
  log.Append("hello");
  EXPECT_EQ(log.Read(0, 100, &start), "hello");
  EXPECT_EQ(log.Read(2, 2, &start), "ll");
  EXPECT_EQ(start, 2U);
  EXPECT_EQ(log.Read(5, 100, &start), "");
  EXPECT_EQ(log.Read(1ULL << 60, 100, &start), "");
  EXPECT_EQ(start, 5U) << "beyond the end is the end";
}

TEST(OutputLogTest, KeepsTheNewestAndGoesOnCounting) {
  // Compared with the simplest that does the same, over pieces of many sizes.
  constexpr std::size_t kCapacity = 100'000;
  OutputLog log(kCapacity);
  std::string all;
  for (std::size_t i = 1; i < 200; ++i) {
    std::string piece((i * 977) % 5000, static_cast<char>('a' + i % 26));
    if (i == 150) piece.assign(3 * kCapacity, 'Z');
    log.Append(piece);
    all += piece;
    ASSERT_EQ(log.end(), all.size());
    ASSERT_LE(log.size(), kCapacity);
    ASSERT_EQ(log.begin(), all.size() - std::min(all.size(), kCapacity));
    for (const std::size_t from : {std::size_t{0}, all.size() / 2, all.size() - all.size() / 50}) {
      std::uint64_t start = 0;
      const std::string read = log.Read(from, 40'000, &start);
      ASSERT_EQ(start, std::max<std::uint64_t>(from, log.begin()));
      ASSERT_EQ(read, all.substr(start, 40'000)) << i << " from " << from;
    }
  }
  EXPECT_EQ(log.Forget(10), 10U);
  EXPECT_EQ(log.begin(), all.size() - kCapacity + 10);
  EXPECT_EQ(log.Forget(kCapacity), kCapacity - 10);
  EXPECT_EQ(log.size(), 0U);
  log.Append("more");
  std::uint64_t start = 0;
  EXPECT_EQ(log.Read(0, 10, &start), "more");
  EXPECT_EQ(start, all.size());
}

}  // namespace
}  // namespace forkbox::execd
