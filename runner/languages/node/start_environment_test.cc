#include "runner/languages/node/start_environment.h"

#include <gtest/gtest.h>

namespace forkbox::javascript {
namespace {

struct Case {
  const char* name;
  Environment environment;
  bool needs_real_start;
};

class StartEnvironmentTest : public testing::TestWithParam<Case> {};

TEST_P(StartEnvironmentTest, KnowsWhatOnlyTheStartReads) {
  EXPECT_EQ(NeedsRealStart(GetParam().environment), GetParam().needs_real_start);
}

INSTANTIATE_TEST_SUITE_P(
    Variables, StartEnvironmentTest,
    testing::Values(Case{"nothing", {}, false},
                    Case{
                        "ordinary", {{"PATH", "/bin"}, {"NODE_ENV", "test"}, {"TZ", "UTC"}}, false},
                    Case{"options", {{"PATH", "/bin"}, {"NODE_OPTIONS", "--no-warnings"}}, true},
                    Case{"debug", {{"NODE_DEBUG", "fs"}}, true},
                    Case{"preload", {{"LD_PRELOAD", "./own.so"}}, true},
                    Case{"plain_locale", {{"LANG", "C.UTF-8"}, {"LC_ALL", "en_US.UTF-8"}}, false},
                    Case{"other_locale", {{"LANG", "de_DE.UTF-8"}}, true},
                    Case{"similar_names", {{"MY_NODE_OPTIONS", "x"}, {"LANGUAGE", "de"}}, false}),
    [](const auto& test) { return test.param.name; });

TEST(StripForbidden, TakesAwayTheHostsCertificates) {
  Environment environment{{"A", "1"}, {"NODE_EXTRA_CA_CERTS", "/etc/ssl/all.pem"}, {"B", "2"}};
  StripForbidden(&environment);
  EXPECT_EQ(environment, (Environment{{"A", "1"}, {"B", "2"}}));
}

TEST(TakeSourceMaps, IsSeenByNobodyElse) {
  Environment environment{{"A", "1"}, {"FORKBOX_SOURCE_MAPS", "1"}};
  EXPECT_TRUE(TakeSourceMaps(&environment));
  EXPECT_EQ(environment, (Environment{{"A", "1"}}));
  EXPECT_FALSE(TakeSourceMaps(&environment));
}

}  // namespace
}  // namespace forkbox::javascript
