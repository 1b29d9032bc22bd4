#include "schema/request_schema.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "schema/json.h"

namespace forkbox::schema {
namespace {

std::string Verdict(const RequestSchema& schema, const std::string& text) {
  const Result<nlohmann::json> json = ParseJson(text);
  if (!json) return "no JSON: " + json.error().message;
  const Result<void> fits = schema.Validate(*json);
  if (fits) return "fits";
  EXPECT_EQ(fits.error().code, ErrorCode::kInvalidArgument) << text;
  return fits.error().message;
}

TEST(RequestSchemaTest, EveryEmbeddedSchemaLoads) {
  EXPECT_FALSE(RequestSchema::Names().empty());
  for (const std::string_view name : RequestSchema::Names()) {
    const Result<RequestSchema> schema = RequestSchema::Load(name);
    EXPECT_TRUE(schema.has_value()) << schema.error().message;
  }
  EXPECT_EQ(RequestSchema::Load("../etc/passwd").error().code, ErrorCode::kNotFound);
}

struct Case {
  const char* schema;
  const char* text;
  const char* verdict;
};

class RequestTest : public testing::TestWithParam<Case> {};

TEST_P(RequestTest, IsJudged) {
  const Result<RequestSchema> schema = RequestSchema::Load(GetParam().schema);
  ASSERT_TRUE(schema.has_value()) << schema.error().message;
  EXPECT_EQ(Verdict(*schema, GetParam().text), GetParam().verdict) << GetParam().text;
}

constexpr const char* kTimeout = "timeout_seconds: must be a non-negative integer";

INSTANTIATE_TEST_SUITE_P(
    ZerobootExec, RequestTest,
    testing::Values(
        Case{"zeroboot_exec", R"({"code":"print(2);","language":"python","timeout_seconds":30})",
             "fits"},
        Case{"zeroboot_exec", R"({"code":""})", "fits"},
        Case{"zeroboot_exec", R"({"code":"x","unknown":[1,{"a":null}]})", "fits"},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":0})", "fits"},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":9223372036854775807})", "fits"},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":9223372036854775808})", "fits"},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":18446744073709551615})", "fits"},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":18446744073709551616})", kTimeout},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":-1})", kTimeout},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":-9223372036854775808})", kTimeout},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":1.5})", kTimeout},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":1.0})", kTimeout},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":1e300})", kTimeout},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":"30"})", kTimeout},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":null})", kTimeout},
        Case{"zeroboot_exec", R"({"code":"x","timeout_seconds":true})", kTimeout},
        Case{"zeroboot_exec", R"({"code":"x","language":null})", "language: must be a string"},
        Case{"zeroboot_exec", R"({"code":"x","language":["python"]})",
             "language: must be a string"},
        Case{"zeroboot_exec", R"({"code":7})", "code: must be a string"},
        Case{"zeroboot_exec", R"({"code":null})", "code: must be a string"},
        Case{"zeroboot_exec", R"({"language":"python"})", "code: is required"},
        Case{"zeroboot_exec", "{}", "code: is required"},
        Case{"zeroboot_exec", "[]", "body: must be an object"},
        Case{"zeroboot_exec", "\"code\"", "body: must be an object"},
        Case{"zeroboot_exec", "null", "body: must be an object"}));

INSTANTIATE_TEST_SUITE_P(
    ZerobootBatch, RequestTest,
    testing::Values(
        Case{"zeroboot_batch", R"({"executions":[]})", "fits"},
        Case{"zeroboot_batch", R"({"executions":[{"code":"a"},{"code":"b","language":"node"}]})",
             "fits"},
        Case{"zeroboot_batch",
             R"({"executions":[{"code":"a"},{"code":"b","timeout_seconds":18446744073709551615}]})",
             "fits"},
        Case{"zeroboot_batch",
             R"({"executions":[{"code":"a"},{"code":"b"},{"code":"c","timeout_seconds":-3}]})",
             "executions[2].timeout_seconds: must be a non-negative integer"},
        Case{"zeroboot_batch", R"({"executions":[{"code":"a"},{}]})",
             "executions[1].code: is required"},
        Case{"zeroboot_batch", R"({"executions":[{"code":"a"},null]})",
             "executions[1]: must be an object"},
        Case{"zeroboot_batch", R"({"executions":{"0":{"code":"a"}}})",
             "executions: must be an array"},
        Case{"zeroboot_batch", R"({"executions":null})", "executions: must be an array"},
        Case{"zeroboot_batch", "{}", "executions: is required"}));

