// What pid 1 of the guest does before there is anything: file systems, modules, disks. When it is
// done, / is a file system in memory with the folders of Debian's packages bound in from the first
// disk, and our runtime from the second at kRuntimeFolder.
//
// For the one thread of a process that has just been started by the kernel out of its initrd.
#pragma once

#include <string>

#include "base/result.h"

namespace forkbox::sandbox::vm {

inline constexpr const char* kRuntimeFolder = "/opt/forkbox-guest";

// Mounts /proc, /sys and /dev, and loads the modules that are listed in /lib/modules/list: one
// file name a line, in that order. The error names what failed.
Result<void> StartDevices();

// After StartDevices().
Result<void> EnterGuestRoot();

}  // namespace forkbox::sandbox::vm
