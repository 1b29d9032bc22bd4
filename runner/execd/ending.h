// Ending: how a process ended, in the words of Go's os/exec, which OpenSandbox's clients know.
#pragma once

#include <chrono>
#include <string>

namespace forkbox::execd {

struct Ending {
  int exit_code = 0;  // -1 when a signal ended it
  std::string error;  // "exit status 3", "signal: killed"; "" for exit code 0
  bool Succeeded() const { return error.empty(); }
};

// `wait_status` as of wait4(2).
Ending DescribeWaitStatus(int wait_status);

// The end of what a timeout of ours killed: "timeout after 2s: signal: killed".
Ending DescribeTimeout(std::chrono::milliseconds timeout);

// "1m30s", "1.5s", "100ms".
std::string DescribeDuration(std::chrono::milliseconds duration);

}  // namespace forkbox::execd
