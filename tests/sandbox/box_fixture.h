// One box of the shared driver for each test, and that nothing is left of it afterwards.
#pragma once

#include <gtest/gtest.h>

#include <memory>

#include "tests/sandbox/box_under_test.h"
#include "tests/sandbox/leftovers_probe.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::sandbox::testing {

class BoxContract : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    driver_ = &dynamic_cast<ProcessDriver&>(SharedDriver(ProcessDriverUnderTest(1)));
  }
  // What was opened leaves nothing behind: processes, cgroups, mounts, descriptors.
  void SetUp() override {
    probe_ = std::make_unique<LeftoversProbe>(*driver_);
    box_ = Open({});
  }
  void TearDown() override {
    box_.reset();
    EXPECT_EQ(probe_->WaitUntilClean(), "");
  }
  static std::unique_ptr<Box> Open(const BoxLimits& limits) {
    auto box = driver_->OpenBox(limits);
    EXPECT_TRUE(box) << box.error().message;
    return box ? std::move(*box) : nullptr;
  }

  static inline ProcessDriver* driver_ = nullptr;
  std::unique_ptr<LeftoversProbe> probe_;
  std::unique_ptr<Box> box_;
};
#define EXPECT_SAYS(ended_expression, text)                       \
  do {                                                            \
    const Ended ended_value = (ended_expression);                 \
    EXPECT_EQ(ended_value.exit_code, 0) << Describe(ended_value); \
    EXPECT_EQ(ended_value.out, text) << Describe(ended_value);    \
  } while (false)

}  // namespace forkbox::sandbox::testing
