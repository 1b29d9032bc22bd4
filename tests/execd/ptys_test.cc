// Terminals against the reference, section 10.
#include "runner/execd/ptys.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <optional>

#include "tests/execd/commands_box_under_test.h"

namespace forkbox::execd {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

// What a client was told.
class Screen : public Ptys::Client {
 public:
  bool OnReplay(std::uint64_t offset, std::string_view bytes) override {
    return Note([&] {
      EXPECT_FALSE(connected_) << "the replay comes first";
      replay_offset_ = offset;
      replay_ += bytes;
    });
  }
  bool OnConnected(bool is_terminal) override {
    return Note([&] { connected_ = is_terminal; });
  }
  bool OnOutput(bool is_stderr, std::string_view bytes) override {
    return Note([&] {
      EXPECT_TRUE(connected_);
      EXPECT_LE(bytes.size(), 32U << 10);
      (is_stderr ? err_ : out_) += bytes;
    });
  }
  void OnExit(int exit_code) override {
    Note([&] { exit_code_ = exit_code; });
  }
  void OnTakenOver() override {
    Note([&] { taken_over_ = true; });
  }
  void OnError(std::string_view code, std::string_view message) override {
    ADD_FAILURE() << code << message;
  }

  bool Shows(const std::string& text) {
    return Wait([&] { return out_.find(text) != std::string::npos; }) ||
           (ADD_FAILURE() << "never showed " << text << " but " << out(), false);
  }
  bool ShowsWithin(std::chrono::seconds patience, const std::string& text) {
    return Wait([&] { return out_.find(text) != std::string::npos; }, patience);
  }
  bool ShowsErr(const std::string& text) {
    return Wait([&] { return err_.find(text) != std::string::npos; });
  }
  std::optional<int> ExitCode() {
    Wait([&] { return exit_code_.has_value(); });
    const std::lock_guard lock(mutex_);
    return exit_code_;
  }
  std::string out() {
    const std::lock_guard lock(mutex_);
    return out_;
  }
  std::string replay() {
    const std::lock_guard lock(mutex_);
    return replay_;
  }
  std::uint64_t replay_offset() {
    const std::lock_guard lock(mutex_);
    return replay_offset_;
  }
  bool taken_over() {
    const std::lock_guard lock(mutex_);
    return taken_over_;
  }
  std::optional<bool> connected() {
    const std::lock_guard lock(mutex_);
    return connected_;
  }
  void Forget() {
    const std::lock_guard lock(mutex_);
    out_.clear();
  }

 private:
  template <class F>
  bool Note(const F& change) {
    const std::lock_guard lock(mutex_);
    change();
    changed_.notify_all();
    return true;
  }
  template <class F>
  bool Wait(const F& condition, std::chrono::seconds patience = 60s) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, patience, condition);
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::string replay_;
  std::uint64_t replay_offset_ = 0;
  std::optional<bool> connected_;
  std::string out_;
  std::string err_;
  std::optional<int> exit_code_;
  bool taken_over_ = false;
};

class PtysTest : public ::testing::Test {
 protected:
  void SetUp() override {
    inside_ = testing::OpenBoxUnderTest();
    ASSERT_TRUE(inside_);
    ptys_ = std::make_unique<Ptys>(Environment{{"OF_THE_BOX", "yes"}, {"PS1", "$ "}},
                                   inside_->box(), inside_->files(), clock_, Log::Null());
  }
  std::string Create(const std::string& command = "", const std::string& cwd = "") {
    auto id = ptys_->Create(cwd, command);
    EXPECT_TRUE(id) << id.error().message;
    return id.value_or("");
  }
  std::unique_ptr<Ptys::Connection> Connect(const std::string& id, Screen& screen,
                                            Ptys::Attach attach = {}) {
    auto connection = ptys_->Connect(id, attach, screen);
    EXPECT_TRUE(connection) << connection.error().message;
    return connection ? std::move(*connection) : nullptr;
  }

  SystemClock clock_;
  std::unique_ptr<testing::BoxUnderTest> inside_;
  std::unique_ptr<Ptys> ptys_;
};

TEST_F(PtysTest, ATerminal) {
  const std::string id = Create();
  EXPECT_FALSE(ptys_->Get(id)->running) << "nothing starts before somebody looks";
  EXPECT_EQ(ptys_->Get(id)->output_offset, 0U);
  Screen screen;
  const auto connection = Connect(id, screen);
  ASSERT_TRUE(connection);
  EXPECT_EQ(screen.connected(), true);
  EXPECT_TRUE(ptys_->Get(id)->running);
  EXPECT_TRUE(connection->Input("tty; stty size; echo $OF_THE_BOX-$((40+2))\n"));
  EXPECT_TRUE(screen.Shows("yes-42"));
  EXPECT_THAT(screen.out(), HasSubstr("/dev/pts/"));
  EXPECT_THAT(screen.out(), HasSubstr("24 80"));
  connection->Resize(132, 43);
  EXPECT_TRUE(connection->Input("stty size\n"));
  EXPECT_TRUE(screen.Shows("43 132"));
  EXPECT_TRUE(connection->Input("test -t 0 && test -t 1 && test -t 2 && echo all of th\"\"em\n"));
  EXPECT_TRUE(screen.Shows("all of them"));
  EXPECT_TRUE(connection->Input("exit 7\n"));
  EXPECT_EQ(screen.ExitCode(), 7);
  EXPECT_FALSE(ptys_->Get(id)->running);
  EXPECT_FALSE(connection->Input("more\n"));
}

