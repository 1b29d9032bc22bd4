// The pieces of Exec0's dialect that need no server: ids, sizes, names of files, digests of
// requests, documents, and what is known of an account's room.
#include <gtest/gtest.h>

#include "api/account_room.h"
#include "api/exec0_files.h"
#include "api/execution_document.h"
#include "api/execution_id_text.h"
#include "api/request_digest.h"
#include "api/size_text.h"
#include "base/uuid.h"

namespace forkbox::api {
namespace {

using schema::ExecutionId;
using store::Acceptance;
using store::AcceptVerdict;

TEST(ExecutionIdTextTest, TwoSpellingsAreOneId) {
  const ExecutionId id(NewUuidV7());
  const std::string shown = Exec0Id(id);
  EXPECT_EQ(shown.size(), 37U);
  EXPECT_EQ(ToExecutionId(shown), id);
  EXPECT_EQ(ToExecutionId(id.str()), id);
  for (const char* other : {"", "exec_", "exec_zz", "exec_0190000000007000800000000000000g",
                            "EXEC_01900000000070008000000000000000", "x"}) {
    EXPECT_EQ(ToExecutionId(other).str(), other);
  }
}

TEST(SizeTextTest, NothingOverALimitReadsLikeTheLimit) {
  EXPECT_EQ(SizeText(50 << 10), "50KB");
  EXPECT_EQ(SizeText((50 << 10) + 1), "51KB");
  EXPECT_EQ(SizeText(75 << 10), "75KB");
  EXPECT_EQ(SizeText(10 << 20), "10MB");
  EXPECT_EQ(SizeText((10 << 20) + 1), "11MB");
  EXPECT_EQ(SizeText(0), "0KB");
}

TEST(Exec0FilesTest, NamesThatAreFine) {
  for (const char* name : {"a", "utils.js", "a/b/c.go", ".env", "...", "a b", "é", "a\\b", "-rf"}) {
    EXPECT_EQ(FileNameProblem(name), std::nullopt) << name;
  }
  EXPECT_EQ(FindFileClash({{"a/b", ""}, {"a/c", ""}, {"b", ""}}, "main.py"), std::nullopt);
}

TEST(RequestDigestTest, OnlyWhatWasAskedForCounts) {
  schema::Execution one;
  one.dialect = "exec0";
  one.language = "python";
  one.source.code = "print(1)";
  one.source.env = {{"A", "1"}, {"B", "2"}};
  schema::Execution same = one;
  same.id = ExecutionId(NewUuidV7());
  same.created_unix_ms = 5;
  same.request_id = "r";
  same.client_address = "::1";
  same.isolation = schema::Isolation::kVm;  // what "auto" may come to
  EXPECT_EQ(RequestDigest(one, "auto"), RequestDigest(same, "auto"));
  EXPECT_NE(RequestDigest(one, "auto"), RequestDigest(one, "vm"));
  EXPECT_NE(RequestDigest(one, "process"), RequestDigest(one, "vm"));
  for (const auto change : std::vector<void (*)(schema::Execution&)>{
           [](schema::Execution& e) { e.source.code += " "; },
           [](schema::Execution& e) { e.source.stdin_data = "x"; },
           [](schema::Execution& e) { e.source.env["B"] = "3"; },
           [](schema::Execution& e) {
             e.source.files.push_back({"f", "x"});
           },
           [](schema::Execution& e) {
             e.source.cases.push_back({"1", "2"});
           },
           [](schema::Execution& e) { e.language = "bash"; },
           [](schema::Execution& e) { e.limits.wall += std::chrono::milliseconds(1); },
           [](schema::Execution& e) { e.delivery = schema::Delivery::kPoll; },
           [](schema::Execution& e) { e.webhook_url = "https://a.example/"; }}) {
    schema::Execution other = one;
    change(other);
    EXPECT_NE(RequestDigest(one, "process"), RequestDigest(other, "process"));
  }
}

TEST(ExecutionDocumentTest, LongOutputIsCutBetweenCharactersAndSaysSo) {
  store::ExecutionRecord record;
  record.state = schema::State::kCompleted;
  record.outcome.emplace();
  record.outcome->stdout_text = "aé";
  record.outcome->stderr_text = "ab";
  record.outcome->value_json = "[1,2]";
  const auto document = ToDocument(record, {.max_text_bytes = 2});
  EXPECT_EQ(document["result"]["stdout"], "a");
  EXPECT_EQ(document["result"]["stdoutTruncated"], true);
  EXPECT_EQ(document["result"]["stderr"], "ab");
  EXPECT_EQ(document["result"]["stderrTruncated"], false);
  EXPECT_FALSE(document.contains("value"));
  EXPECT_EQ(ToDocument(record)["value"].dump(), "[1,2]");
}

class AccountRoomTest : public ::testing::Test {
 protected:
  static constexpr std::int64_t kNow = 1'700'000'000'000;
  static Acceptance Seen(std::uint64_t minute, std::uint64_t month, std::uint64_t unfinished) {
    Acceptance seen;
    seen.used_this_minute = minute;
    seen.used_this_month = month;
    seen.unfinished = unfinished;
    seen.minute_ends_unix_ms = kNow + 30'000;
    seen.month_ends_unix_ms = kNow + 1'000'000;
    return seen;
  }
  const AccountRoom::Account account_{schema::OwnerId("o"), schema::KeyId("k")};
  const store::AcceptTerms terms_{
      .per_minute = 100, .concurrency = 20, .monthly_quota = 1'000, .request_digest = ""};
  AccountRoom room_;
};

TEST_F(AccountRoomTest, OfAStrangerNothingIsKnown) {
  EXPECT_EQ(room_.CertainRefusal(account_, terms_, 0, kNow), std::nullopt);
  EXPECT_FALSE(room_.TakeIfPlenty(account_, terms_, kNow));
  EXPECT_EQ(room_.MinuteOf(account_.key, kNow).used, 0U);
}

TEST_F(AccountRoomTest, WhatIsOverIsRefusedUntilItsTimeIsOver) {
  room_.Saw(account_, Seen(100, 5, 0), false);
  const auto rate = room_.CertainRefusal(account_, terms_, 0, kNow);
  ASSERT_TRUE(rate);
  EXPECT_EQ(rate->verdict, AcceptVerdict::kRateLimited);
  EXPECT_EQ(rate->minute_ends_unix_ms, kNow + 30'000);
  EXPECT_EQ(room_.CertainRefusal(account_, terms_, 0, kNow + 30'000), std::nullopt);

  room_.Saw(account_, Seen(1, 1'000, 0), false);
  const auto quota = room_.CertainRefusal(account_, terms_, 0, kNow + 60'000);
  ASSERT_TRUE(quota);
  EXPECT_EQ(quota->verdict, AcceptVerdict::kQuotaSpent);
  EXPECT_EQ(room_.CertainRefusal(account_, terms_, 0, kNow + 1'000'000), std::nullopt);
}

TEST_F(AccountRoomTest, ThoseWhoWaitHereAreUnfinishedForCertain) {
  EXPECT_EQ(room_.CertainRefusal(account_, terms_, 19, kNow), std::nullopt);
  const auto refusal = room_.CertainRefusal(account_, terms_, 20, kNow);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->verdict, AcceptVerdict::kTooManyAtOnce);
  EXPECT_EQ(room_.CertainRefusal(account_, {}, 1'000, kNow), std::nullopt) << "no limit";
}

TEST_F(AccountRoomTest, ABurstBeforeTheFirstAnswerIsNotPlenty) {
  room_.Saw(account_, Seen(0, 0, 0), false);
  int taken = 0;
  while (taken < 100 && room_.TakeIfPlenty(account_, terms_, kNow)) ++taken;
  EXPECT_EQ(taken, 10) << "half of the concurrency";
  room_.Unanswered(account_);
  EXPECT_TRUE(room_.TakeIfPlenty(account_, terms_, kNow));
  room_.Saw(account_, Seen(11, 11, 11), true);
  EXPECT_FALSE(room_.TakeIfPlenty(account_, terms_, kNow));
}

TEST_F(AccountRoomTest, AnAnswerThatWasOvertakenTakesNothingBack) {
  room_.Saw(account_, Seen(100, 100, 0), false);
  room_.Saw(account_, Seen(99, 99, 0), false);
  EXPECT_TRUE(room_.CertainRefusal(account_, terms_, 0, kNow));
}

}  // namespace
}  // namespace forkbox::api
