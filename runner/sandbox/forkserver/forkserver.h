// The privileged process: owns templates, cells and cgroups, and nothing else. It has no network,
// no file tree but the sandbox root, opens nothing by a name that came from outside and parses
// nothing but fixed-size structs from the driver.
//
// Two threads: the builder answers fork requests (slow: a cell takes about a millisecond to make),
// the reaper tears cells down and watches templates. Neither is on the way of a running job.
#pragma once

#include <memory>

#include "base/unique_fd.h"
#include "runner/sandbox/forkserver/config.h"

namespace forkbox::sandbox {

// Serves until the driver closes the control socket. Returns the process's exit code; all cells
// and templates die with the process, which must be pid 1 of a pid namespace.
int RunForkserver(UniqueFd control, const ForkserverConfig& config);

}  // namespace forkbox::sandbox
