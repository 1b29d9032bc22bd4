#include "runner/sandbox/forkserver/warm_template.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace forkbox::sandbox {
namespace {

TEST(WarmTemplateTest, LastWordsAreThoseThatSayTheMost) {
  struct Case {
    const char* said;
    const char* words;
  };
  const Case cases[] = {
      {"", "ended without a word"},
      {"\n\n", "ended without a word"},
      {"no newline", "no newline"},
      {"Traceback:\n  line 1\nImportError: numpy\n", "ImportError: numpy"},
      {"Run /init\r\nKernel panic - not syncing: no init\r\nCPU: 0\r\nKernel Offset: disabled\r\n",
       "Kernel panic - not syncing: no init"},
      // The first says why; the last is its echo.
      {"Kernel panic - not syncing: why\n---[ end Kernel panic - not syncing: why ]---\n",
       "Kernel panic - not syncing: why"},
      {"before\npanic", "panic"},
  };
  for (const Case& c : cases) {
    WarmTemplate entry;
    entry.said = c.said;
    EXPECT_EQ(entry.LastWords(), c.words) << c.said;
  }
}

TEST(WarmTemplateTest, TheVariantIsPartOfTheCommand) {
  WarmTemplate entry;
  entry.spec.command = {"/bin/machine", "-disk", "file=/image/@variant@/base,ro", "@variant@"};
  EXPECT_EQ(entry.Varied().command,
            (std::vector<std::string>{"/bin/machine", "-disk", "file=/image//base,ro", ""}));
  entry.variant = "0123456789ab";
  EXPECT_EQ(entry.Varied().command,
            (std::vector<std::string>{"/bin/machine", "-disk", "file=/image/0123456789ab/base,ro",
                                      "0123456789ab"}));
}

}  // namespace
}  // namespace forkbox::sandbox
