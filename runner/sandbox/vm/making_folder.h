// MakingFolder: a folder in which something is made, beside the place that it will have, and which
// takes that place whole or not at all.
//
// Not thread-safe. Whoever uses one holds the lock of the parent folder (FolderLock), so one that
// is found there was left by a process that was killed.
#pragma once

#include <functional>
#include <string>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"

namespace forkbox::sandbox::vm {

// Exclusive use of a folder, which is made if need be; among processes, until destroyed or dead.
class FolderLock {
 public:
  // kConflict when `stopped` says so while somebody else has it; `on_wait` is called then, once.
  static Result<FolderLock> Take(const std::string& folder, const std::function<void()>& on_wait,
                                 const std::function<bool()>& stopped);

 private:
  explicit FolderLock(UniqueFd folder) : folder_(std::move(folder)) {}
  UniqueFd folder_;
};

// Names in it are on the disk, and not only what they name.
Result<void> SyncFolder(const std::string& folder);

class MakingFolder {
 public:
  // For a place in `parent`, which is there: removes what others have left there under `name`, and
  // makes an empty folder.
  static Result<MakingFolder> Begin(const std::string& parent, const std::string& name);
  MakingFolder(MakingFolder&& other) noexcept;
  MakingFolder(const MakingFolder&) = delete;
  ~MakingFolder();  // removes what did not take its place

  [[nodiscard]] const std::string& path() const { return path_; }
  // Writes all files to the disk, then exchanges the folder for what is in its place, which is
  // removed.
  Result<void> Finish(const std::string& place);

 private:
  explicit MakingFolder(std::string path) : path_(std::move(path)) {}
  std::string path_;  // "" once it is finished
};

}  // namespace forkbox::sandbox::vm
