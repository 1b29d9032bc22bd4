#include "schema/json.h"

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

namespace forkbox::schema {
namespace {

using Json = nlohmann::json;
using namespace std::string_view_literals;

struct Refused {
  const char* name;
  std::string text;
  std::string message;
};

class ParseRefusesTest : public testing::TestWithParam<Refused> {};

TEST_P(ParseRefusesTest, WithThePlace) {
  const Result<Json> parsed = ParseJson(GetParam().text);
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().code, ErrorCode::kInvalidArgument);
  EXPECT_EQ(parsed.error().message, GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ParseRefusesTest,
    testing::Values(
        Refused{"empty", "", "unexpected end of input at line 1 column 1"},
        Refused{"bare_word", "{x", "expected value at line 1 column 2"},
        Refused{"user_text_is_not_quoted", "{\"code\": secret}",
                "expected value at line 1 column 10"},
        Refused{"second_line", "{\"a\": 1,\n  oops}", "expected value at line 2 column 3"},
        Refused{"cut", "{\"code\": \"x\"", "unexpected end of input at line 1 column 13"},
        Refused{"trailing_comma", "[1,]", "unexpected ']' at line 1 column 4"},
        Refused{"two_values", "{} {}", "unexpected '{'; expected end of input at line 1 column 4"},
        Refused{"nan", "[NaN]", "expected value at line 1 column 2"},
        Refused{"comment", "/* */1", "expected value at line 1 column 1"},
        Refused{"single_quotes", "{'a':1}", "expected value at line 1 column 2"},
        Refused{"number_overflow", "[1e999]", "number out of range at line 1 column 6"},
        Refused{"leading_zero", "[01]",
                "unexpected number literal; expected ']' at line 1 column 3"},
        Refused{"lone_surrogate", R"(["\ud800"])",
                "invalid string: surrogate U+D800..U+DBFF must be followed by U+DC00..U+DFFF at "
                "line 1 column 9"},
        Refused{"raw_newline", "[\"a\nb\"]", "unescaped control character at line 1 column 4"},
        Refused{"ill_formed_utf8", "[\"\xC3(\"]", "invalid UTF-8 at line 1 column 4"},
        Refused{"nul_hides_nothing", std::string("{}\0{}", 5),
                "unescaped control character at line 1 column 3"},
        Refused{"open_string", "\"abc",
                "invalid string: missing closing quote at line 1 column 4"}),
    [](const auto& test) { return std::string(test.param.name); });

std::string Nested(std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

TEST(ParseJsonTest, DepthIsBoundedWhileParsing) {
  EXPECT_TRUE(ParseJson(Nested(64)).has_value());
  EXPECT_EQ(ParseJson(Nested(65)).error().message, "nested deeper than 64 levels");
  EXPECT_FALSE(ParseJson(std::string(1'000'000, '[')).has_value());
  EXPECT_FALSE(ParseJson(Nested(100'000)).has_value());
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_EQ(ParseJson(objects).error().message, "nested deeper than 64 levels");
}

TEST(ParseJsonTest, CountAndSizeAreBounded) {
  EXPECT_TRUE(ParseJson("[1,2,3]", {.max_values = 4}).has_value());
  EXPECT_EQ(ParseJson("[1,2,3]", {.max_values = 3}).error().message, "more than 3 values");
  EXPECT_EQ(ParseJson("[1,2,3]", {.max_bytes = 6}).error().message, "JSON larger than 6 bytes");
}

TEST(ParseJsonTest, TakesWhatJsonIs) {
  EXPECT_EQ(
      *ParseJson(R"( {"a": [1, -2, 3.5, true, null, "x\u0000\ud83d\ude00"], "b": {}} )"),
      (Json{{"a", {1, -2, 3.5, true, nullptr, "x\0\xF0\x9F\x98\x80"sv}}, {"b", Json::object()}}));
  EXPECT_EQ(*ParseJson(R"({"a": {"b": [1]}, "a": 2})"), (Json{{"a", 2}}));  // the last one wins
  EXPECT_TRUE(ParseJson("18446744073709551615")->is_number_unsigned());
  EXPECT_TRUE(ParseJson("18446744073709551616")->is_number_float());
}

TEST(ParseJsonTest, EveryPrefixOfARequestIsRefusedAndNothingBreaks) {
  const std::string text =
      "{\"executions\":[{\"code\":\"print(1)\\n\\u00e9\",\"timeout_seconds\":1.5e3}, null, true]}";
  ASSERT_TRUE(ParseJson(text).has_value());
  for (std::size_t i = 0; i < text.size(); ++i) {
    EXPECT_FALSE(ParseJson(text.substr(0, i)).has_value()) << i;
    for (const char byte : {'\0', '\xFF', '"', '}', '\\', '-'}) {
      std::string damaged = text;
      damaged[i] = byte;
      (void)ParseJson(damaged);  // either way, under the sanitisers
    }
  }
}

TEST(DumpJsonTest, NeverThrows) {
  EXPECT_EQ(DumpJson(Json{{"a", "\xFF"}}), "{\"a\":\"\xEF\xBF\xBD\"}");
}

Execution Everything() {
  Execution execution;
  execution.id = ExecutionId("019cf684-1fd5-73c0-9299-52253f9aa79c");
  execution.owner = OwnerId("key-1");
  execution.dialect = "zeroboot";
  execution.language = "python";
  execution.source = {.code = "print('\xC3\xA9')\n",
                      .entry = EntryKind::kFunction,
                      .files = {{"data.bin", std::string("\0\xFF\x80", 3)}, {"a/b.txt", "text"}},
                      .stdin_data = "\xC3",
                      .args = {"-v", ""},
                      .env = {{"A", "1"}, {"B", ""}},
                      .cases = {{"2\n", "4"}, {"\xFF", ""}}};
  execution.source.files[0].executable = true;
  execution.limits.wall = std::chrono::milliseconds(1500);
  execution.limits.memory_bytes = 1ULL << 40;
  execution.isolation = Isolation::kVm;
  execution.delivery = Delivery::kWebhook;
  execution.priority = Priority::kBackground;
  execution.key_id = KeyId("k-1");
  execution.request_id = "r-1";
  execution.client_address = "192.0.2.1";
  execution.client_reference = std::string("\0ref", 4);
  execution.idempotency_key = "once";
  execution.webhook_url = "https://example.com/hook?a=b";
  execution.reply_to = "api-1";
  execution.dialect_context = R"({"pid":7})";
  execution.queue_deadline_unix_ms = 1'700'000'000'001;
  execution.created_unix_ms = 1'700'000'000'000;
  return execution;
}

TEST(ExecutionJsonTest, ComesBackByteForByte) {
  const Execution before = Everything();
  const Result<Json> parsed = ParseJson(DumpJson(ToJson(before)));
  ASSERT_TRUE(parsed.has_value()) << parsed.error().message;
  const Result<Execution> after = ExecutionFromJson(*parsed);
  ASSERT_TRUE(after.has_value()) << after.error().message;
  EXPECT_EQ(after->id, before.id);
  EXPECT_EQ(after->owner, before.owner);
  EXPECT_EQ(after->dialect, before.dialect);
  EXPECT_EQ(after->language, before.language);
  EXPECT_EQ(after->source.code, before.source.code);
  EXPECT_EQ(after->source.entry, before.source.entry);
  ASSERT_EQ(after->source.files.size(), 2U);
  EXPECT_EQ(after->source.files[0].path, "data.bin");
  EXPECT_EQ(after->source.files[0].content, before.source.files[0].content);
  EXPECT_EQ(after->source.files[1].content, "text");
  EXPECT_TRUE(after->source.files[0].executable);
  EXPECT_FALSE(after->source.files[1].executable);
  ASSERT_EQ(after->source.cases.size(), 2U);
  EXPECT_EQ(after->source.cases[0].stdin_data, "2\n");
  EXPECT_EQ(after->source.cases[0].expected_output, "4");
  EXPECT_EQ(after->source.cases[1].stdin_data, "\xFF");
  EXPECT_EQ(after->source.stdin_data, before.source.stdin_data);
  EXPECT_EQ(after->source.args, before.source.args);
  EXPECT_EQ(after->source.env, before.source.env);
  EXPECT_EQ(after->limits, before.limits);
  EXPECT_EQ(after->isolation, before.isolation);
  EXPECT_EQ(after->delivery, before.delivery);
  EXPECT_EQ(after->priority, before.priority);
  EXPECT_EQ(after->key_id, before.key_id);
  EXPECT_EQ(after->request_id, before.request_id);
  EXPECT_EQ(after->client_address, before.client_address);
  EXPECT_EQ(after->client_reference, before.client_reference);
  EXPECT_EQ(after->idempotency_key, before.idempotency_key);
  EXPECT_EQ(after->webhook_url, before.webhook_url);
  EXPECT_EQ(after->reply_to, before.reply_to);
  EXPECT_EQ(after->dialect_context, before.dialect_context);
  EXPECT_EQ(after->queue_deadline_unix_ms, before.queue_deadline_unix_ms);
  EXPECT_EQ(after->created_unix_ms, before.created_unix_ms);
}

// Rows and messages outlive a release: a renamed member is a lost one.
TEST(ExecutionJsonTest, TheNamesAreStable) {
  Json json = ToJson(Everything());
  json["source"].erase("files");
  EXPECT_EQ(json, Json::parse(R"({
    "id": "019cf684-1fd5-73c0-9299-52253f9aa79c", "owner": "key-1", "dialect": "zeroboot",
    "language": "python", "isolation": "vm", "delivery": "webhook", "priority": "background",
    "key_id": "k-1", "request_id": "r-1", "client_address": "192.0.2.1",
    "client_reference": "\u0000ref", "idempotency_key": "once",
    "webhook_url": "https://example.com/hook?a=b", "reply_to": "api-1",
    "dialect_context": "{\"pid\":7}",
    "queue_deadline_unix_ms": 1700000000001, "created_unix_ms": 1700000000000,
    "source": {"code": "print('é')\n", "entry": "function", "stdin": {"base64": "ww=="},
               "args": ["-v", ""], "env": {"A": "1", "B": ""},
               "cases": [{"stdin": "2\n", "expected_output": "4"},
                         {"stdin": {"base64": "/w=="}, "expected_output": ""}]},
    "limits": {"wall_time_ms": 1500, "cpu_time_ms": 30000, "memory_bytes": 1099511627776,
               "pids": 64, "disk_bytes": 67108864, "output_bytes": 1048576}})"));
  Outcome outcome;
  outcome.state = State::kCompleted;
  outcome.reason = Reason::kExited;
  outcome.exit_code = 0;
  outcome.signal = 9;
  outcome.stdout_text = "2\n";
  outcome.stdout_truncated = true;
  outcome.stderr_truncated = true;
  outcome.compile_output = "c";
  outcome.value_json = "[1]";
  outcome.message = "m";
  outcome.cases.push_back({.verdict = Verdict::kWrongOutput,
                           .reason = Reason::kExited,
                           .exit_code = 3,
                           .signal = {},
                           .stdout_text = "5\n",
                           .stderr_text = "",
                           .stdout_truncated = true,
                           .usage = {}});
  EXPECT_EQ(ToJson(outcome), Json::parse(R"({
    "state": "completed", "reason": "exited", "exit_code": 0, "signal": 9, "stdout": "2\n",
    "stderr": "", "stdout_truncated": true, "stderr_truncated": true, "compile_output": "c",
    "value_json": "[1]", "message": "m",
    "cases": [{"verdict": "wrong_output", "reason": "exited", "exit_code": 3, "stdout": "5\n",
               "stderr": "", "stdout_truncated": true,
               "usage": {"cpu_time_us": 0, "wall_time_us": 0, "peak_memory_bytes": 0}}],
    "usage": {"cpu_time_us": 0, "wall_time_us": 0, "peak_memory_bytes": 0},
    "timings": {"queue_us": 0, "fork_us": 0, "compile_us": 0, "exec_us": 0, "total_us": 0}})"));
}

TEST(OutcomeJsonTest, ComesBack) {
  Outcome before;
  before.state = State::kTimeout;
  before.reason = Reason::kWallTimeout;
  before.stdout_text = "a\0b"sv;
  before.stderr_text = "\xE2\x82\xAC";
  before.stderr_truncated = true;
  before.signal = 9;
  before.usage = {std::chrono::microseconds(7), std::chrono::microseconds(8), 9};
  before.timings.exec = std::chrono::microseconds(10);
  before.isolation = Isolation::kVm;
  before.accelerator = "tcg";
  before.cases = {{.verdict = Verdict::kTimeout,
                   .reason = Reason::kWallTimeout,
                   .exit_code = {},
                   .signal = 9,
                   .stdout_text = "x",
                   .stderr_text = "y",
                   .stderr_truncated = true,
                   .usage = {std::chrono::microseconds(1), std::chrono::microseconds(2), 3}}};
  const Result<Outcome> after = OutcomeFromJson(*ParseJson(DumpJson(ToJson(before))));
  ASSERT_TRUE(after.has_value()) << after.error().message;
  EXPECT_EQ(after->state, before.state);
  EXPECT_EQ(after->reason, before.reason);
  EXPECT_EQ(after->exit_code, std::nullopt);
  EXPECT_EQ(after->signal, 9);
  EXPECT_EQ(after->stdout_text, before.stdout_text);
  EXPECT_EQ(after->stderr_text, before.stderr_text);
  EXPECT_FALSE(after->stdout_truncated);
  EXPECT_TRUE(after->stderr_truncated);
  EXPECT_EQ(after->value_json, std::nullopt);
  EXPECT_EQ(after->usage.cpu.count(), 7);
  EXPECT_EQ(after->usage.peak_memory_bytes, 9U);
  EXPECT_EQ(after->timings.exec.count(), 10);
  EXPECT_EQ(after->isolation, Isolation::kVm);
  EXPECT_EQ(after->accelerator, "tcg");
  ASSERT_EQ(after->cases.size(), 1U);
  EXPECT_EQ(after->cases[0].verdict, Verdict::kTimeout);
  EXPECT_EQ(after->cases[0].reason, Reason::kWallTimeout);
  EXPECT_EQ(after->cases[0].signal, 9);
  EXPECT_EQ(after->cases[0].stdout_text, "x");
  EXPECT_EQ(after->cases[0].stderr_text, "y");
  EXPECT_TRUE(after->cases[0].stderr_truncated);
  EXPECT_EQ(after->cases[0].usage.peak_memory_bytes, 3U);
}

TEST(ExecutionJsonTest, AnOlderRowGetsDefaultsAndANewerOneIsRead) {
  const Result<Execution> read = ExecutionFromJson(
      Json::parse(R"({"id": "x", "limits": {"pids": 3}, "added_later": {"a": [1]}})"));
  ASSERT_TRUE(read.has_value()) << read.error().message;
  EXPECT_EQ(read->limits.pids, 3U);
  EXPECT_EQ(read->limits.wall, Limits().wall);
  EXPECT_EQ(read->source.entry, EntryKind::kScript);
}

TEST(ExecutionJsonTest, RefusesWhatCannotBe) {
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "must be an object"},
      {"{}", "id: is required"},
      {R"({"id": 7})", "id: must be a string"},
      {R"({"id": "x", "isolation": "jail"})", "isolation: is not a word of ours"},
      {R"({"id": "x", "limits": 3})", "limits: must be an object"},
      {R"({"id": "x", "limits": {"wall_time_ms": -1}})",
       "limits.wall_time_ms: must not be negative or longer than ten years"},
      {R"({"id": "x", "limits": {"wall_time_ms": 9223372036854775807}})",
       "limits.wall_time_ms: must not be negative or longer than ten years"},
      {R"({"id": "x", "limits": {"pids": 4294967296}})",
       "limits.pids: must be an integer from 0 to 4294967295"},
      {R"({"id": "x", "limits": {"pids": 1.5}})",
       "limits.pids: must be an integer from 0 to 4294967295"},
      {R"({"id": "x", "limits": {"memory_bytes": -1}})",
       "limits.memory_bytes: must be an integer from 0 to 18446744073709551615"},
      {R"({"id": "x", "source": {"code": 1}})", "source.code: must be a string"},
      {R"({"id": "x", "source": {"code": {"base64": "?"}}})",
       "source.code: must be a string or {\"base64\": …}"},
      {R"({"id": "x", "source": {"files": {}}})", "source.files: must be an array"},
      {R"({"id": "x", "source": {"files": [{"path": "a"}, 3]}})",
       "source.files[1]: must be an object"},
      {R"({"id": "x", "source": {"files": [{"path": 1}]}})",
       "source.files[0].path: must be a string"},
      {R"({"id": "x", "source": {"args": ["a", 1]}})", "source.args: must be an array of strings"},
      {R"({"id": "x", "source": {"env": {"A": 1}}})", "source.env: must be an object of strings"},
  };
  for (const auto& [text, message] : cases) {
    const Result<Execution> read = ExecutionFromJson(Json::parse(text));
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_EQ(read.error().message, message) << text;
  }
}

TEST(OutcomeJsonTest, RefusesWhatCannotBe) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"state": "running"})", "state: must be terminal"},
      {R"({"state": "done"})", "state: is not a word of ours"},
      {R"({"exit_code": 2147483648})",
       "exit_code: must be an integer from -2147483648 to 2147483647"},
      {R"({"stdout": null, "stderr": []})", "stderr: must be a string"},
      {R"({"usage": {"cpu_time_us": "1"}})",
       "usage.cpu_time_us: must be an integer from -9223372036854775808 to 9223372036854775807"},
  };
  for (const auto& [text, message] : cases) {
    const Result<Outcome> read = OutcomeFromJson(Json::parse(text));
    ASSERT_FALSE(read.has_value()) << text;
    EXPECT_EQ(read.error().message, message) << text;
  }
}

// Each member in turn replaced by a value of every other type: a clean answer, never a throw.
TEST(ExecutionJsonTest, NoTypeAnywhereThrows) {
  const Json values[] = {nullptr,
                         true,
                         -1,
                         1.5,
                         "text",
                         Json::array({Json::object()}),
                         Json::object({{"a", Json::array()}})};
  const auto try_all = [&](const Json& whole, const auto& read) {
    const Json flat = whole.flatten();
    for (const auto& [path, unused] : flat.items()) {
      for (Json::json_pointer at(path); !at.empty(); at = at.parent_pointer()) {
        for (const Json& value : values) {
          Json damaged = whole;
          damaged[at] = value;
          (void)read(damaged);
        }
      }
    }
  };
  try_all(ToJson(Everything()), ExecutionFromJson);
  try_all(ToJson(Outcome{}), OutcomeFromJson);
}

}  // namespace
}  // namespace forkbox::schema
