#include "runner/progress_board.h"

#include <gtest/gtest.h>

#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "queue/embedded_broker.h"

namespace forkbox::runner {
namespace {

using namespace std::chrono_literals;
using queue::Progress;
using queue::Watch;
using schema::Event;
using schema::EventKind;
using schema::ExecutionId;

const ExecutionId kId("a");

// What one address has heard, put together as it should be.
class Ear {
 public:
  explicit Ear(queue::Broker& broker) : broker_(broker) {
    broker_.ExpectProgress(kId, [this](Progress progress) { Hear(std::move(progress)); });
  }
  ~Ear() { broker_.ForgetProgress(kId); }

  void Hear(Progress progress) {
    const std::lock_guard lock(mutex_);
    ++messages_;
    run_ = progress.run;
    state_ = progress.state;
    finished_ = progress.finished;
    for (const auto& piece : progress.pieces) {
      std::string& text = piece.is_stderr ? err_ : out_;
      if (piece.at != text.size()) gap_ = true;
      text += piece.text;
      order_ += piece.is_stderr ? 'e' : 'o';
    }
  }
  template <class T>
  T Read(T Ear::*member) {
    const std::lock_guard lock(mutex_);
    return this->*member;
  }
  bool Hears(const std::string& text) {
    for (int i = 0; i < 5'000; ++i) {
      if (Read(&Ear::out_) == text) return true;
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }

  queue::Broker& broker_;
  std::mutex mutex_;
  int messages_ = 0;
  std::string run_, state_, out_, err_, order_;
  bool gap_ = false, finished_ = false;
};

class ProgressBoardTest : public testing::Test {
 protected:
  static Event Out(std::string text) { return {EventKind::kStdout, std::move(text)}; }
  static Event Err(std::string text) { return {EventKind::kStderr, std::move(text)}; }
  void Ask(std::uint64_t out = 0, std::uint64_t err = 0, const std::string& run = "",
           const std::string& to = "embedded") {
    EXPECT_TRUE(broker_.SendWatch(
        {.id = kId, .to = to, .run = run, .stdout_from = out, .stderr_from = err}));
  }

