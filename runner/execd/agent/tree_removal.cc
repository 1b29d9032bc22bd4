#include "runner/execd/agent/tree_removal.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "runner/execd/agent/system_error.h"

namespace forkbox::execd {
namespace {

// What is known of a directory above the one we are in.
struct Level {
  std::string name;  // in its parent
  dev_t device = 0;
  ino_t inode = 0;
  std::vector<std::string> directories;  // in it, still to be removed
};

class TreeRemoval {
 public:
  explicit TreeRemoval(const std::function<bool()>& cancelled) : cancelled_(cancelled) {}

  // Empties the directory.
  void Run(UniqueFd top) {
    here_ = std::move(top);
    levels_.emplace_back();
    if (!Enter()) return;
    while (!cancelled_()) {
      std::vector<std::string>& directories = levels_.back().directories;
      if (!directories.empty()) {
        std::string name = std::move(directories.back());
        directories.pop_back();
        Descend(std::move(name));
        continue;
      }
      if (levels_.size() == 1) return;
      if (!Ascend()) return;
    }
    Note(ECANCELED);
  }

  [[nodiscard]] const std::optional<int>& trouble() const { return trouble_; }

 private:
  void Note(int error) {
    if (!trouble_) trouble_ = error;
  }

  // Takes note of the directory we are in, and removes all of it that is no directory.
  bool Enter() {
    struct stat status {};
    if (::fstat(here_.get(), &status) != 0) {
      Note(errno);
      return false;
    }
    Level& level = levels_.back();
    level.device = status.st_dev;
    level.inode = status.st_ino;
    const int copy = ::fcntl(here_.get(), F_DUPFD_CLOEXEC, 0);
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(copy < 0 ? nullptr : ::fdopendir(copy),
                                                     ::closedir);
    if (stream == nullptr) {
      Note(errno);
      if (copy >= 0) ::close(copy);
      return true;  // its rmdir will tell
    }
    for (std::size_t i = 0;; ++i) {
      if (i % 1024 == 0 && cancelled_()) return true;
      errno = 0;
      const dirent* entry = ::readdir(stream.get());
      if (entry == nullptr) {
        if (errno != 0) Note(errno);
        return true;
      }
      const std::string_view name = entry->d_name;
      if (name == "." || name == "..") continue;
      if (entry->d_type == DT_DIR) {
        level.directories.emplace_back(name);
      } else if (::unlinkat(here_.get(), entry->d_name, 0) != 0 && errno != ENOENT) {
        if (errno == EISDIR) {
          level.directories.emplace_back(name);
        } else {
          Note(errno);
        }
      }
    }
  }

  void Descend(std::string name) {
    // Whatever else is wrong with it, what is inside may be ours to remove.
    if (::unlinkat(here_.get(), name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return;
    if (errno != ENOTEMPTY) Note(errno);
    UniqueFd next(
        ::openat(here_.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!next) {
      if (errno != ENOENT) Note(errno);
      return;
    }
    std::swap(here_, next);
    levels_.emplace_back().name = std::move(name);
    if (!Enter()) {
      levels_.pop_back();
      std::swap(here_, next);
    }
  }

  // Back into the parent, which has to be the one we came from, and removes where we were.
  bool Ascend() {
    UniqueFd parent(::openat(here_.get(), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    const Level left = std::move(levels_.back());
    levels_.pop_back();
    struct stat status {};
    if (!parent || ::fstat(parent.get(), &status) != 0) {
      Note(errno);
      return false;
    }
    if (status.st_dev != levels_.back().device || status.st_ino != levels_.back().inode) {
      Note(ESTALE);  // somebody moves it about while we are at it
      return false;
    }
    here_ = std::move(parent);
    if (::unlinkat(here_.get(), left.name.c_str(), AT_REMOVEDIR) != 0 && errno != ENOENT) {
      Note(errno);
    }
    return true;
  }

  const std::function<bool()>& cancelled_;
  UniqueFd here_;
  std::vector<Level> levels_;
  std::optional<int> trouble_;
};

}  // namespace

Result<void> RemoveTree(const std::string& path, const std::function<bool()>& cancelled) {
  // As unlink(2) has it for links, also where a slash follows.
  std::string name = path;
  while (name.size() > 1 && name.ends_with('/')) name.pop_back();
  // As rm(1) has it: nobody who asks for these has meant all that they are.
  if (name == "/" || name.ends_with("/.") || name.ends_with("/..")) {
    return Fail(ErrorCode::kInvalidArgument, "refusing to remove " + path);
  }
  if (::unlink(name.c_str()) == 0 || errno == ENOENT) return {};
  const int unlinked = errno;
  struct stat status {};
  // Who may not remove the directory itself may still empty it.
  if (::lstat(name.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    return FailSystem("remove", path, unlinked);
  }
  UniqueFd top(::open(name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!top && errno != ENOENT) {
    // One that may not be read can still be removed when nothing is in it.
    const int error = errno;
    return ::rmdir(name.c_str()) == 0 ? Result<void>() : FailSystem("remove", path, error);
  }
  if (!top) return {};
  TreeRemoval removal(cancelled);
  removal.Run(std::move(top));
  if (::rmdir(name.c_str()) == 0 || errno == ENOENT) return {};
  const int error = errno;
  return FailSystem("remove", path, removal.trouble().value_or(error));
}

}  // namespace forkbox::execd
