// Listing and searching. Links are shown, never followed; what vanishes meanwhile is left out; no
// recursion, so that deep trees overflow nothing. Paths are absolute and clean.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "base/result.h"
#include "runner/execd/agent/account_names.h"
#include "runner/execd/agent/glob_pattern.h"
#include "runner/execd/files.h"

namespace forkbox::execd {

// Takes an entry; an error ends the walk.
using EntrySink = std::function<Result<void>(const FileInfo&)>;

// As Files::List(). kInvalidArgument as well for more than kMaxWalkDepth levels.
Result<void> ListDirectory(const std::string& path, std::uint32_t depth, const AccountNames& names,
                           const std::function<bool()>& cancelled, const EntrySink& sink);
// As Files::Search().
Result<void> SearchFiles(const std::string& path, const GlobPattern& pattern,
                         const AccountNames& names, const std::function<bool()>& cancelled,
                         const EntrySink& sink);

}  // namespace forkbox::execd
