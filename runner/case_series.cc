#include "runner/case_series.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace forkbox::runner {

using schema::CaseOutcome;
using schema::Outcome;
using schema::Reason;
using schema::Verdict;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr std::string_view kBlanks = " \t\r\v\f";

// The next line, without its end and the blanks before that.
std::string_view TakeLine(std::string_view* text) {
  const std::size_t end = text->find('\n');
  std::string_view line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  const std::size_t last = line.find_last_not_of(kBlanks);
  return last == std::string_view::npos ? std::string_view() : line.substr(0, last + 1);
}

// Cuts valid UTF-8 between two characters.
void Cut(std::string* text, std::size_t most, bool* truncated) {
  if (text->size() <= most) return;
  while (most > 0 && (static_cast<unsigned char>((*text)[most]) & 0xC0U) == 0x80U) --most;
  text->resize(most);
  *truncated = true;
}

Verdict Judge(const Outcome& outcome, const std::string& expected) {
  switch (outcome.reason) {
    case Reason::kExited:
      if (outcome.exit_code != 0) return Verdict::kRuntimeError;
      return !outcome.stdout_truncated && SameOutput(outcome.stdout_text, expected)
                 ? Verdict::kPassed
                 : Verdict::kWrongOutput;
    case Reason::kSignalled:
      return Verdict::kRuntimeError;
    case Reason::kWallTimeout:
    case Reason::kCpuTimeout:
      return Verdict::kTimeout;
    case Reason::kOutOfMemory:
      return Verdict::kOutOfMemory;
    case Reason::kCompileFailed:
    case Reason::kCancelled:
    case Reason::kQueueDeadline:
    case Reason::kSandboxFailed:
    case Reason::kRunnerLost:
      return Verdict::kNotRun;
  }
  return Verdict::kNotRun;
}

}  // namespace

bool SameOutput(std::string_view printed, std::string_view expected) {
  if (printed == expected) return true;
  while (!printed.empty() || !expected.empty()) {
    // Of the one that has ended, all further lines are empty.
    if (TakeLine(&printed) != TakeLine(&expected)) return false;
  }
  return true;
}

Outcome RunCaseSeries(const schema::Source& source, const schema::Limits& limits,
                      const RunCase& run, milliseconds max_time) {
  Outcome whole;
  whole.reason = Reason::kExited;
  whole.exit_code = 0;
  whole.cases.resize(source.cases.size());
  schema::Source one = source;
  one.cases.clear();
  const std::size_t kept = kMaxSeriesBytes / (2 * std::max<std::size_t>(source.cases.size(), 1));
  const auto start = steady_clock::now();
  Reason ended_for = Reason::kExited;  // what the rest was not run for
  const auto note = [&whole](const Outcome& outcome) {
    if (whole.reason != Reason::kExited) return;  // the first one says why
    whole.reason = outcome.reason;
    whole.exit_code = outcome.reason == Reason::kExited ? std::optional<int>(0) : std::nullopt;
    whole.signal = outcome.signal;
    whole.message = outcome.message;
  };

  for (std::size_t i = 0; i < source.cases.size(); ++i) {
    const auto left =
        max_time - std::chrono::duration_cast<milliseconds>(steady_clock::now() - start);
    if (left.count() <= 0) {
      Outcome late;
      late.reason = Reason::kWallTimeout;
      late.message = "the cases together took too long";
      note(late);
      ended_for = late.reason;
      break;
    }
    one.stdin_data = source.cases[i].stdin_data;
    schema::Limits own = limits;
    own.wall = std::min(limits.wall, left);
    Outcome outcome = run(one, own);

    whole.usage.cpu += outcome.usage.cpu;
    whole.usage.wall += outcome.usage.wall;
    whole.usage.peak_memory_bytes =
        std::max(whole.usage.peak_memory_bytes, outcome.usage.peak_memory_bytes);
    whole.timings.fork += outcome.timings.fork;
    whole.timings.compile += outcome.timings.compile;
    whole.timings.exec += outcome.timings.exec;
    if (whole.compile_output.empty()) whole.compile_output = outcome.compile_output;
    if (whole.accelerator.empty()) {
      whole.isolation = outcome.isolation;
      whole.accelerator = outcome.accelerator;
    }

    CaseOutcome& result = whole.cases[i];
    result.verdict = Judge(outcome, source.cases[i].expected_output);
    result.reason = outcome.reason;
    result.exit_code = outcome.exit_code;
    result.signal = outcome.signal;
    note(outcome);
    ended_for = outcome.reason;
    if (outcome.reason == Reason::kCancelled || outcome.reason == Reason::kSandboxFailed) {
      // None of the program's doing: whoever gives it back or tries it again has to see this one,
      // whatever an earlier case ended with.
      whole.reason = outcome.reason;
      whole.exit_code = std::nullopt;
      whole.signal = std::nullopt;
      whole.message = outcome.message;
    }
    if (result.verdict == Verdict::kNotRun) break;
    result.usage = outcome.usage;
    result.stdout_text = std::move(outcome.stdout_text);
    result.stderr_text = std::move(outcome.stderr_text);
    result.stdout_truncated = outcome.stdout_truncated;
    result.stderr_truncated = outcome.stderr_truncated;
    Cut(&result.stdout_text, kept, &result.stdout_truncated);
    Cut(&result.stderr_text, kept, &result.stderr_truncated);
  }
  for (CaseOutcome& rest : whole.cases) {
    if (rest.verdict == Verdict::kNotRun) rest.reason = ended_for;
  }
  whole.state = schema::StateOf(whole.reason, whole.exit_code);
  return whole;
}

}  // namespace forkbox::runner
