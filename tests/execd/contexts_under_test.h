// Contexts in a real box, and what their cells told, in a form that tests can compare.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "runner/execd/contexts.h"
#include "runner/execd/files.h"
#include "runner/sandbox/box.h"
#include "tests/sandbox/leftovers_probe.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::execd::testing {

// Thread-safe.
class Told final : public EventSink {
 public:
  // Asked before an event is kept; may block. False: nobody listens any more.
  std::function<bool(const Event&)> before = nullptr;

  bool Put(const Event& event) override;

  // A line each: "init", "out hi\n" (pieces in a row as one), "err …", "count 2",
  // "result {\"text\":\"4\"}", "status error", "error NameError: …", "complete". No pings.
  [[nodiscard]] std::vector<std::string> Story() const;
  // Without the init at its beginning and the complete at its end, which must be there.
  [[nodiscard]] std::vector<std::string> Cell() const;
  [[nodiscard]] std::string Text(Event::Type type) const;
  [[nodiscard]] std::size_t Count(Event::Type type) const;
  [[nodiscard]] Event Error() const;            // the last kError; an empty event if there is none
  [[nodiscard]] nlohmann::json Result() const;  // of the last kResult
  // Waits until so much of stdout has come.
  bool WaitForOutput(const std::string& text) const;
  [[nodiscard]] std::vector<Event> events() const;

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<Event> events_;
};

class ContextsTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite();
  void SetUp() override;
  void TearDown() override;
  void Open(const sandbox::BoxLimits& limits, Contexts::Options options);
  static Contexts::Options Options();

  // A context that is there, or the test fails.
  std::string NewContext(const std::string& language = "python");
  // The cell to its end.
  Told& Run(const std::string& id, const std::string& code);
  // The cell in a thread of its own; joined by the end of the test at the latest.
  struct Running {
    Told told;
    std::jthread thread;
  };
  std::unique_ptr<Running> Begin(const std::string& id, const std::string& code,
                                 std::function<bool(const Event&)> before = nullptr);
  [[nodiscard]] std::vector<std::string> Ids() const;

  static inline sandbox::ProcessDriver* driver_ = nullptr;
  SystemClock clock_;
  std::unique_ptr<sandbox::testing::LeftoversProbe> probe_;
  std::unique_ptr<sandbox::Box> box_;
  std::unique_ptr<Files> files_;
  std::unique_ptr<Contexts> contexts_;
  std::unique_ptr<Told> last_;
};

}  // namespace forkbox::execd::testing
