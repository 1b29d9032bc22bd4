// Cells that mean harm: to their session, to its channel, to our memory. They hurt themselves.
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "runner/execd/byte_budget.h"
#include "tests/execd/contexts_under_test.h"

namespace forkbox::execd::testing {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;
using ::testing::Eq;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class ContextsHostileTest : public ContextsTest {};

// Each on a context of its own, beside one that must not notice.
TEST_F(ContextsHostileTest, AContextDiesInWordsAndTheOthersLive) {
  struct {
    const char* code;
    std::string why;
  } const cases[] = {
      {"import os; os._exit(3)", "exited with 3"},
      {"import os; os._exit(0)", "exited with 0"},
      {"import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "killed by SIGKILL"},
      {"import os; os.abort()", "killed by SIGABRT"},
      {"import ctypes; ctypes.string_at(0)", "killed by SIGSEGV"},
      {"import os; os.write(3, b'garbage')", "broke the rules of its channel"},
      {"import os; os.write(3, b'\\xff\\xff\\xff\\x7f')", "broke the rules of its channel"},
      {"import os; os.write(3, b'\\x02\\x00\\x00\\x00[]')", "broke the rules of its channel"},
      {"import os; os.write(3, b'\\x0c\\x00\\x00\\x00{\"ev\":\"none\"}')",
       "broke the rules of its channel"},
      {"import os, time; os.close(3); time.sleep(60)", "ended"},
      {"import os, socket, time; socket.socket(fileno=os.dup(3)).shutdown(2); time.sleep(60)",
       "ended"},
  };
  const std::string bystander = NewContext();
  Run(bystander, "x = 5");
  for (const auto& [code, why] : cases) {
    const std::string id = NewContext();
    EXPECT_THAT(Run(id, std::string("print('first')\n") + code).Cell(),
                ElementsAre("out first\n", "status error", "error ContextDied: " + why))
        << code;
    EXPECT_THAT(Ids(), ElementsAre(bystander)) << code;
  }
  EXPECT_EQ(Run(bystander, "x").Result()["text"], "5");
}

TEST_F(ContextsHostileTest, OutOfMemoryIsSaid) {
  sandbox::BoxLimits limits;
  limits.memory_bytes = 192ULL << 20;
  Open(limits, Options());
  const std::string id = NewContext();
  EXPECT_THAT(
      Run(id, "print('first')\nx = b'x' * (1 << 30)").Cell(),
      ElementsAre("out first\n", "status error", "error ContextDied: killed: out of memory"));
  EXPECT_THAT(Ids(), IsEmpty());
  EXPECT_EQ(Run(NewContext(), "1").Result()["text"], "1");
}

TEST_F(ContextsHostileTest, ACopyThatDiesOfMemorySaysSoToo) {
  sandbox::BoxLimits limits;
  limits.memory_bytes = 192ULL << 20;
  Open(limits, Options());
  const auto copy = contexts_->Fork(NewContext());
  ASSERT_TRUE(copy) << copy.error().message;
  EXPECT_EQ(Run(copy->id, "x = b'x' * (1 << 30)").Error().evalue, "killed: out of memory");
}

TEST_F(ContextsHostileTest, AFakeEndFoolsOnlyItsAuthor) {
  const std::string id = NewContext();
  const std::string bystander = NewContext();
  const std::string fake =
      "import os, json, struct\n"
      "def say(**m):\n  b = json.dumps(m).encode(); os.write(3, struct.pack('<I', len(b)) + b)\n";
  Told& told = Run(id, fake + "print('a'); say(ev='done', count=9)\n");
  EXPECT_THAT(told.Cell(), ElementsAre("out a\n"));
  // The true end then ends the next cell, or is met between; whatever it is, it ends.
  for (int i = 0; i < 3 && contexts_->Get(id); ++i) {
    EXPECT_EQ(Run(id, "1").Story().back(), "complete");
  }
  const std::string liar = NewContext();
  Told& lies = Run(liar, fake +
                             "say(ev='result', count=-5, data={'text/plain': 'no'})\n"
                             "say(ev='result', count='x', data={})\n"
                             "say(ev='error', ename=1, evalue=[], traceback=['t'])\n"
                             "say(ev='error', ename='second')\n");
  EXPECT_THAT(lies.Cell(),
              ElementsAre(R"(result {"text":"no"})", "result {}", "status error", "error : "));
  for (const char* lie :
       {"say(ev='result', data=1)", "say(ev='display')", "say()", "say(ev='error', traceback=1)",
        "say(ev='error', traceback=[1])", "say(ev='ready', pid=1)", "say(ev='forked')"}) {
    const std::string one = NewContext();
    EXPECT_EQ(Run(one, fake + lie).Error().ename, "ContextDied") << lie;
  }
  EXPECT_EQ(Run(bystander, "1").Result()["text"], "1");
}

TEST_F(ContextsHostileTest, DescriptorsOnTheChannelGoNowhere) {
  const std::string id = NewContext();
  Told& told = Run(id,
                   "import os, socket, json, struct\n"
                   "s = socket.socket(fileno=os.dup(3))\n"
                   "b = json.dumps({'ev': 'display', 'data': {'text/plain': 'd'}}).encode()\n"
                   "for _ in range(2000):\n"
                   "  socket.send_fds(s, [struct.pack('<I', len(b)) + b], [0, 1, 2])\n"
                   "'end'");
  EXPECT_EQ(told.Count(Event::Type::kResult), 2001U);
  EXPECT_EQ(told.Result()["text"], "'end'");
}

TEST_F(ContextsHostileTest, ACopyThatLiesAboutItselfIsNone) {
  struct {
    const char* name;
    const char* code;
  } const cases[] = {
      {"no answer at all", "import os; me.fork = lambda fds: os._exit(4)"},
      {"pid of init",
       "wire.os = type(wire.os)('os'); wire.os.__dict__.update(os.__dict__)\n"
       "me.say_ready = lambda: channel.send(ev='ready', pid=1, forks=True)"},
      {"no ready", "me.say_ready = lambda: os._exit(0)"},
      {"another word",
       "me.say_ready = lambda: channel.send(ev='display', data=1, x=2) or "
       "channel.send(ev='done')"},
      {"forked without a copy",
       "me.fork = lambda fds: [os.close(f) for f in fds] and channel.send(ev='forked')"},
  };
  for (const auto& [name, code] : cases) {
    const std::string id = NewContext();
    const std::string prelude =
        "import os, sys\nsession = sys.modules['forkbox_session.session']\n"
        "wire = sys.modules['forkbox_session.wire']\nme, channel = session.current, "
        "session.channel\n";
    Run(id, prelude + code);
    const auto copy = contexts_->Fork(id);
    ASSERT_FALSE(copy) << name;
    EXPECT_EQ(copy.error().code, ErrorCode::kUnavailable) << name;
    EXPECT_NE(copy.error().message, "") << name;
    (void)contexts_->Delete(id);
  }
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(ContextsHostileTest, AFloodWaitsForASlowReader) {
  const std::string id = NewContext();
  std::atomic<bool> slow{true};
  std::atomic<std::size_t> passed{0};
  auto running = Begin(id,
                       "import os\nprint('on')\nopen('started', 'w').close()\n"
                       "written = 0\nwhile not os.path.exists('stop'):\n"
                       "  written += os.write(1, b'y' * 65536)\n"
                       "  open('written', 'w').write(str(written))\n",
                       [&](const Event& event) {
                         if (event.type != Event::Type::kStdout) return true;
                         passed += event.text.size();
                         while (slow && passed > (1U << 20)) {
                           std::this_thread::sleep_for(std::chrono::milliseconds(5));
                         }
                         return true;
                       });
  const std::string other = NewContext();
  std::string before;
  std::string now = "0";
  // It stands still, and not for want of trying.
  for (int i = 0; i < 600 && (before != now || now == "0"); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    before = now;
    now = Run(other, "open('written').read()").Result()["text"].is_string()
              ? last_->Result()["text"].get<std::string>()
              : "0";
  }
  EXPECT_LT(passed.load(), 2U << 20);
  Run(other, "open('stop', 'w').close()");
  slow = false;
  running->thread.join();
  EXPECT_EQ(running->told.Story().back(), "complete");
}

TEST_F(ContextsHostileTest, AFloodThatOutlivesItsCellDoesNotHoldItsEnd) {
  const std::string id = NewContext();
  Told& told = Run(id,
                   "import subprocess\nflood = subprocess.Popen(['/usr/bin/yes'])\n"
                   "import time; time.sleep(0.1)\n'end'");
  EXPECT_EQ(told.Result()["text"], "'end'");
  EXPECT_EQ(Run(id, "flood.kill(); flood.wait()").Story().back(), "complete");
}

TEST_F(ContextsHostileTest, FramesWithoutEndAreReadAsTheyAreTaken) {
  const std::string id = NewContext();
  auto running = Begin(id, "print('on')\nwhile True: display('x' * 100_000)",
                       [](const Event& event) { return event.type != Event::Type::kResult; });
  ASSERT_TRUE(running->told.WaitForOutput("on"));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  EXPECT_TRUE(contexts_->Interrupt(id));
  running->thread.join();
  EXPECT_EQ(Run(id, "1").Result()["text"], "1");
}

TEST_F(ContextsHostileTest, LargeFramesThatNeverEndHoldTheBoxsShareAndNoMore) {
  // A frame of 16 MiB of which 15 come, if somebody reads them.
  const std::string begin =
      "import os, struct, time\nprint('on')\n"
      "os.write(3, struct.pack('<I', 16 << 20))\n"
      "for i in range(15 * 16):\n  left = 65536\n"
      "  while left: left -= os.write(3, b'x' * left)\n"
      "print('sent'); time.sleep(1000)\n";
  std::vector<std::unique_ptr<Running>> running;
  std::vector<std::string> ids;
  const auto sent = [&] {
    std::size_t count = 0;
    for (const auto& one : running) {
      count += one->told.Text(Event::Type::kStdout) == "on\nsent\n" ? 1 : 0;
    }
    return count;
  };
  const auto wait_for = [&](std::size_t count) {
    for (int i = 0; i < 3000 && sent() < count; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    EXPECT_EQ(sent(), count);
  };
  for (int i = 0; i < 4; ++i) {
    ids.push_back(NewContext());
    running.push_back(Begin(ids.back(), begin));
    ASSERT_TRUE(running.back()->told.WaitForOutput("on"));
  }
  wait_for(2);
  // Those that wait do not keep others from talking, in small and, beyond that, not in large.
  const std::string other = NewContext();
  EXPECT_EQ(Run(other, "display('small'); 1").Result()["text"], "1");
  EXPECT_LE(ByteBudget::OfProcess().used(), Options().frame_bytes);
  EXPECT_EQ(sent(), 2U);
  auto large = Begin(other, "print('on'); 'y' * 1_000_000");
  ASSERT_TRUE(large->told.WaitForOutput("on"));
  // One that waits can be deleted like any other, and who goes makes room.
  for (const std::string& id : ids) EXPECT_TRUE(contexts_->Delete(id));
  for (const auto& one : running) one->thread.join();
  large->thread.join();
  EXPECT_EQ(large->told.Result()["text"].get<std::string>().size(), 1'000'002U);
  running.clear();
  EXPECT_EQ(ByteBudget::OfProcess().used(), 0U);
}

TEST_F(ContextsHostileTest, AFloodThatNobodyHearsIsReadAtItsPace) {
  const std::string id = NewContext();
  // By its own clock. Whoever hears it sets the pace himself.
  const auto deaf = [](const Event& event) { return event.type != Event::Type::kStdout; };
  auto running =
      Begin(id,
            "import os, time\npiece = b'z' * 65536\nwritten, start = 0, time.monotonic()\n"
            "while time.monotonic() < start + 1.5: written += os.write(1, piece)\n"
            "rate = written / (time.monotonic() - start) / (1 << 20)",
            deaf);
  running->thread.join();
  const std::string rate = Run(id, "rate").Result()["text"];
  EXPECT_LT(std::stod(rate), 240) << "MiB a second";
}

// An end of a channel that is on its way in another channel, which nobody reads, is open.
TEST_F(ContextsHostileTest, ARunEndsWithItsBoxWhereverTheEndOfItsChannelIs) {
  const std::string keeper = NewContext();
  Run(keeper,
      "import socket, threading\nserver = socket.socket(socket.AF_UNIX); server.bind('ends')\n"
      "server.listen()\n"
      "def keep():\n  from_copy, _ = server.accept()\n"
      "  _, ends, _, _ = socket.recv_fds(from_copy, 1, 1)\n"
      "  mine = socket.socket(fileno=3)\n"
      "  socket.send_fds(mine, [b'x'], ends)\n  from_copy.send(b'kept')\n"
      "threading.Thread(target=keep, daemon=True).start()");
  const auto copy = contexts_->Fork(NewContext());  // whose end nobody tells us
  ASSERT_TRUE(copy) << copy.error().message;
  auto running = Begin(copy->id,
                       "import socket, time\nto_keeper = socket.socket(socket.AF_UNIX)\n"
                       "to_keeper.connect('ends'); socket.send_fds(to_keeper, [b'x'], [3])\n"
                       "print(to_keeper.recv(4)); time.sleep(1000)");
  ASSERT_TRUE(running->told.WaitForOutput("kept"));
  box_->End();
  running->thread.join();
  EXPECT_EQ(running->told.Error().evalue, "the sandbox has ended");
}

// Everything in the box stands still, whatever would help to end it too.
TEST_F(ContextsHostileTest, TheEndOfAllDoesNotWaitForABoxThatStandsStill) {
  struct {
    const char* name;
    std::chrono::seconds patience;  // with the box's answer to a signal
    std::function<void()> end;
    std::chrono::seconds at_most;
  } const cases[] = {
      // Nothing is asked of it.
      {"destroyed", std::chrono::seconds(60), [this] { contexts_.reset(); },
       std::chrono::seconds(30)},
      {"destroyed after the box", std::chrono::seconds(60),
       [this] {
         box_->End();
         contexts_.reset();
       },
       std::chrono::seconds(30)},
      // Not for each of them.
      {"deleted", std::chrono::seconds(5), [this] { contexts_->DeleteAll(""); },
       std::chrono::seconds(40)},
  };
  for (const auto& [name, patience, end, at_most] : cases) {
    Open({}, Options());
    contexts_.reset();
    files_ = std::make_unique<Files>(*box_, Files::Patience{patience, patience, patience});
    contexts_ = std::make_unique<Contexts>(Options(), *box_, *files_, clock_, Log::Null());
    std::vector<std::string> ids;
    for (int i = 0; i < 12; ++i) ids.push_back(NewContext());
    std::vector<std::unique_ptr<Running>> running;
    for (int i = 0; i < 11; ++i) {
      running.push_back(Begin(ids[i], "import time\nprint('on')\ntime.sleep(1000)"));
      ASSERT_TRUE(running.back()->told.WaitForOutput("on"));
    }
    running.push_back(Begin(ids[11],
                            "import os, signal, time\nprint('on', flush=True)\n"
                            "if os.fork() == 0:\n  os.setsid()\n"  // in nobody's group
                            "  while True: os.kill(-1, signal.SIGSTOP)\n"
                            "time.sleep(1000)"));
    ASSERT_TRUE(running.back()->told.WaitForOutput("on"));
    std::this_thread::sleep_for(std::chrono::milliseconds(300));  // until it has begun
    const SteadyTime began = std::chrono::steady_clock::now();
    end();
    for (const auto& one : running) one->thread.join();
    EXPECT_LT(std::chrono::steady_clock::now() - began, at_most) << name;
  }
}

TEST_F(ContextsHostileTest, OneThatIgnoresInterruptsCanBeDeleted) {
  const std::string id = NewContext();
  auto running =
      Begin(id,
            "import signal, time\n"
            "for s in (signal.SIGINT, signal.SIGTERM): signal.signal(s, signal.SIG_IGN)\n"
            "print('on')\nwhile True: time.sleep(1)");
  ASSERT_TRUE(running->told.WaitForOutput("on"));
  EXPECT_TRUE(contexts_->Interrupt(id));
  EXPECT_TRUE(contexts_->Delete(id));
  running->thread.join();
  EXPECT_EQ(running->told.Error().evalue, "deleted");
}

TEST_F(ContextsHostileTest, ACellThatKillsAllItCanSeeEndsItsContextsAndNoMore) {
  const std::string id = NewContext();
  NewContext();
  EXPECT_EQ(Run(id, "import os, signal; os.kill(-1, signal.SIGKILL); os._exit(1)").Error().ename,
            "ContextDied");
  // The other one takes its time to end.
  for (int i = 0; i < 600 && !Ids().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_THAT(Ids(), IsEmpty());
  const std::string next = NewContext();
  EXPECT_EQ(Run(next, "1").Result()["text"], "1");
  EXPECT_TRUE(contexts_->Delete(next));
}

TEST_F(ContextsHostileTest, CreatedAndDeletedFromManyThreads) {
  std::vector<std::jthread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < 5; ++round) {
        const auto created = contexts_->Create("python", "");
        if (!created) continue;
        Told told;
        if (contexts_->Run(created->id, "6 * 7", told) && told.Result()["text"] == "42") ++good;
        (void)contexts_->List("");
        (void)contexts_->Delete(created->id);
      }
    });
  }
  threads.clear();
  EXPECT_EQ(good, 40);
  EXPECT_THAT(Ids(), IsEmpty());
}

}  // namespace
}  // namespace forkbox::execd::testing
