// A file that is written beside the one it will replace, and takes its place at once. What it
// replaces keeps its mode and, where we may, its owner; the new is 0777 less the umask, as
// creating it in place would have been.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/execd/agent/account_names.h"
#include "runner/execd/files.h"

namespace forkbox::execd {

class StagedFile {
 public:
  // Chooses the names only. Links of the last component are followed, to the end, which need not
  // be there.
  static Result<StagedFile> At(const std::string& path);
  StagedFile(StagedFile&&) noexcept = default;
  StagedFile& operator=(StagedFile&&) = delete;
  // Without a commit nothing remains.
  ~StagedFile();

  [[nodiscard]] const std::string& target() const { return target_; }
  [[nodiscard]] const std::string& temporary() const { return temporary_; }

  // kConflict: a directory or something else that is no file is in the place; kInternal when it may
  // not be written.
  Result<void> Open();
  Result<void> Write(std::string_view bytes);
  Result<void> Commit(const Permission& permission, const AccountNames& names);

 private:
  StagedFile(std::string target, std::string temporary)
      : target_(std::move(target)), temporary_(std::move(temporary)) {}

  std::string target_;
  std::string temporary_;
  UniqueFd file_;  // while there is a temporary file
};

}  // namespace forkbox::execd
