#include "runner/sandbox/vm/guest/job_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runner/sandbox/vm/guest/awakening.h"

namespace forkbox::sandbox::vm {
namespace {

using schema::EventKind;
using testing::ElementsAre;

// A driver of one language, whose programs do what they are told beforehand.
class ScriptedDriver final : public Driver {
 public:
  std::vector<schema::Event> events;
  schema::Outcome outcome;
  std::vector<std::string> story;  // what happened, in order
  schema::Limits limits;

  Result<std::unique_ptr<Sandbox>> Fork(const std::string& language,
                                        const schema::Limits& given) override {
    if (language != "python") return Fail(ErrorCode::kInvalidArgument, "unknown " + language);
    story.emplace_back("fork");
    limits = given;
    return std::make_unique<Scripted>(*this);
  }
  [[nodiscard]] std::vector<LanguageStatus> Languages() const override {
    LanguageStatus python;
    python.id = "python";
    return {python};
  }
  [[nodiscard]] DriverStats Stats() const override { return {}; }
  [[nodiscard]] std::vector<std::string> MissingProtections() const override { return {}; }

 private:
  class Scripted final : public Sandbox {
   public:
    explicit Scripted(ScriptedDriver& driver) : driver_(driver) {}
    ~Scripted() override { driver_.story.emplace_back("gone"); }
    schema::Outcome Run(const schema::Source& source, const EventSink& sink) override {
      driver_.story.push_back("run " + source.code);
      for (const schema::Event& event : driver_.events) sink(event);
      return driver_.outcome;
    }
    void Cancel() override {}

   private:
    ScriptedDriver& driver_;
  };
};

class JobServerTest : public testing::Test {
 protected:
  void Serve(const std::string& bytes) {
    FrameReader jobs(Reads::kJobs);
    ASSERT_TRUE(jobs.Feed(bytes));
    server_.Serve(*jobs.Next(), [&](std::string_view sent) {
      FrameReader answers(Reads::kAnswers);
      ASSERT_TRUE(answers.Feed(sent));
      answers_.push_back(*answers.Next());
    });
  }
  [[nodiscard]] std::vector<FrameKind> Kinds() const {
    std::vector<FrameKind> kinds;
    for (const Frame& frame : answers_) kinds.push_back(frame.kind);
    return kinds;
  }

  ScriptedDriver driver_;
  Result<void> awakes_;
  JobServer server_{driver_,
                    [this](const Awakening& awakening) {
                      driver_.story.push_back("awake " + std::to_string(awakening.clock_unix_ns));
                      return awakes_;
                    },
                    [this] {
                      driver_.story.emplace_back("draw");
                      return Drawn{3, 5};
                    }};
  std::vector<Frame> answers_;
};

Job SomeJob() {
  Job job;
  job.awakening.clock_unix_ns = 7;
  job.language = "python";
  job.limits.pids = 5;
  job.limits.wall = std::chrono::seconds(1);
  job.source.code = "code";
  return job;
}

TEST_F(JobServerTest, AwakesBeforeItRunsAndTellsTheEndBeforeItTidiesUp) {
  driver_.events = {{EventKind::kState, "running"}, {EventKind::kStdout, "2\n"}};
  driver_.outcome.reason = schema::Reason::kExited;
  driver_.outcome.exit_code = 3;
  Serve(EncodeJob(SomeJob()));
  EXPECT_THAT(Kinds(), ElementsAre(FrameKind::kState, FrameKind::kOutput, FrameKind::kEnd));
  EXPECT_EQ(DecodeOutput(answers_[1].body)->piece, "2\n");
  const auto end = DecodeEnd(answers_[2].body);
  ASSERT_TRUE(end) << end.error().message;
  EXPECT_EQ(end->exit_code, 3);
  EXPECT_THAT(driver_.story, ElementsAre("awake 7", "fork", "run code"));
  server_.Clear();
  EXPECT_EQ(driver_.story.back(), "gone");
}

TEST_F(JobServerTest, LimitsOfTimeAreTheHosts) {
  Serve(EncodeJob(SomeJob()));
  EXPECT_EQ(driver_.limits.pids, 5U);
  EXPECT_GE(driver_.limits.wall, std::chrono::hours(1));
  EXPECT_GE(driver_.limits.cpu, std::chrono::hours(1));
}

TEST_F(JobServerTest, OutputGoesInPiecesThatTheHostTakes) {
  driver_.events = {{EventKind::kStderr, std::string(2 * kMaxOutputPiece + 1, 'x')}};
  Serve(EncodeJob(SomeJob()));
  ASSERT_EQ(answers_.size(), 4U);
  std::size_t total = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    const auto output = DecodeOutput(answers_[i].body);
    ASSERT_TRUE(output);
    EXPECT_EQ(output->stream, EventKind::kStderr);
    total += output->piece.size();
  }
  EXPECT_EQ(total, 2 * kMaxOutputPiece + 1);
}

TEST_F(JobServerTest, WhatIsNoJobIsRefusedAndNothingRuns) {
  std::string frame = EncodeJob(SomeJob());
  frame[8] = 99;  // the version
  Serve(frame);
  EXPECT_THAT(Kinds(), ElementsAre(FrameKind::kFailed));
  EXPECT_THAT(*DecodeFailed(answers_[0].body), testing::HasSubstr("version 99"));
  EXPECT_TRUE(driver_.story.empty());
}

TEST_F(JobServerTest, NothingRunsInAMachineThatCannotBeAwoken) {
  awakes_ = Fail(ErrorCode::kInternal, "no seed");
  Serve(EncodeJob(SomeJob()));
  EXPECT_EQ(*DecodeFailed(answers_.at(0).body), "no seed");
  EXPECT_THAT(driver_.story, ElementsAre("awake 7"));
}

TEST_F(JobServerTest, AForkThatFailsIsSaid) {
  Job job = SomeJob();
  job.language = "cobol";
  Serve(EncodeJob(job));
  EXPECT_EQ(*DecodeFailed(answers_.at(0).body), "unknown cobol");
}

TEST_F(JobServerTest, DescribesTheLanguages) {
  Serve(EncodeDescribe({}));
  ASSERT_THAT(Kinds(), ElementsAre(FrameKind::kLanguages));
  const auto description = DecodeLanguages(answers_[0].body);
  ASSERT_TRUE(description) << description.error().message;
  EXPECT_EQ(description->languages.at(0).id, "python");
  // The seed would hide what the copies of a machine have in common.
  EXPECT_EQ(description->drawn, (Drawn{3, 5}));
  EXPECT_THAT(driver_.story, ElementsAre("draw", "awake 0"));
}

TEST(DrawFromProcessorTest, NeverDrawsTheSameTwice) {
  const Drawn first = DrawFromProcessor();
  const Drawn second = DrawFromProcessor();
  if (first == Drawn{}) {
    EXPECT_EQ(second, Drawn{});  // a processor without a generator
  } else {
    EXPECT_NE(first, second);
    EXPECT_NE(first[0], first[1]);
  }
}

}  // namespace
}  // namespace forkbox::sandbox::vm
