// What the kernel counts of a cell, read from the cgroup files that came with it. Each of them may
// be /dev/null, where the host gives no such number, and gone, where the cell is.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

namespace forkbox::sandbox {

// cpuacct.usage is nanoseconds, cpu.stat has usage_usec. Nothing where there is no cgroup.
std::optional<std::chrono::microseconds> CpuUsed(int fd);

// Of memory.oom_control or memory.events.
std::uint64_t OomKills(int fd);

// A file that holds one number; 0 without.
std::uint64_t PlainNumber(int fd);

}  // namespace forkbox::sandbox