  queue::EmbeddedBroker broker_{{}};
  ProgressBoard board_{{.interval = 20ms, .watch_life = 60s, .max_waiting = 8}, broker_};
};

TEST_F(ProgressBoardTest, WhoComesLateIsToldFromTheStartAndThenAsItHappens) {
  Ear ear(broker_);
  const auto run = board_.Begin(kId);
  run->On({EventKind::kState, "running"});
  run->On(Out("one "));
  run->On(Err("oops"));
  EXPECT_EQ(ear.Read(&Ear::messages_), 0);  // nobody asked
  Ask();
  EXPECT_EQ(ear.Read(&Ear::out_), "one ");
  EXPECT_EQ(ear.Read(&Ear::err_), "oops");
  EXPECT_EQ(ear.Read(&Ear::state_), "running");
  run->On(Out("two"));
  EXPECT_TRUE(ear.Hears("one two"));
  board_.End(kId, /*finished=*/true);
  EXPECT_TRUE(ear.Read(&Ear::finished_));
  EXPECT_FALSE(ear.Read(&Ear::gap_));
}

TEST_F(ProgressBoardTest, AWatchWaitsForItsExecution) {
  Ear ear(broker_);
  Ask();
  EXPECT_EQ(board_.waiting(), 1U);
  const auto run = board_.Begin(kId);
  EXPECT_EQ(board_.waiting(), 0U);
  run->On(Out("first"));  // at once: nothing was sent before
  EXPECT_TRUE(ear.Hears("first"));
  board_.End(kId, false);
  EXPECT_FALSE(ear.Read(&Ear::finished_));
}

TEST_F(ProgressBoardTest, SingleBytesAreSentTogetherAndInOrder) {
  Ear ear(broker_);
  const auto run = board_.Begin(kId);
  Ask();
  std::string all;
  for (int i = 0; i < 200'000; ++i) {
    run->On(Out("x"));
    all += 'x';
  }
  EXPECT_TRUE(ear.Hears(all));
  EXPECT_FALSE(ear.Read(&Ear::gap_));
  EXPECT_LT(ear.Read(&Ear::messages_), 10'000);  // most likely some ten
  board_.End(kId, true);
}

TEST_F(ProgressBoardTest, TheStreamsKeepTheirOrderAmongEachOther) {
  Ear ear(broker_);
  const auto run = board_.Begin(kId);
  Ask();
  for (int i = 0; i < 4; ++i) {
    run->On(Out("o"));
    run->On(Err("e"));
  }
  EXPECT_TRUE(ear.Hears("oooo"));
  run->Flush();
  EXPECT_EQ(ear.Read(&Ear::order_), "oeoeoeoe");
  board_.End(kId, true);
}

TEST_F(ProgressBoardTest, WhatWasLostIsToldAgainFromWhereHeIs) {
  Ear ear(broker_);
  const auto run = board_.Begin(kId);
  Ask();
  run->On(Out("0123456789"));
  EXPECT_TRUE(ear.Hears("0123456789"));
  const std::string token = ear.Read(&Ear::run_);
  {
    const std::lock_guard lock(ear.mutex_);
    ear.out_ = "0123";  // the rest never came
  }
  Ask(4, 0, token);
  EXPECT_TRUE(ear.Hears("0123456789"));
  // Of another run everything is told, and what lies beyond the end is nothing.
  {
    const std::lock_guard lock(ear.mutex_);
    ear.out_.clear();
  }
  Ask(4, 0, "another");
  EXPECT_TRUE(ear.Hears("0123456789"));
  Ask(1'000'000, 7, token);
  EXPECT_TRUE(ear.Hears("0123456789"));
  EXPECT_FALSE(ear.Read(&Ear::gap_));
  board_.End(kId, true);
}

TEST_F(ProgressBoardTest, AMessageIsBoundedAndCutBetweenCharacters) {
  std::string euros;
  while (euros.size() < 300'000) euros += "\xE2\x82\xAC";
  std::size_t largest = 0;
  std::string heard;
  broker_.ExpectProgress(kId, [&](const Progress& progress) {
    std::size_t bytes = 0;
    for (const auto& piece : progress.pieces) {
      bytes += piece.text.size();
      heard += piece.text;
      EXPECT_EQ(piece.text.size() % 3, 0U);
    }
    largest = std::max(largest, bytes);
  });
  const auto run = board_.Begin(kId);
  run->On(Out(euros));
  run->On(Out("\xE2\x82"));  // the end of which never comes
  Ask();
  EXPECT_EQ(heard, euros);
  EXPECT_LE(largest, queue::kMaxProgressText);
  board_.End(kId, true);
  broker_.ForgetProgress(kId);
}

TEST_F(ProgressBoardTest, WatchesAndWatchersAreBounded) {
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(broker_.SendWatch({.id = ExecutionId(std::to_string(i)), .to = "x", .run = ""}));
    EXPECT_TRUE(broker_.SendWatch({.id = kId, .to = std::to_string(i), .run = ""}));
  }
  EXPECT_LE(board_.waiting(), 8U);
  const auto run = board_.Begin(kId);
  for (int i = 0; i < 100; ++i) Ask(0, 0, "", std::to_string(i));
  run->On(Out("x"));
  board_.End(kId, true);
}

TEST_F(ProgressBoardTest, WhoStopsHearsNoMore) {
  Ear ear(broker_);
  EXPECT_TRUE(broker_.SendWatch({.id = kId, .to = "embedded", .run = ""}));
  EXPECT_TRUE(broker_.SendWatch({.id = kId, .to = "embedded", .run = "", .stop = true}));
  EXPECT_EQ(board_.waiting(), 0U);
  const auto run = board_.Begin(kId);
  run->On(Out("x"));
  Ask();
  EXPECT_TRUE(ear.Hears("x"));
  EXPECT_TRUE(broker_.SendWatch({.id = kId, .to = "embedded", .run = "", .stop = true}));
  const int before = ear.Read(&Ear::messages_);
  run->On(Out("y"));
  run->Flush();
  board_.End(kId, true);
  EXPECT_EQ(ear.Read(&Ear::messages_), before);
}

}  // namespace
}  // namespace forkbox::runner
