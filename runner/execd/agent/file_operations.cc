#include "runner/execd/agent/file_operations.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "runner/execd/agent/file_time.h"
#include "runner/execd/agent/system_error.h"

namespace forkbox::execd {
namespace {

constexpr std::uint32_t kModeBits = 0777;

std::int64_t Nanoseconds(const statx_timestamp& time) {
  return UnixNanoseconds(time.tv_sec, time.tv_nsec);
}

FileInfo::Type TypeOf(mode_t mode) {
  if (S_ISREG(mode)) return FileInfo::Type::kFile;
  if (S_ISDIR(mode)) return FileInfo::Type::kDirectory;
  if (S_ISLNK(mode)) return FileInfo::Type::kSymlink;
  return FileInfo::Type::kOther;
}

// The ids that a permission names; -1 leaves one, as for chown(2).
struct Owners {
  uid_t uid = static_cast<uid_t>(-1);
  gid_t gid = static_cast<gid_t>(-1);
  [[nodiscard]] bool any() const {
    return uid != static_cast<uid_t>(-1) || gid != static_cast<gid_t>(-1);
  }
};

Result<Owners> FindOwners(const Permission& permission, const AccountNames& names) {
  Owners owners;
  if (!permission.owner.empty()) {
    const auto uid = names.FindUser(permission.owner);
    if (!uid) return Fail(ErrorCode::kInternal, "unknown user " + permission.owner);
    owners.uid = *uid;
  }
  if (!permission.group.empty()) {
    const auto gid = names.FindGroup(permission.group);
    if (!gid) return Fail(ErrorCode::kInternal, "unknown group " + permission.group);
    owners.gid = *gid;
  }
  return owners;
}

template <class Chmod, class Chown>
Result<void> Apply(const Permission& permission, const AccountNames& names, const std::string& path,
                   Chmod&& change_mode, Chown&& change_owner) {
  // Names first: of a permission with an unknown one nothing is applied.
  const auto owners = FindOwners(permission, names);
  if (!owners) return Fail(owners.error());
  if (permission.mode != 0 && change_mode(permission.mode & kModeBits) != 0) {
    return FailSystem("chmod", path);
  }
  if (owners->any() && change_owner(owners->uid, owners->gid) != 0) {
    return FailSystem("chown", path);
  }
  return {};
}

}  // namespace

Result<FileInfo> DescribeFile(int directory, const std::string& name, std::string path,
                              const AccountNames& names) {
  struct statx status {};
  if (::statx(directory, name.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT,
              STATX_BASIC_STATS | STATX_BTIME, &status) != 0) {
    return FailSystem("lstat", path);
  }
  const bool has_birth = (status.stx_mask & STATX_BTIME) != 0;
  FileInfo info;
  info.path = std::move(path);
  info.type = TypeOf(status.stx_mode);
  info.size = status.stx_size;
  info.modified_unix_ns = Nanoseconds(status.stx_mtime);
  info.created_unix_ns = Nanoseconds(has_birth ? status.stx_btime : status.stx_ctime);
  info.owner = names.User(status.stx_uid);
  info.group = names.Group(status.stx_gid);
  info.mode = status.stx_mode & kModeBits;
  return info;
}

Result<void> RemoveFile(const std::string& path) {
  struct stat status {};
  // Followed: a link to a directory is refused like the directory.
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) {
    return Fail(ErrorCode::kInternal, "path is a directory: " + path);
  }
  if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
  return FailSystem("remove", path);
}

