// What the host has too little of: descriptors and threads. Whoever asks is told so, and nothing of
// ours ends of it; and no box can take more than its share.
#include <dirent.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/resource.h>

#include <thread>
#include <vector>

#include "runner/execd/commands.h"
#include "runner/execd/ptys.h"
#include "runner/execd/shells.h"
#include "tests/execd/commands_box_under_test.h"
#include "tests/execd/commands_recorder.h"

namespace forkbox::execd {
namespace {

using namespace std::chrono_literals;
using testing::Recorder;
using Story = std::vector<std::string>;

class Nobody : public Ptys::Client {
 public:
  bool OnReplay(std::uint64_t, std::string_view) override { return true; }
  bool OnConnected(bool) override { return true; }
  bool OnOutput(bool, std::string_view) override { return true; }
  void OnExit(int) override {}
  void OnTakenOver() override {}
  void OnError(std::string_view, std::string_view) override {}
};

std::vector<int> OpenDescriptors() {
  std::vector<int> open;
  DIR* const directory = ::opendir("/proc/self/fd");
  while (const dirent* entry = ::readdir(directory)) {
    if (entry->d_name[0] != '.') open.push_back(std::atoi(entry->d_name));
  }
  ::closedir(directory);
  return open;
}

class ScarceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    inside_ = testing::OpenBoxUnderTest({.pids = 1000});
    ASSERT_TRUE(inside_);
    sandbox::Box& box = inside_->box();
    Files& files = inside_->files();
    commands_ = std::make_unique<Commands>(box, files, clock_, Log::Null(), &budget_);
    shells_ = std::make_unique<Shells>(env_, box, files, clock_, Log::Null(), &budget_);
    ptys_ = std::make_unique<Ptys>(env_, box, files, clock_, Log::Null(), &budget_);
  }

  Result<void> Foreground() {
    CommandRequest request;
    request.command = "echo hi";
    Recorder recorder;
    return commands_->Run(request, recorder);
  }
  Result<void> Background(const std::string& command = "sleep 1000") {
    CommandRequest request;
    request.command = command;
    Recorder recorder;
    return commands_->RunInBackground(request, recorder);
  }
  Result<void> Shell() {
    auto id = shells_->Create("");
    if (!id) return Fail(id.error());
    return {};
  }
  // Goes on running without a client.
  Result<void> Terminal(bool terminal) {
    auto id = ptys_->Create("", "");
    if (!id) return Fail(id.error());
    Nobody nobody;
    auto connection = ptys_->Connect(*id, {.terminal = terminal}, nobody);
    if (!connection) return Fail(connection.error());
    return {};
  }

  const Environment env_;
  SystemClock clock_;
  std::unique_ptr<testing::BoxUnderTest> inside_;
  DescriptorBudget budget_;
  std::unique_ptr<Commands> commands_;
  std::unique_ptr<Shells> shells_;
  std::unique_ptr<Ptys> ptys_;
};

TEST_F(ScarceTest, ABoxHoldsSoManyDescriptorsAndNoMore) {
  const std::size_t before = OpenDescriptors().size();
  const auto fill = [](const std::function<Result<void>()>& start) {
    Result<void> last;
    for (int i = 0; i < 300 && last; ++i) last = start();
    ASSERT_FALSE(last);
    EXPECT_EQ(last.error().code, ErrorCode::kQueueFull) << last.error().message;
  };
  // What is left behind, then some of each kind, then as many as there can be.
  for (int i = 0; i < 40; ++i) {
    CommandRequest request;
    request.command = "sleep 1000 & sleep 1001 >&2 &";
    Recorder recorder;
    ASSERT_TRUE(commands_->Run(request, recorder));
  }
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(Shell());
    ASSERT_TRUE(Terminal(i % 2 == 0));
  }
  fill([&] { return Background(); });
  fill([&] { return Shell(); });
  fill([&] { return Terminal(true); });
  EXPECT_LT(OpenDescriptors().size(), before + 256);
  // What has ended makes room.
  ASSERT_TRUE(commands_->Status("none") == std::nullopt);
  ptys_.reset();
  EXPECT_TRUE(Foreground());
  EXPECT_TRUE(Shell());
}

