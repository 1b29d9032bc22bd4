// What agents that are no agents can take of the host, whose memory and time it is: so much and no
// more. And boxes that stand still.
#include <fcntl.h>

#include <chrono>
#include <latch>

#include "runner/execd/byte_budget.h"
#include "tests/execd/files_scripted_box.h"

namespace forkbox::execd::testing {
namespace {

using std::chrono::steady_clock;
using ::testing::HasSubstr;

// A file of the box, which nobody asks to remove.
class Victim {
 public:
  explicit Victim(std::string path) : path_(std::move(path)) {
    const UniqueFd made(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    EXPECT_TRUE(made);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] bool stands() const { return std::filesystem::exists(path_); }

 private:
  const std::string path_;
};

TEST_F(FilesPeers, OnlyWhoeverStagesAFileLeavesOneBehind) {
  // "Begun, and I write there"; and it is gone. For each removal there would be another.
  struct Case {
    const char* name;
    std::function<bool(Files&)> call;
    bool stages;
  };
  const Case cases[] = {
      {"info", [](Files& f) { return f.Info("x").has_value(); }, false},
      {"remove", [](Files& f) { return f.Remove("x").has_value(); }, false},
      {"move", [](Files& f) { return f.Move("x", "y").has_value(); }, false},
      {"list", [](Files& f) { return f.List("x", 1).has_value(); }, false},
      {"search", [](Files& f) { return f.Search("x", "*").has_value(); }, false},
      {"mkdir", [](Files& f) { return f.MakeDirectory("x", {}).has_value(); }, false},
      {"chmod", [](Files& f) { return f.SetPermission("x", {}).has_value(); }, false},
      {"remove all", [](Files& f) { return f.RemoveTree("x").has_value(); }, false},
      {"open", [](Files& f) { return f.Open("x").has_value(); }, false},
      {"signal", [](Files& f) { return f.Signal(7, 9, false).has_value(); }, false},
      {"connect", [](Files& f) { return f.Connect(7).has_value(); }, false},
      {"replace",
       [](Files& f) {
         return f.Replace({"x", "a", "b"}).has_value();
       },
       true},
      {"upload", [](Files& f) { return f.Create("x", {}).has_value(); }, true},
  };
  const std::string path = directory_ + "/victim";
  const Peer liar = [path](int channel) {
    AwaitRequest(channel);
    SendBytes(channel, Begun(path));
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    ScriptedBox box({liar});
    {
      Files files(box, Short());
      EXPECT_FALSE(c.call(files));
      // Asked twice at most; and so is each removal.
      EXPECT_LE(box.started(), c.stages ? 6U : 2U);
    }
    box.Join();
    const Victim victim(path);
    ScriptedBox with_another({liar, Honest()});
    {
      Files files(with_another, Short());
      (void)c.call(files);
      EXPECT_EQ(victim.stands(), !c.stages);
    }
    with_another.Join();
  }
}

TEST_F(FilesPeers, EntriesAreForListings) {
  const Peer lists = Says(Begun() + Frame(FrameKind::kEntries, Entry()) + Done());
  ScriptedBox box({lists});
  {
    Files files(box, Short());
    EXPECT_FALSE(files.Remove("x"));
    EXPECT_FALSE(files.CheckDirectory("x"));
    EXPECT_TRUE(files.Info("x"));
    EXPECT_TRUE(files.List("x", 1));
  }
  box.Join();
}

TEST_F(FilesPeers, TwoListingsOfABoxAtATime) {
  const Peer never_done = Says(Begun());
  ScriptedBox box({never_done, never_done, Honest()});
  {
    Files files(box, {.begin = 200ms, .quick = 300ms, .whole = 3s});
    std::latch refused(1);
    std::vector<std::jthread> listings;
    for (int i = 0; i < 2; ++i) {
      listings.emplace_back([&files, &refused, i] {
        EXPECT_FALSE(i == 0 ? files.List(".", 1) : files.Search(".", "*"));
        // These have waited longer than those who found no room.
        EXPECT_TRUE(refused.try_wait());
      });
    }
    box.AwaitStarted(2);
    for (const auto& more : {files.List(".", 1), files.Search(".", "*")}) {
      ASSERT_FALSE(more);
      EXPECT_EQ(more.error().code, ErrorCode::kUnavailable);
      EXPECT_THAT(more.error().message, HasSubstr("too many listings"));
    }
    EXPECT_TRUE(files.Info("."));
    EXPECT_EQ(box.started(), 3U);
    refused.count_down();
    listings.clear();
    EXPECT_TRUE(files.List(".", 1));
  }
  box.Join();
}

TEST_F(FilesPeers, TheListingsOfAllBoxesShareSoMuchMemory) {
  ByteBudget& budget = ByteBudget::OfProcess();
  const std::size_t used = budget.used();
  ByteBudget::Share others(budget);
  ASSERT_TRUE(others.Resize(budget.limit() - used));
  std::string many;
  for (int i = 0; i < 1000; ++i) many += Entry("/" + std::string(300, 'x'));
  const std::string large = Begun() + Frame(FrameKind::kEntries, many) + Done();
  {
    ScriptedBox box({Says(large), Honest()});
    {
      Files files(box, Short());
      const auto listed = files.List(".", 1);
      ASSERT_FALSE(listed);
      EXPECT_EQ(listed.error().code, ErrorCode::kUnavailable);
      EXPECT_THAT(listed.error().message, HasSubstr("too much is being listed"));
      EXPECT_EQ(box.started(), 1U);     // another would be refused as well
      EXPECT_TRUE(files.List(".", 1));  // the small ones are not
    }
    box.Join();
  }
  ASSERT_TRUE(others.Resize(0));
  ScriptedBox box({Says(large)});
  {
    Files files(box, Short());
    EXPECT_EQ(files.List(".", 1)->size(), 1000U);
  }
  box.Join();
  EXPECT_EQ(budget.used(), used);
}

TEST_F(FilesPeers, FrozenBoxesAreNotWaitedFor) {
  ScriptedBox box({Says(Begun()), Honest()});
  Files::Patience patience{.begin = 60s, .quick = 60s, .whole = 60s};
  const auto start = steady_clock::now();
  {
    Files files(box, patience);
    ASSERT_TRUE(box.Freeze());
    for (const auto& refused :
         {files.Remove("x"), files.RemoveTree("x"), files.Signal(7, 9, true)}) {
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
      EXPECT_THAT(refused.error().message, HasSubstr("paused"));
    }
    EXPECT_FALSE(files.Create("x", {}));
    EXPECT_EQ(box.started(), 0U);
  }
  ASSERT_TRUE(box.Thaw());
  {  // caught on its way
    Files files(box, Short());
    std::jthread freezes([&box] {
      box.AwaitStarted(1);
      (void)box.Freeze();
    });
    const auto info = files.Info("x");
    ASSERT_FALSE(info);
    EXPECT_EQ(info.error().code, ErrorCode::kUnavailable);
    EXPECT_THAT(info.error().message, HasSubstr("paused"));
  }
  ASSERT_TRUE(box.Thaw());
  {
    Files files(box, patience);
    auto upload = files.Create("f", {});
    ASSERT_TRUE(upload && (*upload)->Write("text"));
    ASSERT_TRUE(box.Freeze());
    upload->reset();  // which would wait for an answer
    ASSERT_TRUE(box.Thaw());
  }
  EXPECT_LT(steady_clock::now() - start, 60s);
  box.Join();
  EXPECT_FALSE(std::filesystem::exists(directory_ + "/f"));
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
}

}  // namespace
}  // namespace forkbox::execd::testing
