#include "schema/execution.h"

#include <array>
#include <utility>

namespace forkbox::schema {
namespace {

template <class Enum, std::size_t N>
using Words = std::array<std::pair<Enum, std::string_view>, N>;

constexpr Words<State, 7> kStates{{{State::kQueued, "queued"},
                                   {State::kRunning, "running"},
                                   {State::kCompleted, "completed"},
                                   {State::kError, "error"},
                                   {State::kTimeout, "timeout"},
                                   {State::kCancelled, "cancelled"},
                                   {State::kLost, "lost"}}};
constexpr Words<Reason, 10> kReasons{{{Reason::kExited, "exited"},
                                      {Reason::kSignalled, "signalled"},
                                      {Reason::kWallTimeout, "wall_timeout"},
                                      {Reason::kCpuTimeout, "cpu_timeout"},
                                      {Reason::kOutOfMemory, "out_of_memory"},
                                      {Reason::kCompileFailed, "compile_failed"},
                                      {Reason::kCancelled, "cancelled"},
                                      {Reason::kQueueDeadline, "queue_deadline"},
                                      {Reason::kSandboxFailed, "sandbox_failed"},
                                      {Reason::kRunnerLost, "runner_lost"}}};
constexpr Words<EntryKind, 3> kEntryKinds{{{EntryKind::kScript, "script"},
                                           {EntryKind::kFunction, "function"},
                                           {EntryKind::kCell, "cell"}}};
constexpr Words<Isolation, 2> kIsolations{
    {{Isolation::kProcess, "process"}, {Isolation::kVm, "vm"}}};
constexpr Words<Delivery, 3> kDeliveries{
    {{Delivery::kWait, "wait"}, {Delivery::kPoll, "poll"}, {Delivery::kWebhook, "webhook"}}};
constexpr Words<Priority, 2> kPriorities{
    {{Priority::kInteractive, "interactive"}, {Priority::kBackground, "background"}}};
constexpr Words<Verdict, 6> kVerdicts{{{Verdict::kPassed, "passed"},
                                       {Verdict::kWrongOutput, "wrong_output"},
                                       {Verdict::kRuntimeError, "runtime_error"},
                                       {Verdict::kTimeout, "timeout"},
                                       {Verdict::kOutOfMemory, "out_of_memory"},
                                       {Verdict::kNotRun, "not_run"}}};

template <class Enum, std::size_t N>
constexpr std::string_view Word(const Words<Enum, N>& words, Enum value) {
  for (const auto& [candidate, word] : words) {
    if (candidate == value) return word;
  }
  return "";
}

template <class Enum, std::size_t N>
constexpr std::optional<Enum> Parse(const Words<Enum, N>& words, std::string_view text) {
  for (const auto& [value, word] : words) {
    if (word == text) return value;
  }
  return std::nullopt;
}

}  // namespace

State StateOf(Reason reason, std::optional<int> exit_code) {
  switch (reason) {
    case Reason::kExited:
      return exit_code == 0 ? State::kCompleted : State::kError;
    case Reason::kSignalled:
    case Reason::kOutOfMemory:
    case Reason::kCompileFailed:
    case Reason::kSandboxFailed:
      return State::kError;
    case Reason::kWallTimeout:
    case Reason::kCpuTimeout:
    case Reason::kQueueDeadline:
      return State::kTimeout;
    case Reason::kCancelled:
      return State::kCancelled;
    case Reason::kRunnerLost:
      return State::kLost;
  }
  return State::kError;
}

std::string_view ToString(State state) { return Word(kStates, state); }
std::string_view ToString(Reason reason) { return Word(kReasons, reason); }
std::string_view ToString(EntryKind kind) { return Word(kEntryKinds, kind); }
std::string_view ToString(Isolation isolation) { return Word(kIsolations, isolation); }
std::string_view ToString(Delivery delivery) { return Word(kDeliveries, delivery); }
std::string_view ToString(Priority priority) { return Word(kPriorities, priority); }
std::string_view ToString(Verdict verdict) { return Word(kVerdicts, verdict); }
std::optional<State> ParseState(std::string_view word) { return Parse(kStates, word); }
std::optional<Reason> ParseReason(std::string_view word) { return Parse(kReasons, word); }
std::optional<EntryKind> ParseEntryKind(std::string_view word) { return Parse(kEntryKinds, word); }
std::optional<Isolation> ParseIsolation(std::string_view word) { return Parse(kIsolations, word); }
std::optional<Delivery> ParseDelivery(std::string_view word) { return Parse(kDeliveries, word); }
std::optional<Priority> ParsePriority(std::string_view word) { return Parse(kPriorities, word); }
std::optional<Verdict> ParseVerdict(std::string_view word) { return Parse(kVerdicts, word); }

}  // namespace forkbox::schema
