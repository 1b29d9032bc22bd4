#include "runner/text_stream.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "schema/utf8.h"

namespace forkbox::runner {
namespace {

struct Case {
  const char* name;
  std::string bytes;
};

class TextStreamTest : public testing::TestWithParam<Case> {};

// However it is cut into pieces, what was there at any time stays, and the end of it is the whole.
TEST_P(TextStreamTest, EveryCutGivesTheTextOfTheWhole) {
  const std::string& bytes = GetParam().bytes;
  const std::string whole = schema::ToValidUtf8(bytes);
  std::minstd_rand random(1);  // NOLINT: the same cuts every time
  for (int round = 0; round < 50; ++round) {
    TextStream stream;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t piece = 1 + random() % (round < 10 ? 1 : 5);
      stream.Append(std::string_view(bytes).substr(at, piece));
      at += piece;
      if (random() % 3 == 0) continue;  // not asked for each time
      const std::string& text = stream.Text();
      ASSERT_TRUE(whole.starts_with(text)) << "round " << round;
      ASSERT_TRUE(schema::IsValidUtf8(text));
    }
    const std::string& text = stream.Text();
    ASSERT_TRUE(whole.starts_with(text));
    // All but a character that was begun at the very end.
    EXPECT_LE(whole.size() - text.size(), 3U);
    if (schema::IncompleteUtf8Suffix(bytes) == 0) {
      EXPECT_EQ(text, whole);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Bytes, TextStreamTest,
    testing::Values(Case{"Nothing", ""}, Case{"Ascii", "hello\nworld\n"},
                    Case{"AllLengths", "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z"},
                    Case{"Nul", std::string("a\0b", 3)},
                    Case{"LoneContinuations", "\x80\x80\xBF x"},
                    Case{"BrokenInTheMiddle", "\xE2\x82 \xF0\x9F\x98 \xC3"},
                    Case{"EndsInside", "abc\xF0\x9F\x98"}, Case{"NoLeadAtAll", "\xFF\xFE\xC0\xAF"},
                    Case{"Surrogate", "\xED\xA0\x80!"}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace forkbox::runner
