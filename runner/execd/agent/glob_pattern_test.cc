#include "runner/execd/agent/glob_pattern.h"

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <string>

namespace forkbox::execd {
namespace {

TEST(GlobPattern, Matches) {
  struct Case {
    const char* pattern;
    const char* name;
    bool matches;
  };
  for (const Case& c : {
           Case{"", "", true},
           Case{"", "a", false},
           Case{"abc", "abc", true},
           Case{"abc", "ab", false},
           Case{"abc", "abcd", false},
           Case{"*", "", true},
           Case{"*", ".hidden", true},
           Case{"*.txt", "a.txt", true},
           Case{"*.txt", ".txt", true},
           Case{"*.txt", "a.txt~", false},
           Case{"a*b*c*d*e*", "axbxcxdxe", true},
           Case{"a*b?c*x", "abxbbxdbxebxczzx", true},
           Case{"a*b?c*x", "abxbbxdbxebxczzy", false},
           Case{"*x", "xxx", true},
           Case{"?", "", false},
           Case{"a?b",
                "a\xe2\x98\xba"
                "b",
                true},
           Case{"a???b",
                "a\xe2\x98\xba"
                "b",
                false},
           Case{"?", "\xff", true},
           Case{"\xff", "\xff", true},
           Case{"\xff", "\xfe", false},
           Case{"\xc3\xa4", "\xc3\xa4", true},
           Case{"?", "\xc3", true},       // half a character
           Case{"??", "\xc0\x80", true},  // no character in two bytes
           // "**" is no more than "*", and as a folder none at all
           Case{"**", "anything", true},
           Case{"**.txt", "a.txt", true},
           Case{"a**z", "abcz", true},
           Case{"**/*.txt", "a.txt", true},
           Case{"**/**/c", "c", true},
           Case{"a**/c", "ac", false},
           Case{"a/**", "a", true},
           Case{"a/b", "a", false},
           Case{"sub/*.txt", "a.txt", false},
           Case{"/*", "a", false},
           Case{"{**/a,b}", "a", true},
           // classes
           Case{"ab[c]", "abc", true},
           Case{"ab[b-d]", "abc", true},
           Case{"ab[e-g]", "abc", false},
           Case{"ab[^c]", "abc", false},
           Case{"ab[!e-g]", "abc", true},
           Case{"[!a]", "", false},
           Case{"[\xce\xb1-\xce\xb6]", "\xce\xb3", true},
           Case{"[a-\xce\xb6]*", "\xce\xb1", true},
           Case{"*[a-\xce\xb6]", "A", false},
           Case{"[\\]a]", "]", true},
           Case{"[\\-x]", "-", true},
           Case{"[\\-x]", "a", false},
           Case{"[-x]", "-", true},
           Case{"[x-]", "-", true},
           Case{"[x-]", "z", false},
           Case{"[a-b-d]", "-", true},
           Case{"[a-b-d]", "c", false},
           Case{"[z-a]", "m", false},
           Case{"[*?]", "*", true},
           Case{"[*?]", "a", false},
           Case{"[!!]", "!", false},
           Case{"[a!]", "!", true},
           Case{"]", "]", true},
           Case{"e\\[", "e[", true},
           // braces
           Case{"ab{c,d}", "abc", true},
           Case{"ab{c,d}", "abd", true},
           Case{"ab{c,d}", "abcd", false},
           Case{"ab{c,d,*}", "abcde", true},
           Case{"a{,bc}", "a", true},
           Case{"a{,bc}", "abc", true},
           Case{"{a{b,c},d}e", "ace", true},
           Case{"{a{b,c},d}e", "de", true},
           Case{"{a{b,c},d}e", "ade", false},
           Case{"{}", "", true},
           Case{"{a}", "a", true},
           Case{"{\\,,b}", ",", true},
           Case{"{[,],b}", ",", true},
           Case{"a,b", "a,b", true},
           Case{"a}", "a}", true},
           Case{"{\\*,\\?}", "?", true},
           // escapes
           Case{"a\\*b", "ab", false},
           Case{"a\\*b", "a*b", true},
           Case{"\\\\", "\\", true},
           Case{"\\a", "a", true},
           // negations
           Case{"!(a.txt)", "b.txt", true},
           Case{"!(a.txt)", "a.txt", false},
           Case{"!(*.txt)", "b.txt", false},
           Case{"!(*.txt)", "b.md", true},
           Case{"a!(b)", "ac", true},
           Case{"a!(b)", "ab", false},
           Case{"a!(b)", "xb", false},
           Case{"a!(b)", "a", false},
           Case{"a!(b)c", "abd", true},
           Case{"*!(b)", "ab", false},
           Case{"*!(b)", "ac", true},
           Case{"!({a,b})", "a", false},
           Case{"!({a,b})", "c", true},
           Case{"!(!(a))", "a", true},
           Case{"!(!(a))", "b", false},
           Case{"!(a(b)c)", "a(b)c", false},
           Case{"wow!", "wow!", true},
           Case{"!a", "!a", true},
           Case{"\\!(a)", "!(a)", true},
           Case{"[!(]x", "ax", true},
       }) {
    SCOPED_TRACE(std::string(c.pattern) + " | " + c.name);
    const auto pattern = GlobPattern::Parse(c.pattern);
    ASSERT_TRUE(pattern) << pattern.error().message;
    EXPECT_EQ(pattern->Matches(c.name), c.matches);
  }
}

TEST(GlobPattern, Refuses) {
  std::string deep;
  std::string negations;
  for (int i = 0; i < 33; ++i) deep += '{';
  for (int i = 0; i < 9; ++i) negations += "!(a)";
  for (const std::string& bad : {std::string("["),
                                 std::string("[^"),
                                 std::string("[a"),
                                 std::string("a["),
                                 std::string("[]a]"),
                                 std::string("[!]"),
                                 std::string("[]"),
                                 std::string("[a-"),
                                 std::string("[a\\"),
                                 std::string("[a-\\"),
                                 std::string("\\"),
                                 std::string("a\\"),
                                 std::string("{"),
                                 std::string("{a"),
                                 std::string("{a,"),
                                 std::string("a{b,{c}"),
                                 std::string("ab{c,d}["),
                                 std::string("!(a"),
                                 std::string("!("),
                                 std::string("!(a\\)"),
                                 std::string("{!(a),b}"),
                                 deep + std::string(33, '}'),
                                 negations}) {
    SCOPED_TRACE(bad);
    const auto pattern = GlobPattern::Parse(bad);
    ASSERT_FALSE(pattern);
    EXPECT_EQ(pattern.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(pattern.error().message.find("invalid pattern"), 0U);
  }
}

// Patterns that take other matchers years.
TEST(GlobPattern, TakesNoLongerForPatternsMadeToBeSlow) {
  std::string stars;
  std::string choices;
  for (int i = 0; i < 500; ++i) {
    stars += "*a";
    choices += "{a,aa,}";
  }
  const std::string name = std::string(254, 'a') + "b";
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& pattern : {stars + "c", choices + "c", "!(" + stars + "c)"}) {
    const auto parsed = GlobPattern::Parse(pattern);
    ASSERT_TRUE(parsed) << parsed.error().message;
    EXPECT_EQ(parsed->Matches(name), pattern.front() == '!');
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(GlobPattern, AnyTextIsAPatternOrNone) {
  std::mt19937 random(7);
  const std::string alphabet = "ab*?[]{},!()\\-^/\xc3\xa4\xff";
  int parsed = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string pattern(random() % 24, ' ');
    std::string name(random() % 8, ' ');
    for (char& c : pattern) c = alphabet[random() % alphabet.size()];
    for (char& c : name) c = alphabet[random() % alphabet.size()];
    const auto glob = GlobPattern::Parse(pattern);
    if (!glob) continue;
    ++parsed;
    (void)glob->Matches(name);
    (void)glob->Matches(std::string(255, 'a'));
  }
  EXPECT_GT(parsed, 1000);
}

}  // namespace
}  // namespace forkbox::execd
