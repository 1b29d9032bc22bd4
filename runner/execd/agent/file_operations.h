// The operations on single files and directories, as files.h has them, done here and now by this
// process. Paths are absolute.
#pragma once

#include <functional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/execd/agent/account_names.h"
#include "runner/execd/files.h"

namespace forkbox::execd {

// Of `name` below the open directory, or AT_FDCWD; `path` is what the entry is called. Links are
// not followed.
Result<FileInfo> DescribeFile(int directory, const std::string& name, std::string path,
                              const AccountNames& names);

Result<void> RemoveFile(const std::string& path);
Result<void> MoveFile(const std::string& from, const std::string& to);
Result<void> MakeDirectories(const std::string& path, const Permission& permission,
                             const AccountNames& names);
Result<void> CheckDirectory(const std::string& path);
Result<UniqueFd> OpenRegularFile(const std::string& path);
Result<void> ChangePermission(const std::string& path, const Permission& permission,
                              const AccountNames& names);
// Of an open file; `path` is for messages.
Result<void> ChangePermission(int file, const std::string& path, const Permission& permission,
                              const AccountNames& names);

// As mkdir(1) with -p, 0777 less the umask. What is there already may be a link to a directory.
// Returns whether the last one was made.
Result<bool> MakeWithParents(const std::string& path);
// "/a/b/" → "/a"; "/" for what is directly below it.
std::string ParentOf(const std::string& path);

}  // namespace forkbox::execd
