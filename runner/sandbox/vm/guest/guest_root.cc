#include "runner/sandbox/vm/guest/guest_root.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <thread>

#include "base/clock.h"
#include "base/unique_fd.h"

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModules = "/lib/modules/";
constexpr const char* kPackagesDisk = "/dev/vda";
constexpr const char* kRuntimeDiskDevice = "/dev/vdb";
constexpr const char* kNewRoot = "/new-root";
constexpr const char* kDisk = "/disk";
// Devices are found in the background, once their driver is there.
constexpr std::chrono::seconds kDevicePatience{30};

Result<void> Mount(const char* source, const std::string& target, const char* type,
                   unsigned long flags, const char* options = nullptr) {
  std::error_code error;
  fs::create_directories(target, error);
  if (::mount(source, target.c_str(), type, flags, options) == 0) return {};
  return FailErrno(std::string("mount ") + source + " on " + target);
}

Result<void> LoadModules() {
  std::ifstream list(std::string(kModules) + "list");
  if (!list) return FailErrno(std::string(kModules) + "list");
  for (std::string name; std::getline(list, name);) {
    if (name.empty()) continue;
    const std::string path = kModules + name;
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file) return FailErrno(path);
    // A processor without the instruction has no use for the faster of two modules.
    if (::syscall(SYS_finit_module, file.get(), "", 0) != 0 && errno != EEXIST && errno != ENODEV) {
      return FailErrno("load " + path);
    }
  }
  return {};
}

Result<void> WaitFor(const char* device) {
  const auto patience = std::chrono::steady_clock::now() + kDevicePatience;
  while (::access(device, F_OK) != 0) {
    if (std::chrono::steady_clock::now() >= patience) {
      return Fail(ErrorCode::kUnavailable, std::string("there is no ") + device);
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return {};
}

// The folders and links at the top of the packages' disk, but for those that are ours to fill.
Result<void> BindPackages(const std::string& root) {
  const std::set<std::string> own = {"dev", "mnt", "opt", "proc", "run", "sys", "tmp"};
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(kDisk, error)) {
    const std::string name = entry.path().filename().string();
    if (own.contains(name)) continue;
    const std::string target = root + "/" + name;
    if (entry.is_symlink()) {
      fs::copy_symlink(entry.path(), target, error);
    } else if (entry.is_directory()) {
      auto bound = Mount(entry.path().c_str(), target, nullptr, MS_BIND);
      if (!bound) return bound;
    }
  }
  if (error)
    return Fail(ErrorCode::kInternal, "read " + std::string(kDisk) + ": " + error.message());
  return {};
}

}  // namespace

Result<void> StartDevices() {
  for (const auto& [type, target] :
       {std::pair("proc", "/proc"), std::pair("sysfs", "/sys"), std::pair("devtmpfs", "/dev")}) {
    if (auto mounted = Mount(type, target, type, MS_NOSUID | MS_NOEXEC); !mounted) return mounted;
  }
  return LoadModules();
}

Result<void> EnterGuestRoot() {
  const std::string root = kNewRoot;
  for (const char* device : {kPackagesDisk, kRuntimeDiskDevice}) {
    if (auto found = WaitFor(device); !found) return found;
  }
  const auto mounts = {
      std::pair(kPackagesDisk, std::string(kDisk)),
      std::pair(kRuntimeDiskDevice, root + kRuntimeFolder),
  };
  if (auto made = Mount("root", root, "tmpfs", MS_NOSUID, "mode=755"); !made) return made;
  for (const auto& [disk, target] : mounts) {
    if (auto made = Mount(disk, target, "erofs", MS_RDONLY | MS_NODEV); !made) return made;
  }
  if (auto bound = BindPackages(root); !bound) return bound;
  for (const char* name : {"/mnt", "/run", "/tmp"}) {
    std::error_code error;
    fs::create_directories(root + name, error);
  }
  for (const char* name : {"/proc", "/sys", "/dev"}) {
    if (auto moved = Mount(name, root + name, nullptr, MS_MOVE); !moved) return moved;
  }
  // The initrd's own root cannot be pivoted away from (pivot_root(2)); it stays below.
  if (::chdir(kNewRoot) != 0 || ::mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 ||
      ::chroot(".") != 0 || ::chdir("/") != 0) {
    return FailErrno("enter the new root");
  }
  return Mount("cgroup", "/sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC);
}

}  // namespace forkbox::sandbox::vm
