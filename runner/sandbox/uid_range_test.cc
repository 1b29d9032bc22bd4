#include "runner/sandbox/uid_range.h"

#include <gtest/gtest.h>

#include <set>

namespace forkbox::sandbox {
namespace {

TEST(UidRange, RangesDoNotOverlapAndStayWhereNobodyIs) {
  constexpr std::uint64_t kWholeMap = 4'294'967'295;
  constexpr std::uint64_t kSmallMap = 65'536;
  struct Case {
    const char* name;
    std::uint64_t mapped;
    std::uint32_t count;
    std::uint32_t first;
    std::uint32_t end;
    std::size_t ranges;  // at least, of a thousand draws
  };
  for (const Case& c : {Case{"a host", kWholeMap, 257, 1'900'000'000, 2'000'000'000, 1000},
                        Case{"one with thousands of sandboxes", kWholeMap, 8'193, 1'900'000'000,
                             2'000'000'000, 1000},
                        Case{"a rootless engine", kSmallMap, 257, 62'000, 65'000, 11},
                        Case{"one sandbox in such", kSmallMap, 2, 62'000, 65'000, 1000},
                        Case{"more than there is room for", kSmallMap, 3'400, 62'000, 65'536, 1}}) {
    SCOPED_TRACE(c.name);
    std::set<std::uint32_t> bases;
    for (std::uint64_t draw = 0; draw < 1000; ++draw) {
      bases.insert(UidBaseOf(c.mapped, c.count, draw));
    }
    EXPECT_GE(bases.size(), c.ranges);
    EXPECT_GE(*bases.begin(), c.first);
    EXPECT_LE(*bases.rbegin() + c.count, c.end);
    std::uint32_t free_from = 0;
    for (const std::uint32_t base : bases) {
      EXPECT_GE(base, free_from);
      free_from = base + c.count;
    }
  }
}

TEST(UidRange, AreDrawn) {
  std::set<std::uint32_t> bases;
  for (int draw = 0; draw < 8; ++draw) bases.insert(DrawUidBase(1));
  EXPECT_GT(bases.size(), 1U);
}

}  // namespace
}  // namespace forkbox::sandbox
