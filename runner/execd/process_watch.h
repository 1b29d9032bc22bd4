// WatchProcess: follows one process in a box to its end, in the calling thread: hands out what it
// prints, and kills it with its process group when its time is over.
//
// A box may lie about signals, or keep them from being sent. So after its time the process gets
// kDeathPatience once it was killed, and at most kKillPatience in all (it may have been frozen);
// then its end is told as a timeout, though it may still be there.
//
// The end is that of the process itself. What it leaves behind may go on to print: the pipes that
// are still open then are left in `process`.
#pragma once

#include <chrono>
#include <functional>
#include <string_view>

#include "base/clock.h"
#include "runner/execd/ending.h"
#include "runner/execd/files.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

// How often a reader is told that we are still there (reference 3.2).
inline constexpr std::chrono::seconds kPingInterval{3};

// How long the process that sends a signal inside is waited for.
inline constexpr std::chrono::seconds kSignalPatience{3};

// How long an end is waited for that has to come, once the signal was sent; and for the signal to
// be sent at all, where the box does not let it.
inline constexpr std::chrono::seconds kDeathPatience{10};
inline constexpr std::chrono::seconds kKillPatience{30};

struct ProcessWatch {
  // May block, and so makes the program wait.
  std::function<void(bool is_stderr, std::string_view bytes)> on_output;
  // Every kPingInterval; null: never.
  std::function<void()> on_ping = nullptr;
  // True: nobody waits for the output, so it is read at a pace that spares the processor.
  std::function<bool()> paced = nullptr;
  std::chrono::milliseconds timeout{0};  // 0: none
  int stop_fd = -1;                      // readable: kill it and return; -1: none
};

// Our half: a box that has ended, or whose status was lost, counts as SIGKILL.
Ending WatchProcess(sandbox::BoxProcess& process, Files& files, const Clock& clock,
                    const ProcessWatch& watch);

}  // namespace forkbox::execd
