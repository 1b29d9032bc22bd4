// Processor time of a process and everything below it, dead or alive, from /proc (proc(5)).
#pragma once

#include <sys/types.h>

namespace forkbox::bench {

// Milliseconds of user and system time; children that were waited for count with their parent.
double TreeCpuMillis(pid_t root);

}  // namespace forkbox::bench
