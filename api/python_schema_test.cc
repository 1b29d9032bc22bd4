// What Python's jsonschema says of the same requests; the expectations were taken from
// version 4.26.
#include "api/python_schema.h"

#include <gtest/gtest.h>

#include "api/python_repr.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using nlohmann::json;

json Parse(std::string_view text) {
  Result<json> parsed = schema::ParseJson(text);
  EXPECT_TRUE(parsed) << text;
  return parsed ? *parsed : json();
}

struct Case {
  const char* request;
  const char* complaint;  // "" when it fits
};

TEST(PythonSchemaTest, SaysWhatJsonschemaSays) {
  const Result<PythonSchema> schema = PythonSchema::Load("nca_execute");
  ASSERT_TRUE(schema) << schema.error().message;
  const Case cases[] = {
      {R"({"code":""})", ""},
      {R"({"code":"x","timeout":1,"id":"","webhook_url":"not a url"})", ""},
      {R"({"code":"x","timeout":300})", ""},
      {R"({"code":"x","timeout":2.0})", ""},
      {R"({"id":"x"})", "'code' is a required property"},
      {R"({"code":1})", "1 is not of type 'string'"},
      {R"({"code":null})", "None is not of type 'string'"},
      {R"({"code":"x","id":null})", "None is not of type 'string'"},
      {R"({"code":"x","id":7})", "7 is not of type 'string'"},
      {R"({"code":"x","webhook_url":null})", "None is not of type 'string'"},
      {R"({"code":"x","timeout":null})", "None is not of type 'integer'"},
      {R"({"code":"x","timeout":0})", "0 is less than the minimum of 1"},
      {R"({"code":"x","timeout":-5})", "-5 is less than the minimum of 1"},
      {R"({"code":"x","timeout":-0.0})", "-0.0 is less than the minimum of 1"},
      {R"({"code":"x","timeout":301})", "301 is greater than the maximum of 300"},
      {R"({"code":"x","timeout":301.0})", "301.0 is greater than the maximum of 300"},
      {R"({"code":"x","timeout":1e30})", "1e+30 is greater than the maximum of 300"},
      {R"({"code":"x","timeout":18446744073709551615})",
       "18446744073709551615 is greater than the maximum of 300"},
      {R"({"code":"x","timeout":1.5})", "1.5 is not of type 'integer'"},
      {R"({"code":"x","timeout":0.5})", "0.5 is not of type 'integer'"},
      {R"({"code":"x","timeout":"5"})", "'5' is not of type 'integer'"},
      {R"({"code":"x","timeout":true})", "True is not of type 'integer'"},
      {R"({"code":"x","timeout":{}})", "{} is not of type 'integer'"},
      {R"({"code":"x","extra":1})",
       "Additional properties are not allowed ('extra' was unexpected)"},
      {R"({"code":"x","more":1,"extra":2})",
       "Additional properties are not allowed ('extra', 'more' were unexpected)"},
      {R"({"code":"x","a'b":1})", "Additional properties are not allowed (\"a'b\" was unexpected)"},
      {R"("str")", "'str' is not of type 'object'"},
      {"[1]", "[1] is not of type 'object'"},
      {"true", "True is not of type 'object'"},
      // Several complaints: that of the whole before those of members, and of these the last.
      {R"({"extra":1})", "'code' is a required property"},
      {R"({"timeout":0,"extra":1})", "'code' is a required property"},
      {R"({"code":1,"extra":1})", "Additional properties are not allowed ('extra' was unexpected)"},
      {R"({"code":1,"timeout":0})", "0 is less than the minimum of 1"},
      {R"({"code":1,"timeout":0,"id":2,"webhook_url":3})", "3 is not of type 'string'"},
  };
  for (const Case& test : cases) {
    EXPECT_EQ(schema->Complaint(Parse(test.request)).value_or(""), test.complaint) << test.request;
  }
}

TEST(PythonSchemaTest, OfManyNamesItShowsSome) {
  const Result<PythonSchema> schema = PythonSchema::Load("nca_execute");
  ASSERT_TRUE(schema);
  json request{{"code", "x"}};
  for (int i = 0; i < 10'000; ++i) request[std::string(100, 'x') + std::to_string(i)] = i;
  const auto complaint = schema->Complaint(request);
  ASSERT_TRUE(complaint);
  EXPECT_LT(complaint->size(), 4'000U);
  EXPECT_TRUE(complaint->ends_with(" were unexpected)")) << *complaint;
}

TEST(PythonSchemaTest, LoadsTheDialectsSchemasOnly) {
  for (const char* name : {"nca_job_status", "nca_jobs_status"}) {
    EXPECT_TRUE(PythonSchema::Load(name)) << name;
  }
  const auto unknown = PythonSchema::Load("nobody");
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, ErrorCode::kInternal);
  EXPECT_FALSE(PythonSchema::Load("zeroboot_batch")) << "it has keywords that would be ignored";
}

TEST(PythonReprTest, ShowsValuesAsPythonDoes) {
  const struct {
    const char* value;
    const char* repr;
  } cases[] = {
      {"null", "None"},
      {"true", "True"},
      {"false", "False"},
      {"0", "0"},
      {"-7", "-7"},
      {"18446744073709551615", "18446744073709551615"},
      {"0.1", "0.1"},
      {"-0.0", "-0.0"},
      {"1.0", "1.0"},
      {"100000.0", "100000.0"},
      {"123456.789e3", "123456789.0"},
      {"1e15", "1000000000000000.0"},
      {"1e16", "1e+16"},
      {"12345678901234567.0", "1.2345678901234568e+16"},
      {"1e22", "1e+22"},
      {"1.7976931348623157e308", "1.7976931348623157e+308"},
      {"5e-324", "5e-324"},
      {"0.0001", "0.0001"},
      {"1e-5", "1e-05"},
      {"-1.5e-7", "-1.5e-07"},
      {"12.25", "12.25"},
      {R"("")", "''"},
      {R"("it's")", "\"it's\""},
      {R"("\"")", "'\"'"},
      {R"("'\"")", R"('\'"')"},
      {R"("\\\n\t\r")", R"('\\\n\t\r')"},
      {R"("\u0000\u001b\u007f\u00a0\u00ad\u200b\u2028\ufeff")",
       R"('\x00\x1b\x7f\xa0\xad\u200b\u2028\ufeff')"},
      {R"("é\ud83d\ude00中")", "'é😀中'"},
      {R"("\udb40\udc01")", R"('\U000e0001')"},
      {"[]", "[]"},
      {"{}", "{}"},
      {R"([[], {}, [{}]])", "[[], {}, [{}]]"},
      {R"({"a": [true, null, "q's"], "b": 1})", R"({'a': [True, None, "q's"], 'b': 1})"},
  };
  for (const auto& test : cases) EXPECT_EQ(PythonRepr(Parse(test.value)), test.repr) << test.value;
}

TEST(PythonReprTest, IsCutWhereItGrowsLong) {
  for (const json& value :
       {json(std::string(5'000'000, 'x')), json(std::string(3'000, '\1')),
        json(std::vector<int>(1'000'000)), json("aé" + std::string(996, 'x') + "ééé")}) {
    const std::string repr = PythonRepr(value);
    EXPECT_LT(repr.size(), 1'010U);
    EXPECT_TRUE(repr.ends_with("…"));
    EXPECT_TRUE(schema::ParseJson(json(repr).dump())) << "valid UTF-8";
  }
}

}  // namespace
}  // namespace forkbox::api
