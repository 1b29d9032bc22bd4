// Whether a thread that was interrupted stands where it can be continued in a copy of the process,
// under another thread id.
#pragma once

#include <ucontext.h>

namespace forkbox::sandbox::vm {

// True when it waits in the kernel, or is about to: for a lock, a wake-up, a time or a descriptor.
// Then it is not in the midst of anything that goes by its id, such as holding a recursive lock for
// three instructions. It may hold a lock all the same, as long as it is of the kind that anybody
// can let go of; QEMU waits with no other.
bool StandsInCall(const ucontext_t& context);

}  // namespace forkbox::sandbox::vm
