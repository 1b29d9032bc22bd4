// Parking: has all other threads of this process stand still, in a signal handler, while the one
// that calls makes a copy of the process. What a thread was doing is in its signal frame, and that
// is on its stack: in the copy a new thread takes it up from there (threads.h).
//
// One thread parks the others; nothing here allocates. Global, because a signal handler is.
#pragma once

#include <signal.h>
#include <sys/types.h>
#include <ucontext.h>

#include <cstddef>
#include <cstdint>
#include <span>

namespace forkbox::sandbox::vm {

// Nothing ever sends it: a relic of coprocessors (signal(7)). No thread may block it.
inline constexpr int kParkSignal = SIGSTKFLT;
inline constexpr std::size_t kMaxParked = 128;

struct ParkedThread {
  pid_t id = 0;
  std::uintptr_t thread_pointer = 0;
  ucontext_t* context = nullptr;  // in its frame
};

// Takes the signal. False with errno set when that fails.
bool PrepareParking();

// Returns once every other thread stands still, interrupted where StandsInCall(). An empty span
// with errno set when they do not come to rest within three seconds (EBUSY), or are too many
// (EAGAIN); then they run. Valid until ReleaseThreads().
std::span<const ParkedThread> ParkThreads();
void ReleaseThreads();

}  // namespace forkbox::sandbox::vm
