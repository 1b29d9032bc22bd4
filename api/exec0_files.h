// The names of the files that a client wants beside his program.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "schema/execution.h"

namespace forkbox::api {

inline constexpr std::size_t kMaxFileNameBytes = 255;
inline constexpr std::size_t kMaxFileNameDepth = 16;  // segments

// What a name must be and this one is not: relative, of ordinary segments (none empty, "." or
// ".."), valid as it is on every file system we have. Null: it is fine.
std::optional<std::string> FileNameProblem(std::string_view name);

// Where files stand in each other's way, or in that of the program's own file `entry` ("" when that
// is not known): the same name twice, or one file where another needs a folder.
struct FileClash {
  std::size_t index = 0;  // of the later one
  std::string limit;      // "a name of its own"
};
std::optional<FileClash> FindFileClash(const std::vector<schema::SourceFile>& files,
                                       const std::string& entry);

}  // namespace forkbox::api
