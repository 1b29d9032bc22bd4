// Paths as clients of execd write them (reference 1.5): "$NAME", "~", relative to the work
// directory.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "runner/execd/daemon.h"
#include "runner/execd/path_expansion.h"

namespace forkbox::api {

// Where programs start, and what relative paths are below of.
inline constexpr std::string_view kExecdWorkPath = "/box/work";

// What a path may name: what every program gets, with the box's own laid over.
execd::Environment ExecdPathEnvironment(const execd::Environment& env);

// Expanded, absolute and clean; kInvalidArgument, also for a NUL.
Result<std::string> ExecdPath(std::string_view path, const execd::Environment& env);

// A directory to run in: expanded, and looked at in the box. "" stays "". kInvalidArgument in the
// reference's words (4.1).
Result<std::string> ExecdRunDirectory(const std::string& cwd, const execd::Environment& env,
                                      execd::Files& files);

// The environment of a command (4.2, 4.3): the box's, then the file that its EXECD_ENVS names, read
// afresh and at most 64 KiB of it, then `request`.
execd::Environment ExecdCommandEnvironment(execd::Daemon& daemon,
                                           const execd::Environment& request);

// The lines of such a file. Values are expanded from `env`.
execd::Environment ParseExecdEnvs(std::string_view text, const execd::Environment& env);

}  // namespace forkbox::api
