#include "runner/sandbox/forkserver/root_fs.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "base/unique_fd.h"
#include "runner/sandbox/forkserver/cell.h"

namespace forkbox::sandbox {
namespace {

namespace fs = std::filesystem;

// Any empty directory serves as the place to build on; the tmpfs hides it from nobody else because
// the mount namespace is ours.
constexpr const char* kBuildPath = "/mnt";

Result<void> WriteText(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << text;
  file.close();
  if (!file) return FailErrno("write " + path);
  return {};
}

Result<void> MakeDirectories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return Fail(ErrorCode::kInternal, "mkdir " + path + ": " + error.message());
  return {};
}

// A bind mount starts with the source's flags; read-only needs a second call (mount(2)). Recursive
// binds would bring whatever the operator mounted below, writable: so each bind is of one mount.
Result<void> BindReadOnly(const std::string& source, const std::string& target) {
  if (::mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return FailErrno("bind " + source);
  }
  if (::mount(nullptr, target.c_str(), nullptr,
              MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, nullptr) != 0) {
    return FailErrno("make " + source + " read-only");
  }
  return {};
}

Result<void> MakeDevices(const std::string& root, bool privileged) {
  struct Device {
    const char* name;
    unsigned major;
    unsigned minor;
  };
  // devices.txt of the kernel: 1 is the memory devices, and 5, 0 the terminal of whoever asks.
  for (const Device& device :
       {Device{"null", 1, 3}, Device{"zero", 1, 5}, Device{"full", 1, 7}, Device{"random", 1, 8},
        Device{"urandom", 1, 9}, Device{"tty", 5, 0}}) {
    const std::string path = root + "/dev/" + device.name;
    if (privileged) {
      if (::mknod(path.c_str(), S_IFCHR | 0666, makedev(device.major, device.minor)) != 0 ||
          ::chmod(path.c_str(), 0666) != 0) {
        return FailErrno("mknod " + path);
      }
      continue;
    }
    // A user namespace may not make device nodes, but may bind the host's.
    if (!fs::exists(std::string("/dev/") + device.name) && device.name == std::string("tty")) {
      continue;  // which a container may be without
    }
    if (auto made = WriteText(path, ""); !made) return made;
    const std::string source = std::string("/dev/") + device.name;
    if (::mount(source.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
      return FailErrno("bind " + source);
    }
  }
  constexpr std::pair<const char*, const char*> kLinks[] = {{"/proc/self/fd", "fd"},
                                                            {"/proc/self/fd/0", "stdin"},
                                                            {"/proc/self/fd/1", "stdout"},
                                                            {"/proc/self/fd/2", "stderr"},
                                                            {"pts/ptmx", "ptmx"}};
  for (const auto& [target, name] : kLinks) {
    if (::symlink(target, (root + "/dev/" + name).c_str()) != 0) return FailErrno("symlink /dev");
  }
  if (auto made = MakeDirectories(root + "/dev/pts"); !made) return made;
  return MakeDirectories(root + "/dev/shm");
}

Result<void> MakeEtc(const std::string& root, const ForkserverConfig& config) {
  const std::string etc = root + "/etc";
  std::ostringstream passwd;
  std::ostringstream group;
  passwd << "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\n";
  group << "root:x:0:\n";
  // Every cell has its own uid; to the program inside it is always called "sandbox".
  for (std::uint32_t i = 0; i < config.uid_count; ++i) {
    const std::uint32_t id = config.uid_base + i;
    passwd << "sandbox:x:" << id << ':' << id << "::/box/work:/bin/bash\n";
    group << "sandbox:x:" << id << ":\n";
  }
  const std::pair<const char*, std::string> files[] = {
      {"passwd", passwd.str()},
      {"group", group.str()},
      {"hosts", "127.0.0.1 localhost forkbox\n::1 localhost\n"},
      {"hostname", "forkbox\n"},
      {"nsswitch.conf",
       "passwd: files\ngroup: files\nhosts: files\nservices: files\nprotocols: files\n"},
      {"resolv.conf", "# no network\n"},
      {"os-release", "NAME=\"forkbox sandbox\"\nID=debian\n"},
  };
  for (const auto& [name, text] : files) {
    if (auto made = WriteText(etc + "/" + name, text); !made) return made;
  }
  // The dynamic linker's index, and the links by which Debian chooses between libraries.
  std::error_code error;
  fs::copy_file("/etc/ld.so.cache", etc + "/ld.so.cache", error);
  // Without its own file in /etc Debian's matplotlib cannot even be imported.
  for (const char* path : {"/etc/matplotlibrc", "/etc/fonts"}) {
    if (!fs::exists(path, error)) continue;
    fs::copy(path, root + path, fs::copy_options::recursive | fs::copy_options::copy_symlinks,
             error);
    if (error)
      return Fail(ErrorCode::kInternal, std::string("copy ") + path + ": " + error.message());
  }
  if (fs::is_directory("/etc/alternatives")) {
    fs::copy("/etc/alternatives", etc + "/alternatives",
             fs::copy_options::recursive | fs::copy_options::copy_symlinks, error);
    if (error) return Fail(ErrorCode::kInternal, "copy /etc/alternatives: " + error.message());
  }
  if (::symlink("/usr/share/zoneinfo/Etc/UTC", (etc + "/localtime").c_str()) != 0) {
    return FailErrno("symlink /etc/localtime");
  }
  return {};
}

Result<void> BindRuntimes(const std::string& root, const ForkserverConfig& config) {
  if (auto made = MakeDirectories(root + "/usr"); !made) return made;
  if (auto bound = BindReadOnly("/usr", root + "/usr"); !bound) return bound;
  for (const char* name : {"bin", "sbin", "lib", "lib32", "lib64", "libx32"}) {
    const std::string host = std::string("/") + name;
    const std::string inside = root + "/" + name;
    std::error_code error;
    if (fs::is_symlink(host, error)) {
      fs::copy_symlink(host, inside, error);
    } else if (fs::is_directory(host, error)) {  // a system without merged /usr
      if (auto made = MakeDirectories(inside); !made) return made;
      if (auto bound = BindReadOnly(host, inside); !bound) return bound;
    }
  }
  for (const BindSpec& bind : config.binds) {
    const std::string target = root + bind.target;
    if (auto made = MakeDirectories(target); !made) return made;
    if (auto bound = BindReadOnly(bind.source, target); !bound) return bound;
  }
  return {};
}

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
  for (const char* directory : {"/etc", "/dev", "/proc", "/box", "/tmp", "/opt", "/run"}) {
    if (auto made = MakeDirectories(root + directory); !made) return made;
  }
  for (const char* directory : kHomelyFolders) {
    if (auto made = MakeDirectories(root + directory); !made) return made;
  }
  if (auto bound = BindRuntimes(root, config); !bound) return bound;
  if (auto made = MakeEtc(root, config); !made) return made;
  if (auto made = MakeDevices(root, config.privileged); !made) return made;
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
