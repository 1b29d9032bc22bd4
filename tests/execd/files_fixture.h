// Files over real boxes: one driver for a whole executable, a box of its own for each test.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runner/execd/files.h"
#include "tests/sandbox/box_under_test.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::execd::testing {

using sandbox::testing::RunIn;

class FilesInBox : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    if (driver_ != nullptr) return;
    auto options = sandbox::testing::TestOptions(0);
    options.only_language = "bash";
    auto driver = sandbox::testing::StartProcessDriver(options);
    ASSERT_TRUE(driver) << driver.error().message;
    driver_ = driver->release();  // until the process ends
  }

  void SetUp() override { Open({}); }

  void Open(const sandbox::BoxLimits& limits) {
    files_.reset();
    box_.reset();
    ASSERT_NE(driver_, nullptr);
    auto box = driver_->OpenBox(limits);
    ASSERT_TRUE(box) << box.error().message;
    box_ = std::move(*box);
    files_ = std::make_unique<Files>(*box_);
  }

  // What a script in the box says.
  std::string Run(const std::string& script) {
    const sandbox::testing::Ended ended = RunIn(*box_, script);
    EXPECT_EQ(ended.exit_code, 0) << script << "\n" << sandbox::testing::Describe(ended);
    return ended.out;
  }

  Result<void> Write(const std::string& path, std::string_view content,
                     const Permission& permission = {}) {
    auto upload = files_->Create(path, permission);
    if (!upload) return Fail(upload.error());
    if (auto written = (*upload)->Write(content); !written) return written;
    return (*upload)->Commit();
  }

  // What Open() hands out, read whole.
  std::string Read(const std::string& path) {
    auto open = files_->Open(path);
    EXPECT_TRUE(open) << open.error().message;
    if (!open) return "";
    std::string text(open->size, '\0');
    const ssize_t n = ::pread(open->file.get(), text.data(), text.size(), 0);
    EXPECT_EQ(n, static_cast<ssize_t>(text.size()));
    return text;
  }

  static std::vector<std::string> PathsOf(const Result<std::vector<FileInfo>>& infos) {
    EXPECT_TRUE(infos) << infos.error().message;
    std::vector<std::string> paths;
    if (infos) {
      for (const FileInfo& info : *infos) paths.push_back(info.path);
    }
    return paths;
  }

  static inline sandbox::ProcessDriver* driver_ = nullptr;
  std::unique_ptr<sandbox::Box> box_;
  std::unique_ptr<Files> files_;  // of box_
};

// A call that is refused with this code, and words that contain this.
#define EXPECT_REFUSED(call, expected_code, words)                                  \
  do {                                                                              \
    const auto refused = (call);                                                    \
    EXPECT_FALSE(refused) << #call;                                                 \
    if (!refused) {                                                                 \
      EXPECT_EQ(ToString(refused.error().code), ToString(ErrorCode::expected_code)) \
          << refused.error().message;                                               \
      EXPECT_THAT(refused.error().message, ::testing::HasSubstr(words));            \
    }                                                                               \
  } while (false)
#define EXPECT_DONE(call)                                       \
  do {                                                          \
    const auto done = (call);                                   \
    EXPECT_TRUE(done) << #call << ": " << done.error().message; \
  } while (false)

}  // namespace forkbox::execd::testing
