// What a CommandRequest comes to: whether it can be run, and the program that is started for it.
#pragma once

#include <cstddef>
#include <string>

#include "base/result.h"
#include "runner/execd/commands.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

// What Linux takes as one argument of a program, with its NUL (execve(2), MAX_ARG_STRLEN).
inline constexpr std::size_t kMaxCommandBytes = (128U << 10) - 1;
inline constexpr std::size_t kMaxEnvironmentBytes = 1U << 20;

// kInvalidArgument, by the name of the field.
Result<void> CheckCommand(const CommandRequest& request);

// Of a request that was checked. `merged`: its errors go where its output goes.
sandbox::BoxProgram ProgramFor(const CommandRequest& request, bool merged);

// The command as its status shows it.
std::string CommandText(const CommandRequest& request);

}  // namespace forkbox::execd
