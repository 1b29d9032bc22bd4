// The vocabulary: what a client asks for (Execution), what became of it (Outcome), and what it
// said on the way (Event). Every dialect maps to and from these; nothing else travels between
// rooms.
//
// Plain values, no behaviour: copy and move them freely between threads.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/strong_id.h"

namespace forkbox::schema {

using ExecutionId = StrongId<struct ExecutionIdTag>;  // UUIDv7
using OwnerId = StrongId<struct OwnerIdTag>;          // an account; "" when authentication is off
using KeyId = StrongId<struct KeyIdTag>;              // one of its keys; not the key itself

enum class State { kQueued, kRunning, kCompleted, kError, kTimeout, kCancelled, kLost };

// Why it ended. The first six are the program's own doing or a limit it met; the last three ours.
enum class Reason {
  kExited,
  kSignalled,
  kWallTimeout,
  kCpuTimeout,
  kOutOfMemory,
  kCompileFailed,
  kCancelled,
  kQueueDeadline,
  kSandboxFailed,
  kRunnerLost,
};

enum class EntryKind { kScript, kFunction, kCell };
enum class Isolation { kProcess, kVm };
enum class Delivery { kWait, kPoll, kWebhook };
enum class Priority { kInteractive, kBackground };

struct SourceFile {
  std::string path;  // relative, no "..": checked where it enters
  std::string content;
  bool executable = false;  // set by compilers only
};

// One of several inputs for the same program, and what it should print.
struct TestCase {
  std::string stdin_data;
  std::string expected_output;
};

struct Source {
  std::string code;
  EntryKind entry = EntryKind::kScript;
  std::vector<SourceFile> files;
  std::string stdin_data;
  std::vector<std::string> args;
  std::map<std::string, std::string> env;
  // Not empty: the program is compiled once and run once for each, with its input; `stdin_data` is
  // then unused.
  std::vector<TestCase> cases;
};

struct Limits {
  std::chrono::milliseconds wall{30'000};
  std::chrono::milliseconds cpu{30'000};  // over all processes of the run
  std::uint64_t memory_bytes = 256ULL << 20;
  std::uint32_t pids = 64;
  std::uint64_t disk_bytes = 64ULL << 20;
  std::uint64_t output_bytes = 1ULL << 20;  // each of stdout and stderr; more is cut, not killed

  bool operator==(const Limits&) const = default;
};

struct Execution {
  ExecutionId id;
  OwnerId owner;
  KeyId key_id;          // that it was asked with; "" when authentication is off
  std::string dialect;   // "zeroboot", "exec0", "nca", "native"
  std::string language;  // canonical id of a manifest: "python", "javascript", "bash"
  Source source;
  Limits limits;
  Isolation isolation = Isolation::kProcess;
  Delivery delivery = Delivery::kWait;
  Priority priority = Priority::kInteractive;
  std::string request_id;
  std::string client_address;  // of whoever asked
  std::string client_reference;
  std::string idempotency_key;
  std::string webhook_url;  // where the outcome is POSTed once it is durable; "" for nowhere
  // Which API process waits for the reply (queue::Broker::ReplyAddress()); "" when nobody does.
  std::string reply_to;
  // What the dialect must remember of the request to word the answer later: JSON of its own making,
  // opaque to everyone else.
  std::string dialect_context;
  std::optional<std::int64_t> queue_deadline_unix_ms;
  std::int64_t created_unix_ms = 0;
};

struct Usage {
  std::chrono::microseconds cpu{0};
  std::chrono::microseconds wall{0};
  std::uint64_t peak_memory_bytes = 0;
};

struct Timings {
  std::chrono::microseconds queue{0};
  std::chrono::microseconds fork{0};
  std::chrono::microseconds compile{0};
  std::chrono::microseconds exec{0};
  std::chrono::microseconds total{0};
};

// What became of one TestCase.
enum class Verdict { kPassed, kWrongOutput, kRuntimeError, kTimeout, kOutOfMemory, kNotRun };
struct CaseOutcome {
  Verdict verdict = Verdict::kNotRun;
  Reason reason = Reason::kCancelled;
  std::optional<int> exit_code;
  std::optional<int> signal;
  std::string stdout_text;  // as in Outcome
  std::string stderr_text;
  bool stdout_truncated = false;
  bool stderr_truncated = false;
  Usage usage;
};

struct Outcome {
  State state = State::kError;  // always terminal
  Reason reason = Reason::kSandboxFailed;
  std::optional<int> exit_code;  // when reason is kExited
  std::optional<int> signal;     // when it died of one, whoever sent it
  std::string stdout_text;       // valid UTF-8, bad bytes replaced by U+FFFD; the head if cut
  std::string stderr_text;
  bool stdout_truncated = false;
  bool stderr_truncated = false;
  std::string compile_output;
  std::optional<std::string> value_json;  // function and cell entries
  std::string message;                    // for reasons that are ours: what failed, for the log
  std::vector<CaseOutcome> cases;         // in the order of Source::cases
  Isolation isolation = Isolation::kProcess;  // what it ran in
  std::string accelerator;                    // of a virtual machine: "kvm", "tcg"; else ""
  Usage usage;
  Timings timings;
};

// completed: exited with 0. timeout: wall, cpu or queue deadline. error: everything else that the
// program, a limit or we did to end it.
State StateOf(Reason reason, std::optional<int> exit_code);

// What a run emits as it happens; a synchronous reply is the fold of these.
enum class EventKind { kState, kStdout, kStderr, kValue, kDone };
struct Event {
  EventKind kind = EventKind::kState;
  std::string data;  // output as raw bytes, value as JSON, state by its word
};

constexpr bool IsTerminal(State state) {
  return state != State::kQueued && state != State::kRunning;
}

// The words that clients, rows and logs see; pinned by a test.
std::string_view ToString(State state);
std::string_view ToString(Reason reason);
std::string_view ToString(EntryKind kind);
std::string_view ToString(Isolation isolation);
std::string_view ToString(Delivery delivery);
std::string_view ToString(Priority priority);
std::string_view ToString(Verdict verdict);
std::optional<State> ParseState(std::string_view word);
std::optional<Reason> ParseReason(std::string_view word);
std::optional<EntryKind> ParseEntryKind(std::string_view word);
std::optional<Isolation> ParseIsolation(std::string_view word);
std::optional<Delivery> ParseDelivery(std::string_view word);
std::optional<Priority> ParsePriority(std::string_view word);
std::optional<Verdict> ParseVerdict(std::string_view word);

}  // namespace forkbox::schema
