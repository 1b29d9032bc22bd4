// Commands, shells and terminals in a box that has taken over its file agents, over which all
// signals go: whatever they claim or keep to themselves, everything of ours comes to its end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "runner/execd/commands.h"
#include "runner/execd/ptys.h"
#include "runner/execd/shells.h"
#include "tests/execd/commands_box_under_test.h"
#include "tests/execd/commands_lying_box.h"
#include "tests/execd/commands_recorder.h"

namespace forkbox::execd {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using testing::LyingBox;
using testing::Recorder;
using Type = Event::Type;
using Agents = LyingBox::Agents;
using std::chrono::steady_clock;

class LyingBoxTest : public ::testing::Test {
 protected:
  // One box with its own agents.
  struct Place {
    std::unique_ptr<testing::BoxUnderTest> inside = testing::OpenBoxUnderTest();
    LyingBox box{inside->box()};
    Files files{box};
  };
  SystemClock clock_;
};

class Nobody : public Ptys::Client {
 public:
  bool OnReplay(std::uint64_t, std::string_view) override { return true; }
  bool OnConnected(bool) override { return true; }
  bool OnOutput(bool, std::string_view) override { return true; }
  void OnExit(int) override {}
  void OnTakenOver() override {}
  void OnError(std::string_view, std::string_view) override {}
};

TEST_F(LyingBoxTest, TimeoutsAreToldAndInterruptsGivenUp) {
  // Side by side, since each takes the patience that it is given.
  std::vector<std::thread> threads;
  for (const Agents agents : {Agents::kClaimAll, Agents::kBeginOnly, Agents::kSilent}) {
    threads.emplace_back([this, agents] {
      Place place;
      place.box.Become(agents);
      Commands commands(place.box, place.files, clock_, Log::Null());
      Recorder recorder;
      CommandRequest request;
      request.command = "sleep 1000";
      request.timeout = 200ms;
      const auto start = steady_clock::now();
      ASSERT_TRUE(commands.Run(request, recorder));
      EXPECT_LT(steady_clock::now() - start, 55s);
      EXPECT_EQ(recorder.Story(),
                (std::vector<std::string>{
                    "init", "error CommandExecError -1 [timeout after 200ms: signal: killed]"}));
    });
    threads.emplace_back([this, agents] {
      Place place;
      place.box.Become(agents);
      Commands commands(place.box, place.files, clock_, Log::Null());
      Recorder recorder;
      CommandRequest request;
      request.command = "sleep 1000";
      ASSERT_TRUE(commands.RunInBackground(request, recorder));
      const auto start = steady_clock::now();
      const auto interrupted = commands.Interrupt(recorder.id());
      EXPECT_LT(steady_clock::now() - start, 55s);
      ASSERT_FALSE(interrupted);
      EXPECT_EQ(interrupted.error().code, ErrorCode::kUnavailable);
      EXPECT_TRUE(commands.Status(recorder.id())->running);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST_F(LyingBoxTest, WhatIsDestroyedIsDestroyedSoon) {
  struct Case {
    Agents agents;
    bool box_ends_first;
  };
  std::vector<std::thread> threads;
  for (const Case& c : {Case{Agents::kBeginOnly, false}, Case{Agents::kSilent, false},
                        Case{Agents::kClaimAll, false}, Case{Agents::kSilent, true}}) {
    threads.emplace_back([this, c] {
      Place place;
      Commands commands_outlives(place.box, place.files, clock_, Log::Null());
      auto commands = std::make_unique<Commands>(place.box, place.files, clock_, Log::Null());
      auto shells =
          std::make_unique<Shells>(Environment(), place.box, place.files, clock_, Log::Null());
      auto ptys =
          std::make_unique<Ptys>(Environment(), place.box, place.files, clock_, Log::Null());
      place.box.Become(c.agents);
      Recorder recorder;
      CommandRequest request;
      request.command = "sleep 1000";
      for (int i = 0; i < 8; ++i) EXPECT_TRUE(commands->RunInBackground(request, recorder));
      std::vector<std::thread> runs;
      for (int i = 0; i < 4; ++i) {
        const auto id = shells->Create("");
        ASSERT_TRUE(id) << id.error().message;
        auto heard = std::make_shared<Recorder>();
        runs.emplace_back([&shells, id = *id, heard] {
          (void)shells->Run(id, {"echo up; sleep 1000", "", 0ms}, *heard);
        });
        EXPECT_TRUE(heard->WaitFor(Type::kStdout, "up"));
      }
      Nobody nobody;
      std::vector<std::unique_ptr<Ptys::Connection>> connections;
      for (int i = 0; i < 8; ++i) {
        const auto id = ptys->Create("", "");
        auto connection = ptys->Connect(*id, {.terminal = i % 2 == 0}, nobody);
        ASSERT_TRUE(connection) << connection.error().message;
        connections.push_back(std::move(*connection));
      }
      // Nothing in it does anything any more.
      CommandRequest stop;
      stop.command = "kill -STOP -1";
      Recorder stopped;
      EXPECT_TRUE(commands_outlives.RunInBackground(stop, stopped));
      std::this_thread::sleep_for(500ms);
      if (c.box_ends_first) place.box.End();
      const auto start = steady_clock::now();
      ptys.reset();
      shells.reset();
      commands.reset();
      EXPECT_LT(steady_clock::now() - start, 30s);
      for (std::thread& run : runs) run.join();
      place.box.End();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace forkbox::execd
