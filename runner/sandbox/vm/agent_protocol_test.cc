#include "runner/sandbox/vm/agent_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "runner/sandbox/wire.h"

namespace forkbox::sandbox::vm {
namespace {

using schema::EventKind;
using schema::Reason;
using testing::HasSubstr;

// What one side sends, as the other reads it.
Frame Travel(Reads reads, const std::string& bytes) {
  FrameReader reader(reads);
  EXPECT_TRUE(reader.Feed(bytes));
  auto frame = reader.Next();
  EXPECT_TRUE(frame);
  EXPECT_FALSE(reader.Next());
  return frame.value_or(Frame{});
}

std::string Body(const std::string& frame) { return frame.substr(8); }

Awakening SomeAwakening() {
  Awakening awakening;
  awakening.clock_unix_ns = 1'700'000'000'123'456'789;
  for (std::size_t i = 0; i < kSeedBytes; ++i) {
    awakening.seed[i] = static_cast<std::uint8_t>(200 + i);
  }
  return awakening;
}

Job SomeJob() {
  Job job;
  job.awakening = SomeAwakening();
  job.language = "python";
  job.limits.wall = std::chrono::milliseconds(1234);
  job.limits.cpu = std::chrono::milliseconds(99);
  job.limits.memory_bytes = 5ULL << 32;
  job.limits.pids = 7;
  job.limits.disk_bytes = 8;
  job.limits.output_bytes = 9;
  job.source.code = std::string("print()\0\xff", 9);
  job.source.entry = schema::EntryKind::kFunction;
  job.source.files = {{"a/b.txt", "content", false}, {"run", std::string(1, '\0'), true}};
  job.source.stdin_data = "input";
  job.source.args = {"", "two words"};
  job.source.env = {{"A", "1"}, {"B", ""}};
  return job;
}

LanguageStatus SomeLanguage() {
  LanguageStatus language;
  language.id = "go";
  language.aliases = {"golang", "g"};
  language.name = "Go";
  language.version = "go1.21";
  language.ready = true;
  language.reason = "";
  language.file_name = "main.go";
  language.default_limits.pids = 3;
  language.execution_model = languages::ExecutionModel::kCompiled;
  language.extensions = {".go"};
  language.functions = true;
  return language;
}

End Exited(int code) {
  End end;
  end.reason = Reason::kExited;
  end.exit_code = code;
  return end;
}

// ------------------------------------------------------------------ round trips

TEST(AgentProtocol, AJobArrivesAsItWasSent) {
  const Job sent = SomeJob();
  const Frame frame = Travel(Reads::kJobs, EncodeJob(sent));
  EXPECT_EQ(frame.kind, FrameKind::kJob);
  const auto job = DecodeJob(frame.body);
  ASSERT_TRUE(job) << job.error().message;
  EXPECT_EQ(job->awakening.clock_unix_ns, sent.awakening.clock_unix_ns);
  EXPECT_EQ(job->awakening.seed, sent.awakening.seed);
  EXPECT_EQ(job->language, "python");
  EXPECT_EQ(job->limits, sent.limits);
  EXPECT_EQ(job->source.code, sent.source.code);
  EXPECT_EQ(job->source.entry, schema::EntryKind::kFunction);
  ASSERT_EQ(job->source.files.size(), 2U);
  EXPECT_EQ(job->source.files[0].path, "a/b.txt");
  EXPECT_EQ(job->source.files[0].content, "content");
  EXPECT_FALSE(job->source.files[0].executable);
  EXPECT_TRUE(job->source.files[1].executable);
  EXPECT_EQ(job->source.stdin_data, "input");
  EXPECT_EQ(job->source.args, sent.source.args);
  EXPECT_EQ(job->source.env, sent.source.env);
}

TEST(AgentProtocol, ALargeJobArrivesWhole) {
  Job sent = SomeJob();
  sent.source.files = {{"large", std::string(64U << 20, 'x'), false}};
  const auto job = DecodeJob(Travel(Reads::kJobs, EncodeJob(sent)).body);
  ASSERT_TRUE(job);
  EXPECT_EQ(job->source.files[0].content.size(), 64U << 20);
}

TEST(AgentProtocol, AQuestionArrivesAsItWasSent) {
  const auto awakening = DecodeDescribe(Travel(Reads::kJobs, EncodeDescribe(SomeAwakening())).body);
  ASSERT_TRUE(awakening);
  EXPECT_EQ(awakening->seed, SomeAwakening().seed);
  EXPECT_EQ(awakening->clock_unix_ns, SomeAwakening().clock_unix_ns);
}

TEST(AgentProtocol, LanguagesArriveAsTheyWereSent) {
  LanguageStatus absent;
  absent.id = "ruby";
  absent.reason = "not installed";
  const auto description = DecodeLanguages(
      Travel(Reads::kAnswers, EncodeLanguages({{5, ~0ULL}, {SomeLanguage(), absent}})).body);
  ASSERT_TRUE(description);
  EXPECT_EQ(description->drawn, (Drawn{5, ~0ULL}));
  const std::vector<LanguageStatus>* languages = &description->languages;
  ASSERT_EQ(languages->size(), 2U);
  const LanguageStatus& go = languages->at(0);
  EXPECT_EQ(go.id, "go");
  EXPECT_EQ(go.aliases, SomeLanguage().aliases);
  EXPECT_EQ(go.name, "Go");
  EXPECT_EQ(go.version, "go1.21");
  EXPECT_TRUE(go.ready);
  EXPECT_EQ(go.file_name, "main.go");
  EXPECT_EQ(go.default_limits, SomeLanguage().default_limits);
  EXPECT_EQ(go.execution_model, languages::ExecutionModel::kCompiled);
  EXPECT_EQ(go.extensions, SomeLanguage().extensions);
  EXPECT_TRUE(go.functions);
  EXPECT_FALSE(languages->at(1).ready);
  EXPECT_EQ(languages->at(1).reason, "not installed");
}

TEST(AgentProtocol, SmallFramesArriveAsTheyWereSent) {
  EXPECT_TRUE(DecodeReady(Travel(Reads::kAnswers, EncodeReady()).body));
  EXPECT_EQ(*DecodeFailed(Travel(Reads::kAnswers, EncodeFailed("why")).body), "why");
  EXPECT_EQ(*DecodeState(Travel(Reads::kAnswers, EncodeState("compiling")).body), "compiling");
  for (const EventKind stream : {EventKind::kStdout, EventKind::kStderr}) {
    const std::string piece(kMaxOutputPiece, '\xff');
    const Frame frame = Travel(Reads::kAnswers, EncodeOutput(stream, piece));
    const auto output = DecodeOutput(frame.body);
    ASSERT_TRUE(output);
    EXPECT_EQ(output->stream, stream);
    EXPECT_EQ(output->piece, piece);
  }
}

struct EndCase {
  const char* name;
  End end;
};

std::vector<EndCase> Ends() {
  End signalled;
  signalled.reason = Reason::kSignalled;
  signalled.signal = 64;
  End memory;
  memory.reason = Reason::kOutOfMemory;
  memory.exit_code = 1;
  End killed_for_memory;
  killed_for_memory.reason = Reason::kOutOfMemory;
  killed_for_memory.signal = 9;
  End compile;
  compile.reason = Reason::kCompileFailed;
  compile.exit_code = 1;
  compile.compile_output = "line 1: \xC3\xA4";
  compile.compile = std::chrono::seconds(3);
  End failed;
  failed.message = "the sandbox ended before its program";
  End value = Exited(0);
  value.value_json = R"({"a":[1,2.5,null]})";
  End cut = Exited(255);
  cut.stdout_truncated = cut.stderr_truncated = true;
  return {{"exited", Exited(0)}, {"signalled", signalled},
          {"memory", memory},    {"killed_for_memory", killed_for_memory},
          {"compile", compile},  {"failed", failed},
          {"value", value},      {"cut", cut}};
}

TEST(AgentProtocol, EveryEndOfAProgramArrivesAsItWasSent) {
  for (const auto& [name, sent] : Ends()) {
    const auto end = DecodeEnd(Travel(Reads::kAnswers, EncodeEnd(sent)).body);
    ASSERT_TRUE(end) << name << ": " << end.error().message;
    EXPECT_EQ(end->reason, sent.reason) << name;
    EXPECT_EQ(end->exit_code, sent.exit_code) << name;
    EXPECT_EQ(end->signal, sent.signal) << name;
    EXPECT_EQ(end->stdout_truncated, sent.stdout_truncated) << name;
    EXPECT_EQ(end->stderr_truncated, sent.stderr_truncated) << name;
    EXPECT_EQ(end->compile_output, sent.compile_output) << name;
    EXPECT_EQ(end->value_json, sent.value_json) << name;
    EXPECT_EQ(end->message, sent.message) << name;
    EXPECT_EQ(end->compile, sent.compile) << name;
  }
}

TEST(AgentProtocol, WhatIsTooLongToSayIsCutSoThatItArrives) {
  End end;
  end.reason = Reason::kCompileFailed;
  end.exit_code = 1;
  end.message = std::string(100'000, 'm');
  for (int i = 0; i < 3'000'000; ++i) end.compile_output += "\xC3\xA4";
  const auto arrived = DecodeEnd(Travel(Reads::kAnswers, EncodeEnd(end)).body);
  ASSERT_TRUE(arrived) << arrived.error().message;
  EXPECT_GT(arrived->compile_output.size(), 3U << 20);
  EXPECT_FALSE(arrived->message.empty());
  // Cut in the middle of a character, or no text at all.
  const std::string why = "x" + arrived->compile_output.substr(0, 50'000) + "\xff";
  EXPECT_TRUE(DecodeFailed(Travel(Reads::kAnswers, EncodeFailed(why)).body));
  EXPECT_EQ(*DecodeFailed(Body(EncodeFailed("bad \xff"))), "bad \xEF\xBF\xBD");
}

// ------------------------------------------------------------------ what nobody encoded

using Decoder = std::function<bool(std::string_view)>;
struct Kind {
  const char* name;
  Reads reads;
  std::string frame;  // a good one
  Decoder decodes;
};

std::vector<Kind> Kinds() {
  End value = Exited(0);
  value.value_json = "[1]";
  value.compile_output = "warning";
  return {
      {"job", Reads::kJobs, EncodeJob(SomeJob()), [](auto b) { return !!DecodeJob(b); }},
      {"describe", Reads::kJobs, EncodeDescribe(SomeAwakening()),
       [](auto b) { return !!DecodeDescribe(b); }},
      {"ready", Reads::kAnswers, EncodeReady(), [](auto b) { return !!DecodeReady(b); }},
      {"failed", Reads::kAnswers, EncodeFailed("why"), [](auto b) { return !!DecodeFailed(b); }},
      {"languages", Reads::kAnswers, EncodeLanguages({{7, 8}, {SomeLanguage(), SomeLanguage()}}),
       [](auto b) { return !!DecodeLanguages(b); }},
      {"output", Reads::kAnswers, EncodeOutput(EventKind::kStdout, "text"),
       [](auto b) { return !!DecodeOutput(b); }},
      {"state", Reads::kAnswers, EncodeState("running"), [](auto b) { return !!DecodeState(b); }},
      {"end", Reads::kAnswers, EncodeEnd(value), [](auto b) { return !!DecodeEnd(b); }},
  };
}

TEST(AgentProtocol, EveryTruncationAndAnythingBehindIsRefused) {
  for (const Kind& kind : Kinds()) {
    const std::string body = Body(kind.frame);
    ASSERT_TRUE(kind.decodes(body)) << kind.name;
    for (std::size_t size = 0; size < body.size(); ++size) {
      EXPECT_FALSE(kind.decodes(std::string_view(body).substr(0, size))) << kind.name << size;
    }
    EXPECT_FALSE(kind.decodes(body + '\0')) << kind.name;
  }
}

TEST(AgentProtocol, AnotherVersionIsNamedAndNothingElseIsRead) {
  WireWriter other;
  other.U32(kAgentVersion + 1);
  other.Text("whatever a later version says");
  for (const auto& error : {DecodeReady(other.bytes()).error(), DecodeJob(other.bytes()).error(),
                            DecodeDescribe(other.bytes()).error()}) {
    EXPECT_EQ(error.code, ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.message, HasSubstr("version " + std::to_string(kAgentVersion + 1)));
    EXPECT_THAT(error.message, HasSubstr(", this one " + std::to_string(kAgentVersion)));
  }
}

TEST(AgentProtocol, TextsBeyondTheirBoundsAreRefused) {
  const auto text = [](std::string_view content) {
    WireWriter body;
    body.Text(content);
    return body.Take();
  };
  EXPECT_FALSE(DecodeFailed(text(std::string(5000, 'x'))));
  EXPECT_FALSE(DecodeFailed(text("\xff")));
  EXPECT_FALSE(DecodeState(text("dancing")));
  EXPECT_FALSE(DecodeState(text("")));
  WireWriter output;
  output.U32(1);
  output.Text(std::string(kMaxOutputPiece + 1, 'x'));
  EXPECT_FALSE(DecodeOutput(output.bytes()));
  WireWriter stream;
  stream.U32(3);
  stream.Text("x");
  EXPECT_FALSE(DecodeOutput(stream.bytes()));
}

TEST(AgentProtocol, CountsThatCannotFollowAreRefused) {
  WireWriter many;
  for (int i = 0; i < 5; ++i) many.U32(0xffffffff);
  EXPECT_FALSE(DecodeLanguages(many.bytes()));
  EXPECT_FALSE(DecodeLanguages(
      Body(EncodeLanguages({{}, std::vector<LanguageStatus>(300, SomeLanguage())}))));
  LanguageStatus wordy = SomeLanguage();
  wordy.aliases.assign(1000, "x");
  EXPECT_FALSE(DecodeLanguages(Body(EncodeLanguages({{}, {wordy}}))));
  EXPECT_FALSE(DecodeLanguages(Body(EncodeLanguages({{}, {LanguageStatus{}}})))) << "without an id";
}

TEST(AgentProtocol, EndsThatNoProgramHasAreRefused) {
  const auto refused = [](const char* what, const std::function<void(End*)>& change) {
    End end = Exited(0);
    change(&end);
    EXPECT_FALSE(DecodeEnd(Body(EncodeEnd(end)))) << what;
  };
  for (const Reason reason :
       {Reason::kWallTimeout, Reason::kCpuTimeout, Reason::kCancelled, Reason::kQueueDeadline,
        Reason::kRunnerLost, static_cast<Reason>(10), static_cast<Reason>(-1)}) {
    refused("reason", [&](End* end) {
      end->reason = reason;
      end->exit_code.reset();
    });
  }
  refused("exit without code", [](End* end) { end->exit_code.reset(); });
  refused("exit by a signal", [](End* end) { end->signal = 9; });
  refused("failed with a code", [](End* end) { end->reason = Reason::kSandboxFailed; });
  refused("code too large", [](End* end) { end->exit_code = 256; });
  refused("negative code", [](End* end) { end->exit_code = -1; });
  for (const int signal : {0, 65, -9}) {
    refused("signal", [&](End* end) {
      end->reason = Reason::kSignalled;
      end->exit_code.reset();
      end->signal = signal;
    });
  }
  refused("a compile of days", [](End* end) { end->compile = std::chrono::hours(48); });
  for (const char* value : {"", "{", "NaN", "1 2", "\"\xff\""}) {
    refused(value, [&](End* end) { end->value_json = value; });
  }
  refused("a deep value",
          [](End* end) { end->value_json = std::string(2000, '[') + std::string(2000, ']'); });
  refused("a large value",
          [](End* end) { end->value_json = '"' + std::string(2U << 20, 'x') + '"'; });
  // An encoder of ours would have cut it.
  std::string body = Body(EncodeEnd(Exited(0)));
  WireWriter message;
  message.Text(std::string(kMaxReasonBytes + 1, 'm'));
  body.replace(body.size() - 16, 4, message.bytes());
  EXPECT_FALSE(DecodeEnd(body)) << "a long message";
  refused("no text", [](End* end) { end->compile_output = "\xff"; });
}

TEST(AgentProtocol, AnEnvironmentIsInOrderAndEachNameOnce) {
  Job job = SomeJob();
  job.source.env = {{"AAAA", "1"}, {"BBBB", "2"}};
  const std::string good = Body(EncodeJob(job));
  for (const auto& [name, with] :
       {std::pair("BBBB", "AAAA"), std::pair("AAAA", "CCCC"), std::pair("AAAA", "BBBB")}) {
    std::string body = good;
    body.replace(body.find(name), 4, with);
    EXPECT_FALSE(DecodeJob(body)) << name << " to " << with;
  }
}

// ------------------------------------------------------------------ frames

TEST(FrameReader, GivesFramesHoweverTheyCome) {
  const std::string three =
      EncodeState("running") + EncodeOutput(EventKind::kStdout, "") + EncodeEnd(Exited(0));
  for (std::size_t step : {1, 2, 3, 7, 8, 9, 1000}) {
    FrameReader reader(Reads::kAnswers);
    std::vector<FrameKind> kinds;
    for (std::size_t at = 0; at < three.size(); at += step) {
      ASSERT_TRUE(reader.Feed(std::string_view(three).substr(at, step)));
      while (auto frame = reader.Next()) kinds.push_back(frame->kind);
    }
    EXPECT_THAT(kinds, testing::ElementsAre(FrameKind::kState, FrameKind::kOutput, FrameKind::kEnd))
        << step;
  }
}

struct HeaderCase {
  const char* name;
  Reads reads;
  std::uint32_t size;
  std::uint32_t kind;
};

// Known by the header alone: nothing of the body is waited for, or held.
TEST(FrameReader, RefusesWhatCannotBeAFrameAndStaysThatWay) {
  const HeaderCase cases[] = {
      {"answer_to_the_agent", Reads::kJobs, 8, 16},
      {"job_to_the_host", Reads::kAnswers, 8, 1},
      {"question_to_the_host", Reads::kAnswers, 80, 2},
      {"kind_of_nobody", Reads::kAnswers, 8, 3},
      {"kind_after_the_last", Reads::kAnswers, 8, 22},
      {"kind_zero", Reads::kJobs, 8, 0},
      {"no_room_for_a_kind", Reads::kAnswers, 3, 16},
      {"nothing", Reads::kAnswers, 0, 16},
      {"everything", Reads::kAnswers, 0xffffffff, 21},
      {"large_job", Reads::kJobs, kMaxJobBytes + 5, 1},
      {"large_question", Reads::kJobs, 81, 2},
      {"large_readiness", Reads::kAnswers, 9, 16},
      {"large_output", Reads::kAnswers, kMaxOutputPiece + 13, 19},
      {"large_state", Reads::kAnswers, 1000, 20},
      {"large_end", Reads::kAnswers, kMaxAnswerBytes + 5, 21},
      {"large_languages", Reads::kAnswers, 1U << 20, 18},
  };
  for (const HeaderCase& test : cases) {
    WireWriter header;
    header.U32(test.size);
    header.U32(test.kind);
    const bool jobs = test.reads == Reads::kJobs;
    const std::string good = jobs ? EncodeDescribe({}) : EncodeReady();
    for (const std::string& before : {std::string(), good}) {
      FrameReader reader(test.reads);
      const auto fed = reader.Feed(before + header.bytes());
      ASSERT_FALSE(fed) << test.name;
      EXPECT_EQ(fed.error().code, ErrorCode::kInvalidArgument);
      EXPECT_FALSE(reader.Next()) << test.name;
      EXPECT_FALSE(reader.Feed(good)) << test.name;
      EXPECT_FALSE(reader.Next()) << test.name;
    }
  }
}

TEST(FrameReader, TheLargestOfEachKindIsTaken) {
  for (const auto& [reads, size, kind] : {std::tuple(Reads::kJobs, kMaxJobBytes, 1U),
                                          std::tuple(Reads::kAnswers, kMaxAnswerBytes, 21U)}) {
    WireWriter header;
    header.U32(static_cast<std::uint32_t>(size + 4));
    header.U32(kind);
    FrameReader reader(reads);
    EXPECT_TRUE(reader.Feed(header.bytes()));
    EXPECT_FALSE(reader.Next());
  }
}

// ------------------------------------------------------------------ any bytes

class Mutations {
 public:
  explicit Mutations(std::uint32_t seed) : random_(seed) {}

  std::string Of(std::string bytes) {
    for (std::size_t changes = 1 + Below(8); changes > 0; --changes) {
      const std::size_t at = bytes.empty() ? 0 : Below(bytes.size());
      switch (bytes.empty() ? 3 : Below(6)) {
        case 0:
          bytes[at] = static_cast<char>(random_());
          break;
        case 1:
          bytes[at] = static_cast<char>(random_() % 2 == 0 ? 0xff : 0);
          break;
        case 2:
          bytes.resize(at);
          break;
        case 3:
          bytes.insert(at, 1 + Below(8), static_cast<char>(random_()));
          break;
        case 4:
          bytes.insert(at, bytes.substr(Below(bytes.size()), Below(64)));
          break;
        default:
          bytes.erase(at, 1 + Below(8));
          break;
      }
    }
    return bytes;
  }
  std::string Noise(std::size_t most) {
    std::string bytes(Below(most), '\0');
    for (char& byte : bytes) byte = static_cast<char>(random_());
    return bytes;
  }
  std::size_t Below(std::size_t bound) { return random_() % bound; }

 private:
  std::mt19937 random_;
};

void DecodeAll(std::string_view body) {
  for (const Kind& kind : Kinds()) (void)kind.decodes(body);
}

// A fixed seed, so that a failure repeats. What is taken is what its encoder would have written.
TEST(AgentProtocol, NoBytesBreakTheDecoders) {
  Mutations mutations(20240229);
  const std::vector<Kind> kinds = Kinds();
  for (int round = 0; round < 4000; ++round) {
    const Kind& kind = kinds[mutations.Below(kinds.size())];
    const std::string body = mutations.Of(Body(kind.frame));
    (void)kind.decodes(body);
    if (round % 8 == 0) DecodeAll(round % 16 == 0 ? body : mutations.Noise(300));
    if (const auto job = DecodeJob(body)) {
      EXPECT_EQ(Body(EncodeJob(*job)), body);
    }
    if (const auto end = DecodeEnd(body)) {
      EXPECT_EQ(Body(EncodeEnd(*end)), body);
    }
    if (const auto languages = DecodeLanguages(body)) {
      EXPECT_EQ(Body(EncodeLanguages(*languages)), body);
    }
  }
}

TEST(FrameReader, NoBytesBreakIt) {
  Mutations mutations(20240301);
  std::string stream;
  for (const Kind& kind : Kinds()) {
    if (kind.reads == Reads::kAnswers) stream += kind.frame;
  }
  for (int round = 0; round < 4000; ++round) {
    const bool jobs = round % 3 == 0;
    const std::string bytes =
        round % 5 == 0 ? mutations.Noise(400) : mutations.Of(jobs ? EncodeJob(SomeJob()) : stream);
    FrameReader reader(jobs ? Reads::kJobs : Reads::kAnswers);
    std::size_t given = 0;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t step = 1 + mutations.Below(64);
      if (!reader.Feed(std::string_view(bytes).substr(at, step))) {
        EXPECT_FALSE(reader.Next());
        break;
      }
      at += step;
      while (const auto frame = reader.Next()) {
        given += frame->body.size() + 8;
        if (given % 16 == 0) DecodeAll(frame->body);
      }
    }
    EXPECT_LE(given, bytes.size());
  }
}

}  // namespace
}  // namespace forkbox::sandbox::vm
