// CaseSeries: one program, run once for each of Source::cases, and a verdict for each.
//
// The rules (docs/decisions/events.md):
//   passed         exited with 0, and its stdout is the expected one. White space at the end of
//                  lines, and empty lines at the end, are not compared, as judges have it.
//   wrong_output   exited with 0 and printed something else, or more than is kept
//   runtime_error  exited with something else, or died of a signal
//   timeout, out_of_memory   a limit of this case ended it
//   not_run        the series ended before it
// The series ends early when it is cancelled, when the program cannot be compiled, when we fail,
// and when all cases together have taken too long.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <string_view>

#include "schema/execution.h"

namespace forkbox::runner {

inline constexpr std::chrono::seconds kMaxSeriesTime{600};
// Of the texts of all cases in an outcome; each stream of each case may have an equal share.
inline constexpr std::size_t kMaxSeriesBytes = 1U << 20;

// A fresh run of this source under these limits.
using RunCase =
    std::function<schema::Outcome(const schema::Source& source, const schema::Limits& limits)>;

// Never throws. The wall limit holds for each case, and `max_time` for all. What comes back has no
// output of its own. Its reason is kCancelled or kSandboxFailed when the series ended for that,
// else that of the first case that did not exit by itself, and kExited with 0 when there is none:
// what the exit codes and the outputs are worth is in the verdicts.
schema::Outcome RunCaseSeries(const schema::Source& source, const schema::Limits& limits,
                              const RunCase& run,
                              std::chrono::milliseconds max_time = kMaxSeriesTime);

// Whether a judge takes the one for the other.
bool SameOutput(std::string_view printed, std::string_view expected);

}  // namespace forkbox::runner
