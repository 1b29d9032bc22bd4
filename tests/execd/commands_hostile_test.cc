// Commands that do what they can to whoever runs them: the next command works all the same.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <atomic>
#include <thread>

#include "runner/execd/commands.h"
#include "tests/execd/commands_box_under_test.h"
#include "tests/execd/commands_recorder.h"

namespace forkbox::execd {
namespace {

using namespace std::chrono_literals;
using testing::Recorder;
using Type = Event::Type;
using Story = std::vector<std::string>;

class HostileCommandsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    inside_ = testing::OpenBoxUnderTest({.pids = 64});
    ASSERT_TRUE(inside_);
    commands_ = std::make_unique<Commands>(inside_->box(), inside_->files(), clock_, Log::Null());
  }
  Story Tell(const std::string& command, std::chrono::milliseconds timeout = 60s) {
    Recorder recorder;
    CommandRequest request;
    request.command = command;
    request.timeout = timeout;
    const auto ran = commands_->Run(request, recorder);
    if (!ran) return {"failed: " + ran.error().message};
    return recorder.Story();
  }

  SystemClock clock_;
  std::unique_ptr<testing::BoxUnderTest> inside_;
  std::unique_ptr<Commands> commands_;
};

TEST_F(HostileCommandsTest, TheNextOneWorks) {
  struct Case {
    std::string name;
    std::string command;
  };
  for (const Case& c :
       {Case{"kills_all", "kill -9 -1; echo not reached"}, Case{"stops_all", "kill -STOP -1"},
        Case{"closes_all", "for fd in {0..255}; do eval \"exec $fd>&-\"; done"},
        Case{"fork_bomb", ":(){ :|:& };:; sleep 1000"},
        Case{"fork_bomb_of_sessions", "f(){ setsid bash -c 'sleep 1000' & f; }; f"},
        Case{"fills_its_disk", "head -c 1000000000 /dev/zero >big; rm -f big"},
        Case{"eats_memory", "head -c 2000000000 /dev/zero | tail"},
        Case{"leaves_a_flood", "yes & yes >&2 & exit 1"}}) {
    SCOPED_TRACE(c.name);
    Tell(c.command, 3s);
    // What it has left may fill the box; it is the next command's to clear, as it is in any box.
    Story story;
    for (int i = 0; i < 20 && story != (Story{"init", "out fine", "complete"}); ++i) {
      story = Tell("kill -9 -1 2>/dev/null", 5s);
      story = Tell("echo fine", 10s);
    }
    EXPECT_EQ(story, (Story{"init", "out fine", "complete"}));
  }
}

TEST_F(HostileCommandsTest, AHundredMegabytesForASlowReaderTakeNoMemory) {
  const auto peak_kib = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
  };
  const long before = peak_kib();
  std::atomic<std::size_t> bytes = 0;
  struct Slow : EventSink {
    std::atomic<std::size_t>& bytes;
    int puts = 0;
    explicit Slow(std::atomic<std::size_t>& in_bytes) : bytes(in_bytes) {}
    bool Put(const Event& event) override {
      bytes += event.text.size();
      if (++puts % 10'000 == 0) std::this_thread::sleep_for(1ms);
      return true;
    }
  } slow(bytes);
  CommandRequest request;
  request.command =
      "yes 0123456789012345678901234567890123456789012345678901234567890123456789012 |"
      " head -c 100000000";
  ASSERT_TRUE(commands_->Run(request, slow));
  EXPECT_GT(bytes, 98'000'000U);
  EXPECT_LT(peak_kib() - before, 20 << 10);
}

TEST_F(HostileCommandsTest, ManyLogsTakeBoundedMemory) {
  Recorder recorder;
  CommandRequest request;
  request.command = "head -c 16000000 /dev/zero";
  std::vector<std::string> ids;
  for (int i = 0; i < 12; ++i) {
    Recorder behind;
    ASSERT_TRUE(commands_->RunInBackground(request, behind));
    ids.push_back(behind.id());
  }
  std::size_t kept = 0;
  for (const std::string& id : ids) {
    while (commands_->Status(id)->running) std::this_thread::sleep_for(10ms);
  }
  for (const std::string& id : ids) {
    std::uint64_t cursor = 0;
    for (;;) {
      const auto logs = commands_->ReadLogs(id, cursor);
      cursor = logs->cursor;
      kept += logs->bytes.size();
      if (logs->bytes.empty()) break;
    }
    EXPECT_EQ(cursor, 16'000'000U) << "offsets count what was dropped, too";
  }
  EXPECT_LE(kept, 64U << 20);
  EXPECT_GE(kept, 60U << 20);
}

TEST_F(HostileCommandsTest, BackgroundCommandsAreBounded) {
  CommandRequest request;
  request.command = "sleep 1000";
  Recorder recorder;
  Result<void> ran;
  int started = 0;
  for (; ran && started < 300; ++started) ran = commands_->RunInBackground(request, recorder);
  ASSERT_FALSE(ran);
  EXPECT_LE(started, 257);
}

}  // namespace
}  // namespace forkbox::execd
