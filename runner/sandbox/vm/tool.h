// RunTool: a program of the system's, run to its end.
//
// For commands of operators: the caller has one thread, and what is run is trusted.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace forkbox::sandbox::vm {

struct Tool {
  std::vector<std::string> command;  // its first word is looked for in the PATH of the system
  // A line of its stdout, as it comes.
  std::function<void(std::string_view)> on_line = [](std::string_view) {};
  // Asked several times a second: true ends it, and all that it has started.
  std::function<bool()> stopped = [] { return false; };
  std::chrono::seconds at_most{600};
};

// kUnavailable when it is not installed or ends with anything but 0, with the last line that it
// wrote to stderr; kDeadlineExceeded when it took too long; kConflict when it was stopped.
Result<void> RunTool(const Tool& tool);

}  // namespace forkbox::sandbox::vm
