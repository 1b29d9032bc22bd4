#include "runner/sandbox/forkserver/root_parts.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <filesystem>
#include <fstream>

namespace forkbox::sandbox {

namespace fs = std::filesystem;

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

Result<void> BindAll(const std::string& root, std::span<const BindSpec> binds) {
  for (const BindSpec& bind : binds) {
    const std::string target = root + bind.target;
    std::error_code error;
    if (fs::is_directory(bind.source, error)) {
      if (auto made = MakeDirectories(target); !made) return made;
    } else {
      // One that is not there is said by the bind, with its name.
      if (auto made = MakeDirectories(fs::path(target).parent_path()); !made) return made;
      if (auto made = WriteText(target, ""); !made) return made;
    }
    if (auto bound = BindReadOnly(bind.source, target); !bound) return bound;
  }
  return {};
}

Result<void> CopyUsrLinks(const std::string& root) {
  for (const char* name : {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"}) {
    std::error_code error;
    if (!fs::is_symlink(name, error)) continue;
    fs::copy_symlink(name, root + name, error);
    if (error) {
      return Fail(ErrorCode::kInternal, std::string("link ") + name + ": " + error.message());
    }
  }
  return {};
}

Result<void> MakeDevice(const std::string& root, const DeviceNode& device, bool privileged) {
  const std::string path = root + "/dev/" + device.name;
  if (privileged) {
    if (::mknod(path.c_str(), S_IFCHR | 0666, makedev(device.major, device.minor)) != 0 ||
        ::chmod(path.c_str(), 0666) != 0) {
      return FailErrno("mknod " + path);
    }
    return {};
  }
  // A user namespace may not make device nodes, but may bind the host's.
  if (auto made = WriteText(path, ""); !made) return made;
  const std::string source = std::string("/dev/") + device.name;
  if (::mount(source.c_str(), path.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return FailErrno("bind " + source);
  }
  return {};
}

}  // namespace forkbox::sandbox
