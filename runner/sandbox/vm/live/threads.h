// Threads: makes the parked ones anew in a copy of the process.
#pragma once

#include <cstddef>
#include <span>

#include "runner/sandbox/vm/live/parking.h"

namespace forkbox::sandbox::vm {

// In the child, where of all threads only the caller is left. Each goes on where it was
// interrupted, with its stack, registers, signal mask and thread-local variables, and the id that
// it has now. False with errno set when one could not be made.
bool ReviveThreads(std::span<const ParkedThread> threads, std::size_t id_offset);

}  // namespace forkbox::sandbox::vm
