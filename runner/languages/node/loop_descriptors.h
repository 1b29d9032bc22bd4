// LoopDescriptors: gives the forked child an event loop of its own.
//
// A child enters its cell with nothing open but 0-2 and its channel, so every descriptor libuv
// knows by number is gone. uv_loop_fork() replaces those of the loop. The pipe that serialises
// signal handlers is process-wide and has no such function: it is found in the template by what it
// is, and put back under its numbers in the child.
#pragma once

#include <uv.h>

#include "base/result.h"

namespace forkbox::javascript {

class LoopDescriptors {
 public:
  // In the template, when its last descriptor has been opened. Fills the gaps below the pipe's
  // numbers, so that libuv finds them free and takes them again when the process forks.
  static Result<LoopDescriptors> Find();

  // In the child. `channel` stays open. False with errno set: the child must not run.
  [[nodiscard]] bool Renew(uv_loop_t& loop, int channel) const;

 private:
  LoopDescriptors(int lock_read, int lock_write) : lock_read_(lock_read), lock_write_(lock_write) {}

  int lock_read_;
  int lock_write_;
};

}  // namespace forkbox::javascript
