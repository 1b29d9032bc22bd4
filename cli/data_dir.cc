#include "cli/data_dir.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

namespace forkbox::cli {

namespace {

constexpr const char* kLockName = "forkbox.lock";

bool IsOurs(std::string_view name) {
  return name.starts_with("forkbox.") || name.starts_with("api_keys.json") || name == ".gitignore";
}

// Calls `visit` with every name but "." and ".." until it returns false.
template <class Visit>
Result<void> ForEachName(int dir_fd, Visit visit) {
  const int copy = ::openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (copy < 0) return FailErrno("open");
  const std::unique_ptr<DIR, int (*)(DIR*)> listing(::fdopendir(copy), ::closedir);
  if (listing == nullptr) return FailErrno("fdopendir");
  while (const dirent* entry = ::readdir(listing.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != ".." && !visit(name)) break;
  }
  return {};
}

}  // namespace

DataDir::DataDir(std::string path, UniqueFd dir, UniqueFd lock)
    : path_(std::move(path)), dir_(std::move(dir)), lock_(std::move(lock)) {}

Result<DataDir> DataDir::Open(const std::string& path, std::optional<FileOwner> owner) {
  const auto failed = [&](const std::string& what) {
    const std::string why = std::strerror(errno);
    return Fail(ErrorCode::kInternal, "data directory " + path + ": " + what + ": " + why);
  };
  std::error_code error;
  std::filesystem::create_directories(path, error);
  UniqueFd dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) return failed("cannot be made or opened");

  bool empty = true;
  bool ours = false;
  auto listed = ForEachName(dir.get(), [&](std::string_view name) {
    empty = false;
    ours = ours || IsOurs(name);
    return !ours;
  });
  if (!listed) return failed("cannot be read");
  if (!empty && !ours) {
    return Fail(ErrorCode::kInvalidArgument,
                "data directory " + path +
                    " has files in it and none is forkbox's; choose another or an empty one");
  }

  UniqueFd lock(::openat(dir.get(), kLockName, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return failed("cannot make " + std::string(kLockName));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return failed("flock");
    char holder[32] = {};
    const ssize_t size = ::pread(lock.get(), holder, sizeof holder - 1, 0);
    const long pid = size > 0 ? std::strtol(holder, nullptr, 10) : 0;
    return Fail(ErrorCode::kConflict,
                "data directory " + path + " is in use by another forkbox" +
                    (pid > 0 ? " (process " + std::to_string(pid) + ")" : "") +
                    "; stop it or choose another with --data-dir");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.get(), 0) != 0 ||
      ::pwrite(lock.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return failed("cannot write " + std::string(kLockName));
  }

  if (owner) {
    // What an earlier start as another user left behind, and nothing that is not ours.
    auto given = ForEachName(dir.get(), [&](std::string_view name) {
      return !name.starts_with("forkbox.") ||
             ::fchownat(dir.get(), std::string(name).c_str(), owner->uid, owner->gid,
                        AT_SYMLINK_NOFOLLOW) == 0;
    });
    if (!given) return failed("cannot be read");
    if (::fchown(dir.get(), owner->uid, owner->gid) != 0) return failed("chown");
  }
  struct stat info {};
  if (::fstat(dir.get(), &info) != 0) return failed("fstat");
  if ((owner || info.st_uid == ::geteuid()) && ::fchmod(dir.get(), 0700) != 0) {
    return failed("chmod");
  }
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return DataDir(absolute.lexically_normal().string(), std::move(dir), std::move(lock));
}

Result<void> DataDir::Enter() const {
  if (::fchdir(dir_.get()) != 0) return FailErrno("fchdir " + path_);
  return {};
}

}  // namespace forkbox::cli
