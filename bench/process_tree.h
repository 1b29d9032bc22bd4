// A process and everything below it, from /proc (proc(5)).
#pragma once

#include <sys/types.h>

#include <set>

namespace forkbox::bench {

// Those that live, the root itself included.
std::set<pid_t> TreeOf(pid_t root);

// Milliseconds of user and system time, of the dead as well as the living: children that were
// waited for count with their parent.
double TreeCpuMillis(pid_t root);

}  // namespace forkbox::bench
