// Who is whose child, from /proc. What cannot be read is left out.
#pragma once

#include <sys/types.h>

#include <functional>
#include <vector>

namespace forkbox::languages {

// Of a process with one thread.
std::vector<pid_t> ChildrenOf(pid_t parent);

// The children of `roots` for which `counts` is true, and all that descends from those.
std::vector<pid_t> DescendantsOf(const std::vector<pid_t>& roots,
                                 const std::function<bool(pid_t)>& counts);

}  // namespace forkbox::languages
