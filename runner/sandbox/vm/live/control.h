// The control thread: what makes QEMU a template. It asks the guest, stops the machine and serves
// forks for as long as there is a forkserver. It alone of all threads keeps the privileges that a
// template has.
#pragma once

#include <array>

#include "runner/sandbox/template/fork_loop.h"
#include "runner/sandbox/vm/live/descriptors.h"

namespace forkbox::sandbox::vm {

// Our ends. Behind QEMU's, which are the ones that its command line names.
inline constexpr int kOurAgentFd = kLiveMonitorFd + 1;
inline constexpr int kOurMonitorFd = kLiveMonitorFd + 2;

// In the main thread, before QEMU has any other: sockets, park signal, control thread. Ends the
// process with a reason on stderr when it cannot.
void StartControlThread();

}  // namespace forkbox::sandbox::vm
