// Watch and Progress: what an API process asks of whoever runs an execution, and what it hears from
// there while that runs.
//
// Offsets count bytes of the text as the outcome will have it (valid UTF-8, schema/utf8.h), so that
// who asks, who runs and who reads the finished row all mean the same by them. Plain values.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "schema/execution.h"

namespace forkbox::queue {

// "Tell me what this execution says, from here on." Whoever runs it then does so for
// kWatchLife after the last of these; whoever does not remembers it as long.
struct Watch {
  schema::ExecutionId id;
  std::string to;   // Broker::ReplyAddress() of who asks
  std::string run;  // the run that the offsets are of; of another one everything is told
  std::uint64_t stdout_from = 0;
  std::uint64_t stderr_from = 0;
  bool stop = false;  // "no more"
};
inline constexpr std::chrono::seconds kWatchLife{15};

struct ProgressPiece {
  bool is_stderr = false;
  std::uint64_t at = 0;
  std::string text;  // whole characters
};

// At most kMaxProgressText bytes of text, in the order in which it was printed.
struct Progress {
  schema::ExecutionId id;
  std::string to;
  std::string run;  // one attempt to run it, everywhere different, later ones greater
  // The last word of the run on its state ("compiling", "running"); "" when it has said none.
  std::string state;
  std::vector<ProgressPiece> pieces;
  bool caught_up = false;  // with these, whoever asked has all there is
  bool finished = false;   // the row is terminal
};
inline constexpr std::size_t kMaxProgressText = 48U << 10;

}  // namespace forkbox::queue
