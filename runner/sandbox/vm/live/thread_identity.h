// Where glibc keeps a thread's id: in its struct pthread, which no header describes. A thread that
// is made anew in a copy of the process has another id, and the kernel is told to write it there.
//
// Found, not assumed: it is the one word at the same distance from every thread's thread pointer
// that holds that thread's id.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "runner/sandbox/vm/live/parking.h"

namespace forkbox::sandbox::vm {

// Of the calling thread and the parked ones. None, or more than one: nullopt.
std::optional<std::size_t> FindThreadIdOffset(std::span<const ParkedThread> threads);

inline pid_t* ThreadIdAt(std::uintptr_t thread_pointer, std::size_t offset) {
  return reinterpret_cast<pid_t*>(thread_pointer + offset);
}

}  // namespace forkbox::sandbox::vm
