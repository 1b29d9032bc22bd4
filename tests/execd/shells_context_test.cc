// Contexts of the language bash: the same live shell, by the wire of all sessions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "runner/execd/contexts.h"
#include "tests/execd/commands_box_under_test.h"
#include "tests/execd/commands_recorder.h"

namespace forkbox::execd {
namespace {

using testing::Recorder;
using Type = Event::Type;

class BashContextTest : public ::testing::Test {
 protected:
  void SetUp() override {
    inside_ = testing::OpenBoxUnderTest();
    ASSERT_TRUE(inside_);
    Contexts::Options options;
    options.languages = {"bash"};
    contexts_ = std::make_unique<Contexts>(std::move(options), inside_->box(), inside_->files(),
                                           clock_, Log::Null());
    auto info = contexts_->Create("bash", "/tmp/bash here");
    ASSERT_TRUE(info) << info.error().message;
    id_ = info->id;
    EXPECT_FALSE(info->forks);
  }

  SystemClock clock_;
  std::unique_ptr<testing::BoxUnderTest> inside_;
  std::unique_ptr<Contexts> contexts_;
  std::string id_;
};

TEST_F(BashContextTest, CellsShareOneShell) {
  Recorder first;
  ASSERT_TRUE(contexts_->Run(id_, "x=5; f() { echo f $x; }; pwd; echo no >&2", first));
  EXPECT_EQ(first.Text(Type::kStdout), "/tmp/bash here\n\n");
  EXPECT_EQ(first.Text(Type::kStderr), "no\n\n");
  EXPECT_EQ(first.Count(Type::kError), 0U);
  Recorder second;
  ASSERT_TRUE(contexts_->Run(id_, "f; false", second));
  EXPECT_THAT(second.Text(Type::kStdout), ::testing::HasSubstr("f 5"));
  EXPECT_THAT(second.Story(), ::testing::Contains("error ExitError 1 [exit status 1]"));
  EXPECT_EQ(second.Story().back(), "complete") << "a cell that fails completes, too";
  Recorder third;
  ASSERT_TRUE(contexts_->Run(id_, "exit 3", third));
  EXPECT_THAT(third.Story(), ::testing::Contains("error ExitError 3 [exit status 3]"));
  Recorder fourth;
  ASSERT_TRUE(contexts_->Run(id_, "f", fourth));
  EXPECT_THAT(fourth.Text(Type::kStdout), ::testing::HasSubstr("f 5"));
}

TEST_F(BashContextTest, AnInterruptEndsTheCellAndNothingElse) {
  Recorder before;
  ASSERT_TRUE(contexts_->Run(id_, "x=1", before));
  for (const char* code : {"echo up; sleep 1000", "echo up; while :; do :; done"}) {
    Recorder recorder;
    std::thread running([&] { EXPECT_TRUE(contexts_->Run(id_, code, recorder)); });
    EXPECT_TRUE(recorder.WaitFor(Type::kStdout, "up\n"));
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    EXPECT_TRUE(contexts_->Interrupt(id_));
    running.join();
    EXPECT_THAT(recorder.Story(), ::testing::Contains("error ExitError 130 [signal: Interrupt]"));
  }
  EXPECT_TRUE(contexts_->Interrupt(id_)) << "idle it does nothing";
  Recorder after;
  ASSERT_TRUE(contexts_->Run(id_, "echo x $x", after));
  EXPECT_THAT(after.Text(Type::kStdout), ::testing::HasSubstr("x 1"));
}

}  // namespace
}  // namespace forkbox::execd
