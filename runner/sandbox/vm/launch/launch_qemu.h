// Makes a machine of a fork of the launcher.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/sandbox/forkserver_client.h"
#include "runner/sandbox/vm/launch/descriptors.h"
#include "runner/sandbox/vm/machine.h"

namespace forkbox::sandbox::vm {

// For the words of machine.h: what QEMU finds where.
inline constexpr MachineFds kLaunchedFds{kAgentFd, kMonitorFd, kRamFd};

// Has `fork` start QEMU with these words; from then on its channel is the socket to the agent. The
// result is our end of the monitor's socket. Nothing is awaited.
Result<UniqueFd> LaunchQemu(const ReadyFork& fork, const std::vector<std::string>& words, int ram,
                            int state);

}  // namespace forkbox::sandbox::vm
