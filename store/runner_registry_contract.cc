#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "store/store_contract.h"

namespace forkbox::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::int64_t kDayMs = 24 * 60 * 60 * 1000;

RunnerInfo Runner(std::string id, std::int64_t seen_unix_ms, std::uint64_t busy = 0) {
  return {std::move(id), "host", 4, busy, 500, seen_unix_ms, R"({"languages":["python"]})"};
}

std::vector<std::string> Alive(RunnerRegistry& runners, std::int64_t since) {
  std::vector<std::string> ids;
  const auto alive = runners.AliveRunners(since);
  if (!alive) return {alive.error().message};
  for (const RunnerInfo& runner : *alive) ids.push_back(runner.id);
  return ids;
}

TEST_P(RunnerRegistryContract, ABeatTellsTheLatest) {
  ASSERT_TRUE(runners().Beat(Runner("b", 1'000)).has_value());
  ASSERT_TRUE(runners().Beat(Runner("a", 1'000)).has_value());
  ASSERT_TRUE(runners().Beat(Runner("b", 3'000, 2)).has_value());
  EXPECT_THAT(Alive(runners(), 1'000), ElementsAre("a", "b"));
  EXPECT_THAT(Alive(runners(), 1'001), ElementsAre("b"));
  Reopen();
  const auto alive = runners().AliveRunners(3'000);
  ASSERT_EQ(alive->size(), 1U);
  const RunnerInfo& runner = alive->at(0);
  EXPECT_EQ(runner.host, "host");
  EXPECT_EQ(runner.slots, 4U);
  EXPECT_EQ(runner.busy, 2U);
  EXPECT_EQ(runner.started_unix_ms, 500);
  EXPECT_EQ(runner.seen_unix_ms, 3'000);
  EXPECT_EQ(runner.details_json, R"({"languages":["python"]})");

  ASSERT_TRUE(runners().Leave("b").has_value());
  ASSERT_TRUE(runners().Leave("b").has_value());
  EXPECT_THAT(Alive(runners(), 0), ElementsAre("a"));
  EXPECT_EQ((*runners().LastRunner())->id, "b") << "what it could run is still known";
  EXPECT_EQ((*runners().LastRunner())->details_json, R"({"languages":["python"]})");
  ASSERT_TRUE(runners().Beat(Runner("b", 4'000)).has_value());
  EXPECT_THAT(Alive(runners(), 0), ElementsAre("a", "b"));
}

TEST_P(RunnerRegistryContract, ForgetsWhoHasNotBeenSeenForADayButTheLast) {
  EXPECT_EQ(*runners().LastRunner(), std::nullopt);
  ASSERT_TRUE(runners().Beat(Runner("old", 1'000)).has_value());
  ASSERT_TRUE(runners().Beat(Runner("older", 900)).has_value());
  Reopen();
  ASSERT_TRUE(runners().Beat(Runner("back", 1'100)).has_value());
  EXPECT_THAT(Alive(runners(), 0), ElementsAre("back", "old", "older"));
  Reopen();
  ASSERT_TRUE(runners().Beat(Runner("new", kDayMs + 1'050)).has_value());
  EXPECT_THAT(Alive(runners(), 0), ElementsAre("back", "new"));
  Reopen();
  // The last one stays, however long ago: its beat comes after the forgetting.
  ASSERT_TRUE(runners().Beat(Runner("next", 3 * kDayMs)).has_value());
  EXPECT_THAT(Alive(runners(), 0), ElementsAre("new", "next"));
}

TEST_P(RunnerRegistryContract, ANameMustBeOneAndWordsAreMended) {
  EXPECT_EQ(runners().Beat(Runner("", 1'000)).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(runners().Beat(Runner(std::string(1, '\0'), 1'000)).error().code,
            ErrorCode::kInvalidArgument);
  EXPECT_TRUE(runners().Leave(std::string(1, '\0')).has_value());
  RunnerInfo runner = Runner("a", 1'000);
  runner.host = std::string("h\0\xFF", 3);
  ASSERT_TRUE(runners().Beat(runner).has_value());
  EXPECT_EQ(runners().AliveRunners(0)->at(0).host, "h \xEF\xBF\xBD");
}

}  // namespace
}  // namespace forkbox::store
