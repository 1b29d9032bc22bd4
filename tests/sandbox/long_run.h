// LongRun: a run that goes on until somebody ends it.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "tests/sandbox/driver_under_test.h"

namespace forkbox::sandbox::testing {

// Started, and its program up, when the constructor returns.
class LongRun {
 public:
  LongRun(Driver& driver, const std::string& language) {
    auto sandbox = driver.Fork(language, Bash("").limits);
    EXPECT_TRUE(sandbox) << sandbox.error().message;
    if (!sandbox) return;
    sandbox_ = std::move(*sandbox);
    thread_ = std::thread([this, language] {
      schema::Source source;
      source.code =
          language == "bash" ? "echo up; sleep 1000" : "print('up')\nimport time; time.sleep(1000)";
      outcome_ = sandbox_->Run(source, [this](const schema::Event&) { Up(); });
      Up();
    });
    up_.wait(false);
  }
  ~LongRun() {
    if (thread_.joinable()) (void)End();
  }
  schema::Outcome End() {
    thread_.join();
    sandbox_.reset();
    return outcome_;
  }

 private:
  void Up() {
    up_ = true;
    up_.notify_all();
  }
  std::unique_ptr<Sandbox> sandbox_;
  schema::Outcome outcome_;
  std::atomic<bool> up_{false};
  std::thread thread_;
};

}  // namespace forkbox::sandbox::testing
