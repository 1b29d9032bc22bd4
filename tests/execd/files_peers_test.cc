// Files against agents that are no agents: whatever sits at the other end of the channel, each
// operation ends in time, with an error or the right answer, and nothing of it remains.
#include <fcntl.h>

#include <chrono>

#include "schema/utf8.h"
#include "tests/execd/files_scripted_box.h"

namespace forkbox::execd::testing {
namespace {

using std::chrono::steady_clock;
using ::testing::HasSubstr;

TEST_F(FilesPeers, LiesOfEveryKindEndInAnError) {
  const std::string huge = Header(FrameKind::kDone, 0xffffffffU);
  const Peer peers[] = {
      [](int) {},
      AwaitRequest,
      Says("no frame at all, by no means"),
      Says(std::string(100'000, '\xff')),
      Says(huge),
      Says(Begun() + huge),
      Says(Begun() + Header(FrameKind::kEntries, kMaxReplyBytes + 1)),
      Says(Begun() + Header(FrameKind::kEntries, kMaxShortReplyBytes + 1)),
      Says(Header(FrameKind::kBegun, kMaxShortReplyBytes + 1)),
      Says(Frame(FrameKind::kRequest, "")),
      Says(Frame(FrameKind::kData, "x")),
      Says(Frame(static_cast<FrameKind>(99), "")),
      Says(Done()),
      Says(Frame(FrameKind::kEntries, Entry())),
      Says(Frame(FrameKind::kBegun, "")),
      Says(Frame(FrameKind::kBegun, std::string(16, '\xff'))),
      Says(Begun() + Begun()),
      Says(Begun() + Frame(FrameKind::kEntries, "garbage")),
      Says(Begun() + Frame(FrameKind::kEntries, Entry("relative"))),
      Says(Begun() + Frame(FrameKind::kDone, "x")),
      Says(Begun() + Frame(FrameKind::kFailed, "x")),
      Says(Begun() + Frame(FrameKind::kFailed, std::string(8, '\xff'))),
      Says(Begun() + Done()),  // an Info() without its entry
      Says(Begun() + Frame(FrameKind::kEntries, Entry() + Entry()) + Done()),
      [](int channel) {
        AwaitRequest(channel);
        SendBytes(channel, Begun().substr(0, 5));
      },
  };
  for (std::size_t i = 0; i < std::size(peers); ++i) {
    SCOPED_TRACE(i);
    ScriptedBox box({peers[i]});
    {
      Files files(box, Short());
      const auto info = files.Info("x");
      ASSERT_FALSE(info);
      EXPECT_EQ(info.error().code, ErrorCode::kInternal) << info.error().message;
      EXPECT_LE(box.started(), 2U);
    }
    box.Join();
  }
  // And with an honest one to turn to, nobody sees that there was another.
  for (std::size_t i = 0; i < 22; ++i) {
    SCOPED_TRACE(i);
    ScriptedBox box({peers[i], Honest()});
    {
      Files files(box, Short());
      const auto info = files.Info(".");
      ASSERT_TRUE(info) << info.error().message;
      EXPECT_EQ(info->path, directory_);
    }
    box.Join();
  }
}

TEST_F(FilesPeers, SilenceAndDripsEndInTime) {
  std::atomic<bool> over = false;
  const Peer peers[] = {
      AwaitEnd,
      [](int channel) {
        AwaitRequest(channel);
        AwaitEnd(channel);
      },
      Says(Begun()),
      Says(Begun() + Header(FrameKind::kDone, 12)),
      [&over](int channel) {  // a byte at a time, of a frame that is long
        AwaitRequest(channel);
        SendBytes(channel, Begun() + Header(FrameKind::kEntries, 30'000));
        while (!over && ::send(channel, "x", 1, MSG_NOSIGNAL) == 1) {
          std::this_thread::sleep_for(5ms);
        }
      },
  };
  for (const Peer& peer : peers) {
    ScriptedBox box({peer});
    const auto start = steady_clock::now();
    {
      Files files(box, Short());
      const auto info = files.Info("x");
      ASSERT_FALSE(info);
      EXPECT_EQ(info.error().code, ErrorCode::kInternal);
      EXPECT_THAT(info.error().message, HasSubstr("in time"));
    }
    EXPECT_LT(steady_clock::now() - start, 20s);
    over = true;
    box.Join();
    over = false;
  }
}

TEST_F(FilesPeers, FloodsAreBounded) {
  const auto flood = [](const std::string& frame) -> Peer {
    return [frame](int channel) {
      AwaitRequest(channel);
      SendBytes(channel, Begun());
      for (;;) {
        std::string_view rest = frame;
        while (!rest.empty()) {
          const ssize_t n = ::send(channel, rest.data(), rest.size(), MSG_NOSIGNAL);
          if (n <= 0) return;
          rest.remove_prefix(static_cast<std::size_t>(n));
        }
      }
    };
  };
  std::string many;
  for (int i = 0; i < 1000; ++i) many += Entry();
  for (const std::string& frame :
       {Frame(FrameKind::kEntries, many),
        Frame(FrameKind::kEntries, Entry("/" + std::string(60'000, 'x'))),
        Frame(FrameKind::kEntries, ""), Begun()}) {
    ScriptedBox box({flood(frame)});
    {
      Files files(box, Short());
      const auto listed = files.List("x", 1);
      ASSERT_FALSE(listed);
      EXPECT_EQ(listed.error().code, ErrorCode::kInternal);
    }
    box.Join();
  }
}

TEST_F(FilesPeers, ErrorsAreTextWhateverTheySay) {
  ScriptedBox box({Says(
      Begun() + Frame(FrameKind::kFailed, EncodeFailure({ErrorCode::kConflict, "a\xff\xfe z"})))});
  {
    Files files(box, Short());
    const auto removed = files.Remove("x");
    ASSERT_FALSE(removed);
    EXPECT_EQ(removed.error().code, ErrorCode::kConflict);
    EXPECT_TRUE(schema::IsValidUtf8(removed.error().message));
    EXPECT_EQ(box.started(), 1U);  // that was an answer
  }
  box.Join();
}

TEST_F(FilesPeers, WhatCannotBeDoneTwiceIsNot) {
  const Peer dies_after_begun = [](int channel) {
    AwaitRequest(channel);
    SendBytes(channel, Begun());
  };
  struct Case {
    const char* name;
    Peer first;
    bool repeated;
  };
  for (const Case& c :
       {Case{"dies before", AwaitRequest, true}, Case{"never begins", AwaitEnd, true},
        Case{"begins too late",
             [](int channel) {
               AwaitRequest(channel);
               std::this_thread::sleep_for(400ms);
               // Nobody hears it, and so it would not begin.
               EXPECT_FALSE(AgentChannel(channel).Send(FrameKind::kBegun, ""));
             },
             true},
        Case{"dies after", dies_after_begun, false}}) {
    SCOPED_TRACE(c.name);
    ScriptedBox box({c.first, Says(Begun() + Done())});
    {
      Files files(box, {.begin = 200ms, .quick = 5s, .whole = 5s});
      const auto moved = files.Move("a", "b");
      EXPECT_EQ(moved.has_value(), c.repeated);
      EXPECT_EQ(box.started(), c.repeated ? 2U : 1U);
    }
    box.Join();
  }
  ScriptedBox box({dies_after_begun, Says(Begun() + Done())});
  {
    Files files(box, Short());
    EXPECT_TRUE(files.Remove("a"));  // this can
  }
  box.Join();
}

TEST_F(FilesPeers, WhoSpeaksUnaskedIsNotAskedAgain) {
  ScriptedBox box({Says(Begun() + Done() + Done()), Honest()});
  {
    Files files(box, Short());
    EXPECT_TRUE(files.Remove("x"));
    EXPECT_TRUE(files.Info("."));
    EXPECT_TRUE(files.Info("."));
    EXPECT_EQ(box.started(), 2U);
  }
  box.Join();
}

TEST_F(FilesPeers, UploadsToWhomeverEndInTimeAndAreCleanedUp) {
  const std::string left = directory_ + "/.left";
  const auto begun = [&] { return Frame(FrameKind::kBegun, EncodeText(left)) + Done(); };
  struct Case {
    const char* name;
    Peer peer;
    bool commits;
  };
  const Case cases[] = {
      {"dies at once",
       [&](int channel) {
         AwaitRequest(channel);
         SendBytes(channel, begun());
       },
       false},
      {"reads nothing",
       [&](int channel) {
         AwaitRequest(channel);
         SendBytes(channel, begun());
         std::this_thread::sleep_for(1500ms);
       },
       false},
      {"is done too early", Says(begun() + Done()), true},
      {"answers nonsense", Says(begun() + "nonsense, and more of it"), false},
      {"never answers", Says(begun()), false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    { const UniqueFd made(::open(left.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600)); }
    ScriptedBox box({c.peer, Honest()});
    {
      // Longer than others, for whoever cleans up on a busy machine.
      Files files(box, {.begin = 1s, .quick = 2s, .whole = 2s});
      auto upload = files.Create("f", {});
      ASSERT_TRUE(upload) << upload.error().message;
      Result<void> ended;
      const std::string piece(1U << 20, 'x');
      for (int i = 0; i < 8 && ended; ++i) ended = (*upload)->Write(piece);
      if (ended) ended = (*upload)->Commit();
      if (!c.commits) {
        ASSERT_FALSE(ended);
        EXPECT_EQ(ended.error().code, ErrorCode::kInternal) << ended.error().message;
        EXPECT_FALSE(std::filesystem::exists(left));
      }
      upload->reset();
      EXPECT_TRUE(files.Info("."));
    }
    box.Join();
  }
}

// Both ends are in this process here: what either leaves open is seen by TearDown().

TEST_F(FilesPeers, SoManyAtOnceAndNoMore) {
  ScriptedBox box({Honest()});
  {
    Files files(box, Short());
    std::vector<std::unique_ptr<Files::Upload>> uploads;
    for (int i = 0; i < 24; ++i) {
      auto upload = files.Create("f" + std::to_string(i), {});
      ASSERT_TRUE(upload) << upload.error().message;
      uploads.push_back(std::move(*upload));
    }
    const auto refused = files.Create("one-more", {});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUnavailable);
    // The rest is served all the while.
    EXPECT_TRUE(files.Info("."));
    uploads.pop_back();
    EXPECT_TRUE(files.Create("one-more", {}));
    uploads.clear();
    EXPECT_EQ(files.List(".", 1)->size(), 0U);
    EXPECT_LE(box.started(), 26U);
  }
  box.Join();
}

TEST_F(FilesPeers, EndedBoxIsSaidToHaveEnded) {
  ScriptedBox box({AwaitRequest});
  box.End();
  Files files(box, Short());
  const auto info = files.Info("x");
  ASSERT_FALSE(info);
  EXPECT_EQ(info.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(box.started(), 0U);
}

}  // namespace
}  // namespace forkbox::execd::testing
