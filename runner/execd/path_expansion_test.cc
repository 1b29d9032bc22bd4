#include "runner/execd/path_expansion.h"

#include <gtest/gtest.h>

namespace forkbox::execd {
namespace {

const Environment kEnvironment{{"HOME", "/box/work"}, {"A", "alpha"}, {"_b1", "beta"},
                               {"EMPTY", ""},         {"TILDE", "~"}, {"NESTED", "$A"}};

TEST(PathExpansion, Expands) {
  struct Case {
    const char* path;
    const char* expanded;
  };
  for (const Case& c : {
           Case{"", ""},
           Case{"/plain/path", "/plain/path"},
           Case{"$A", "alpha"},
           Case{"/x/$A/y", "/x/alpha/y"},
           Case{"${A}x", "alphax"},
           Case{"$A$_b1", "alphabeta"},
           Case{"$A-b", "alpha-b"},
           Case{"x$EMPTY${EMPTY}y", "xy"},
           Case{"~", "/box/work"},
           Case{"~/f", "/box/work/f"},
           Case{"$TILDE/f", "/box/work/f"},  // the result counts
           Case{"~user", "~user"},
           Case{"/~", "/~"},
           Case{"a~/b", "a~/b"},
           Case{"$NESTED", "$A"},  // once
           // No such form: as they are.
           Case{"$", "$"},
           Case{"$1", "$1"},
           Case{"$$", "$$"},
           Case{"$$A", "$alpha"},
           Case{"${", "${"},
           Case{"${}", "${}"},
           Case{"${A", "${A"},
           Case{"${1}", "${1}"},
           Case{"${A b}", "${A b}"},
           Case{"price$", "price$"},
           Case{"$-", "$-"},
           Case{"$\xc3\xa4", "$\xc3\xa4"},
       }) {
    SCOPED_TRACE(c.path);
    const auto expanded = ExpandPath(c.path, kEnvironment);
    ASSERT_TRUE(expanded) << expanded.error().message;
    EXPECT_EQ(*expanded, c.expanded);
  }
}

TEST(PathExpansion, NamesWhatIsNotDefined) {
  struct Case {
    const char* path;
    const char* names;
  };
  for (const Case& c : {Case{"$NO", "NO"}, Case{"/$Z/${B}/$A/$Z/$B_", "B,B_,Z"},
                        Case{"~/$NO", "NO"}, Case{"${a}", "a"}}) {
    SCOPED_TRACE(c.path);
    const auto expanded = ExpandPath(c.path, kEnvironment);
    ASSERT_FALSE(expanded);
    EXPECT_EQ(expanded.error().code, ErrorCode::kInvalidArgument);
    EXPECT_EQ(expanded.error().message,
              std::string("path references undefined environment variables: ") + c.names);
  }
  EXPECT_EQ(ExpandPath("~/x", {}).error().message,
            "path references undefined environment variables: HOME");
}

TEST(PathExpansion, Cleans) {
  struct Case {
    const char* path;
    const char* clean;
  };
  for (const Case& c : {
           Case{"/a//b/../c", "/a/c"},
           Case{"/", "/"},
           Case{"//", "/"},
           Case{"/..", "/"},
           Case{"/../../etc", "/etc"},
           Case{"/a/b/", "/a/b"},
           Case{"/a/./b/.", "/a/b"},
           Case{"/a/...", "/a/..."},
           Case{"", "/box/work"},
           Case{".", "/box/work"},
           Case{"f", "/box/work/f"},
           Case{"./f/", "/box/work/f"},
           Case{"..", "/box"},
           Case{"../../../../x", "/x"},
           Case{" ", "/box/work/ "},
       }) {
    SCOPED_TRACE(c.path);
    EXPECT_EQ(CleanPath(c.path, "/box/work"), c.clean);
    EXPECT_EQ(CleanPath(CleanPath(c.path, "/box/work"), "/elsewhere"), c.clean);
  }
}

}  // namespace
}  // namespace forkbox::execd
