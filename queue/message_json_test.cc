// What travels through a broker: it comes back as it went, and nothing that was damaged on the way
// is taken for a message.
#include "queue/message_json.h"

#include <gtest/gtest.h>

#include <memory>
#include <random>
#include <string>
#include <utility>

namespace forkbox::queue {
namespace {

using schema::ExecutionId;
using schema::OwnerId;
using schema::Priority;

Message Example(std::size_t code_bytes = 100) {
  auto execution = std::make_shared<schema::Execution>();
  execution->id = ExecutionId("0190c5c0-0000-7000-8000-000000000001");
  execution->owner = OwnerId("team ü");
  execution->language = "python";
  execution->source.code = std::string(code_bytes, 'x');
  execution->source.args = {"--fast", "\xff"};
  execution->source.stdin_data = std::string("\0\xfe", 2);
  execution->priority = Priority::kBackground;
  execution->reply_to = "forkbox.reply.1";
  return {.id = execution->id,
          .owner = execution->owner,
          .lane = execution->priority,
          .enqueued_unix_ms = 1'700'000'000'000,
          .dispatched_unix_ms = 1'700'000'000'123,
          .execution = execution};
}

TEST(MessageJsonTest, AMessageComesBackAsItWent) {
  Message sent = Example();
  sent.waits_since_unix_ms = 1'700'000'000'456;
  const Result<std::string> text = EncodeMessage(sent);
  ASSERT_TRUE(text.has_value());
  const Result<Message> got = DecodeMessage(*text, Priority::kBackground);
  ASSERT_TRUE(got.has_value()) << got.error().message;
  EXPECT_EQ(got->id, sent.id);
  EXPECT_EQ(got->owner, sent.owner);
  EXPECT_EQ(got->lane, sent.lane);
  EXPECT_EQ(got->enqueued_unix_ms, sent.enqueued_unix_ms);
  EXPECT_EQ(got->dispatched_unix_ms, sent.dispatched_unix_ms);
  EXPECT_EQ(got->waits_since_unix_ms, sent.waits_since_unix_ms);
  ASSERT_NE(got->execution, nullptr);
  EXPECT_EQ(got->execution->source.code, sent.execution->source.code);
  EXPECT_EQ(got->execution->source.stdin_data, sent.execution->source.stdin_data);
  EXPECT_EQ(got->execution->reply_to, "forkbox.reply.1");
}

TEST(MessageJsonTest, ALargeExecutionStaysInTheStore) {
  for (const auto& [code_bytes, travels] :
       {std::pair<std::size_t, bool>{kMaxInlineExecutionBytes - 1'000, true},
        {kMaxInlineExecutionBytes, false},
        {10U << 20, false}}) {
    const Result<std::string> text = EncodeMessage(Example(code_bytes));
    ASSERT_TRUE(text.has_value());
    EXPECT_LE(text->size(), kMaxMessageBytes);
    const Result<Message> got = DecodeMessage(*text, Priority::kBackground);
    ASSERT_TRUE(got.has_value()) << got.error().message;
    EXPECT_EQ(got->execution != nullptr, travels) << code_bytes;
  }
}

TEST(MessageJsonTest, WhatIsWrittenIsReadHoweverItIsFilled) {
  Message message = Example(0);
  auto execution = std::make_shared<schema::Execution>(*message.execution);
  // As many values as fit, and as much escaping.
  execution->source.args.assign(kMaxInlineExecutionBytes / 4, "");
  message.owner = execution->owner = OwnerId(std::string(kMaxOwnerBytes, '\x01'));
  message.id = execution->id = ExecutionId(std::string(kMaxIdBytes, 'i'));
  message.execution = execution;
  const Result<std::string> text = EncodeMessage(message);
  ASSERT_TRUE(text.has_value());
  const Result<Message> got = DecodeMessage(*text, Priority::kBackground);
  EXPECT_TRUE(got.has_value()) << got.error().message;
}

TEST(MessageJsonTest, WhatWouldNotBeReadIsNotWritten) {
  const std::string bad_ids[] = {
      "", std::string(kMaxIdBytes + 1, 'a'), "a b", "a\n", "ä", "a/b", std::string("a\0b", 3)};
  for (const std::string& id : bad_ids) {
    Message message = Example();
    message.id = ExecutionId(id);
    EXPECT_EQ(EncodeMessage(message).error().code, ErrorCode::kInvalidArgument) << id;
    EXPECT_EQ(EncodeReply({.id = ExecutionId(id), .to = "", .outcome = {}}).error().code,
              ErrorCode::kInvalidArgument)
        << id;
  }
  for (const std::string& owner : {std::string(kMaxOwnerBytes + 1, 'a'), std::string("\xff")}) {
    Message message = Example();
    message.owner = OwnerId(owner);
    EXPECT_EQ(EncodeMessage(message).error().code, ErrorCode::kInvalidArgument);
  }
  for (const std::int64_t time : {std::int64_t{-1}, std::numeric_limits<std::int64_t>::max()}) {
    Message message = Example();
    message.dispatched_unix_ms = time;
    EXPECT_EQ(EncodeMessage(message).error().code, ErrorCode::kInvalidArgument);
  }
}

constexpr char kPlain[] =
    R"("id":"a","owner":"o","lane":"interactive","enqueued_unix_ms":1,"dispatched_unix_ms":2})";

TEST(MessageJsonTest, OnlyWholeMessagesOfOurVersionAreRead) {
  const std::string plain = kPlain;
  ASSERT_TRUE(DecodeMessage(R"({"version":1,)" + plain, Priority::kInteractive).has_value());
  // Members from a later writer of the same version are no trouble.
  ASSERT_TRUE(
      DecodeMessage(R"({"new":[{}],"version":1,"execution":null,)" + plain, Priority::kInteractive)
          .has_value());
  EXPECT_FALSE(DecodeMessage(R"({"version":1,)" + plain, Priority::kBackground).has_value())
      << "the lane is that of the queue";

  const std::string bad[] = {
      "",
      "null",
      "[]",
      "\"a\"",
      "{" + plain,
      R"({"version":2,)" + plain,
      R"({"version":0,)" + plain,
      R"({"version":1.0,)" + plain,
      R"({"version":"1",)" + plain,
      R"({"version":1,)" + plain + "{}",
      R"({"version":1,"execution":{},)" + plain,
      R"({"version":1,"execution":[],)" + plain,
      R"({"version":1,"execution":{"id":"b","owner":"o","priority":"interactive"},)" + plain,
      R"({"version":1,"execution":{"id":"a","owner":"p","priority":"interactive"},)" + plain,
      R"({"version":1,"execution":{"id":"a","owner":"o","priority":"background"},)" + plain,
      R"({"version":1,"execution":{"id":"a","owner":"o","priority":"urgent"},)" + plain,
      R"({"version":1,"waits_since_unix_ms":-1,)" + plain,
      R"({"version":1,"waits_since_unix_ms":"now",)" + plain,
      R"({"version":1,"id":"a"})",
      R"({"version":1,"id":7,"owner":"o","lane":"interactive","enqueued_unix_ms":1,"dispatched_unix_ms":2})",
      R"({"version":1,"id":"a","owner":null,"lane":"interactive","enqueued_unix_ms":1,"dispatched_unix_ms":2})",
      R"({"version":1,"id":"a","owner":"o","lane":"urgent","enqueued_unix_ms":1,"dispatched_unix_ms":2})",
      R"({"version":1,"id":"a","owner":"o","lane":"interactive","enqueued_unix_ms":-1,"dispatched_unix_ms":2})",
      R"({"version":1,"id":"a","owner":"o","lane":"interactive","enqueued_unix_ms":1,"dispatched_unix_ms":18446744073709551615})",
      R"({"version":1,"pad":")" + std::string(kMaxMessageBytes, ' ') + "\"," + plain,
      R"({"version":1,"deep":)" + std::string(100, '[') + std::string(100, ']') + "," + plain,
  };
  for (const std::string& text : bad) {
    const Result<Message> got = DecodeMessage(text, Priority::kInteractive);
    ASSERT_FALSE(got.has_value()) << text.substr(0, 200);
    EXPECT_EQ(got.error().code, ErrorCode::kInvalidArgument);
  }
}

TEST(MessageJsonTest, AReplyComesBackAsItWent) {
  Reply sent{.id = ExecutionId("a"), .to = "forkbox.reply.1", .outcome = {}};
  sent.outcome.state = schema::State::kCompleted;
  sent.outcome.reason = schema::Reason::kExited;
  sent.outcome.exit_code = 0;
  sent.outcome.stdout_text = std::string(2U << 20, '\x01');  // six bytes each, escaped
  const Result<std::string> text = EncodeReply(sent);
  ASSERT_TRUE(text.has_value());
  const Result<Reply> got = DecodeReply(*text);
  ASSERT_TRUE(got.has_value()) << got.error().message;
  EXPECT_EQ(got->id, sent.id);
  EXPECT_EQ(got->outcome.exit_code, 0);
  EXPECT_EQ(got->outcome.stdout_text, sent.outcome.stdout_text);

  sent.outcome.stderr_text = std::string(8U << 20, '\x01');
  EXPECT_EQ(EncodeReply(sent).error().code, ErrorCode::kInvalidArgument);
}

TEST(MessageJsonTest, OnlyWholeRepliesOfOurVersionAreRead) {
  const std::string bad[] = {
      "",
      "{}",
      R"({"version":1,"id":"a"})",
      R"({"version":2,"id":"a","outcome":{"state":"completed","reason":"exited"}})",
      R"({"version":1,"id":"a b","outcome":{"state":"completed","reason":"exited"}})",
      R"({"version":1,"id":"a","outcome":{"state":"running","reason":"exited"}})",
      R"({"version":1,"id":"a","outcome":{"state":"completed","reason":"bored"}})",
      R"({"version":1,"id":"a","outcome":[]})",
  };
  for (const std::string& text : bad) EXPECT_FALSE(DecodeReply(text).has_value()) << text;
}

// Bytes flipped, cut out, doubled and put in: nothing of it may do more than be refused, and what
// is accepted after all keeps the bounds.
TEST(MessageJsonTest, DamageIsRefusedOrHarmless) {
  std::mt19937 random(20'240'701);
  const auto below = [&](std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random);
  };
  const std::string words[] = {"{",
                               "}",
                               "[",
                               "]",
                               "\"",
                               ",",
                               ":",
                               "null",
                               "-1",
                               "1e999",
                               "\\u0000",
                               "\xff",
                               R"("version":1,)",
                               R"("id":"",)",
                               "99999999999999999999"};
  const std::string message = *EncodeMessage(Example());
  Reply reply{.id = ExecutionId("a"), .to = "", .outcome = {}};
  reply.outcome.value_json = "[1]";
  const std::string answer = *EncodeReply(reply);
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string text = round % 2 == 0 ? message : answer;
    for (std::size_t times = 1 + below(3); times > 0 && !text.empty(); --times) {
      const std::size_t at = below(text.size());
      switch (below(4)) {
        case 0:
          text[at] = static_cast<char>(below(256));
          break;
        case 1:
          text.erase(at, 1 + below(20));
          break;
        case 2:
          text.insert(at, text.substr(below(text.size()), below(40)));
          break;
        default:
          text.insert(at, words[below(std::size(words))]);
      }
    }
    if (const Result<Message> got = DecodeMessage(text, Priority::kBackground)) {
      ++accepted;
      EXPECT_TRUE(IsExecutionId(got->id.str()));
      EXPECT_LE(got->owner.str().size(), kMaxOwnerBytes);
      EXPECT_TRUE(EncodeMessage(*got).has_value()) << text;
      EXPECT_TRUE(got->execution == nullptr || got->execution->id == got->id);
    }
    if (const Result<Reply> got = DecodeReply(text)) {
      ++accepted;
      EXPECT_TRUE(schema::IsTerminal(got->outcome.state));
    }
  }
  EXPECT_GT(accepted, 0) << "damage inside a string is not seen";
}

