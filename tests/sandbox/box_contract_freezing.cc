// Boxes that stand still: on every kind of host, and while others do things to them.
#include <gmock/gmock.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include <atomic>
#include <fstream>
#include <sstream>
#include <thread>

#include "tests/sandbox/box_fixture.h"

namespace forkbox::sandbox::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class BoxFreezing : public BoxContract {};

TEST_F(BoxFreezing, StandsStillAndGoesOn) {
  ASSERT_EQ(RunIn(*box_,
                  "(i=0; while :; do i=$((i+1)); echo $i > n.new; mv n.new n; done) "
                  "> /dev/null 2>&1 &")
                .exit_code,
            0);
  auto talker = box_->Start(Shell("while :; do echo tick; sleep 0.01; done"));
  ASSERT_TRUE(talker) << talker.error().message;
  EXPECT_NE(ReadUntil(talker->stdout_pipe.get(), "tick\n"), "");
  for (int round = 0; round < 3; ++round) {
    auto frozen = box_->Freeze();
    ASSERT_TRUE(frozen) << frozen.error().message;
    EXPECT_TRUE(box_->Freeze());
    const std::uint64_t before = box_->Usage().cpu_us;
    std::this_thread::sleep_for(100ms);
    EXPECT_EQ(box_->Usage().cpu_us, before);
    EXPECT_TRUE(box_->Alive());
    ASSERT_TRUE(box_->Thaw());
    EXPECT_TRUE(box_->Thaw());
    const Ended ended = RunIn(*box_, "a=$(cat n); while [ \"$(cat n)\" = \"$a\" ]; do :; done");
    EXPECT_EQ(ended.exit_code, 0) << Describe(ended);
  }
  // A start waits for the thaw; a frozen box can be ended.
  ASSERT_TRUE(box_->Freeze());
  std::thread thaw([this] {
    std::this_thread::sleep_for(100ms);
    EXPECT_TRUE(box_->Thaw());
  });
  EXPECT_SAYS(RunIn(*box_, "echo thawed"), "thawed\n");
  thaw.join();
  ASSERT_TRUE(box_->Freeze());
  box_->End();
  const Ended ended = Finish(std::move(*talker));
  EXPECT_EQ(ended.signal, SIGKILL) << Describe(ended);
}

TEST_F(BoxFreezing, WhoWaitsForTheThawHearsOfTheEnd) {
  ASSERT_TRUE(box_->Freeze());
  std::thread end([this] {
    std::this_thread::sleep_for(50ms);
    box_->End();
  });
  auto process = box_->Start(Shell("true"));
  end.join();
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().code, ErrorCode::kUnavailable);
}

TEST_F(BoxFreezing, AmongManyStarts) {
  std::atomic<int> ended_well{0};
  std::atomic<bool> stop{false};
  std::vector<std::thread> starters;
  for (int i = 0; i < 6; ++i) {
    starters.emplace_back([&, i] {
      while (!stop) {
        const Ended ended = RunIn(*box_, "echo " + std::to_string(i));
        if (stop) break;
        EXPECT_EQ(ended.out, std::to_string(i) + "\n") << Describe(ended);
        ++ended_well;
      }
    });
  }
  for (int round = 0; round < 20; ++round) {
    const auto frozen = box_->Freeze();
    EXPECT_TRUE(frozen) << frozen.error().message;
    EXPECT_TRUE(box_->Thaw());
    const int before = ended_well;
    EXPECT_TRUE(Eventually([&] { return ended_well > before; }));
  }
  stop = true;
  box_->End();  // in the middle of what they do
  for (std::thread& starter : starters) starter.join();
}

// Hides the mounts for which `hidden` says so from this thread and what it starts.
template <class Condition>
void HideMounts(Condition hidden) {
  ASSERT_EQ(::unshare(CLONE_NEWNS), 0);
  ASSERT_EQ(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), 0);
  std::ifstream mounts("/proc/thread-self/mounts");  // proc(5): source path type options
  std::vector<std::string> paths;
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string source;
    std::string path;
    std::string type;
    std::string options;
    words >> source >> path >> type >> options;
    if (hidden(type, options)) paths.push_back(path);
  }
  mounts.close();
  for (const std::string& path : paths) ASSERT_EQ(::umount2(path.c_str(), MNT_DETACH), 0) << path;
}

TEST(BoxFreezers, WhateverTheHostHas) {
  const auto is_v1 = [](const std::string& type, const std::string& options) {
    return type == "cgroup" && options.find("freezer") != std::string::npos;
  };
  const auto is_v2 = [](const std::string& type) { return type == "cgroup2"; };
  struct Case {
    const char* name;
    std::function<bool(const std::string&, const std::string&)> hidden;
    bool works;
  };
  bool v1 = false;
  bool v2 = false;
  std::ifstream mounts("/proc/self/mounts");
  for (std::string source, path, type, options, rest;
       mounts >> source >> path >> type >> options;) {
    std::getline(mounts, rest);
    v1 = v1 || is_v1(type, options);
    v2 = v2 || is_v2(type);
  }
  const Case cases[] = {
      {"v2 alone", is_v1, v2},
      {"v1 alone", [&](const auto& type, const auto&) { return is_v2(type); }, v1},
      {"none",
       [&](const auto& type, const auto& options) { return is_v1(type, options) || is_v2(type); },
       false},
  };
  ::signal(SIGPIPE, SIG_IGN);
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    // The forkserver sees what the thread that starts it sees, and ends with it.
    std::thread([&] {
      HideMounts(c.hidden);
      ProcessDriverOptions options = TestOptions(0);
      options.only_language = "bash";
      auto driver = StartProcessDriver(std::move(options));
      ASSERT_TRUE(driver) << driver.error().message;
      const auto missing = Contains(HasSubstr("no freezer cgroup"));
      auto box = (*driver)->OpenBox({});
      ASSERT_TRUE(box) << box.error().message;
      auto process = (*box)->Start(Shell("while :; do :; done"));
      ASSERT_TRUE(process) << process.error().message;
      const auto frozen = (*box)->Freeze();
      if (c.works) {
        EXPECT_THAT((*driver)->MissingProtections(), Not(missing));
        EXPECT_TRUE(frozen) << frozen.error().message;
      } else {
        EXPECT_THAT((*driver)->MissingProtections(), missing);
        ASSERT_FALSE(frozen);
        EXPECT_EQ(frozen.error().code, ErrorCode::kUnavailable);
        EXPECT_SAYS(RunIn(**box, "echo unfrozen"), "unfrozen\n");
      }
      (*box)->End();
      EXPECT_EQ(Finish(std::move(*process)).signal, SIGKILL);
    }).join();
  }
}

}  // namespace
}  // namespace forkbox::sandbox::testing
