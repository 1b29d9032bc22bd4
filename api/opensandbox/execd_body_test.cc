#include "api/opensandbox/execd_body.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "api/opensandbox/execd_paths.h"

namespace forkbox::api {
namespace {

struct BodyCase {
  const char* name;
  std::string body;
  const char* value;  // as JSON; "" when it is refused
};

class DecodeExecdBodyTest : public ::testing::TestWithParam<BodyCase> {};

TEST_P(DecodeExecdBodyTest, ReadsTheFirstValueAndNothingElse) {
  const auto decoded = DecodeExecdBody(GetParam().body);
  EXPECT_EQ(decoded ? decoded->dump() : "", GetParam().value);
}

std::string Deep(std::size_t levels) {
  std::string text;
  for (std::size_t i = 0; i < levels; ++i) text += "[";
  for (std::size_t i = 0; i < levels; ++i) text += "]";
  return text;
}

INSTANTIATE_TEST_SUITE_P(
    Bodies, DecodeExecdBodyTest,
    ::testing::Values(BodyCase{"object", R"({"a":1})", R"({"a":1})"},
                      BodyCase{"what_follows_is_ignored", R"({"a":1} and {more)", R"({"a":1})"},
                      BodyCase{"brackets_in_strings", R"({"a":"}\"}"}x)", R"({"a":"}\"}"})"},
                      BodyCase{"array_first", R"([1,[2]]{"a":1})", R"([1,[2]])"},
                      BodyCase{"blanks_before", " \r\n {} ", "{}"}, BodyCase{"empty", "", ""},
                      BodyCase{"blank", " \n", ""}, BodyCase{"half", R"({"a":)", ""},
                      BodyCase{"closes_first", "}{", ""}, BodyCase{"no_json", "command=ls", ""},
                      BodyCase{"ill_formed_text", "{\"a\":\"\xff\"}", "{\"a\":\"\xEF\xBF\xBD\"}"},
                      BodyCase{"too_deep", Deep(10'000), ""}),
    [](const auto& test) { return test.param.name; });

struct FieldCase {
  const char* name;
  const char* body;
  const char* problem;
};

class ExecdFieldsTest : public ::testing::TestWithParam<FieldCase> {};

TEST_P(ExecdFieldsTest, NamesWhatIsWrong) {
  const auto body = DecodeExecdBody(GetParam().body);
  ASSERT_TRUE(body);
  std::string command;
  bool background = false;
  std::int64_t timeout = 0;
  std::optional<std::uint32_t> uid;
  std::vector<std::string> argv;
  execd::Environment envs;
  ExecdFields fields(*body);
  fields.Text("command", &command);
  fields.Flag("background", &background);
  fields.Integer("timeout", &timeout);
  fields.Number32("uid", &uid);
  fields.Texts("argv", &argv);
  fields.TextMap("envs", &envs);
  const auto read = fields.Finish();
  EXPECT_EQ(read ? "" : read.error().message, GetParam().problem);
}

INSTANTIATE_TEST_SUITE_P(
    Fields, ExecdFieldsTest,
    ::testing::Values(
        FieldCase{"all_good",
                  R"({"command":"a","background":true,"timeout":-1,"uid":4294967295,"argv":["a"],
                      "envs":{"A":"b","C":null},"other":[]})",
                  ""},
        FieldCase{"null_is_absent", R"({"command":null,"uid":null,"envs":null})", ""},
        FieldCase{"no_object", "[]", "the body must be a JSON object"},
        FieldCase{"text", R"({"command":1})", "field \"command\" must be a string"},
        FieldCase{"other_case", R"({"COMMAND":1})", "field \"command\" must be a string"},
        FieldCase{"flag", R"({"background":"true"})", "field \"background\" must be true or false"},
        FieldCase{"text_for_integer", R"({"timeout":"5"})", "field \"timeout\" must be an integer"},
        FieldCase{"fraction", R"({"timeout":1.5})", "field \"timeout\" must be an integer"},
        FieldCase{"beyond_64_bits", R"({"timeout":9223372036854775808})",
                  "field \"timeout\" must be an integer"},
        FieldCase{"negative_uid", R"({"uid":-1})",
                  "field \"uid\" must be an integer from 0 to 4294967295"},
        FieldCase{"argv", R"({"argv":["a",1]})", "field \"argv\" must be an array of strings"},
        FieldCase{"envs", R"({"envs":{"a":1}})", "field \"envs\" must be an object of strings"},
        FieldCase{"the_first_counts", R"({"command":1,"timeout":"x"})",
                  "field \"command\" must be a string"}),
    [](const auto& test) { return test.param.name; });

TEST(ExecdFieldsValuesTest, TakesNamesInAnyCaseAndTheExactOneFirst) {
  const nlohmann::json body{{"COMMAND", "loud"}, {"command", "quiet"}, {"TimeOut", 7}};
  std::string command;
  std::int64_t timeout = 0;
  ExecdFields fields(body);
  fields.Text("command", &command);
  fields.Integer("timeout", &timeout);
  EXPECT_EQ(command, "quiet");
  EXPECT_EQ(timeout, 7);
}

struct ModeCase {
  const char* body;
  int mode;  // octal; -1 when refused
};

TEST(ReadPermissionTest, TakesDecimalDigitsAsOctal) {
  const ModeCase cases[] = {{R"({"mode":644})", 0644},  {R"({"mode":755})", 0755},
                            {R"({"mode":0})", 0},       {R"({})", 0},
                            {R"({"mode":4755})", 0755}, {R"({"mode":7})", 07},
                            {R"({"mode":888})", -1},    {R"({"mode":-1})", -1},
                            {R"({"mode":"644"})", -1},  {R"({"mode":100644})", -1},
                            {R"({"owner":1})", -1},     {"[]", -1}};
  for (const ModeCase& one : cases) {
    const auto permission = ReadPermission(nlohmann::json::parse(one.body));
    EXPECT_EQ(permission ? static_cast<int>(permission->mode) : -1, one.mode) << one.body;
  }
}

TEST(ParseExecdEnvsTest, ReadsLinesAndPassesOverWhatIsNone) {
  const execd::Environment env{{"HOME", "/h"}};
  const auto parsed = ParseExecdEnvs(
      "# no\n\nA=1\n  B = two words \nnonsense\nC=$HOME/x\nD=\"kept\"\n=empty\nE=$NOT_THERE\r\nF=",
      env);
  const execd::Environment expected{{"A", "1"},        {"B", " two words"}, {"C", "/h/x"},
                                    {"D", "\"kept\""}, {"E", "$NOT_THERE"}, {"F", ""}};
  EXPECT_EQ(parsed, expected);
}

}  // namespace
}  // namespace forkbox::api
