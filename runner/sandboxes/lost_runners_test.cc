#include "runner/sandboxes/lost_runners.h"

#include <gtest/gtest.h>

#include "store/testing_sandboxes.h"

namespace forkbox::sandboxes {
namespace {

using namespace std::chrono_literals;

// Only tells what it was asked for.
class Asked final : public store::NoSandboxes {
 public:
  explicit Asked(FakeClock& clock) : clock_(clock) {}

  Result<std::uint64_t> FailOfLostRunners(std::int64_t before, std::int64_t) override {
    clock_.Advance(takes);
    if (away) return Fail(ErrorCode::kUnavailable, "away");
    last_before = before;
    return std::uint64_t{before == 0 ? 0U : 1U};
  }

  bool away = false;
  std::chrono::milliseconds takes{0};
  std::int64_t last_before = -1;

 private:
  FakeClock& clock_;
};

class LostRunnersTest : public testing::Test {
 protected:
  // Looks once a second. True when somebody was held for lost.
  bool LookFor(std::chrono::seconds time) {
    bool lost = false;
    for (auto passed = 0s; passed < time; passed += 1s) {
      clock_.Advance(1s);
      lost = runners_.Look().value_or(0) != 0 || lost;
    }
    return lost;
  }

  FakeClock clock_;
  Asked store_{clock_};
  LostRunners runners_{15s, store_, clock_};
};

TEST_F(LostRunnersTest, WhoBeatWhileWeWereAwayGetsTheTimeToShowUp) {
  EXPECT_FALSE(LookFor(15s));
  EXPECT_TRUE(LookFor(2s));
  EXPECT_EQ(store_.last_before, clock_.UnixMillis() - 15'000);
}

TEST_F(LostRunnersTest, AnOutageOfTheStoreIsNobodysFault) {
  EXPECT_TRUE(LookFor(20s));
  store_.away = true;
  EXPECT_FALSE(LookFor(60s));
  store_.away = false;
  EXPECT_FALSE(LookFor(15s)) << "the time counts from its return";
  EXPECT_TRUE(LookFor(2s));
}

TEST_F(LostRunnersTest, WhoDidNotLookKnowsNothing) {
  EXPECT_TRUE(LookFor(20s));
  clock_.Advance(10s);
  EXPECT_FALSE(LookFor(15s));
  EXPECT_TRUE(LookFor(2s));
}

TEST_F(LostRunnersTest, AStoreThatHungWasAway) {
  EXPECT_TRUE(LookFor(20s));
  store_.takes = 10s;
  EXPECT_TRUE(LookFor(1s)) << "that was asked for before";
  store_.takes = 0s;
  EXPECT_FALSE(LookFor(15s));
}

}  // namespace
}  // namespace forkbox::sandboxes
