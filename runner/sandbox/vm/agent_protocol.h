// What the host and the agent inside a virtual machine say to each other over its one serial port.
//
//   host ──Job, Describe──▶ agent           frame:  u32 size of what follows, u32 kind, body
//   host ◀──Ready, Languages, Output,       all numbers little endian; texts as in wire.h
//           State, End, Failed── agent
//
// The agent says Ready once, in the template, when all is warm; a fork of the machine is then asked
// one thing and is thrown away. After the first byte of a program has run, the agent is not to be
// trusted any more than the program: the decoders here are total functions over any bytes, bounded
// in size and count, and a reader that has failed once stays failed.
//
// Both ends are built together and each checks the other's version: of another one nothing but that
// is read. Plain values and functions; FrameReader belongs to one thread.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runner/sandbox/driver.h"
#include "schema/execution.h"

namespace forkbox::sandbox::vm {

inline constexpr std::uint32_t kAgentVersion = 2;

enum class FrameKind : std::uint32_t {
  kJob = 1,         // to the agent
  kDescribe = 2,    // to the agent: answered with kLanguages
  kReady = 16,      // u32 version
  kFailed = 17,     // text: why the agent cannot serve; instead of kReady, or of kEnd
  kLanguages = 18,  // what the processor drew, then the languages
  kOutput = 19,     // u32 stream (1 stdout, 2 stderr), text
  kState = 20,      // text: a phase of the run, "compiling", "running"
  kEnd = 21,
};

// What each side takes of the other, header excluded. A job's code, files, input and arguments
// are bounded where requests enter; output comes in pieces.
inline constexpr std::size_t kMaxJobBytes = 96U << 20;
inline constexpr std::size_t kMaxOutputPiece = 64U << 10;
inline constexpr std::size_t kMaxAnswerBytes = 4U << 20;  // kEnd: a value or a compiler's output
inline constexpr std::size_t kMaxReasonBytes = 4U << 10;  // of kFailed, and a message of kEnd

inline constexpr std::size_t kSeedBytes = 64;
using Seed = std::array<std::uint8_t, kSeedBytes>;

// What makes a fork a machine of its own: the time, and randomness that no other fork has.
struct Awakening {
  std::int64_t clock_unix_ns = 0;
  Seed seed{};
};

struct Job {
  Awakening awakening;
  std::string language;
  // Of these memory, pids, disk and output hold inside; time is watched from outside alone.
  schema::Limits limits;
  schema::Source source;  // without cases
};

// How a program ended, as the agent says. What it printed has come before as kOutput.
struct End {
  schema::Reason reason = schema::Reason::kSandboxFailed;
  std::optional<int> exit_code;
  std::optional<int> signal;
  bool stdout_truncated = false;
  bool stderr_truncated = false;
  std::string compile_output;
  std::optional<std::string> value_json;
  std::string message;
  std::chrono::microseconds compile{0};
};

// Two numbers of the processor's own generator (RDRAND), which no seed of ours reaches; zeros where
// there is none. Copies of a machine that draw the same share more than they may.
using Drawn = std::array<std::uint64_t, 2>;

struct Description {
  Drawn drawn{};  // before the kernel was given its seed
  std::vector<LanguageStatus> languages;
};

// One frame, header included.
std::string EncodeJob(const Job& job);
std::string EncodeDescribe(const Awakening& awakening);
std::string EncodeReady();
std::string EncodeFailed(std::string_view why);
std::string EncodeLanguages(const Description& description);
std::string EncodeOutput(schema::EventKind stream, std::string_view piece);  // kStdout, kStderr
std::string EncodeState(std::string_view state);
std::string EncodeEnd(const End& end);

struct Frame {
  FrameKind kind = FrameKind::kFailed;
  std::string body;
};

struct Output {
  schema::EventKind stream = schema::EventKind::kStdout;
  std::string_view piece;  // points into the body
};

// Of bodies. kInvalidArgument for whatever their encoder did not write; of a kEnd also for a value
// that is not JSON, reasons that a program cannot bring about, and numbers out of their range.
// DecodeReady() is kInvalidArgument for another version too, and names both.
Result<Job> DecodeJob(std::string_view body);
Result<Awakening> DecodeDescribe(std::string_view body);
Result<void> DecodeReady(std::string_view body);
Result<std::string> DecodeFailed(std::string_view body);
Result<Description> DecodeLanguages(std::string_view body);
Result<Output> DecodeOutput(std::string_view body);
Result<std::string> DecodeState(std::string_view body);
Result<End> DecodeEnd(std::string_view body);

// Which way the frames of a reader go: it takes those of one side only, each within its bound.
enum class Reads { kJobs, kAnswers };

// Takes bytes as they come and gives frames. Holds at most one frame and what came with it.
class FrameReader {
 public:
  explicit FrameReader(Reads reads) : reads_(reads) {}

  // kInvalidArgument, now and ever after, once what came cannot be a frame: a kind of the other
  // side or of nobody, or a size over the bound of its kind.
  Result<void> Feed(std::string_view bytes);
  // The next whole frame; none yet: nullopt.
  std::optional<Frame> Next();

 private:
  const Reads reads_;
  std::string held_;
  std::size_t at_ = 0;       // of held_: what came before has been given out
  std::size_t checked_ = 0;  // of held_, or beyond: where the next header begins that is unread
  bool failed_ = false;
};

}  // namespace forkbox::sandbox::vm
