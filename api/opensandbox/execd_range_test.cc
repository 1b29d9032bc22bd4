#include "api/opensandbox/execd_range.h"

#include <gtest/gtest.h>

#include <string>

#include "api/opensandbox/execd_lines.h"

namespace forkbox::api {
namespace {

using Kind = ByteRange::Kind;

struct RangeCase {
  const char* name;
  const char* header;
  std::uint64_t size;
  Kind kind;
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
};

class ParseByteRangeTest : public ::testing::TestWithParam<RangeCase> {};

TEST_P(ParseByteRangeTest, FindsTheBytes) {
  const ByteRange range = ParseByteRange(GetParam().header, GetParam().size);
  EXPECT_EQ(range.kind, GetParam().kind);
  EXPECT_EQ(range.offset, GetParam().offset);
  EXPECT_EQ(range.length, GetParam().length);
}

INSTANTIATE_TEST_SUITE_P(
    Headers, ParseByteRangeTest,
    ::testing::Values(
        RangeCase{"first_bytes", "bytes=0-3", 10, Kind::kPart, 0, 4},
        RangeCase{"one_byte", "bytes=9-9", 10, Kind::kPart, 9, 1},
        RangeCase{"to_the_end", "bytes=4-", 10, Kind::kPart, 4, 6},
        RangeCase{"end_clamped", "bytes=4-99", 10, Kind::kPart, 4, 6},
        RangeCase{"end_beyond_64_bits", "bytes=4-99999999999999999999", 10, Kind::kMalformed},
        RangeCase{"largest_end", "bytes=4-18446744073709551615", 10, Kind::kPart, 4, 6},
        RangeCase{"suffix", "bytes=-3", 10, Kind::kPart, 7, 3},
        RangeCase{"suffix_clamped", "bytes=-99", 10, Kind::kPart, 0, 10},
        RangeCase{"suffix_of_nothing", "bytes=-0", 10, Kind::kUnsatisfiable},
        RangeCase{"behind_the_end", "bytes=10-", 10, Kind::kUnsatisfiable},
        RangeCase{"several_take_the_first", "bytes=2-3,5-6", 10, Kind::kPart, 2, 2},
        RangeCase{"first_that_can_be_had", "bytes=20-30, 5-6", 10, Kind::kPart, 5, 2},
        RangeCase{"other_unit", "lines=1-2", 10, Kind::kMalformed},
        RangeCase{"no_unit", "0-3", 10, Kind::kMalformed},
        RangeCase{"no_numbers", "bytes=a-b", 10, Kind::kMalformed},
        RangeCase{"no_dash", "bytes=5", 10, Kind::kMalformed},
        RangeCase{"only_a_dash", "bytes=-", 10, Kind::kMalformed},
        RangeCase{"backwards", "bytes=5-2", 10, Kind::kMalformed},
        RangeCase{"nothing", "bytes=", 10, Kind::kMalformed},
        RangeCase{"good_then_bad", "bytes=0-1,x", 10, Kind::kMalformed},
        RangeCase{"negative", "bytes=--1", 10, Kind::kMalformed},
        RangeCase{"empty_file", "bytes=0-", 0, Kind::kWhole},
        RangeCase{"empty_file_suffix", "bytes=-5", 0, Kind::kWhole}),
    [](const auto& test) { return test.param.name; });

TEST(ContentDispositionTest, QuotesAndEncodes) {
  EXPECT_EQ(ContentDisposition("a b.txt"), "attachment; filename=\"a b.txt\"");
  EXPECT_EQ(ContentDisposition("a\"b\\.txt"), "attachment; filename=\"a\\\"b\\\\.txt\"");
  EXPECT_EQ(ContentDisposition("ä.txt"),
            "attachment; filename=\"%C3%A4.txt\"; filename*=UTF-8''%C3%A4.txt");
  EXPECT_EQ(ContentDisposition("a\r\nX: y"),
            "attachment; filename=\"a%0D%0AX%3A%20y\"; filename*=UTF-8''a%0D%0AX%3A%20y");
}

TEST(HttpDateTest, ComesBackAsItWas) {
  EXPECT_EQ(HttpDate(0), "Thu, 01 Jan 1970 00:00:00 GMT");
  EXPECT_EQ(HttpDate(1781516760), "Mon, 15 Jun 2026 09:46:00 GMT");
  EXPECT_EQ(ParseHttpDate("Mon, 15 Jun 2026 09:46:00 GMT"), 1781516760);
  for (const char* bad : {"", "Monday, 15-Jun-26 09:46:00 GMT", "Mon, 15 Jun 2026 09:46:00 CET",
                          "Mon, 31 Feb 2026 09:46:00 GMT", "Mon, 15 Jun 2026 25:46:00 GMT",
                          "Mon, 15 Jux 2026 09:46:00 GMT", "Mon, 15 Jun 2026 09:46:-1 GMT"}) {
    EXPECT_EQ(ParseHttpDate(bad), std::nullopt) << bad;
  }
}

struct LinesCase {
  const char* name;
  const char* text;
  std::uint64_t first;
  std::uint64_t count;
  const char* lines;
};

class LineCutterTest : public ::testing::TestWithParam<LinesCase> {};

TEST_P(LineCutterTest, CutsTheSameHoweverThePiecesFall) {
  const std::string text = GetParam().text;
  for (std::size_t piece = 1; piece <= text.size() + 1; ++piece) {
    LineCutter cutter(GetParam().first, GetParam().count);
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += piece) {
      if (!cutter.Cut(std::string_view(text).substr(at, piece), &out)) break;
    }
    EXPECT_EQ(out, GetParam().lines) << "in pieces of " << piece;
  }
}

constexpr std::uint64_t kAll = ~std::uint64_t{0};
INSTANTIATE_TEST_SUITE_P(
    Lines, LineCutterTest,
    ::testing::Values(LinesCase{"middle", "a\nb\nc\nd\n", 2, 2, "b\nc"},
                      LinesCase{"from", "a\nb\nc\n", 2, kAll, "b\nc"},
                      LinesCase{"first", "a\nb\n", 1, 1, "a"},
                      LinesCase{"no_newline_at_the_end", "a\nb", 1, kAll, "a\nb"},
                      LinesCase{"empty_lines", "\n\na\n\n", 1, kAll, "\n\na\n"},
                      LinesCase{"returns_go", "a\r\nb\r\r\nc\r", 1, kAll, "a\nb\nc"},
                      LinesCase{"returns_inside_stay", "a\rb\nc", 1, kAll, "a\rb\nc"},
                      LinesCase{"behind_the_end", "a\nb\n", 3, 5, ""},
                      LinesCase{"far_behind", "a", kAll, kAll, ""},
                      LinesCase{"empty", "", 1, kAll, ""}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace forkbox::api
