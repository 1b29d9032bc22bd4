// RootKind::kPrograms: /usr and the language runtimes bound read-only, a synthetic /etc and /dev,
// and empty folders for what a box brings.
#pragma once

#include <string>

#include "base/result.h"
#include "runner/sandbox/forkserver/config.h"

namespace forkbox::sandbox {

// Fills `root`, in which the mount points of cells are there already.
Result<void> FurnishForPrograms(const std::string& root, const ForkserverConfig& config);

}  // namespace forkbox::sandbox
