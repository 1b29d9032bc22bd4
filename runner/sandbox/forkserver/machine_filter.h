// The seccomp program of every virtual machine that was forked alive: an allow-list, because a
// machine needs little. It has all that it will ever use open when it is forked, so it may read,
// write, wait, map memory and start threads of its own; whatever else it asks the kernel for ends
// it. The reasons stand beside the calls in the .cc; see docs/decisions/vm-live-fork.md.
//
// Not for a machine that is yet to be started: opening files, execve(2) and what the dynamic linker
// needs are not there.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/result.h"

namespace forkbox::sandbox {

Result<std::vector<sock_filter>> CompileMachineFilter();

}  // namespace forkbox::sandbox
