// A seccomp program as templates get it (kTemplateFilterFd).
#pragma once

#include <linux/filter.h>

#include <vector>

#include "base/unique_fd.h"

namespace forkbox::sandbox {

// A memory file that every template may read and nobody can change.
UniqueFd SealedFilter(const std::vector<sock_filter>& filter);

}  // namespace forkbox::sandbox
