// The file tree that programs see, built once: a small read-only tmpfs, furnished for programs or
// for virtual machines, with empty mount points for what each cell brings itself (/proc, /box,
// /tmp, /dev/shm, and /dev/pts of a box). No /sys; no folder of the host's but what is bound.
#pragma once

#include "base/result.h"
#include "runner/sandbox/forkserver/config.h"

namespace forkbox::sandbox {

// Makes this process's mount namespace (which must be its own) consist of that tree alone: after
// it, nothing of the host can be opened by name.
Result<void> EnterRootFs(const ForkserverConfig& config);

}  // namespace forkbox::sandbox
