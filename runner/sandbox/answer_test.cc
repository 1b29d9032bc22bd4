#include "runner/sandbox/answer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace forkbox::sandbox {
namespace {

using schema::Outcome;
using schema::Reason;
using schema::State;
using ::testing::HasSubstr;

Outcome Exited(int code) {
  Outcome outcome;
  outcome.reason = Reason::kExited;
  outcome.exit_code = code;
  outcome.state = schema::StateOf(outcome.reason, outcome.exit_code);
  outcome.stderr_text = "said\n";
  return outcome;
}

TEST(AnswerTest, OneJsonValueIsTheValueAsItWasWritten) {
  for (const std::string json : {"null", "true", "-0.5e3", "\"\\u00e9\"", "[1, {\"a\": []}]", "{}",
                                 "123456789012345678901234567890"}) {
    Outcome outcome = Exited(0);
    ApplyAnswer("v" + json, false, &outcome);
    EXPECT_EQ(outcome.value_json, json);
    EXPECT_EQ(outcome.message, "");
    EXPECT_EQ(outcome.state, State::kCompleted);
  }
}

TEST(AnswerTest, AsLargeAndAsDeepAsAValueMayBe) {
  const std::string large = "\"" + std::string(kMaxValueBytes - 2, 'x') + "\"";
  std::string many = "[0";
  while (many.size() < kMaxValueBytes - 2) many += ",0";
  for (const std::string& json :
       {large, many + "]", std::string(512, '[') + std::string(512, ']')}) {
    Outcome outcome = Exited(0);
    ApplyAnswer("v" + json, false, &outcome);
    EXPECT_TRUE(outcome.value_json == json) << outcome.message;
  }
}

TEST(AnswerTest, AnythingElseIsNoValueAndSaysSo) {
  const struct {
    std::string answer;
    const char* complaint;
  } cases[] = {{"", "without a value"},
               {"v", "not JSON"},
               {"c", "not in its form"},
               {"null", "not in its form"},
               {"\xff\xfe rubbish", "not in its form"},
               {std::string(1000, '\0'), "not in its form"},
               {"v1v2", "not JSON"},
               {"v1 2", "not JSON"},
               {"vNaN", "not JSON"},
               {"v-Infinity", "not JSON"},
               {"v\"\xff\"", "not JSON"},
               {"v\"\\ud800\"", "not JSON"},
               {std::string("v1\0", 3), "not JSON"},
               {"v" + std::string(100'000, '['), "nested deeper"}};
  for (const auto& test : cases) {
    Outcome outcome = Exited(0);
    ApplyAnswer(test.answer, false, &outcome);
    EXPECT_EQ(outcome.value_json, std::nullopt) << test.answer;
    EXPECT_THAT(outcome.message, HasSubstr(test.complaint)) << test.answer;
    EXPECT_EQ(outcome.reason, Reason::kExited);
  }
  Outcome outcome = Exited(0);
  ApplyAnswer("v1", true, &outcome);
  EXPECT_EQ(outcome.value_json, std::nullopt);
  EXPECT_THAT(outcome.message, HasSubstr("too large"));
}

TEST(AnswerTest, AFailedRunHasNoValue) {
  for (const char* answer : {"", "v1", "cc", "c1", "x"}) {
    Outcome outcome = Exited(3);
    ApplyAnswer(answer, false, &outcome);
    EXPECT_EQ(outcome.value_json, std::nullopt);
    EXPECT_EQ(outcome.reason, Reason::kExited);
    EXPECT_EQ(outcome.message, "");
    EXPECT_EQ(outcome.stderr_text, "said\n");
  }
  for (const Reason reason : {Reason::kSignalled, Reason::kWallTimeout, Reason::kOutOfMemory,
                              Reason::kCancelled, Reason::kSandboxFailed}) {
    for (const char* answer : {"v1", "c"}) {
      Outcome outcome = Exited(0);
      outcome.reason = reason;
      ApplyAnswer(answer, false, &outcome);
      EXPECT_EQ(outcome.value_json, std::nullopt);
      EXPECT_EQ(outcome.reason, reason);
    }
  }
}

TEST(AnswerTest, CodeThatDoesNotCompileIsSetApart) {
  Outcome outcome = Exited(1);
  ApplyAnswer("c", false, &outcome);
  EXPECT_EQ(outcome.reason, Reason::kCompileFailed);
  EXPECT_EQ(outcome.state, State::kError);
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_EQ(outcome.compile_output, "said\n");
  EXPECT_EQ(outcome.stderr_text, "");
}

}  // namespace
}  // namespace forkbox::sandbox
