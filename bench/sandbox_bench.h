// The rows of long-lived sandboxes: what OpenSandbox's clients wait for, over HTTP, one client at a
// time, each beside what does the same without a sandbox.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bench/row.h"

namespace forkbox::bench {

class SandboxBench {
 public:
  // Opens a sandbox at the server of ours on that port, for all rows. `folder`: where cp may write.
  // nullptr, with a word on stderr, when that does not work.
  static std::unique_ptr<SandboxBench> Start(std::uint16_t port, std::vector<pid_t> servers,
                                             const std::string& folder);
  virtual ~SandboxBench() = default;

  // `bare` names the row of bare python3.
  virtual void AddRows(std::vector<Row>& rows, const std::string& bare, std::size_t scale) = 0;
  // What a hundred idle ones take, and what that is per sandbox.
  virtual void PrintIdleMemory() = 0;
};

}  // namespace forkbox::bench
