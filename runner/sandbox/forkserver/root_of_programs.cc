#include "runner/sandbox/forkserver/root_of_programs.h"

#include <unistd.h>

#include <filesystem>
#include <sstream>

#include "runner/sandbox/forkserver/cell.h"
#include "runner/sandbox/forkserver/root_parts.h"

namespace forkbox::sandbox {
namespace {

namespace fs = std::filesystem;

Result<void> MakeDevices(const std::string& root, bool privileged) {
  // devices.txt of the kernel: 1 is the memory devices, and 5, 0 the terminal of whoever asks.
  constexpr DeviceNode kDevices[] = {{"null", 1, 3},   {"zero", 1, 5},    {"full", 1, 7},
                                     {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
  for (const DeviceNode& device : kDevices) {
    if (!privileged && device.name == std::string("tty") && !fs::exists("/dev/tty")) {
      continue;  // which a container may be without
    }
    if (auto made = MakeDevice(root, device, privileged); !made) return made;
  }
  constexpr std::pair<const char*, const char*> kLinks[] = {{"/proc/self/fd", "fd"},
                                                            {"/proc/self/fd/0", "stdin"},
                                                            {"/proc/self/fd/1", "stdout"},
                                                            {"/proc/self/fd/2", "stderr"},
                                                            {"pts/ptmx", "ptmx"}};
  for (const auto& [target, name] : kLinks) {
    if (::symlink(target, (root + "/dev/" + name).c_str()) != 0) return FailErrno("symlink /dev");
  }
  return {};
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
  if (auto linked = CopyUsrLinks(root); !linked) return linked;
  for (const char* name : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
    std::error_code error;
    if (fs::is_symlink(name, error) || !fs::is_directory(name, error)) continue;
    // A system without merged /usr.
    if (auto made = MakeDirectories(root + name); !made) return made;
    if (auto bound = BindReadOnly(name, root + name); !bound) return bound;
  }
  return BindAll(root, config.binds);
}

}  // namespace

Result<void> FurnishForPrograms(const std::string& root, const ForkserverConfig& config) {
  for (const char* directory : kHomelyFolders) {
    if (auto made = MakeDirectories(root + directory); !made) return made;
  }
  if (auto bound = BindRuntimes(root, config); !bound) return bound;
  if (auto made = MakeEtc(root, config); !made) return made;
  return MakeDevices(root, config.privileged);
}

}  // namespace forkbox::sandbox