TEST_F(ScarceTest, NoDescriptorsLeftIsAnError) {
  rlimit usual{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &usual), 0);
  for (int left = 0; left < 16; ++left) {
    // Descriptors are given out from the lowest that is free.
    std::vector<bool> taken(4096);
    for (const int fd : OpenDescriptors()) taken[static_cast<std::size_t>(fd)] = true;
    rlim_t limit = 0;
    for (int free = 0; free < left || taken[limit]; ++limit) free += taken[limit] ? 0 : 1;
    const rlimit low{limit, usual.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
    std::vector<Result<void>> all{Foreground(), Background("true"), Shell(), Terminal(true),
                                  Terminal(false)};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &usual), 0);
    if (left == 0) {
      for (const Result<void>& one : all) EXPECT_FALSE(one);
    }
  }
  Result<void> works = Foreground();
  EXPECT_TRUE(works) << works.error().message;
}

TEST_F(ScarceTest, NoThreadsLeftIsAnError) {
  pthread_attr_t usual;
  ASSERT_EQ(::pthread_getattr_default_np(&usual), 0);
  pthread_attr_t huge;
  ASSERT_EQ(::pthread_attr_init(&huge), 0);
  // More than there are addresses: no thread can be started, as when their number is used up.
  ASSERT_EQ(::pthread_attr_setstacksize(&huge, std::size_t{1} << 48), 0);
  ASSERT_EQ(::pthread_setattr_default_np(&huge), 0);
  const Result<void> background = Background();
  const Result<void> terminal = Terminal(true);
  const Result<void> pipes = Terminal(false);
  CommandRequest leaving;
  leaving.command = "sleep 1000 & echo left";
  Recorder recorder;
  const Result<void> foreground = commands_->Run(leaving, recorder);
  ASSERT_EQ(::pthread_setattr_default_np(&usual), 0);
  for (const Result<void>& one : {background, terminal, pipes}) {
    ASSERT_FALSE(one);
    EXPECT_EQ(one.error().code, ErrorCode::kUnavailable);
  }
  EXPECT_TRUE(foreground);
  EXPECT_EQ(recorder.Story(), (Story{"init", "out left", "complete"}));
  // What was started for nothing has been killed.
  Recorder looked;
  CommandRequest look;
  look.command = "sleep 0.3; pgrep -c bash; true";
  ASSERT_TRUE(commands_->Run(look, looked));
  EXPECT_EQ(looked.Story(), (Story{"init", "out 1", "complete"}));
  EXPECT_TRUE(Background());
  EXPECT_TRUE(Terminal(true));
}

TEST_F(ScarceTest, TextsAreBounded) {
  CommandRequest request;
  Recorder recorder;
  const auto refusal = [&](bool background) {
    const auto ran = background ? commands_->RunInBackground(request, recorder)
                                : commands_->Run(request, recorder);
    EXPECT_FALSE(ran);
    if (ran) return std::string();
    EXPECT_EQ(ran.error().code, ErrorCode::kInvalidArgument);
    return ran.error().message;
  };
  for (const bool background : {false, true}) {
    request = {};
    request.command = ": " + std::string(128U << 10, 'x');
    EXPECT_THAT(refusal(background), ::testing::StartsWith("command "));
    request = {};
    request.argv = {"/bin/true", std::string(100U << 10, 'x'), std::string(100U << 10, 'x')};
    EXPECT_THAT(refusal(background), ::testing::StartsWith("argv "));
    request = {};
    request.command = "true";
    request.env["BIG"] = std::string(128U << 10, 'x');
    EXPECT_THAT(refusal(background), ::testing::HasSubstr("envs"));
  }
  EXPECT_THAT(ptys_->Create("", std::string(128U << 10, 'x')).error().message,
              ::testing::StartsWith("command "));
  // The longest there can be is run; and of many of them the oldest are forgotten.
  std::vector<std::string> ids;
  request = {};
  request.command = ": " + std::string((128U << 10) - 3, 'x');
  for (int i = 0; i < 100; ++i) {
    Recorder heard;
    ASSERT_TRUE(commands_->Run(request, heard));
    ASSERT_EQ(heard.Story(), (Story{"init", "complete"}));
    ids.push_back(heard.id());
  }
  std::size_t kept = 0;
  for (const std::string& id : ids) {
    if (const auto status = commands_->Status(id)) kept += status->content.size();
  }
  EXPECT_LE(kept, 8U << 20);
  EXPECT_GE(kept, 7U << 20);
  EXPECT_TRUE(commands_->Status(ids.back()));
}

}  // namespace
}  // namespace forkbox::execd
