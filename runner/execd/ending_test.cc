#include "runner/execd/ending.h"

#include <gtest/gtest.h>

#include <csignal>

namespace forkbox::execd {
namespace {

using std::chrono::milliseconds;

TEST(EndingTest, SaysItAsGoDoes) {
  struct Case {
    int wait_status;
    int code;
    std::string error;
  };
  for (const Case& c :
       {Case{0, 0, ""}, Case{3 << 8, 3, "exit status 3"}, Case{255 << 8, 255, "exit status 255"},
        Case{SIGKILL, -1, "signal: killed"}, Case{SIGTERM, -1, "signal: terminated"},
        Case{SIGSEGV | 0x80, -1, "signal: segmentation fault"},
        Case{SIGPIPE, -1, "signal: broken pipe"}, Case{40, -1, "signal: signal 40"}}) {
    const Ending ending = DescribeWaitStatus(c.wait_status);
    EXPECT_EQ(ending.exit_code, c.code) << c.wait_status;
    EXPECT_EQ(ending.error, c.error);
    EXPECT_EQ(ending.Succeeded(), c.code == 0);
  }
}

TEST(EndingTest, NamesTheTimeout) {
  EXPECT_EQ(DescribeTimeout(milliseconds(2000)).error, "timeout after 2s: signal: killed");
  EXPECT_EQ(DescribeTimeout(milliseconds(2000)).exit_code, -1);
  EXPECT_EQ(DescribeDuration(milliseconds(1)), "1ms");
  EXPECT_EQ(DescribeDuration(milliseconds(1500)), "1.5s");
  EXPECT_EQ(DescribeDuration(milliseconds(20'000)), "20s");
  EXPECT_EQ(DescribeDuration(milliseconds(90'000)), "1m30s");
  EXPECT_EQ(DescribeDuration(milliseconds(3'600'050)), "1h0m0.05s");
}

}  // namespace
}  // namespace forkbox::execd
