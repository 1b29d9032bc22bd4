#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "store/store_contract.h"

namespace forkbox::store {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Pairs = std::vector<std::pair<std::string, std::string>>;

SandboxRecord Sandbox(std::string id, std::int64_t created_unix_ms, Pairs metadata = {},
                      std::string owner = "alice") {
  SandboxRecord record;
  record.id = std::move(id);
  record.owner = std::move(owner);
  record.runner_id = "r1";
  record.address = "127.0.0.1:1";
  record.token = "secret";
  record.state = SandboxState::kRunning;
  record.request = R"({"image":{"uri":"python:3"}})";
  record.metadata = std::move(metadata);
  record.created_unix_ms = created_unix_ms;
  record.changed_unix_ms = created_unix_ms;
  return record;
}

std::vector<std::string> Ids(SandboxStore& sandboxes, const SandboxQuery& query) {
  const auto page = sandboxes.List(query);
  if (!page) return {page.error().message};
  std::vector<std::string> ids;
  for (const SandboxRecord& record : page->items) ids.push_back(record.id);
  return ids;
}

TEST_P(SandboxStoreContract, WhatWasWrittenIsRead) {
  SandboxRecord record = Sandbox("a", 1'000, {{"k", "v=w"}, {"é", ""}});
  record.expires_unix_ms = 61'000;
  record.reason = "r";
  record.message = "m";
  ASSERT_TRUE(sandboxes().Insert(record).has_value());
  ASSERT_TRUE(sandboxes().Insert(Sandbox("b", 1'000)).has_value());
  EXPECT_EQ(sandboxes().Insert(record).error().code, ErrorCode::kConflict);
  Reopen();
  const auto read = sandboxes().Get("a");
  ASSERT_TRUE(read.has_value() && *read);
  EXPECT_EQ((*read)->owner, "alice");
  EXPECT_EQ((*read)->runner_id, "r1");
  EXPECT_EQ((*read)->address, "127.0.0.1:1");
  EXPECT_EQ((*read)->token, "secret");
  EXPECT_EQ((*read)->state, SandboxState::kRunning);
  EXPECT_EQ((*read)->reason, "r");
  EXPECT_EQ((*read)->message, "m");
  EXPECT_EQ((*read)->request, record.request);
  EXPECT_EQ((*read)->metadata, record.metadata);
  EXPECT_EQ((*read)->created_unix_ms, 1'000);
  EXPECT_EQ((*read)->expires_unix_ms, 61'000);
  EXPECT_EQ((*sandboxes().Get("b"))->expires_unix_ms, std::nullopt);
  for (const char* unknown : {"c", "", " ", "a\n"}) {
    EXPECT_FALSE(sandboxes().Get(unknown)->has_value()) << unknown;
  }
}

TEST_P(SandboxStoreContract, AFinalStateStays) {
  ASSERT_TRUE(sandboxes().Insert(Sandbox("a", 1'000)).has_value());
  EXPECT_TRUE(*sandboxes().SetState("a", SandboxState::kPaused, "", "", 2'000));
  EXPECT_TRUE(*sandboxes().SetExpiry("a", 9'000));
  EXPECT_TRUE(*sandboxes().SetState("a", SandboxState::kTerminated, "deleted", "by you", 3'000));
  EXPECT_FALSE(*sandboxes().SetState("a", SandboxState::kRunning, "", "", 4'000));
  EXPECT_FALSE(*sandboxes().SetExpiry("a", 10'000));
  EXPECT_FALSE(*sandboxes().SetMetadata("a", {}, {{"k", "v"}}));
  EXPECT_FALSE(*sandboxes().SetState("none", SandboxState::kRunning, "", "", 4'000));
  const auto read = *sandboxes().Get("a");
  EXPECT_EQ(read->state, SandboxState::kTerminated);
  EXPECT_EQ(read->reason, "deleted");
  EXPECT_EQ(read->message, "by you");
  EXPECT_EQ(read->changed_unix_ms, 3'000);
  EXPECT_EQ(read->expires_unix_ms, 9'000);
  EXPECT_THAT(read->metadata, IsEmpty());
}

TEST_P(SandboxStoreContract, OnlyAFailedOneIsDeletedAsSuch) {
  ASSERT_TRUE(sandboxes().Insert(Sandbox("a", 1'000)).has_value());
  EXPECT_FALSE(*sandboxes().DeleteFailed("a", 2'000));
  EXPECT_FALSE(*sandboxes().DeleteFailed("none", 2'000));
  ASSERT_TRUE(*sandboxes().SetState("a", SandboxState::kFailed, "runner_lost", "gone", 2'000));
  EXPECT_TRUE(*sandboxes().DeleteFailed("a", 3'000));
  EXPECT_FALSE(*sandboxes().DeleteFailed("a", 4'000));
  const auto read = *sandboxes().Get("a");
  EXPECT_EQ(read->state, SandboxState::kTerminated);
  EXPECT_EQ(read->reason, "runner_lost");
  EXPECT_EQ(read->changed_unix_ms, 3'000);
}

TEST_P(SandboxStoreContract, ListsAreFilteredAndPaged) {
  ASSERT_TRUE(sandboxes().Insert(Sandbox("a", 1'000, {{"p", "x"}, {"q", "1"}})).has_value());
  ASSERT_TRUE(sandboxes().Insert(Sandbox("b", 2'000, {{"p", "x"}, {"q", "2"}})).has_value());
  ASSERT_TRUE(sandboxes().Insert(Sandbox("c", 3'000, {{"p", "X"}})).has_value());
  ASSERT_TRUE(sandboxes().Insert(Sandbox("d", 4'000, {{"p", "x"}}, "bob")).has_value());
  ASSERT_TRUE(*sandboxes().SetState("b", SandboxState::kPaused, "", "", 5'000));

  EXPECT_THAT(Ids(sandboxes(), {}), ElementsAre("d", "c", "b", "a"));
  EXPECT_THAT(Ids(sandboxes(), {.owner = "alice"}), ElementsAre("c", "b", "a"));
  EXPECT_THAT(Ids(sandboxes(), {.owner = ""}), IsEmpty());
  EXPECT_THAT(Ids(sandboxes(), {.states = {SandboxState::kPaused}}), ElementsAre("b"));
  EXPECT_THAT(Ids(sandboxes(), {.states = {SandboxState::kPaused, SandboxState::kRunning}}),
              ElementsAre("d", "c", "b", "a"));
  EXPECT_THAT(Ids(sandboxes(), {.metadata = {{"p", "x"}}}), ElementsAre("d", "b", "a"));
  EXPECT_THAT(Ids(sandboxes(), {.metadata = {{"p", "x"}, {"q", "1"}}}), ElementsAre("a"));
  EXPECT_THAT(Ids(sandboxes(), {.metadata = {{"p", "x"}, {"p", "x"}}}), ElementsAre("d", "b", "a"));
  EXPECT_THAT(Ids(sandboxes(), {.metadata = {{"p", ""}}}), IsEmpty());

  const auto page = sandboxes().List({.owner = "alice", .page = 2, .page_size = 2});
  ASSERT_TRUE(page.has_value());
  EXPECT_EQ(page->total, 3U);
  ASSERT_EQ(page->items.size(), 1U);
  EXPECT_EQ(page->items[0].id, "a");
  EXPECT_THAT(Ids(sandboxes(), {.page = 4'000'000'000, .page_size = 200}), IsEmpty());
  EXPECT_EQ(sandboxes().List({.metadata = Pairs(17, {"k", "v"})})->total, 0U);
  Pairs many;
  for (int i = 0; i < 17; ++i) many.emplace_back("k" + std::to_string(i), "v");
  EXPECT_EQ(sandboxes().List({.metadata = many}).error().code, ErrorCode::kInvalidArgument);
}

TEST_P(SandboxStoreContract, NewMetadataTakesThePlaceOfTheOld) {
  ASSERT_TRUE(sandboxes().Insert(Sandbox("a", 1'000, {{"p", "x"}})).has_value());
  ASSERT_TRUE(*sandboxes().SetMetadata("a", {{"p", "x"}}, {{"q", "y"}}));
  EXPECT_FALSE(*sandboxes().SetMetadata("a", {{"p", "x"}}, {{"q", "z"}})) << "somebody was first";
  EXPECT_EQ((*sandboxes().Get("a"))->metadata, (Pairs{{"q", "y"}}));
  EXPECT_THAT(Ids(sandboxes(), {.metadata = {{"p", "x"}}}), IsEmpty());
  EXPECT_THAT(Ids(sandboxes(), {.metadata = {{"q", "y"}}}), ElementsAre("a"));
}

TEST_P(SandboxStoreContract, SandboxesEndWithTheirRunner) {
  ASSERT_TRUE(sandboxes().Insert(Sandbox("ended", 1'000)).has_value());
  ASSERT_TRUE(*sandboxes().SetState("ended", SandboxState::kTerminated, "deleted", "", 1'500));
  ASSERT_TRUE(sandboxes().Insert(Sandbox("live", 1'000)).has_value());
  SandboxRecord elsewhere = Sandbox("elsewhere", 1'000);
  elsewhere.runner_id = "r2";
  ASSERT_TRUE(sandboxes().Insert(elsewhere).has_value());
  EXPECT_EQ(*sandboxes().FailOfRunner("r1", "runner_restarted", 2'000), 1U);
  EXPECT_EQ(*sandboxes().FailOfRunner("r1", "runner_restarted", 2'000), 0U);
  EXPECT_EQ((*sandboxes().Get("live"))->state, SandboxState::kFailed);
  EXPECT_EQ((*sandboxes().Get("live"))->reason, "runner_restarted");
  EXPECT_EQ((*sandboxes().Get("ended"))->reason, "deleted");
  EXPECT_EQ((*sandboxes().Get("elsewhere"))->state, SandboxState::kRunning);
}

TEST_P(SandboxStoreContract, SandboxesOfLostRunnersFail) {
  ASSERT_TRUE(runners().Beat({"r1", "host", 1, 0, 500, 50'000, "{}"}).has_value());
  ASSERT_TRUE(runners().Beat({"r2", "host", 1, 0, 500, 10'000, "{}"}).has_value());
  ASSERT_TRUE(sandboxes().Insert(Sandbox("seen", 1'000)).has_value());
  SandboxRecord lost = Sandbox("lost", 1'000);
  lost.runner_id = "r2";
  ASSERT_TRUE(sandboxes().Insert(lost).has_value());
  SandboxRecord unknown = Sandbox("unknown", 1'000);
  unknown.runner_id = "r3";
  ASSERT_TRUE(sandboxes().Insert(unknown).has_value());
  // Its runner may not have come to its first beat.
  SandboxRecord young = Sandbox("young", 45'000);
  young.runner_id = "r4";
  ASSERT_TRUE(sandboxes().Insert(young).has_value());
  EXPECT_EQ(*sandboxes().FailOfLostRunners(40'000, 55'000), 2U);
  EXPECT_EQ((*sandboxes().Get("seen"))->state, SandboxState::kRunning);
  EXPECT_EQ((*sandboxes().Get("young"))->state, SandboxState::kRunning);
  EXPECT_EQ((*sandboxes().Get("lost"))->state, SandboxState::kFailed);
  EXPECT_EQ((*sandboxes().Get("lost"))->reason, "runner_lost");
  EXPECT_EQ((*sandboxes().Get("unknown"))->changed_unix_ms, 55'000);
}

TEST_P(SandboxStoreContract, WhatEndedLongAgoIsForgotten) {
  ASSERT_TRUE(sandboxes().Insert(Sandbox("old", 1'000, {{"p", "x"}})).has_value());
  ASSERT_TRUE(*sandboxes().SetState("old", SandboxState::kTerminated, "expired", "", 2'000));
  ASSERT_TRUE(sandboxes().Insert(Sandbox("failed", 1'000)).has_value());
  ASSERT_TRUE(*sandboxes().SetState("failed", SandboxState::kFailed, "x", "", 5'000));
  ASSERT_TRUE(sandboxes().Insert(Sandbox("live", 1'000, {{"p", "x"}})).has_value());
  EXPECT_EQ(*sandboxes().Prune(5'000), 1U);
  EXPECT_FALSE(sandboxes().Get("old")->has_value());
  EXPECT_THAT(Ids(sandboxes(), {.metadata = {{"p", "x"}}}), ElementsAre("live"));
  EXPECT_EQ(*sandboxes().Prune(100'000), 1U);
  EXPECT_TRUE(sandboxes().Get("live")->has_value());
}

TEST_P(SandboxStoreContract, BadTextIsRefused) {
  EXPECT_EQ(sandboxes().Insert(Sandbox("a b", 1)).error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(sandboxes().Insert(Sandbox("a", 1, {{"k", "\xFF"}})).error().code,
            ErrorCode::kInvalidArgument);
  ASSERT_TRUE(sandboxes().Insert(Sandbox("a", 1)).has_value());
  EXPECT_EQ(sandboxes().SetMetadata("a", {}, {{std::string("\0", 1), ""}}).error().code,
            ErrorCode::kInvalidArgument);
}

TEST(SandboxStateTest, WordsAreThoseOfTheApi) {
  for (const char* name : {"Pending", "Running", "Pausing", "Paused", "Resuming", "Stopping",
                           "Terminated", "Failed"}) {
    const auto state = SandboxStateOf(name);
    ASSERT_TRUE(state.has_value()) << name;
    EXPECT_EQ(ToString(*state), name);
  }
  EXPECT_EQ(SandboxStateOf("pAUSED"), SandboxState::kPaused);
  EXPECT_EQ(SandboxStateOf("Unknown"), std::nullopt);
}

}  // namespace
}  // namespace forkbox::store
