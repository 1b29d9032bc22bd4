// From root to nobody special: the user that serves, and the way there, which has no way back.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>

#include "base/result.h"
#include "cli/data_dir.h"

namespace forkbox::cli {

inline constexpr const char* kServiceUser = "forkbox";

[[nodiscard]] bool IsRoot();

// The service user, made as a system user without home and shell if there is none. Needs root.
Result<FileOwner> EnsureServiceUser();

// For the whole process and for good: that user and group, no supplementary groups, no
// capabilities, no_new_privs, not dumpable. Checks that it worked. To be called while there is one
// thread, since no_new_privs belongs to threads.
Result<void> DropPrivileges(const FileOwner& user);

// Raises the limit of open files as far as it may go, up to `wanted`; returns what it is now.
std::size_t RaiseFileLimit(std::size_t wanted);

}  // namespace forkbox::cli
