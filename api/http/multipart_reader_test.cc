// Multipart bodies: the same parts however the bytes are cut, and nothing worse than a refusal for
// any bytes at all.
#include "api/http/multipart_reader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace forkbox::http {
namespace {

using namespace std::string_literals;

// Gives out `body` in pieces: up to `first` bytes, then at most `rest` at a time.
MultipartReader::Source SourceOf(std::string body, std::size_t first, std::size_t rest) {
  auto left = std::make_shared<std::string>(std::move(body));
  auto at = std::make_shared<std::size_t>(0);
  return [=](std::span<char> into) -> Result<std::size_t> {
    const std::size_t most = *at < first ? first - *at : rest;
    const std::size_t bytes = left->copy(into.data(), std::min(into.size(), most), *at);
    *at += bytes;
    return bytes;
  };
}

// "name|file|type|content;" for each part, "-" for no file name; "error" at the end when it failed.
std::string Describe(MultipartReader reader, std::size_t piece = 4096) {
  std::string text;
  for (;;) {
    const auto part = reader.Next();
    if (!part) {
      EXPECT_EQ(part.error().code, ErrorCode::kInvalidArgument);
      EXPECT_FALSE(reader.Next().has_value());
      return text + "error";
    }
    if (!*part) return text;
    text +=
        (*part)->name + "|" + (*part)->file_name.value_or("-") + "|" + (*part)->content_type + "|";
    std::vector<char> into(piece);
    for (;;) {
      const auto got = reader.Read(into);
      if (!got) return text + "error";
      if (*got == 0) break;
      text.append(into.data(), *got);
    }
    text += ";";
  }
}

std::string Describe(const std::string& body) {
  return Describe(MultipartReader("b", SourceOf(body, 0, 4096)));
}

const std::string kName = "Content-Disposition: form-data; name=\"n\"\r\n";
const std::string kStart = "--b\r\n" + kName + "\r\n";

struct BodyCase {
  std::string name;
  std::string body;
  std::string parts;
};
class MultipartBodyTest : public testing::TestWithParam<BodyCase> {};

TEST_P(MultipartBodyTest, ReadsTheSameHoweverItIsCut) {
  const BodyCase& c = GetParam();
  for (std::size_t first = 0; first <= c.body.size(); ++first) {
    ASSERT_EQ(Describe(MultipartReader("b", SourceOf(c.body, first, 4096))), c.parts) << first;
  }
  ASSERT_EQ(Describe(MultipartReader("b", SourceOf(c.body, 0, 1))), c.parts);
  ASSERT_EQ(Describe(MultipartReader("b", SourceOf(c.body, 0, 3)), 1), c.parts);
}

INSTANTIATE_TEST_SUITE_P(
    Table, MultipartBodyTest,
    testing::Values(
        BodyCase{"one", kStart + "content\r\n--b--\r\n", "n|-||content;"},
        BodyCase{"no_last_line_break", kStart + "content\r\n--b--", "n|-||content;"},
        BodyCase{"two", kStart + "1\r\n" + kStart + "2\r\n--b--", "n|-||1;n|-||2;"},
        BodyCase{"none", "--b--\r\n", ""},
        BodyCase{"empty_content", kStart + "\r\n--b--", "n|-||;"},
        BodyCase{"no_content", "--b\r\n" + kName + "\r\n--b--", "n|-||;"},
        BodyCase{"no_content_then_some", "--b\r\n" + kName + "\r\n" + kStart + "x\r\n--b--",
                 "n|-||;n|-||x;"},
        BodyCase{"preamble_and_epilogue",
                 "pre\r\namble\r\n" + kStart + "x\r\n--b--\r\nepi\r\n--b\r\n", "n|-||x;"},
        BodyCase{"line_break_first", "\r\n" + kStart + "x\r\n--b--", "n|-||x;"},
        BodyCase{"padding", "--b \t\r\n" + kName + "\r\nx\r\n--b-- \r\n", "n|-||x;"},
        BodyCase{"line_breaks_inside", kStart + "\r\n\r\n-\r\n--\r\n--a\r--b\n--b\r\n--b--",
                 "n|-||\r\n\r\n-\r\n--\r\n--a\r--b\n--b;"},
        BodyCase{"nul_and_high_bytes", kStart + "\0\xff\0"s + "\r\n--b--", "n|-||\0\xff\0;"s},
        BodyCase{"file",
                 "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a b.txt\"\r\n"
                 "Content-Type: text/plain; charset=utf-8\r\n\r\nx\r\n--b--",
                 "f|a b.txt|text/plain; charset=utf-8|x;"},
        BodyCase{"fields_in_any_case",
                 "--b\r\ncontent-type:a/b\r\nX-Else: 1\r\nCONTENT-DISPOSITION:Form-Data;NAME=f;"
                 "FileName=g\r\ncontent-transfer-encoding: BINARY\r\n\r\nx\r\n--b--",
                 "f|g|a/b|x;"},
        BodyCase{
            "escapes",
            "--b\r\nContent-Disposition: form-data; name=\"a\\\"b\\\\c;=\"; filename=\"C:\\d\\e\""
            "\r\n\r\nx\r\n--b--",
            "a\"b\\c;=|C:\\d\\e||x;"},
        BodyCase{"extended_name",
                 "--b\r\nContent-Disposition: form-data; name=f; filename=\"plain\"; "
                 "filename*=UTF-8'en'%e2%82%ac%20x\r\n\r\nx\r\n--b--",
                 "f|\xe2\x82\xac x||x;"},
        BodyCase{
            "empty_names",
            "--b\r\nContent-Disposition: form-data; name=\"\"; filename=\"\"\r\n\r\nx\r\n--b--",
            "|||x;"},
        // Refused:
        BodyCase{"nothing", "", "error"},
        BodyCase{"no_boundary", "some text\r\nand more\r\n", "error"},
        BodyCase{"cut_in_content", kStart + "cont", "n|-||error"},
        BodyCase{"cut_after_boundary", "--b", "error"},
        BodyCase{"cut_in_boundary", kStart + "x\r\n--b-", "n|-||x;error"},
        BodyCase{"cut_in_fields", "--b\r\nContent-Dispo", "error"},
        BodyCase{"line_feeds", "--b\nContent-Disposition: form-data; name=n\n\nx\n--b--\n",
                 "error"},
        BodyCase{"line_feed_in_fields", "--b\r\nX: 1\n" + kName + "\r\nx\r\n--b--", "error"},
        BodyCase{"longer_boundary", kStart + "x\r\n--bb\r\n\r\n--b--", "n|-||x;error"},
        BodyCase{"text_after_the_end", "--b--x", "error"},
        BodyCase{"no_disposition", "--b\r\nX: 1\r\n\r\nx\r\n--b--", "error"},
        BodyCase{"no_fields", "--b\r\n\r\nx\r\n--b--", "error"},
        BodyCase{"two_dispositions", "--b\r\n" + kName + kName + "\r\nx\r\n--b--", "error"},
        BodyCase{"no_name", "--b\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b--", "error"},
        BodyCase{"other_disposition",
                 "--b\r\nContent-Disposition: attachment; name=n\r\n\r\nx\r\n--b--", "error"},
        BodyCase{"name_twice",
                 "--b\r\nContent-Disposition: form-data; name=n; name=m\r\n\r\nx\r\n--b--",
                 "error"},
        BodyCase{"open_quote", "--b\r\nContent-Disposition: form-data; name=\"n\r\n\r\nx\r\n--b--",
                 "error"},
        BodyCase{"text_after_quote",
                 "--b\r\nContent-Disposition: form-data; name=\"n\"x\r\n\r\nx\r\n--b--", "error"},
        BodyCase{
            "other_charset",
            "--b\r\nContent-Disposition: form-data; name=n; filename*=latin1''x\r\n\r\nx\r\n--b--",
            "error"},
        BodyCase{"control_in_extended_name",
                 "--b\r\nContent-Disposition: form-data; name=n; filename*=utf-8''%00\r\n\r\n"
                 "x\r\n--b--",
                 "error"},
        BodyCase{"folded", "--b\r\nContent-Disposition: form-data;\r\n name=n\r\n\r\nx\r\n--b--",
                 "error"},
        BodyCase{"encoded",
                 "--b\r\n" + kName + "Content-Transfer-Encoding: base64\r\n\r\nx\r\n--b--",
                 "error"}),
    [](const auto& test) { return test.param.name; });

TEST(MultipartReaderTest, FieldsAreBounded) {
  const auto with = [](std::size_t bytes) {
    return Describe("--b\r\n" + kName + "X: " + std::string(bytes, 'x') + "\r\n\r\nx\r\n--b--");
  };
  EXPECT_EQ(with(16'000), "n|-||x;");
  EXPECT_EQ(with(16'500), "error");
  EXPECT_EQ(with(200'000), "error");
}

TEST(MultipartReaderTest, WhatStandsAroundThePartsIsBounded) {
  const std::string body = kStart + "x\r\n--b--\r\n";
  EXPECT_EQ(Describe(std::string(16'000, '\n') + "\r\n" + body), "n|-||x;");
  EXPECT_EQ(Describe(std::string(16'500, '\n') + "\r\n" + body), "error");
  EXPECT_EQ(Describe(body + std::string(16'000, '\n')), "n|-||x;");
  EXPECT_EQ(Describe(body + std::string(16'500, '\n')), "n|-||x;error");
}

TEST(MultipartReaderTest, JunkWithoutEndIsNotReadToItsEnd) {
  for (const std::string& start : {std::string("\r\n"), kStart + "x\r\n--b--\r\n"}) {
    std::size_t sent = 0;
    const auto source = [&](std::span<char> into) -> Result<std::size_t> {
      const std::size_t bytes = sent == 0 ? start.size() : 10;
      if (sent == 0) {
        start.copy(into.data(), start.size());
      } else {
        std::fill_n(into.begin(), bytes, '\n');
      }
      sent += bytes;
      return sent < (10U << 20) ? bytes : 0;
    };
    MultipartReader reader("b", source);
    auto part = reader.Next();
    if (part) part = reader.Next();
    EXPECT_EQ(part.error().code, ErrorCode::kInvalidArgument);
    EXPECT_LT(sent, 20'000U);
  }
}

TEST(MultipartReaderTest, SkipsWhatIsNotRead) {
  const std::string large(1'000'000, 'x');
  MultipartReader reader("b", SourceOf(kStart + large + "\r\n" + kStart + "2\r\n--b--", 0, 5000));
  ASSERT_TRUE(reader.Next()->has_value());
  char some[10];
  EXPECT_EQ(*reader.Read(some), 10U);
  ASSERT_TRUE(reader.Next()->has_value());
  EXPECT_EQ(*reader.Read(some), 1U);
  EXPECT_EQ(*reader.Read(some), 0U);
  EXPECT_FALSE(reader.Next()->has_value());
  EXPECT_FALSE(reader.Next()->has_value());
  EXPECT_EQ(*reader.Read(some), 0U);
}

TEST(MultipartReaderTest, BoundariesAtTheEdgesOfTheWindow) {
  for (const std::size_t window : {std::size_t{64 * 1024}, std::size_t{128 * 1024}}) {
    for (std::size_t off = 0; off < 120; ++off) {
      const std::string content(window - 120 + off, '\r');
      const std::string body = kStart + content + "\r\n" + kStart + "2\r\n--b--";
      ASSERT_EQ(Describe(body), "n|-||" + content + ";n|-||2;") << window << " " << off;
    }
  }
}

TEST(MultipartReaderTest, AFailingSourceStaysFailed) {
  int calls = 0;
  MultipartReader reader("b", [&](std::span<char>) -> Result<std::size_t> {
    ++calls;
    return Fail(ErrorCode::kUnavailable, "gone");
  });
  EXPECT_EQ(reader.Next().error().code, ErrorCode::kUnavailable);
  char some[10];
  EXPECT_EQ(reader.Read(some).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(reader.Next().error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(calls, 1);
}

TEST(MultipartReaderTest, ChangedBytesAreReadOrRefused) {
  const std::string body =
      "pre\r\n--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\\\"\"\r\n"
      "Content-Type: a/b\r\n\r\nx\r\n--b\r\n" +
      kName + "\r\n\r\n--b--\r\nepi";
  std::mt19937 random(7);
  const std::string spice = "\r\n-b\";=\\ \t:\0n"s;
  for (int i = 0; i < 30'000; ++i) {
    std::string changed = body;
    for (unsigned changes = 1 + random() % 4; changes > 0; --changes) {
      const std::size_t at = random() % changed.size();
      switch (random() % 3) {
        case 0:
          changed[at] = spice[random() % spice.size()];
          break;
        case 1:
          changed.insert(at, 1, spice[random() % spice.size()]);
          break;
        default:
          changed.erase(at, 1 + random() % 3);
      }
    }
    const std::string whole = Describe(changed);
    ASSERT_EQ(Describe(MultipartReader(
                  "b", SourceOf(changed, random() % changed.size(), 1 + random() % 9))),
              whole);
  }
}

struct TypeCase {
  std::string name;
  std::string content_type;
  std::string boundary;  // "" for none
};
class BoundaryOfTest : public testing::TestWithParam<TypeCase> {};
TEST_P(BoundaryOfTest, IsFoundOrRefused) {
  EXPECT_EQ(MultipartReader::BoundaryOf(GetParam().content_type).value_or(""), GetParam().boundary);
}
INSTANTIATE_TEST_SUITE_P(
    Table, BoundaryOfTest,
    testing::Values(TypeCase{"plain", "multipart/form-data; boundary=abc", "abc"},
                    TypeCase{"case", "Multipart/Form-Data;BOUNDARY=aBc", "aBc"},
                    TypeCase{"quoted", "multipart/form-data; boundary=\"a b:c\"", "a b:c"},
                    TypeCase{"more", "multipart/form-data; charset=x; boundary=a;z=1", "a"},
                    TypeCase{"seventy", "multipart/form-data; boundary=" + std::string(70, 'x'),
                             std::string(70, 'x')},
                    TypeCase{"too_long", "multipart/form-data; boundary=" + std::string(71, 'x'),
                             ""},
                    TypeCase{"none", "multipart/form-data", ""},
                    TypeCase{"empty", "multipart/form-data; boundary=", ""},
                    TypeCase{"empty_quoted", "multipart/form-data; boundary=\"\"", ""},
                    TypeCase{"twice", "multipart/form-data; boundary=a; boundary=b", ""},
                    TypeCase{"bad_character", "multipart/form-data; boundary=\"a*b\"", ""},
                    TypeCase{"blank_at_end", "multipart/form-data; boundary=\"a \"", ""},
                    TypeCase{"mixed", "multipart/mixed; boundary=a", ""},
                    TypeCase{"nothing", "", ""}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace forkbox::http