TEST(RequestSchemaTest, ManyBadItemsMakeOneShortMessage) {
  const Result<RequestSchema> schema = RequestSchema::Load("zeroboot_batch");
  std::string text = R"({"executions":[1)";
  for (int i = 0; i < 90'000; ++i) text += ",1";
  EXPECT_EQ(Verdict(*schema, text + "]}"), "executions[0]: must be an object");
}

// What the faces still to come need, against one schema with everything in it. The words and the
// validator must agree: each of these is refused by the validator and named by the words.
TEST(RequestSchemaTest, NamesEveryKindOfProblem) {
  const Result<RequestSchema> schema = RequestSchema::Compile(R"({
    "type": "object",
    "properties": {
      "n": {"type": "integer", "minimum": 1, "maximum": 300},
      "low": {"type": "number", "exclusiveMinimum": 0},
      "even": {"type": "integer", "multipleOf": 2},
      "word": {"enum": ["wait", "poll", null]},
      "one": {"const": true},
      "name": {"type": "string", "minLength": 1, "maxLength": 3},
      "either": {"type": ["string", "null"]},
      "list": {"type": "array", "minItems": 1, "maxItems": 2, "contains": {"const": 1}},
      "pair": {"items": [{"type": "string"}, {"type": "boolean"}], "additionalItems": false},
      "map": {"type": "object", "maxProperties": 2, "propertyNames": {"maxLength": 2},
              "additionalProperties": {"type": "string"}},
      "strict": {"properties": {"a": {}}, "additionalProperties": false, "minProperties": 1},
      "any": {"anyOf": [{"type": "string"}, {"type": "object", "required": ["x"]}]},
      "xor": {"oneOf": [{"type": "integer"}, {"minimum": 5}]},
      "all": {"allOf": [{"type": "string"}, {"maxLength": 1}]},
      "never": {"not": {"type": "string"}},
      "when": {"if": {"type": "string"}, "then": {"maxLength": 1}, "else": {"type": "boolean"}},
      "deps": {"dependencies": {"a": ["b"], "c": {"required": ["d"]}}},
      "tree": {"$ref": "#/definitions/tree"}
    },
    "definitions": {"tree": {"type": "object", "properties":
        {"kids": {"type": "array", "items": {"$ref": "#/definitions/tree"}}}}}
  })");
  ASSERT_TRUE(schema.has_value()) << schema.error().message;
  const std::pair<const char*, const char*> cases[] = {
      {R"({"n": 1})", "fits"},
      {R"({"n": 0})", "n: must be an integer from 1 to 300"},
      {R"({"n": 301})", "n: must be an integer from 1 to 300"},
      {R"({"n": "1"})", "n: must be an integer from 1 to 300"},
      {R"({"low": 0})", "low: must be a number above 0"},
      {R"({"low": 0.1})", "fits"},
      {R"({"even": 3})", "even: must be a multiple of 2"},
      {R"({"word": "push"})", "word: must be one of: wait, poll, null"},
      {R"({"word": null})", "fits"},
      {R"({"one": false})", "one: must be true"},
      {R"({"name": ""})", "name: must not be empty"},
      {R"({"name": "éé€"})", "fits"},
      {R"({"name": "four"})", "name: must be at most 3 characters long"},
      {R"({"either": 1})", "either: must be a string or null"},
      {R"({"list": []})", "list: must have at least 1 item"},
      {R"({"list": [1, 2, 3]})", "list: must have at most 2 items"},
      {R"({"list": [2]})", "list: lacks an item that must be there"},
      {R"({"pair": ["a", 1]})", "pair[1]: must be a boolean"},
      {R"({"pair": ["a", true, 1]})", "pair[2]: is not allowed here"},
      {R"({"map": {"a": 1}})", "map.a: must be a string"},
      {R"({"map": {"abc": "x"}})", "map.abc: is not an allowed name"},
      {R"({"map": {"a": "", "b": "", "c": ""}})", "map: must have at most 2 members"},
      {R"({"strict": {"a": 1, "b": 2}})", "strict.b: is not a known field"},
      {R"({"strict": {}})", "strict: must have at least 1 member"},
      {R"({"any": {}})", "any: has none of the allowed forms"},
      {R"({"any": {"x": 1}})", "fits"},
      {R"({"xor": 7})", "xor: has several forms that exclude each other"},
      {R"({"all": "ab"})", "all: must be at most 1 character long"},
      {R"({"never": "a"})", "never: has a form that is not allowed"},
      {R"({"when": "ab"})", "when: must be at most 1 character long"},
      {R"({"when": 1})", "when: must be a boolean"},
      {R"({"deps": {"a": 1}})", "deps.b: is required beside a"},
      {R"({"deps": {"c": 1}})", "deps.d: is required"},
      {R"({"tree": {"kids": [{}, {"kids": [1]}]}})", "tree.kids[1].kids[0]: must be an object"},
  };
  for (const auto& [text, verdict] : cases) EXPECT_EQ(Verdict(*schema, text), verdict) << text;
}

