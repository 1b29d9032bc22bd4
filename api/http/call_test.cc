#include "api/http/call.h"

#include <gtest/gtest.h>

#include <string>

namespace forkbox::http {
namespace {

struct DecodeCase {
  std::string name;
  std::string text;
  bool plus_is_blank;
  bool ok;
  std::string decoded;
};
class Decode : public testing::TestWithParam<DecodeCase> {};
TEST_P(Decode, GivesTextOrRefuses) {
  std::string decoded;
  EXPECT_EQ(PercentDecode(GetParam().text, GetParam().plus_is_blank, &decoded), GetParam().ok);
  if (GetParam().ok) {
    EXPECT_EQ(decoded, GetParam().decoded);
  }
}
INSTANTIATE_TEST_SUITE_P(Table, Decode,
                         testing::Values(DecodeCase{"plain", "abc", false, true, "abc"},
                                         DecodeCase{"slash", "a%2Fb%2f", false, true, "a/b/"},
                                         DecodeCase{"plus_in_path", "a+b", false, true, "a+b"},
                                         DecodeCase{"plus_in_query", "a+b", true, true, "a b"},
                                         DecodeCase{"cut_1", "a%", false, false, ""},
                                         DecodeCase{"cut_2", "a%4", false, false, ""},
                                         DecodeCase{"at_end", "%41", false, true, "A"},
                                         DecodeCase{"no_hex", "%zz", false, false, ""},
                                         DecodeCase{"sign", "%+1", false, false, ""}),
                         [](const auto& test) { return test.param.name; });

TEST(CallTest, FindsQueryParameters) {
  Call call;
  call.raw_query = "a=1&b=%zz&b=x%20y&&c&=d&e=f=g&a=2&%61b=enc";
  std::string value = "untouched";
  EXPECT_TRUE(call.Query("a", &value));
  EXPECT_EQ(value, "1");
  EXPECT_TRUE(call.Query("b", &value));
  EXPECT_EQ(value, "x y");
  EXPECT_TRUE(call.Query("c", &value));
  EXPECT_EQ(value, "");
  EXPECT_TRUE(call.Query("e", &value));
  EXPECT_EQ(value, "f=g");
  EXPECT_TRUE(call.Query("ab", &value));
  EXPECT_EQ(value, "enc");
  EXPECT_FALSE(call.Query("missing", &value));
  EXPECT_EQ(value, "enc");
}

TEST(CallTest, FindsHeadersInAnyCase) {
  Call call;
  call.fields = {{"X-Api-Key", "one"}, {"x-api-key", "two"}};
  ASSERT_NE(call.Header("x-API-key"), nullptr);
  EXPECT_EQ(*call.Header("x-API-key"), "one");
  EXPECT_EQ(call.Header("x-api"), nullptr);
}

TEST(CallTest, AcceptsOnlyHarmlessRequestIds) {
  EXPECT_TRUE(IsRequestId("a.B_9:-"));
  EXPECT_TRUE(IsRequestId(std::string(128, 'a')));
  EXPECT_FALSE(IsRequestId(""));
  EXPECT_FALSE(IsRequestId(std::string(129, 'a')));
  EXPECT_FALSE(IsRequestId("a b"));
  EXPECT_FALSE(IsRequestId("a\r\nb"));
  EXPECT_FALSE(IsRequestId("\xc3\xa9"));
}

TEST(CallTest, AReplyWithoutRequestAnswersNobody) {
  Call call;
  EXPECT_FALSE(call.reply.Send(200, "text/plain", "x"));
  EXPECT_FALSE(call.reply.Start(200, "text/plain"));
  EXPECT_FALSE(call.reply.Alive());
  call.reply.End();
  call.reply.Abort();
}

}  // namespace
}  // namespace forkbox::http
