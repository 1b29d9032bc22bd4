#include "schema/utf8.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace forkbox::schema {
namespace {

using namespace std::string_view_literals;

struct Case {
  const char* name;
  std::string_view bytes;
  std::string_view text;
};

class Utf8Test : public testing::TestWithParam<Case> {};

TEST_P(Utf8Test, Mends) {
  const Case& test = GetParam();
  EXPECT_EQ(ToValidUtf8(std::string(test.bytes)), test.text);
  EXPECT_EQ(IsValidUtf8(test.bytes), test.bytes == test.text);
  EXPECT_TRUE(IsValidUtf8(test.text));
  // The same behind a run of ASCII, which the fast path skips, at every alignment.
  for (std::size_t pad = 1; pad < 18; ++pad) {
    const std::string ascii(pad, 'a');
    EXPECT_EQ(ToValidUtf8(ascii + std::string(test.bytes) + ascii),
              ascii + std::string(test.text) + ascii);
  }
}

#define U "\xEF\xBF\xBD"
INSTANTIATE_TEST_SUITE_P(
    Table, Utf8Test,
    testing::Values(
        Case{"empty", "", ""}, Case{"ascii", "print(2)\n", "print(2)\n"},
        Case{"nul_is_kept", "a\0b"sv, "a\0b"sv}, Case{"two_bytes", "\xC3\xA9", "\xC3\xA9"},
        Case{"three_bytes", "\xE2\x82\xAC", "\xE2\x82\xAC"},
        Case{"four_bytes", "\xF0\x9F\x98\x80", "\xF0\x9F\x98\x80"},
        Case{"lone_continuation", "\x80\xBF", U U},
        Case{"never_a_lead", "\xC0\xC1\xF5\xFF", U U U U}, Case{"overlong_slash", "\xC0\xAF", U U},
        Case{"overlong_three", "\xE0\x80\xAF", U U U},
        Case{"overlong_four", "\xF0\x80\x80\xAF", U U U U},
        Case{"surrogate", "\xED\xA0\x80", U U U},
        Case{"last_before_surrogates", "\xED\x9F\xBF", "\xED\x9F\xBF"},
        Case{"above_10ffff", "\xF4\x90\x80\x80", U U U U},
        Case{"top_is_10ffff", "\xF4\x8F\xBF\xBF", "\xF4\x8F\xBF\xBF"},
        Case{"cut_by_ascii_is_one", "\xE2\x82x", U "x"},
        Case{"cut_four_is_one",
             "\xF0\x9F\x98"
             "A",
             U "A"},
        // The example of Unicode 15, table 3-8.
        Case{"unicode_table_3_8", "\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64",
             "a" U U U "b" U "c" U U "d"},
        Case{"latin_1", "na\xEFve", "na" U "ve"}),
    [](const auto& test) { return std::string(test.param.name); });
#undef U

TEST(Utf8Test, CutAtTheEndIsOneReplacement) {
  EXPECT_EQ(ToValidUtf8("ok\xE2\x82"), "ok\xEF\xBF\xBD");
}

TEST(Utf8Test, ValidTextIsNotCopied) {
  std::string text(1 << 20, 'x');
  const char* const before = text.data();
  EXPECT_EQ(ToValidUtf8(std::move(text)).data(), before);
}

TEST(Utf8Test, SaysWhatToHoldBackAtACut) {
  EXPECT_EQ(IncompleteUtf8Suffix(""), 0U);
  EXPECT_EQ(IncompleteUtf8Suffix("abc"), 0U);
  EXPECT_EQ(IncompleteUtf8Suffix("\xC3"), 1U);
  EXPECT_EQ(IncompleteUtf8Suffix("a\xE2\x82"), 2U);
  EXPECT_EQ(IncompleteUtf8Suffix("\xF0\x9F\x98"), 3U);
  EXPECT_EQ(IncompleteUtf8Suffix("\xE2\x82\xAC"), 0U);  // complete
  EXPECT_EQ(IncompleteUtf8Suffix("\xE0\x80"), 0U);      // wrong already: waiting is no use
  EXPECT_EQ(IncompleteUtf8Suffix("\x80\x80\x80\x80"), 0U);
  EXPECT_EQ(IncompleteUtf8Suffix("\xF0\x9F\x98\x80\xF0\x9F"), 2U);
}

}  // namespace
}  // namespace forkbox::schema
