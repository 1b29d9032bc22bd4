// What the guest's kernel shares with every other copy of the machine, made its own: the time of
// day and the state of its generator of random numbers.
#pragma once

#include "base/result.h"
#include "runner/sandbox/vm/agent_protocol.h"

namespace forkbox::sandbox::vm {

// What the processor itself draws, to be asked before anything else has.
Drawn DrawFromProcessor();

// kInternal when the kernel refuses: then nothing may run.
Result<void> Awake(const Awakening& awakening);

}  // namespace forkbox::sandbox::vm
