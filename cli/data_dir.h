// DataDir: the directory that holds everything a server keeps, locked for one server at a time.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/result.h"
#include "base/unique_fd.h"

namespace forkbox::cli {

struct FileOwner {
  uid_t uid = 0;
  gid_t gid = 0;
};

class DataDir {
 public:
  // Makes the directory if need be, takes everybody else's access away, hands it to `owner` (of
  // the privileged caller; null leaves it with the caller), and locks it until destroyed.
  // kConflict: another server has it. kInvalidArgument: it is somebody else's directory, that is,
  // one with files in it of which none is ours.
  static Result<DataDir> Open(const std::string& path, std::optional<FileOwner> owner);

  // Makes it the working directory. Names relative to it work even where the unprivileged user
  // may not walk the path to it, such as below /root.
  [[nodiscard]] Result<void> Enter() const;

  [[nodiscard]] const std::string& path() const { return path_; }  // absolute

 private:
  DataDir(std::string path, UniqueFd dir, UniqueFd lock);

  std::string path_;
  UniqueFd dir_;
  UniqueFd lock_;
};

}  // namespace forkbox::cli
