// Two drivers on one host, as two runners or a runner and a command of ours are: the programs of
// one are nothing to those of the other.
#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "tests/sandbox/box_under_test.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::sandbox::testing {
namespace {

constexpr std::size_t kBoxes = 4;

class Neighbour {
 public:
  Neighbour() {
    ProcessDriverOptions options = TestOptions(0);
    options.only_language = "bash";
    options.max_sandboxes = 16;
    options.max_boxes = kBoxes;
    auto driver = StartProcessDriver(options);
    EXPECT_TRUE(driver) << driver.error().message;
    if (driver) driver_ = std::move(*driver);
  }

  Box& Open() {
    BoxLimits limits;
    limits.pids = 32;
    auto box = driver_->OpenBox(limits);
    EXPECT_TRUE(box) << box.error().message;
    boxes_.push_back(std::move(*box));
    return *boxes_.back();
  }

 private:
  std::unique_ptr<ProcessDriver> driver_;
  std::vector<std::unique_ptr<Box>> boxes_;
};

// What the kernel counts by uid, RLIMIT_NPROC first of all, is counted for a whole host: a program
// that forks to its limit would take the forks of all others of its uid. Bash then tries again for
// 15 s, and a JVM ends with words on its stdout.
TEST(Neighbours, OneThatForksToItsLimitTakesNobodyElsesProcesses) {
  Neighbour loud;
  Neighbour quiet;
  std::vector<BoxProcess> crowds;
  for (std::size_t i = 0; i < kBoxes; ++i) {
    auto crowd = loud.Open().Start(
        Shell("for i in $(seq 28); do sleep 1000 & done; echo up; exec sleep 1000"));
    ASSERT_TRUE(crowd) << crowd.error().message;
    ASSERT_NE(ReadUntil(crowd->stdout_pipe.get(), "up\n"), "");
    crowds.push_back(std::move(*crowd));
  }
  for (std::size_t i = 0; i < kBoxes; ++i) {
    const Ended ended =
        RunIn(quiet.Open(), "for i in $(seq 8); do sleep 0.1 & done; wait; echo done");
    EXPECT_EQ(ended.out, "done\n") << Describe(ended);
    EXPECT_EQ(ended.err, "") << Describe(ended);
  }
}

TEST(Neighbours, NoUidIsAnybodyElses) {
  Neighbour one;
  Neighbour other;
  std::set<std::string> uids;
  for (std::size_t i = 0; i < kBoxes; ++i) {
    for (Neighbour* neighbour : {&one, &other}) {
      const Ended ended = RunIn(neighbour->Open(), "id -u");
      EXPECT_TRUE(uids.insert(ended.out).second) << ended.out << " again\n" << Describe(ended);
    }
  }
}

}  // namespace
}  // namespace forkbox::sandbox::testing
