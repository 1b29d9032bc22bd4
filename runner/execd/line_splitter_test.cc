#include "runner/execd/line_splitter.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace forkbox::execd {
namespace {

struct Case {
  std::string name;
  std::vector<std::string> reads;
  std::vector<std::string> lines;
};

class LineSplitterTest : public testing::TestWithParam<Case> {};

TEST_P(LineSplitterTest, CutsAsOpenSandboxDoes) {
  LineSplitter splitter;
  std::vector<std::string> lines;
  const auto keep = [&](std::string line) { lines.push_back(std::move(line)); };
  for (const std::string& read : GetParam().reads) splitter.Feed(read, keep);
  splitter.Finish(keep);
  EXPECT_EQ(lines, GetParam().lines);
}

INSTANTIATE_TEST_SUITE_P(
    Outputs, LineSplitterTest,
    testing::Values(Case{"nothing", {}, {}}, Case{"one", {"a\n"}, {"a"}},
                    Case{"tail_at_the_end", {"a\nb"}, {"a", "b"}},
                    Case{"pieces_of_a_line", {"a", "b", "c\n"}, {"abc"}},
                    Case{"empty_lines", {"a\n\nb\n\n\nc\n"}, {"a", "\n", "b", "\n", "\n", "c"}},
                    Case{"only_a_line_end", {"\n"}, {"\n"}},
                    Case{"crlf", {"a\r\nb\r\n"}, {"a", "b"}},
                    Case{"crlf_over_two_reads", {"a\r", "\nb"}, {"a", "b"}},
                    Case{"cr_then_line_that_begins_anew", {"a\r", "b\n"}, {"a", "b"}},
                    Case{"progress_bar", {"10%\r20%\r30%\n"}, {"10%", "20%", "30%"}},
                    Case{"cr_cr_lf", {"a\r\r\nb"}, {"a", "\n", "b"}},
                    Case{"lf_after_crlf_over_reads", {"a\r", "\n", "\n"}, {"a", "\n"}},
                    Case{"no_utf8", {"\xff\xfe\n"}, {"\xff\xfe"}},
                    Case{"nul", {std::string("a\0b\n", 4)}, {std::string("a\0b", 3)}},
                    Case{"longer_than_a_line_may_be",
                         {std::string(kMaxLineBytes + 5, 'x') + "\ny\n"},
                         {std::string(kMaxLineBytes, 'x'), "xxxxx", "y"}},
                    Case{"exactly_as_long",
                         {std::string(kMaxLineBytes, 'x'), "\n\ny"},
                         {std::string(kMaxLineBytes, 'x'), "\n", "y"}}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace forkbox::execd
