// What both filters (seccomp_filter.h, machine_filter.h) are made with: a set of rules of
// libseccomp and the program that the kernel takes.
#pragma once

#include <linux/filter.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "base/result.h"

namespace forkbox::sandbox {

using SeccompRules = std::unique_ptr<void, void (*)(void*)>;  // scmp_filter_ctx

// Empty rules, with what becomes of the calls that none is about; entries of other architectures
// kill. nullptr: out of memory.
SeccompRules NewSeccompRules(std::uint32_t default_action);

Result<std::vector<sock_filter>> ExportProgram(const SeccompRules& rules);

}  // namespace forkbox::sandbox