TEST(RequestSchemaTest, NamesOfHostileMembersAreTamed) {
  const Result<RequestSchema> schema = RequestSchema::Compile(R"({"additionalProperties": false})");
  EXPECT_EQ(Verdict(*schema, R"({"a\n\u001b[31m": 1})"), "a??[31m: is not a known field");
  const std::string message = Verdict(*schema, "{\"" + std::string(100'000, 'k') + "\": 1}");
  EXPECT_LT(message.size(), 200U);
}

TEST(RequestSchemaTest, RefusesSchemasThatWouldNotDoWhatTheySay) {
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "#: must be an object"},
      {R"({"prefixItems": []})", "#/prefixItems: not a keyword of draft 7 that we take"},
      {R"({"unevaluatedProperties": false})",
       "#/unevaluatedProperties: not a keyword of draft 7 that we take"},
      {R"({"properties": {"a": {"dependentRequired": {}}}})",
       "#/properties/a/dependentRequired: not a keyword of draft 7 that we take"},
      {R"({"items": {"pattern": "(a+)+"}})",
       "#/items/pattern: not a keyword of draft 7 that we take"},
      {R"({"patternProperties": {}})",
       "#/patternProperties: not a keyword of draft 7 that we take"},
      {R"({"anyOf": [{"format": "email"}]})",
       "#/anyOf/0/format: not a keyword of draft 7 that we take"},
      {R"({"uniqueItems": true})", "#/uniqueItems: not a keyword of draft 7 that we take"},
      {R"({"mininum": 1})", "#/mininum: not a keyword of draft 7 that we take"},
      {R"({"$schema": "https://json-schema.org/draft/2020-12/schema"})",
       "#/$schema: only draft 7 is understood"},
      {R"({"type": "int"})", "#/type: has the wrong form"},
      {R"({"required": "code"})", "#/required: has the wrong form"},
      {R"({"maxLength": -1})", "#/maxLength: has the wrong form"},
      {R"({"multipleOf": 0})", "#/multipleOf: has the wrong form"},
      {R"({"$ref": "http://example.com/x"})", "#/$ref: a $ref must name one of #/definitions/"},
      {R"({"$ref": "#/definitions/a"})", "#/$ref: no such definition"},
      {R"({"$ref": "#/definitions/a", "definitions": {"a": {"$ref": "#/definitions/a"}}})",
       "#/$ref: a $ref that leads to itself"},
  };
  for (const auto& [text, message] : cases) {
    const Result<RequestSchema> schema = RequestSchema::Compile(text);
    ASSERT_FALSE(schema.has_value()) << text;
    // Members are walked in the order of their names, so a bad $ref may be met in a definition
    // first.
    EXPECT_TRUE(schema.error().message == message ||
                std::string(text).find("/a\"}}}") != std::string::npos)
        << text << ": " << schema.error().message;
  }
  // A property may well be called like a keyword.
  EXPECT_TRUE(
      RequestSchema::Compile(R"({"properties": {"pattern": {}, "format": {}}})").has_value());
}

TEST(RequestSchemaTest, ThreadsShareOne) {
  const Result<RequestSchema> schema = RequestSchema::Load("zeroboot_batch");
  std::atomic<int> right = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, copy = *schema] {
      for (int j = 0; j < 500; ++j) {
        right += Verdict(copy, R"({"executions":[{"code":"a"}]})") == "fits" ? 1 : 0;
        right += Verdict(copy, R"({"executions":[{"code":1}]})") != "fits" ? 1 : 0;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(right, 4000);
}

}  // namespace
}  // namespace forkbox::schema