TEST_F(PtysTest, KeysAndSignalsReachTheJobInFront) {
  for (const bool by_key : {true, false}) {
    Screen screen;
    const auto connection = Connect(Create(), screen);
    ASSERT_TRUE(connection);
    ASSERT_TRUE(connection->Input("echo r\"\"eady; sleep 1000\n"));
    ASSERT_TRUE(screen.Shows("ready"));
    // Again and again, as one does: between its fork and its exec a job takes no notice.
    bool free = false;
    for (int i = 0; i < 50 && !free; ++i) {
      by_key ? (void)connection->Input("\x03") : connection->Signal(SIGINT);
      ASSERT_TRUE(connection->Input("echo still $((1+1))\n"));
      free = screen.ShowsWithin(1s, "still 2");
    }
    EXPECT_TRUE(free) << screen.out();
    connection->Signal(SIGKILL);
    EXPECT_EQ(screen.ExitCode(), -1);
  }
}

TEST_F(PtysTest, ThreePipes) {
  const std::string id = Create("echo out; echo err >&2; read line; echo got $line; exit 3");
  Screen screen;
  const auto connection = Connect(id, screen, {.terminal = false});
  ASSERT_TRUE(connection);
  EXPECT_EQ(screen.connected(), false);
  EXPECT_TRUE(screen.Shows("out\n"));
  EXPECT_TRUE(screen.ShowsErr("err\n"));
  connection->Resize(10, 10);
  EXPECT_TRUE(connection->Input("a line\n"));
  EXPECT_EQ(screen.ExitCode(), 3);
  EXPECT_EQ(screen.out(), "out\ngot a line\n");
}

TEST_F(PtysTest, ItGoesOnUnseenAndIsShownAgain) {
  const std::string id = Create("echo one; read x; echo two; read x; echo three; sleep 1000");
  Screen first;
  auto connection = Connect(id, first, {.terminal = false});
  ASSERT_TRUE(first.Shows("one\n"));
  ASSERT_TRUE(connection->Input("\n"));
  ASSERT_TRUE(first.Shows("two\n"));
  connection.reset();
  EXPECT_TRUE(ptys_->Get(id)->running);
  EXPECT_EQ(ptys_->Get(id)->output_offset, 8U);
  Screen second;
  connection = Connect(id, second, {.terminal = true, .since = 4});
  EXPECT_EQ(second.connected(), false) << "it is what it was started as";
  EXPECT_EQ(second.replay(), "two\n");
  EXPECT_EQ(second.replay_offset(), 4U);
  ASSERT_TRUE(connection->Input("\n"));
  ASSERT_TRUE(second.Shows("three\n"));
  EXPECT_EQ(second.out(), "three\n");
  connection.reset();
  Screen third;
  connection = Connect(id, third, {.since = 14});
  EXPECT_EQ(third.replay(), "") << "nothing new";
}

TEST_F(PtysTest, NoByteIsLostOrDoubledAcrossReconnections) {
  // Numbers printed on and on, looked at in turns.
  const std::string id = Create("for ((i = 0; i < 20000; i++)); do echo $i; done; sleep 1000");
  std::string all;
  std::string wanted;
  for (int i = 0; i < 20000; ++i) wanted += std::to_string(i) + "\n";
  while (all.size() < wanted.size()) {
    Screen screen;
    auto connection = Connect(id, screen, {.terminal = false, .since = all.size()});
    ASSERT_TRUE(connection);
    if (!screen.replay().empty()) {
      ASSERT_EQ(screen.replay_offset(), all.size());
    }
    connection.reset();
    all += screen.replay() + screen.out();
  }
  EXPECT_TRUE(all == wanted);
}

TEST_F(PtysTest, OnlyTheNewestMegabyteIsKept) {
  const std::string id = Create("head -c 3000000 /dev/zero; echo end; sleep 1000");
  Screen first;
  auto connection = Connect(id, first, {.terminal = false});
  ASSERT_TRUE(first.Shows("end"));
  connection.reset();
  Screen second;
  connection = Connect(id, second);
  EXPECT_EQ(second.replay().size(), 1U << 20);
  EXPECT_EQ(second.replay_offset(), 3'000'004U - (1U << 20));
}

