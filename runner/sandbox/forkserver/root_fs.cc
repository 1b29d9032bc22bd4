#include "runner/sandbox/forkserver/root_fs.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#include "runner/sandbox/forkserver/root_of_machines.h"
#include "runner/sandbox/forkserver/root_of_programs.h"
#include "runner/sandbox/forkserver/root_parts.h"

namespace forkbox::sandbox {
namespace {

// Any empty directory serves as the place to build on; the tmpfs hides it from nobody else because
// the mount namespace is ours.
constexpr const char* kBuildPath = "/mnt";

}  // namespace

Result<void> EnterRootFs(const ForkserverConfig& config) {
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return FailErrno("make mounts private");
  }
  const unsigned long device_flag = config.privileged ? 0UL : static_cast<unsigned long>(MS_NODEV);
  if (::mount("forkbox", kBuildPath, "tmpfs", MS_NOSUID | device_flag, "size=8m,mode=755") != 0) {
    return FailErrno("mount the sandbox root");
  }
  const std::string root = kBuildPath;
  ::umask(022);
  // Those that each cell mounts its own on, and what everybody looks for.
  for (const char* directory :
       {"/etc", "/dev/pts", "/dev/shm", "/proc", "/box", "/tmp", "/opt", "/run"}) {
    if (auto made = MakeDirectories(root + directory); !made) return made;
  }
  auto furnished = config.root == RootKind::kMachines ? FurnishForMachines(root, config)
                                                      : FurnishForPrograms(root, config);
  if (!furnished) return furnished;
  // Templates look at their own /proc while they warm up; every cell mounts its own over it.
  if (::mount("proc", (root + "/proc").c_str(), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC,
              nullptr) != 0) {
    return FailErrno("mount proc");
  }
  // pivot_root(".", ".") stacks the old root over the new one, to be unmounted at once
  // (pivot_root(2), NOTES).
  if (::chdir(kBuildPath) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0 ||
      ::umount2(".", MNT_DETACH) != 0 || ::chdir("/") != 0) {
    return FailErrno("pivot_root");
  }
  if (::mount(nullptr, "/", nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | device_flag,
              nullptr) != 0) {
    return FailErrno("make the sandbox root read-only");
  }
  return {};
}

}  // namespace forkbox::sandbox