Progress ExampleProgress() {
  return {.id = ExecutionId("a"),
          .to = "",
          .run = "run",
          .state = "running",
          .pieces = {{.is_stderr = false, .at = 3, .text = "out"},
                     {.is_stderr = true, .at = 0, .text = "err"}},
          .caught_up = true,
          .finished = true};
}

TEST(ProgressJson, AFullPieceFitsAndMoreIsNotWritten) {
  Progress progress = ExampleProgress();
  progress.pieces = {{.is_stderr = false, .at = 0, .text = std::string(kMaxProgressText, '\x01')}};
  const auto text = EncodeProgress(progress);
  ASSERT_TRUE(text.has_value());
  const auto back = DecodeReplyOrProgress(*text);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(std::get<Progress>(*back).pieces[0].text, progress.pieces[0].text);
  progress.pieces[0].text += 'x';
  EXPECT_FALSE(EncodeProgress(progress).has_value());
}

// What is not one is refused in words that quote nothing of it, and damaged bytes never crash.
TEST(ProgressJson, WhatIsDamagedIsRefused) {
  for (
      const char* text :
      {R"({"version":1,"id":"a","progress":7})", R"({"version":1,"id":"a","progress":{}})",
       R"({"version":1,"id":"a","progress":{"run":"r","state":"s","pieces":7}})",
       R"({"version":1,"id":"a","progress":{"run":"r","state":"s","pieces":[7]}})",
       R"({"version":1,"id":"a","progress":{"run":"r","state":"s","pieces":[{"stream":"x","at":0,"text":""}]}})",
       R"({"version":1,"id":"a","progress":{"run":"r","state":"s","pieces":[{"stream":"stdout","at":-1,"text":""}]}})",
       R"({"version":1,"id":"a","progress":{"run":"r","state":"s","pieces":[{"stream":"stdout","at":1e30,"text":""}]}})",
       R"({"version":2,"id":"a","progress":{"run":"r","state":"s","pieces":[]}})"}) {
    EXPECT_FALSE(DecodeReplyOrProgress(text).has_value()) << text;
  }
  for (const char* text :
       {R"({"version":1,"id":"a","watch":7})", R"({"version":1,"id":"a"})",
        R"({"version":1,"id":"a","watch":{"to":"t","run":"r","stdout_from":-1,"stderr_from":0}})",
        R"({"version":1,"id":"a b","watch":{"to":"t","run":"r","stdout_from":0,"stderr_from":0}})",
        "a b", ""}) {
    EXPECT_FALSE(DecodeWatch(text).has_value()) << text;
  }
  const std::string good = *EncodeProgress(ExampleProgress());
  std::minstd_rand random(1);  // NOLINT: the same damage every time
  for (int i = 0; i < 5'000; ++i) {
    std::string damaged = good;
    damaged[random() % damaged.size()] = static_cast<char>(random());
    (void)DecodeReplyOrProgress(damaged);
  }
}

}  // namespace
}  // namespace forkbox::queue
