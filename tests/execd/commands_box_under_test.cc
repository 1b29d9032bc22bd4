// A box of the real driver, of which there is one for all tests of an executable.
#include "tests/execd/commands_box_under_test.h"

#include <gtest/gtest.h>

#include <utility>

#include "runner/sandbox/process_driver.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::execd::testing {
namespace {

class Real : public BoxUnderTest {
 public:
  explicit Real(std::unique_ptr<sandbox::Box> box) : box_(std::move(box)), files_(*box_) {}
  sandbox::Box& box() override { return *box_; }
  Files& files() override { return files_; }

 private:
  std::unique_ptr<sandbox::Box> box_;
  Files files_;
};

class Driver : public ::testing::Environment {
 public:
  void SetUp() override {
    auto options = sandbox::testing::TestOptions(0);
    options.only_language = "bash";
    auto driver = sandbox::testing::StartProcessDriver(options);
    ASSERT_TRUE(driver) << driver.error().message;
    driver_ = std::move(*driver);
  }
  void TearDown() override { driver_.reset(); }
  sandbox::ProcessDriver& driver() { return *driver_; }

 private:
  std::unique_ptr<sandbox::ProcessDriver> driver_;
};

// Googletest owns it, and sets it up before the first test.
Driver* const driver =
    static_cast<Driver*>(::testing::AddGlobalTestEnvironment(new Driver));  // NOLINT

}  // namespace

std::unique_ptr<BoxUnderTest> OpenBoxUnderTest(const sandbox::BoxLimits& limits) {
  auto box = driver->driver().OpenBox(limits);
  EXPECT_TRUE(box) << box.error().message;
  return box ? std::make_unique<Real>(std::move(*box)) : nullptr;
}

}  // namespace forkbox::execd::testing
