#include "runner/sandbox/vm/making_folder.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds kTick{100};
constexpr int kMostTries = 30;

Result<void> Sync(const std::string& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  if (!file || ::fsync(file.get()) != 0) return FailErrno("fsync " + path);
  return {};
}

}  // namespace

Result<void> SyncFolder(const std::string& folder) { return Sync(folder); }

Result<FolderLock> FolderLock::Take(const std::string& folder, const std::function<void()>& on_wait,
                                    const std::function<bool()>& stopped) {
  std::error_code error;
  fs::create_directories(folder, error);
  UniqueFd opened(::open(folder.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECTORY));
  if (!opened) return FailErrno(folder);
  for (bool waits = false; ::flock(opened.get(), LOCK_EX | LOCK_NB) != 0; waits = true) {
    if (errno != EWOULDBLOCK && errno != EINTR) return FailErrno("flock " + folder);
    if (!waits) on_wait();
    if (stopped()) return Fail(ErrorCode::kConflict, "stopped");
    std::this_thread::sleep_for(kTick);
  }
  return FolderLock(std::move(opened));
}

MakingFolder::MakingFolder(MakingFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}

MakingFolder::~MakingFolder() {
  if (path_.empty()) return;
  // What was killed while it wrote here may take a moment to be dead.
  for (int tries = 0; tries < kMostTries; ++tries) {
    std::error_code error;
    fs::remove_all(path_, error);
    if (!error) return;
    std::this_thread::sleep_for(kTick);
  }
}

Result<MakingFolder> MakingFolder::Begin(const std::string& parent, const std::string& name) {
  const std::string prefix = "." + name + ".making-";
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(parent, error)) {
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    std::error_code ignored;
    fs::remove_all(entry.path(), ignored);
  }
  std::string path = parent + "/" + prefix + "XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return FailErrno("make a folder in " + parent);
  // Everybody reads it, whatever the umask: QEMU is nobody of importance.
  if (::chmod(path.c_str(), 0755) != 0) return FailErrno("chmod " + path);
  return MakingFolder(std::move(path));
}

Result<void> MakingFolder::Finish(const std::string& place) {
  std::error_code error;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(path_, error)) {
    if (auto synced = Sync(entry.path()); !synced) return synced;
  }
  if (error) return Fail(ErrorCode::kInternal, path_ + ": " + error.message());
  if (auto synced = Sync(path_); !synced) return synced;
  if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, place.c_str(), RENAME_NOREPLACE) == 0) {
    path_.clear();
  } else if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, place.c_str(), RENAME_EXCHANGE) != 0) {
    // A file system that cannot exchange. For a moment nothing is there.
    fs::rename(place, path_ + "-old", error);
    if (::rename(path_.c_str(), place.c_str()) != 0) return FailErrno("rename to " + place);
    path_ += "-old";
  }
  const std::string parent = fs::path(place).parent_path();
  if (auto synced = Sync(parent); !synced) return synced;
  return {};
}

}  // namespace forkbox::sandbox::vm
