#include <gmock/gmock.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "store/store_contract.h"

namespace forkbox::store {

using schema::Execution;
using schema::ExecutionId;
using schema::OwnerId;
using schema::State;
using testing::ElementsAre;
using testing::IsEmpty;

namespace {

schema::Outcome EndedAs(State state) {
  schema::Outcome outcome = CompletedWith("out");
  outcome.state = state;
  return outcome;
}

TEST_P(HistoryContract, ListsByLanguageStateAndTimeInPages) {
  // n: accepted at 1000 * n.
  const struct {
    const char* owner;
    const char* language;
    State state;
  } rows[] = {
      {"a", "python", State::kCompleted},  // 1
      {"a", "go", State::kCompleted},      // 2
      {"a", "python", State::kError},      // 3
      {"b", "python", State::kCompleted},  // 4
      {"a", "go", State::kTimeout},        // 5
      {"a", "python", State::kRunning},    // 6
      {"a", "go", State::kCancelled},      // 7
      {"a", "go", State::kQueued},         // 8
      {"", "python", State::kLost},        // 9
  };
  std::vector<Execution> made(1);
  for (const auto& row : rows) {
    Execution execution = NewExecutionAt(1'000 * static_cast<std::int64_t>(made.size()));
    execution.owner = OwnerId(row.owner);
    execution.language = row.language;
    ASSERT_TRUE(executions().Insert(execution).has_value());
    if (row.state == State::kRunning) {
      ASSERT_EQ(executions().Claim({execution.id, "r", 1, 9'999, 3}), ClaimVerdict::kClaimed);
    } else if (row.state != State::kQueued) {
      ASSERT_EQ(executions().Finish(execution.id, EndedAs(row.state), 20'000), true);
    }
    made.push_back(execution);
  }
  const auto list = [&](const HistoryQuery& query) {
    const Result<HistoryPage> page = executions().ListHistory(query);
    EXPECT_TRUE(page.has_value()) << page.error().message;
    std::vector<int> numbers;
    if (!page) return numbers;
    for (const ExecutionRecord& record : page->records) {
      numbers.push_back(static_cast<int>(record.execution.created_unix_ms / 1'000));
    }
    if (page->more) numbers.push_back(-1);
    return numbers;
  };
  const OwnerId a("a");
  EXPECT_THAT(list({.owner = a}), ElementsAre(8, 7, 6, 5, 3, 2, 1));
  EXPECT_THAT(list({.owner = OwnerId("b")}), ElementsAre(4));
  EXPECT_THAT(list({.owner = OwnerId("")}), ElementsAre(9));
  EXPECT_THAT(list({.owner = OwnerId("c")}), IsEmpty());
  EXPECT_THAT(list({.owner = a, .language = "go"}), ElementsAre(8, 7, 5, 2));
  EXPECT_THAT(list({.owner = a, .language = "rust"}), IsEmpty());
  EXPECT_THAT(list({.owner = a, .states = {State::kCompleted}}), ElementsAre(2, 1));
  EXPECT_THAT(list({.owner = a, .states = {State::kQueued, State::kTimeout}}), ElementsAre(8, 5));
  EXPECT_THAT(list({.owner = a, .language = "python", .states = {State::kError, State::kLost}}),
              ElementsAre(3));
  EXPECT_THAT(list({.owner = a, .since_unix_ms = 5'000}), ElementsAre(8, 7, 6, 5));
  EXPECT_THAT(list({.owner = a, .until_unix_ms = 5'000}), ElementsAre(3, 2, 1));
  EXPECT_THAT(list({.owner = a, .since_unix_ms = 3'000, .until_unix_ms = 6'001}),
              ElementsAre(6, 5, 3));
  EXPECT_THAT(list({.owner = a, .limit = 2}), ElementsAre(8, 7, -1));
  EXPECT_THAT(list({.owner = a, .before = made[7].id, .limit = 2}), ElementsAre(6, 5, -1));
  EXPECT_THAT(list({.owner = a, .before = made[3].id, .limit = 2}), ElementsAre(2, 1));
  EXPECT_THAT(list({.owner = a, .until_unix_ms = 3'000, .before = made[7].id}), ElementsAre(2, 1));
  EXPECT_THAT(list({.owner = a, .offset = 3, .limit = 2}), ElementsAre(5, 3, -1));
  EXPECT_THAT(list({.owner = a, .language = "go", .offset = 1, .limit = 2}), ElementsAre(7, 5, -1));
  EXPECT_THAT(list({.owner = a, .offset = 99}), IsEmpty());
  EXPECT_THAT(list({.owner = a, .limit = 0}), IsEmpty());
  // One that is gone still says where it was.
  EXPECT_THAT(list({.owner = a, .before = NewExecutionAt(4'500).id}), ElementsAre(3, 2, 1));
  // What no row can have.
  EXPECT_THAT(list({.owner = OwnerId(std::string(1, '\0'))}), IsEmpty());
  EXPECT_THAT(list({.owner = a, .language = std::string("\xFF")}), IsEmpty());
  EXPECT_THAT(list({.owner = OwnerId("x"), .language = "go a"}), IsEmpty());
  EXPECT_EQ(executions().ListHistory({.owner = a, .before = ExecutionId("\n")}).error().code,
            ErrorCode::kInvalidArgument);

  EXPECT_EQ(executions().CountHistory({.owner = a}, 100), 7U);
  EXPECT_EQ(executions().CountHistory({.owner = a}, 3), 3U);
  EXPECT_EQ(executions().CountHistory({.owner = a, .language = "go"}, 100), 4U);
  EXPECT_EQ(executions().CountHistory({.owner = a, .states = {State::kRunning}}, 100), 1U);

  const Result<HistoryPage> whole = executions().ListHistory({
      .owner = a,
      .limit = 2,
  });
  EXPECT_EQ(whole->records.at(0).state, State::kQueued);
  EXPECT_EQ(whole->records.at(0).execution.source.code, "") << "a list shows no code";
  EXPECT_EQ(whole->records.at(1).outcome->stdout_text, "out");
}

// However long the requests are, an answer needs none of their sources.
TEST_P(HistoryContract, HeadsAreWholeButForTheSource) {
  for (const std::size_t bytes : {std::size_t{10}, std::size_t{1} << 20}) {
    Execution execution = NewExecution(std::string(bytes, 'x'), 1'000);
    execution.owner = OwnerId("owner of " + std::to_string(bytes));
    execution.source.files = {{"a.txt", std::string(bytes, 'y'), false}};
    execution.dialect_context = R"({"word":"\u0000"})";
    execution.client_reference = "ref";
    execution.webhook_url = "https://receiver.example/hook";
    execution.limits.wall = std::chrono::milliseconds(123);
    execution.reply_to = "here";
    ASSERT_TRUE(executions().Insert(execution).has_value());
    ASSERT_EQ(executions().Finish(execution.id, CompletedWith("out"), 2'000), true);

    const auto expect_head = [&](const ExecutionRecord& head) {
      EXPECT_EQ(head.execution.source.code, "");
      EXPECT_TRUE(head.execution.source.files.empty());
      EXPECT_EQ(head.execution.id, execution.id);
      EXPECT_EQ(head.execution.owner, execution.owner);
      EXPECT_EQ(head.execution.dialect_context, execution.dialect_context);
      EXPECT_EQ(head.execution.client_reference, "ref");
      EXPECT_EQ(head.execution.webhook_url, execution.webhook_url);
      EXPECT_EQ(head.execution.limits, execution.limits);
      EXPECT_EQ(head.execution.reply_to, "here");
      EXPECT_EQ(head.outcome->stdout_text, "out");
    };
    const auto head = executions().GetHead(execution.id, std::nullopt);
    ASSERT_TRUE(head.has_value()) << head.error().message;
    expect_head(*head);
    expect_head(*executions().GetHead(execution.id, execution.owner));
    EXPECT_EQ(executions().GetHead(execution.id, OwnerId("other")).error().code,
              ErrorCode::kNotFound);
    const auto listed = executions().ListHistory({.owner = execution.owner});
    ASSERT_EQ(listed->records.size(), 1U);
    expect_head(listed->records[0]);
    const auto whole = executions().Get(execution.id, execution.owner);
    EXPECT_EQ(whole->execution.source.code, execution.source.code) << "the runner has all of it";
  }
}

// Within one millisecond the id decides; no row is shown twice and none is passed over.
TEST_P(HistoryContract, PagesMeetWithoutGapOrOverlap) {
  std::vector<ExecutionId> newest_first;
  for (int i = 0; i < 130; ++i) {
    const Execution execution = NewExecution("", 1'000 + i / 50);
    ASSERT_TRUE(executions().Insert(execution).has_value());
    if (i % 3 == 0) {
      ASSERT_EQ(executions().Finish(execution.id, CompletedWith(""), 2'000), true);
    }
    newest_first.insert(newest_first.begin(), execution.id);
  }
  for (const std::size_t limit : {std::size_t{7}, std::size_t{1'000}}) {
    std::vector<ExecutionId> listed;
    HistoryQuery query = {.owner = OwnerId("owner-1"), .limit = limit};
    for (bool more = true; more;) {
      const Result<HistoryPage> page = executions().ListHistory(query);
      ASSERT_TRUE(page.has_value()) << page.error().message;
      for (const ExecutionRecord& record : page->records) listed.push_back(record.execution.id);
      more = page->more;
      EXPECT_EQ(page->records.size(),
                more ? std::min<std::size_t>(limit, 100) : page->records.size());
      query.before = listed.back();
    }
    EXPECT_EQ(listed, newest_first);
  }
}

}  // namespace
}  // namespace forkbox::store
