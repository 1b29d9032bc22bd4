// What boxes have of the templates: agents and sessions from those that are started when the first
// is wanted, and their death, which boxes survive.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/sandbox/box_under_test.h"
#include "tests/sandbox/leftovers_probe.h"
#include "tests/sandbox/process_driver_under_test.h"

namespace forkbox::sandbox::testing {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using std::chrono::steady_clock;
using ::testing::HasSubstr;

std::unique_ptr<ProcessDriver> StartOrFail(ProcessDriverOptions options) {
  ::signal(SIGPIPE, SIG_IGN);
  auto driver = StartProcessDriver(std::move(options));
  EXPECT_TRUE(driver) << driver.error().message;
  return driver ? std::move(*driver) : nullptr;
}

std::unique_ptr<ProcessDriver> StartWithBash() {
  ProcessDriverOptions options = TestOptions(0);  // a pool's forks die with their template
  options.only_language = "bash";
  return StartOrFail(std::move(options));
}

std::unique_ptr<Box> Open(ProcessDriver& driver) {
  auto box = driver.OpenBox({});
  EXPECT_TRUE(box) << box.error().message;
  return box ? std::move(*box) : nullptr;
}

BoxProgram Agent() {
  BoxProgram program;
  program.kind = BoxProgram::Kind::kAgent;
  return program;
}

TEST(BoxTemplates, AnAgentIsWarmedWhenTheFirstIsWanted) {
  auto driver = StartWithBash();
  ASSERT_NE(driver, nullptr);
  auto box = Open(*driver);
  const std::size_t before = TemplatesOf(driver->forkserver_pid()).size();
  auto agent = box->Start(Agent());
  ASSERT_TRUE(agent) << agent.error().message;
  EXPECT_TRUE(agent->channel.valid());
  EXPECT_EQ(TemplatesOf(driver->forkserver_pid()).size(), before + 1);
  // It is in the box with everybody else, and may die there; then there is another.
  EXPECT_EQ(RunIn(*box, "kill -9 " + std::to_string(agent->pid)).exit_code, 0);
  EXPECT_EQ(Finish(std::move(*agent)).signal, SIGKILL);
  std::vector<std::int64_t> took;
  for (int i = 0; i < 20; ++i) {
    const auto start = steady_clock::now();
    auto next = box->Start(Agent());
    took.push_back((steady_clock::now() - start) / 1us);
    ASSERT_TRUE(next) << next.error().message;
    next->channel.Reset();  // its end
    EXPECT_EQ(Finish(std::move(*next)).timed_out, false);
  }
  std::sort(took.begin(), took.end());
  RecordProperty("start_us", std::to_string(took[took.size() / 2]));
  std::printf("median: start of an agent %ld us\n", static_cast<long>(took[took.size() / 2]));
  EXPECT_EQ(TemplatesOf(driver->forkserver_pid()).size(), before + 1);
}

TEST(BoxTemplates, ALazyOneThatDoesNotComeUpSaysSo) {
  // A runtime folder with bash alone, and an agent that is none.
  const fs::path folder =
      fs::temp_directory_path() / ("box_templates_" + std::to_string(::getpid()));
  fs::create_directories(folder / "manifests");
  fs::create_directories(folder / "agent");
  fs::copy(FORKBOX_RUNTIME "/exec", folder / "exec", fs::copy_options::recursive);
  fs::copy(FORKBOX_RUNTIME "/manifests/bash.json", folder / "manifests/bash.json");
  std::ofstream(folder / "agent/agent_template") << "#!/bin/sh\necho no agent today >&2\nexit 1\n";
  fs::permissions(folder / "agent/agent_template",
                  fs::perms::owner_all | fs::perms::others_read | fs::perms::others_exec);
  ProcessDriverOptions options = TestOptions(1);
  options.runtime_dir = folder;
  auto driver = StartOrFail(std::move(options));
  ASSERT_NE(driver, nullptr);
  auto box = Open(*driver);
  for (int i = 0; i < 2; ++i) {
    auto agent = box->Start(Agent());
    ASSERT_FALSE(agent);
    EXPECT_EQ(agent.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(agent.error().message, HasSubstr("no agent today"));
  }
  EXPECT_EQ(RunIn(*box, "echo others").out, "others\n");
  box.reset();
  driver.reset();
  fs::remove_all(folder);
}

TEST(BoxTemplates, ABoxSurvivesWhatItsProgramsWereForkedFrom) {
  auto driver = StartWithBash();
  ASSERT_NE(driver, nullptr);
  LeftoversProbe probe(*driver);
  auto box = Open(*driver);
  auto forked = box->Start(Shell("echo up; exec sleep 1000"));
  ASSERT_TRUE(forked) << forked.error().message;
  ASSERT_NE(ReadUntil(forked->stdout_pipe.get(), "up\n"), "");
  const pid_t orphan = forked->pid;

  const std::vector<pid_t> templates = TemplatesOf(driver->forkserver_pid());
  ASSERT_EQ(templates.size(), 1U);
  ::kill(templates[0], SIGKILL);
  const Ended lost = Finish(std::move(*forked));
  EXPECT_TRUE(lost.lost) << Describe(lost);
  // The next one waits for the template to be back; what was forked before is still there, can be
  // ended, and is buried.
  const std::string pid = std::to_string(orphan);
  const Ended next = RunIn(*box, "kill -0 " + pid + " && kill -9 " + pid + " && echo ended");
  EXPECT_EQ(next.out, "ended\n") << Describe(next);
  EXPECT_TRUE(Eventually([&] { return RunIn(*box, "test -e /proc/" + pid).exit_code == 1; }));
  EXPECT_TRUE(box->Alive());

  // One that is still there when the box ends does not hold it up.
  auto another = box->Start(Shell("exec sleep 1000"));
  ASSERT_TRUE(another) << another.error().message;
  const std::vector<pid_t> again = TemplatesOf(driver->forkserver_pid());
  ASSERT_EQ(again.size(), 1U);
  ::kill(again[0], SIGKILL);
  EXPECT_TRUE(Finish(std::move(*another)).lost);
  box.reset();
  EXPECT_TRUE(Eventually([&] { return TemplatesOf(driver->forkserver_pid()).size() == 1; }));
  EXPECT_EQ(probe.WaitUntilClean(), "");
}

TEST(BoxTemplates, WithoutTheForkserverThereIsNoBox) {
  auto driver = StartWithBash();
  ASSERT_NE(driver, nullptr);
  auto box = Open(*driver);
  auto process = box->Start(Shell("exec sleep 1000"));
  ASSERT_TRUE(process) << process.error().message;
  ::kill(driver->forkserver_pid(), SIGKILL);
  EXPECT_FALSE(Finish(std::move(*process)).timed_out);
  EXPECT_TRUE(Eventually([&] { return !box->Alive(); }));
  auto next = box->Start(Shell("true"));
  ASSERT_FALSE(next);
  EXPECT_EQ(next.error().code, ErrorCode::kUnavailable);
  EXPECT_FALSE(driver->OpenBox({}));
}

TEST(BoxTemplates, NoMoreBoxesThanAllowed) {
  ProcessDriverOptions options = TestOptions(1);
  options.only_language = "bash";
  options.max_sandboxes = 20;
  options.max_boxes = 3;
  auto driver = StartOrFail(std::move(options));
  ASSERT_NE(driver, nullptr);
  std::vector<std::unique_ptr<Box>> boxes;
  for (int i = 0; i < 3; ++i) boxes.push_back(Open(*driver));
  auto refused = driver->OpenBox({});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
  boxes.pop_back();
  EXPECT_NE(Open(*driver), nullptr);
}

}  // namespace
}  // namespace forkbox::sandbox::testing
