#include "runner/execd/agent/staged_file.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>

#include "runner/execd/agent/file_operations.h"
#include "runner/execd/agent/system_error.h"

namespace forkbox::execd {
namespace {

constexpr int kMaxLinks = 40;  // the kernel's own bound (path_resolution(7))

std::string TemporaryIn(const std::string& directory) {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != sizeof number) {
    number = static_cast<std::uint64_t>(::getpid());
  }
  char name[48];
  std::snprintf(name, sizeof name, "/.forkbox-upload-%016llx",
                static_cast<unsigned long long>(number));
  return directory == "/" ? name : directory + name;
}

}  // namespace

Result<StagedFile> StagedFile::At(const std::string& path) {
  std::string target = path;
  for (int links = 0;; ++links) {
    char text[PATH_MAX];
    const ssize_t size = ::readlink(target.c_str(), text, sizeof text);
    if (size < 0) break;  // no link, or nothing there
    if (links == kMaxLinks) return FailSystem("open", path, ELOOP);
    const std::string next(text, static_cast<std::size_t>(size));
    target = next.starts_with('/') ? next : ParentOf(target) + "/" + next;
  }
  std::string temporary = TemporaryIn(ParentOf(target));
  return StagedFile(std::move(target), std::move(temporary));
}

StagedFile::~StagedFile() {
  if (file_) ::unlink(temporary_.c_str());
}

Result<void> StagedFile::Open() {
  struct stat status {};
  const bool replaces = ::stat(target_.c_str(), &status) == 0;
  if (!replaces && errno != ENOENT) return FailSystem("open", target_);
  if (replaces) {
    if (S_ISDIR(status.st_mode)) {
      return Fail(ErrorCode::kConflict, "open " + target_ + ": " + SystemWords(EISDIR));
    }
    if (!S_ISREG(status.st_mode)) {
      return Fail(ErrorCode::kConflict, "open " + target_ + ": not a regular file");
    }
    // A rename would do without; writing in place would not.
    if (::faccessat(AT_FDCWD, target_.c_str(), W_OK, AT_EACCESS) != 0) {
      return FailSystem("open", target_);
    }
  }
  if (target_.ends_with('/')) return FailSystem("open", target_, EISDIR);
  file_.Reset(
      ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0777));
  if (!file_) return FailSystem("open", target_);
  if (!replaces) return {};
  // Another's file stays another's only where we may give it away.
  (void)!::fchown(file_.get(), status.st_uid, status.st_gid);
  if (::fchmod(file_.get(), status.st_mode & 07777) != 0) return FailSystem("chmod", target_);
  return {};
}

Result<void> StagedFile::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file_.get(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return FailSystem("write", target_, n == 0 ? EIO : errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return {};
}

Result<void> StagedFile::Commit(const Permission& permission, const AccountNames& names) {
  if (auto changed = ChangePermission(file_.get(), target_, permission, names); !changed) {
    return changed;
  }
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) return FailSystem("rename", target_);
  file_.Reset();
  return {};
}

}  // namespace forkbox::execd
