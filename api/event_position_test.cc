#include "api/event_position.h"

#include <gtest/gtest.h>

#include <string>

namespace forkbox::api {
namespace {

using Phase = EventPosition::Phase;

TEST(EventPositionTest, AnIdNamesThePlaceAndWhatWasThere) {
  EventPosition position;
  position.set_phase(Phase::kRunning);
  position.AdvanceStdout("hello ");
  position.AdvanceStderr("oops");
  position.AdvanceStdout("world");
  const std::string id = position.ToString();
  EXPECT_TRUE(id.starts_with("r-11-4-")) << id;

  auto resumed = EventPosition::Parse(id);
  ASSERT_TRUE(resumed);
  EXPECT_TRUE(*resumed == position);
  EXPECT_TRUE(resumed->Resume("hello world, and more", "oops"));
  EXPECT_EQ(resumed->ToString(), id);
  resumed->AdvanceStdout("!");
  position.AdvanceStdout("!");
  EXPECT_EQ(resumed->ToString(), position.ToString());
}

TEST(EventPositionTest, OtherTextsAreNotWhatWasSent) {
  EventPosition position;
  position.AdvanceStdout("hello");
  position.AdvanceStderr("oops");
  const auto fits = [&](std::string_view out, std::string_view err) {
    return EventPosition::Parse(position.ToString())->Resume(out, err);
  };
  EXPECT_TRUE(fits("hello", "oops"));
  EXPECT_TRUE(fits("hello!", "oops!"));
  EXPECT_FALSE(fits("hullo", "oops"));
  EXPECT_FALSE(fits("hello", "ooze"));
  EXPECT_FALSE(fits("hell", "oops"));
  EXPECT_FALSE(fits("oops", "hello"));
  EXPECT_FALSE(fits("", ""));
}

TEST(EventPositionTest, TheStartFitsEverything) {
  EXPECT_TRUE(EventPosition().Resume("anything", ""));
  EXPECT_TRUE(EventPosition::Parse(EventPosition().ToString())->Resume("x", "y"));
}

TEST(EventPositionTest, PhasesComeInOrder) {
  const Phase order[] = {Phase::kStart,         Phase::kQueued, Phase::kCompiling, Phase::kRunning,
                         Phase::kCompileOutput, Phase::kValue,  Phase::kDone};
  for (std::size_t i = 0; i < std::size(order); ++i) {
    EventPosition position;
    position.set_phase(order[i]);
    EXPECT_EQ(EventPosition::Parse(position.ToString())->phase(), order[i]);
    for (std::size_t j = 0; j < std::size(order); ++j) {
      EXPECT_EQ(position.IsBefore(order[j]), i < j);
    }
  }
}

class BadId : public testing::TestWithParam<const char*> {};

TEST_P(BadId, IsNone) { EXPECT_FALSE(EventPosition::Parse(GetParam())); }

INSTANTIATE_TEST_SUITE_P(
    Ids, BadId,
    testing::Values("", "r", "r-", "17", "r-1-2", "r-1-2-", "r-1-2-zz", "r-1-2-0123456789abcde",
                    "r-1-2-0123456789abcdef0", "r-1-2-0123456789abcdef-", "x-1-2-0123456789abcdef",
                    "rr-1-2-0123456789abcdef", "r--2-0123456789abcdef", "r-1--0123456789abcdef",
                    "r--1-2-0123456789abcdef", "r-+1-2-0123456789abcdef", "r- 1-2-0123456789abcdef",
                    "r-1e3-2-0123456789abcdef", "r-99999999999999999999-2-0123456789abcdef",
                    "r-9999999999999-2-0123456789abcdef", "r-1-2-0123456789abcdeg",
                    "r-1-2-3-0123456789abcdef", "r-1-2-0123456789 bcdef"));

}  // namespace
}  // namespace forkbox::api
