#include <gtest/gtest.h>

#include <set>
#include <string>

#include "runner/sandbox/vm/guest/warm_up.h"

namespace forkbox::sandbox::vm {
namespace {

LanguageStatus Named(const std::string& id) {
  LanguageStatus language;
  language.id = id;
  return language;
}

TEST(WarmUpPrograms, AreUnlikeEachOther) {
  for (const char* id : {"python", "javascript", "bash", "go"}) {
    const auto programs = WarmUpPrograms(Named(id));
    std::set<std::string> codes;
    for (const auto& program : programs) codes.insert(program.code);
    EXPECT_EQ(codes.size(), programs.size()) << id;
    EXPECT_GE(programs.size(), 2U) << id;
  }
}

TEST(WarmUpPrograms, OfOtherLanguagesThereAreNone) {
  EXPECT_TRUE(WarmUpPrograms(Named("ruby")).empty());
}

}  // namespace
}  // namespace forkbox::sandbox::vm
