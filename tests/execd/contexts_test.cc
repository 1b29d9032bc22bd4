// Contexts: their life, one cell after the other, side by side, and copies.
#include <atomic>
#include <chrono>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/uuid.h"
#include "tests/execd/contexts_under_test.h"

namespace forkbox::execd::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST_F(ContextsTest, AreMadeListedAndDeleted) {
  EXPECT_TRUE(contexts_->Knows("python"));
  EXPECT_FALSE(contexts_->Knows("cobol"));
  EXPECT_THAT(Ids(), IsEmpty());
  const auto first = contexts_->Create("python", "");
  ASSERT_TRUE(first) << first.error().message;
  EXPECT_TRUE(IsUuid(first->id));
  EXPECT_EQ(first->language, "python");
  EXPECT_EQ(first->cwd, "");
  EXPECT_TRUE(first->forks);
  const auto second = contexts_->Create("python", "/box/work/deep/er");
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->cwd, "/box/work/deep/er");
  EXPECT_EQ(Run(second->id, "import os; os.getcwd()").Result()["text"], "'/box/work/deep/er'");
  EXPECT_THAT(Ids(), UnorderedElementsAre(first->id, second->id));
  EXPECT_THAT(contexts_->List("javascript"), IsEmpty());
  EXPECT_EQ(contexts_->Get(first->id)->language, "python");

  EXPECT_TRUE(contexts_->Delete(first->id));
  EXPECT_FALSE(contexts_->Get(first->id));
  EXPECT_EQ(contexts_->Delete(first->id).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(contexts_->Interrupt(first->id).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(contexts_->Fork(first->id).error().code, ErrorCode::kNotFound);
  Told told;
  EXPECT_EQ(contexts_->Run(first->id, "1", told).error().code, ErrorCode::kNotFound);
  EXPECT_THAT(told.Story(), IsEmpty());
  EXPECT_THAT(Ids(), ElementsAre(second->id));
  contexts_->DeleteAll("javascript");
  EXPECT_THAT(Ids(), ElementsAre(second->id));
  contexts_->DeleteAll("python");
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(ContextsTest, WhatCannotStartSaysWhy) {
  auto refused = contexts_->Create("cobol", "");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(refused.error().message, HasSubstr("cobol"));
  EXPECT_EQ(contexts_->Default("cobol").error().code, ErrorCode::kInvalidArgument);
  refused = contexts_->Create("python", "/proc/forbidden");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message, "");
  EXPECT_THAT(Ids(), IsEmpty());
  Contexts::Options none = Options();
  none.transpile = nullptr;
  Open({}, none);
  EXPECT_FALSE(contexts_->Knows("typescript"));
  EXPECT_EQ(contexts_->Create("typescript", "").error().code, ErrorCode::kInvalidArgument);
  box_->End();
  EXPECT_EQ(contexts_->Create("python", "").error().code, ErrorCode::kUnavailable);
}

TEST_F(ContextsTest, ACellIsToldInOrder) {
  const std::string id = NewContext();
  Told& good = Run(id, "import sys\nprint('a'); print('b', file=sys.stderr, flush=True)\n7");
  EXPECT_EQ(good.events().front().text, id);
  const auto story = good.Story();
  ASSERT_EQ(story.size(), 6U) << ::testing::PrintToString(story);
  EXPECT_EQ(story.front(), "init");
  EXPECT_THAT(story, Contains("out a\n"));
  EXPECT_THAT(story, Contains("err b\n"));
  EXPECT_EQ(story[3], "count 1");
  EXPECT_EQ(story[4], R"(result {"text":"7"})");
  EXPECT_EQ(story[5], "complete");
  EXPECT_GE(good.Count(Event::Type::kPing), 1U);
  Told& bad = Run(id, "print('a'); 1/0");
  EXPECT_THAT(bad.Story(), ElementsAre("init", "out a\n", "status error",
                                       "error ZeroDivisionError: division by zero", "complete"));
  EXPECT_FALSE(bad.Error().traceback.empty());
}

TEST_F(ContextsTest, OutputComesWhileTheCellRunsAndCharactersStayWhole) {
  const std::string id = NewContext();
  auto running = Begin(id,
                       "import os, time\nprint('now')\n"
                       "while not os.path.exists('go'): time.sleep(0.01)\n"
                       "for b in '€😀'.encode(): os.write(1, bytes([b])); time.sleep(0.01)\n"
                       "_ = os.write(1, b'\\xe2\\x82')");
  ASSERT_TRUE(running->told.WaitForOutput("now"));
  Run(NewContext(), "open('go', 'w').close()");
  running->thread.join();
  std::vector<std::string> pieces;
  for (const Event& event : running->told.events()) {
    if (event.type == Event::Type::kStdout) pieces.push_back(event.text);
  }
  EXPECT_THAT(pieces, ElementsAre("now\n", "€", "😀", "\xe2\x82"));
}

TEST_F(ContextsTest, ALongCellIsPinged) {
  const std::string id = NewContext();
  Told& told = Run(id, "import time; time.sleep(3.5)");
  EXPECT_GE(told.Count(Event::Type::kPing), 2U);
  EXPECT_GE(told.events().back().execution_time.count(), 3500);
}

TEST_F(ContextsTest, AnInterruptThatComesAtOnceIsNotLost) {
  const std::string id = NewContext();
  for (int round = 0; round < 20; ++round) {
    std::jthread interrupter;
    // The first ping comes before the cell is sent: the interrupt meets it anywhere on its way.
    auto running = Begin(id, "import time; time.sleep(60)", [&](const Event& event) {
      if (event.type == Event::Type::kPing && !interrupter.joinable()) {
        interrupter = std::jthread([&] { EXPECT_TRUE(contexts_->Interrupt(id)); });
      }
      return true;
    });
    running->thread.join();
    ASSERT_EQ(running->told.Error().ename, "KeyboardInterrupt");
  }
}

TEST_F(ContextsTest, CodeBeyondTheBoundIsRefusedAndTheContextLives) {
  const std::string id = NewContext();
  Run(id, "x = 1");
  EXPECT_EQ(Run(id, "'" + std::string(17U << 20, 'x') + "'").Error().evalue,
            "too large for an interpreter session");
  EXPECT_EQ(Run(id, "x").Result()["text"], "1");
  EXPECT_EQ(Run(id, "len('" + std::string(8U << 20, 'x') + "')").Result()["text"], "8388608");
}

TEST_F(ContextsTest, AreIndependentAndRunSideBySide) {
  const std::string one = NewContext();
  const std::string two = NewContext();
  Run(one, "x = 1");
  EXPECT_EQ(Run(two, "x").Error().ename, "NameError");
  auto waits = Begin(one,
                     "import os, time\nprint('on')\n"
                     "while not os.path.exists('go'): time.sleep(0.01)");
  ASSERT_TRUE(waits->told.WaitForOutput("on"));
  EXPECT_THAT(Run(two, "open('go', 'w').close(); 2").Cell(),
              ElementsAre("count 2", R"(result {"text":"2"})"));
  waits->thread.join();
  EXPECT_EQ(waits->told.Story().back(), "complete");
}

TEST_F(ContextsTest, ABusyOneSaysSoAndGoesOn) {
  const std::string id = NewContext();
  auto running = Begin(id,
                       "import os, time\nprint('on')\n"
                       "while not os.path.exists('go'): time.sleep(0.01)\n'done'");
  ASSERT_TRUE(running->told.WaitForOutput("on"));
  EXPECT_THAT(Run(id, "1").Cell(),
              ElementsAre("status error", "error ContextBusy: session is busy"));
  EXPECT_EQ(contexts_->Fork(id).error().code, ErrorCode::kConflict);
  Run(NewContext(), "open('go', 'w').close()");
  running->thread.join();
  EXPECT_EQ(running->told.Result()["text"], "'done'");
  EXPECT_EQ(Run(id, "1").Result()["text"], "1");
}

TEST_F(ContextsTest, TheDefaultIsOneForAllAndMadeAnewWhenItDied) {
  std::vector<std::string> ids(8);
  {
    std::vector<std::jthread> threads;
    for (std::string& id : ids) {
      threads.emplace_back([&] {
        const auto found = contexts_->Default("python");
        if (found) id = found->id;
      });
    }
  }
  const std::set<std::string> different(ids.begin(), ids.end());
  ASSERT_EQ(different.size(), 1U);
  EXPECT_THAT(Ids(), ElementsAre(ids[0]));
  EXPECT_THAT(Run(ids[0], "import os; os._exit(3)").Cell(),
              ElementsAre("status error", "error ContextDied: exited with 3"));
  EXPECT_THAT(Ids(), IsEmpty());
  const auto next = contexts_->Default("python");
  ASSERT_TRUE(next) << next.error().message;
  EXPECT_NE(next->id, ids[0]);
  // One that ends while nobody looks is found when it is asked for.
  Run(next->id, "import os, threading; threading.Timer(0.05, os._exit, [0]).start()");
  for (int i = 0; i < 600 && !Ids().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  const auto third = contexts_->Default("python");
  ASSERT_TRUE(third) << third.error().message;
  EXPECT_NE(third->id, next->id);
  contexts_->DeleteAll("python");
  EXPECT_NE(contexts_->Default("python")->id, third->id);
}

TEST_F(ContextsTest, DeletedWhileACellRuns) {
  const std::string id = NewContext();
  auto running =
      Begin(id, "import time\nprint('on')\ntry: time.sleep(60)\nfinally: time.sleep(60)");
  ASSERT_TRUE(running->told.WaitForOutput("on"));
  EXPECT_TRUE(contexts_->Delete(id));
  running->thread.join();
  EXPECT_THAT(running->told.Cell(),
              ElementsAre("out on\n", "status error", "error ContextDied: deleted"));
}

TEST_F(ContextsTest, TheEndOfAllEndsTheCellsToo) {
  const std::string id = NewContext();
  NewContext();
  auto running = Begin(id, "import time\nprint('on')\ntime.sleep(60)");
  ASSERT_TRUE(running->told.WaitForOutput("on"));
  contexts_.reset();
  running->thread.join();
  EXPECT_EQ(running->told.Story().back(), "complete");
}

TEST_F(ContextsTest, TheEndOfTheBoxEndsTheCellsToo) {
  const std::string id = NewContext();
  auto running = Begin(id, "import time\nprint('on')\ntime.sleep(60)");
  ASSERT_TRUE(running->told.WaitForOutput("on"));
  box_->End();
  running->thread.join();
  EXPECT_EQ(running->told.Error().ename, "ContextDied");
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(ContextsTest, WithoutAListenerTheCellRunsOnToItsEnd) {
  const std::string id = NewContext();
  auto running = Begin(id, "for i in range(100_000): print('x' * 20)\ndone = True",
                       [](const Event& event) { return event.type != Event::Type::kStdout; });
  running->thread.join();
  EXPECT_EQ(running->told.Text(Event::Type::kStdout), "");
  EXPECT_EQ(Run(id, "done").Result()["text"], "True");
}

TEST_F(ContextsTest, ACopyHasTheStateAndAWayOfItsOwn) {
  const std::string id = NewContext();
  Run(id,
      "import json\nstate = bytearray(100 << 20)\nstate[::4096] = b'x' * len(state[::4096])\n"
      "names = ['ada']");
  const auto before = std::chrono::steady_clock::now();
  const auto copy = contexts_->Fork(id);
  const auto took = std::chrono::steady_clock::now() - before;
  ASSERT_TRUE(copy) << copy.error().message;
  // Far from what a hundred megabytes would take to be copied by pages.
  RecordProperty("fork_100mb_us", static_cast<int>(took.count() / 1000));
  EXPECT_EQ(copy->language, "python");
  EXPECT_TRUE(copy->forks);
  EXPECT_THAT(Ids(), UnorderedElementsAre(id, copy->id));
  Run(copy->id, "names.append('copy'); state[0] = 1; open('shared', 'w').write('by the copy')");
  Run(id, "names.append('first')");
  EXPECT_EQ(Run(copy->id, "names, state[0], state[4096]").Result()["text"],
            "(['ada', 'copy'], 1, 120)");
  EXPECT_EQ(Run(id, "names, state[0], open('shared').read()").Result()["text"],
            "(['ada', 'first'], 120, 'by the copy')");
  // The count of cells goes on where it was.
  EXPECT_THAT(Run(copy->id, "1").Cell(), ElementsAre("count 4", R"(result {"text":"1"})"));
}

TEST_F(ContextsTest, ACopyOfACopyOutlivesThem) {
  const auto first = contexts_->Create("python", "/tmp/there");
  ASSERT_TRUE(first) << first.error().message;
  Run(first->id, "x = 1");
  const auto second = contexts_->Fork(first->id);
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(second->cwd, "/tmp/there");
  Run(second->id, "x += 1");
  const auto third = contexts_->Fork(second->id);
  ASSERT_TRUE(third) << third.error().message;
  EXPECT_TRUE(contexts_->Delete(first->id));
  EXPECT_TRUE(contexts_->Delete(second->id));
  EXPECT_EQ(Run(third->id, "import os; x + 1, os.getcwd()").Result()["text"], "(3, '/tmp/there')");
  auto running = Begin(third->id, "import time\nprint('on')\ntime.sleep(60)");
  ASSERT_TRUE(running->told.WaitForOutput("on"));
  EXPECT_TRUE(contexts_->Interrupt(third->id));
  running->thread.join();
  EXPECT_EQ(running->told.Error().ename, "KeyboardInterrupt");
  EXPECT_EQ(Run(third->id, "os._exit(1)").Error().ename, "ContextDied");
  EXPECT_THAT(Ids(), IsEmpty());
  // And nothing of them is a zombie.
  EXPECT_EQ(Run(NewContext(),
                "import subprocess\n"
                "subprocess.getoutput('cat /proc/[0-9]*/stat').count(') Z ')")
                .Result()["text"],
            "0");
}

TEST_F(ContextsTest, ThereAreAtMostThirtyTwo) {
  sandbox::BoxLimits limits;
  limits.memory_bytes = 2048ULL << 20;
  Open(limits, Options());
  const std::string first = NewContext();
  for (int i = 1; i < 32; ++i) {
    const auto created = i % 2 == 0 ? contexts_->Create("python", "") : contexts_->Fork(first);
    ASSERT_TRUE(created) << i << ": " << created.error().message;
  }
  EXPECT_EQ(contexts_->Create("python", "").error().code, ErrorCode::kQueueFull);
  EXPECT_EQ(contexts_->Fork(first).error().code, ErrorCode::kQueueFull);
  EXPECT_EQ(contexts_->Default("python").error().code, ErrorCode::kQueueFull);
  for (const std::string& id : Ids()) EXPECT_EQ(Run(id, "1").Result()["text"], "1");
  EXPECT_TRUE(contexts_->Delete(first));
  EXPECT_TRUE(contexts_->Create("python", ""));
  contexts_->DeleteAll("python");
  EXPECT_THAT(Ids(), IsEmpty());
}

TEST_F(ContextsTest, OneThatHungUpWhileIdleIsEnded) {
  const std::string id = NewContext();
  Run(id,
      "import os, socket, threading\nchannel = socket.socket(fileno=os.dup(3))\n"
      "threading.Timer(0.05, channel.shutdown, [2]).start()\n"
      "import subprocess; child = subprocess.Popen(['/bin/sleep', '12345'])");
  for (int i = 0; i < 600 && !Ids().empty(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_THAT(Ids(), IsEmpty());
  EXPECT_EQ(
      Run(NewContext(),
          "import glob\n"
          "sum(open(f).read().count('1234' + '5') for f in glob.glob('/proc/[0-9]*/cmdline'))")
          .Result()["text"],
      "0");
}

TEST_F(ContextsTest, JavaScriptAndTypeScriptAreContextsToo) {
  const std::string js = NewContext("javascript");
  Run(js, "let x = 2");
  EXPECT_EQ(Run(js, "x + 2").Result()["text"], "4");
  EXPECT_EQ(Run(js, "throw new TypeError('bad')").Error().ename, "TypeError");
  const std::string ts = NewContext("typescript");
  EXPECT_EQ(contexts_->Get(ts)->language, "typescript");
  EXPECT_THAT(contexts_->List("typescript"), ::testing::SizeIs(1));
  Run(ts, "let x: number = 20");
  EXPECT_EQ(Run(ts, "x + 1").Result()["text"], "21");
  Told& wrong = Run(ts, "let @@");
  EXPECT_THAT(wrong.Cell(),
              ElementsAre("status error", "error SyntaxError: unexpected @@\n1 | let @@"));
  EXPECT_THAT(wrong.Error().traceback, ElementsAre("unexpected @@", "1 | let @@"));
  if (!contexts_->Get(js)->forks) {
    EXPECT_EQ(contexts_->Fork(js).error().code, ErrorCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace forkbox::execd::testing
