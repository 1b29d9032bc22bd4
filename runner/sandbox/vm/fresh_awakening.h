// What a fork is told so that it is a machine of its own.
#pragma once

#include "runner/sandbox/vm/agent_protocol.h"

namespace forkbox::sandbox::vm {

// This moment, and randomness of the kernel's. To be made for each fork, just before it is sent.
Awakening FreshAwakening();

}  // namespace forkbox::sandbox::vm
