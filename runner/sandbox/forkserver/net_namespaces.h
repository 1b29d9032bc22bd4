// Network namespaces, used again while they are as new.
//
// Making one costs more than everything else of a cell together, and so does the kernel's work of
// taking it down. Most programs never touch theirs. One is kept for the next cell only if it can
// be shown that nothing happened in it: no socket is left in it (nor a connection in TIME_WAIT),
// and everything the kernel counts of it, down to a connect() that went nowhere, is as in one that
// nobody was ever in. Nothing in it can be configured by a program, which has no capabilities and a
// read-only /proc. Everything else is thrown away.
//
// One thread at a time.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace forkbox::sandbox {

class NetNamespaces {
 public:
  // In a network namespace of the caller's own.
  NetNamespaces();

  // One with its loopback up, or an invalid descriptor: then the cell makes its own.
  UniqueFd Take();

  // The namespace of a dead cell. Keeps it if it is as new and there is room.
  void GiveBack(UniqueFd net_namespace);

 private:
  UniqueFd own_;  // where the calling thread returns to after a look: empty and unused itself
  std::string traces_of_none_;
  std::vector<UniqueFd> kept_;
};

// The network namespace of a process, from /proc of the caller's pid namespace.
UniqueFd OpenNetNamespace(pid_t pid);

}  // namespace forkbox::sandbox
