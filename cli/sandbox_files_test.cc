#include "cli/sandbox_files.h"

#include <gtest/gtest.h>

namespace forkbox::cli {
namespace {

// What one box may hold by the bounds of commands and contexts alone.
static_assert(kFilesOfSandbox >= 256);

struct RoomCase {
  const char* name;
  std::size_t files;
  std::size_t others;
  std::size_t wanted;
  std::size_t fit;
};
class SandboxesWithinTest : public ::testing::TestWithParam<RoomCase> {};

TEST_P(SandboxesWithinTest, NeverPromisesMoreThanThereIs) {
  const RoomCase& c = GetParam();
  const std::size_t fit = SandboxesWithin(c.files, c.others, c.wanted);
  EXPECT_EQ(fit, c.fit);
  if (c.files >= c.others + kFilesPlanned) {
    EXPECT_LE(c.others + fit * kFilesPlanned, c.files);
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, SandboxesWithinTest,
    ::testing::Values(RoomCase{"all", 100 + 128 * kFilesPlanned, 100, 128, 128},
                      RoomCase{"one_short", 99 + 128 * kFilesPlanned, 100, 128, 127},
                      RoomCase{"few", 4096, 1000, 128, 3096 / kFilesPlanned},
                      RoomCase{"none_is_one", 1024, 1000, 128, 1},
                      RoomCase{"others_take_all", 1024, 2000, 128, 1},
                      RoomCase{"none_wanted", 1024, 100, 0, 0}),
    [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace forkbox::cli
