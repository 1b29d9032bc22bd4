// The seccomp program of every run: a deny-list, because allow-lists break real programs. What
// opens new attack surface in the kernel and no ordinary program needs is refused with EPERM or
// ENOSYS; 32-bit and x32 entry kills. The reasons stand beside the calls in the .cc.
#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/result.h"

namespace forkbox::sandbox {

Result<std::vector<sock_filter>> CompileSeccompFilter();

}  // namespace forkbox::sandbox
