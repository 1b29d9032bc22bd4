// RootKind::kMachines: what QEMU takes to run and nothing else. Its program, the shared libraries
// that the dynamic linker says it needs, its module for emulation, firmware, the binds of the
// configuration; /etc has the linker's index alone, /dev four devices that hold nothing and, if
// wanted, /dev/kvm. No shell, no interpreter, no user accounts: whoever takes QEMU over finds
// nothing to start and nobody to become.
#pragma once

#include <string>

#include "base/result.h"
#include "runner/sandbox/forkserver/config.h"

namespace forkbox::sandbox {

// Fills `root`, in which the mount points of cells are there already.
Result<void> FurnishForMachines(const std::string& root, const ForkserverConfig& config);

}  // namespace forkbox::sandbox