namespace {

// The path of the same file on the box's one disk, of which "/tmp" and the other folders that can
// be written are parts, mounted there a second time. rename(2) does not go from mount to mount.
std::string OnTheDisk(const std::string& path) {
  struct Mount {
    std::string_view target;
    std::string_view source;
  };
  constexpr Mount kMounts[] = {
      {"/tmp", "/box/tmp"},   {"/dev/shm", "/box/shm"}, {"/workspace", "/box/workspace"},
      {"/home", "/box/home"}, {"/root", "/box/root"},   {"/var", "/box/var"},
      {"/srv", "/box/srv"},   {"/mnt", "/box/mnt"},     {"/data", "/box/data"},
      {"/app", "/box/app"}};
  for (const auto& [target, source] : kMounts) {
    if (path.starts_with(target) && path.size() > target.size() && path[target.size()] == '/') {
      return std::string(source) + path.substr(target.size());
    }
  }
  return path;
}

bool Rename(const std::string& from, const std::string& to) {
  if (::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return true;
  return errno == EXDEV && ::renameat2(AT_FDCWD, OnTheDisk(from).c_str(), AT_FDCWD,
                                       OnTheDisk(to).c_str(), RENAME_NOREPLACE) == 0;
}

}  // namespace

Result<void> MoveFile(const std::string& from, const std::string& to) {
  struct stat status {};
  if (::lstat(from.c_str(), &status) != 0) return FailSystem("lstat", from);
  if (auto made = MakeWithParents(ParentOf(to)); !made) return Fail(made.error());
  if (Rename(from, to)) return {};
  if (errno == EEXIST) {
    return Fail(ErrorCode::kConflict, "destination path already exists: " + to);
  }
  return FailSystem("rename", from + " " + to);
}

Result<void> MakeDirectories(const std::string& path, const Permission& permission,
                             const AccountNames& names) {
  auto made = MakeWithParents(path);
  if (!made) return Fail(made.error());
  if (!*made) return {};
  return ChangePermission(path, permission, names);
}

Result<bool> MakeWithParents(const std::string& path) {
  // What is there already is found from the end; most often that is all.
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) return false;
  bool made = false;
  for (std::size_t slash = path.find('/', 1);; slash = path.find('/', slash + 1)) {
    const std::string part = path.substr(0, slash);
    made = ::mkdir(part.c_str(), 0777) == 0;
    if (!made) {
      const int error = errno;
      const bool there = ::stat(part.c_str(), &status) == 0;
      if (there && !S_ISDIR(status.st_mode)) {
        return Fail(ErrorCode::kConflict, "mkdir " + part + ": " + SystemWords(ENOTDIR));
      }
      if (!there) {
        const bool dangling = error == EEXIST && ::lstat(part.c_str(), &status) == 0;
        if (dangling) {
          return Fail(ErrorCode::kConflict, "mkdir " + part + ": " + SystemWords(EEXIST));
        }
        return FailSystem("mkdir", part, error);
      }
    }
    if (slash == std::string::npos) return made;
  }
}

std::string ParentOf(const std::string& path) {
  std::size_t end = path.size();
  while (end > 1 && path[end - 1] == '/') --end;
  const std::size_t slash = path.rfind('/', end - 1);
  return slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
}

Result<void> CheckDirectory(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    const int error = errno;
    const std::string words = SystemWords(error);
    if (error == ENOENT) {
      return Fail(ErrorCode::kInvalidArgument,
                  "working directory does not exist: " + path + ": " + words);
    }
    return Fail(ErrorCode::kInvalidArgument,
                "cannot resolve working directory \"" + path + "\": " + words);
  }
  if (!S_ISDIR(status.st_mode)) {
    return Fail(ErrorCode::kInvalidArgument, "working directory path is not a directory: " + path);
  }
  if (::faccessat(AT_FDCWD, path.c_str(), X_OK, AT_EACCESS) != 0) {
    return Fail(ErrorCode::kInvalidArgument,
                "cannot resolve working directory \"" + path + "\": " + SystemWords(errno));
  }
  return {};
}

Result<UniqueFd> OpenRegularFile(const std::string& path) {
  // Looked at before it is opened: opening a device may do things. Opened without waiting: what
  // was a file a moment ago may be a FIFO.
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return FailSystem("open", path);
  if (S_ISDIR(status.st_mode)) return FailSystem("read", path, EISDIR);
  if (S_ISREG(status.st_mode)) {
    UniqueFd file(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    if (!file) return FailSystem("open", path);
    if (::fstat(file.get(), &status) == 0 && S_ISREG(status.st_mode)) return file;
  }
  return Fail(ErrorCode::kInternal, "open " + path + ": not a regular file");
}

Result<void> ChangePermission(const std::string& path, const Permission& permission,
                              const AccountNames& names) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return FailSystem("chmod", path);
  return Apply(
      permission, names, path, [&](mode_t mode) { return ::chmod(path.c_str(), mode); },
      [&](uid_t uid, gid_t gid) { return ::chown(path.c_str(), uid, gid); });
}

Result<void> ChangePermission(int file, const std::string& path, const Permission& permission,
                              const AccountNames& names) {
  return Apply(
      permission, names, path, [&](mode_t mode) { return ::fchmod(file, mode); },
      [&](uid_t uid, gid_t gid) { return ::fchown(file, uid, gid); });
}

}  // namespace forkbox::execd