TEST_F(PtysTest, OneClientAtATime) {
  const std::string id = Create();
  Screen first;
  const auto connection = Connect(id, first);
  Screen second;
  const auto refused = ptys_->Connect(id, {}, second);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kConflict);
  const auto taken = Connect(id, second, {.takeover = true});
  EXPECT_TRUE(first.taken_over());
  EXPECT_FALSE(connection->Input("echo f\"\"irst\n"));
  EXPECT_TRUE(taken->Input("echo s\"\"econd\n"));
  EXPECT_TRUE(second.Shows("second"));
  EXPECT_THAT(first.out(), Not(HasSubstr("second")));
}

TEST_F(PtysTest, AfterTheExitAnotherIsStarted) {
  const std::string id = Create("echo run; exit 4");
  Screen first;
  auto connection = Connect(id, first, {.terminal = false});
  EXPECT_EQ(first.ExitCode(), 4);
  Screen second;
  const auto again = Connect(id, second, {.terminal = true, .since = 4});
  ASSERT_TRUE(again) << "though the first has not let go";
  EXPECT_EQ(second.ExitCode(), 4);
  EXPECT_EQ(second.out(), "run\r\n");
  connection.reset();
}

TEST_F(PtysTest, DeletedItIsGone) {
  const std::string id = Create("trap '' HUP TERM INT; echo up; while :; do sleep 0.1; done");
  Screen screen;
  const auto connection = Connect(id, screen);
  ASSERT_TRUE(screen.Shows("up"));
  EXPECT_TRUE(ptys_->Delete(id));
  EXPECT_EQ(screen.ExitCode(), -1);
  EXPECT_FALSE(ptys_->Get(id));
  EXPECT_EQ(ptys_->Delete(id).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(ptys_->Connect(id, {}, screen).error().code, ErrorCode::kNotFound);
}

TEST_F(PtysTest, ATerminalTellsAllThatWasPrintedBeforeTheExit) {
  const std::string id = Create("for ((i = 0; i < 50000; i++)); do echo $i; done; exit 9");
  std::string wanted;
  for (int i = 0; i < 50000; ++i) wanted += std::to_string(i) + "\r\n";
  Screen screen;
  const auto connection = Connect(id, screen);
  EXPECT_EQ(screen.ExitCode(), 9);
  EXPECT_TRUE(screen.out() == wanted) << screen.out().size();
}

TEST_F(PtysTest, ATerminalEndsWithWhateverIsKilledOfIt) {
  for (const char* command :
       {"trap '' HUP; echo up; kill -9 $PPID; while :; do sleep 0.1; done", "echo up; kill -9 $$",
        "echo up; kill -9 -1", "exec <&- >&- 2>&-; sleep 0.3; kill -9 $$"}) {
    const std::string id = Create(command);
    Screen screen;
    const auto connection = Connect(id, screen);
    EXPECT_EQ(screen.ExitCode(), -1) << command;
    // Nothing of it is left, in front of a terminal of its own.
    Screen look;
    const auto looking = Connect(Create("sleep 0.3; echo left $(pgrep -c bash)"), look);
    EXPECT_EQ(look.ExitCode(), 0);
    EXPECT_THAT(look.out(), HasSubstr("left 1")) << command;
  }
}

TEST_F(PtysTest, DirectoriesAndBounds) {
  const std::string id = Create("pwd; pwd >&2", "/tmp/made/here");
  Screen screen;
  const auto connection = Connect(id, screen, {.terminal = false});
  EXPECT_EQ(screen.ExitCode(), 0);
  EXPECT_EQ(screen.out(), "/tmp/made/here\n");
  for (int i = 1; i < 32; ++i) Create();
  const auto more = ptys_->Create("", "");
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, ErrorCode::kQueueFull);
}

TEST_F(PtysTest, ALeftBehindFloodDelaysNoExit) {
  const std::string id = Create("yes & exit 5");
  Screen screen;
  const auto connection = Connect(id, screen, {.terminal = false});
  EXPECT_EQ(screen.ExitCode(), 5);
}

TEST_F(PtysTest, AProgramThatReadsNothingRefusesInput) {
  const std::string id = Create("exec sleep 1000");
  Screen screen;
  const auto connection = Connect(id, screen, {.terminal = false});
  const auto sent = connection->Input(std::string(1'000'000, 'x'));
  ASSERT_FALSE(sent);
  EXPECT_THAT(sent.error().message, HasSubstr("does not read"));
}

TEST_F(PtysTest, TheEndOfTheBoxEndsIt) {
  const std::string id = Create();
  Screen screen;
  const auto connection = Connect(id, screen);
  inside_->box().End();
  EXPECT_EQ(screen.ExitCode(), -1);
  Screen second;
  EXPECT_FALSE(ptys_->Connect(id, {}, second));
}

}  // namespace
}  // namespace forkbox::execd
