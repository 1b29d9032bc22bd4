#include "runner/sandbox/forkserver/root_of_machines.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <set>
#include <string_view>
#include <vector>

#include "base/unique_fd.h"
#include "runner/sandbox/forkserver/root_parts.h"
#include "runner/sandbox/forkserver/streams.h"

namespace forkbox::sandbox {
namespace {

namespace fs = std::filesystem;

constexpr const char* kQemu = "/usr/bin/qemu-system-x86_64";
// Debian builds the emulation as a module, which a build of one's own may have inside.
constexpr const char* kTcgModule = "/usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so";
constexpr const char* kLinker = "/lib64/ld-linux-x86-64.so.2";
// QEMU's own firmware, and SeaBIOS, which Debian has elsewhere.
constexpr const char* kFirmware[] = {"/usr/share/qemu", "/usr/share/seabios"};
constexpr std::size_t kMaxListing = 256 * 1024;

// What the dynamic linker says that it would load (ld.so(8), --list): the program is not run.
Result<std::string> AskLinker(const std::string& program) {
  auto pipe = MakePipe();
  if (!pipe) return Fail(pipe.error());
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, pipe->theirs.get(), 1);
  const char* argv[] = {kLinker, "--list", program.c_str(), nullptr};
  char* no_environment[] = {nullptr};
  pid_t pid = -1;
  const int error = ::posix_spawn(&pid, kLinker, &actions, nullptr, const_cast<char* const*>(argv),
                                  no_environment);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    errno = error;
    return FailErrno(std::string("run ") + kLinker);
  }
  pipe->theirs.Reset();
  std::string said;
  char buffer[4096];
  for (;;) {
    const ssize_t n = ::read(pipe->ours.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0 || said.size() > kMaxListing) break;
    said.append(buffer, static_cast<std::size_t>(n));
  }
  pipe->ours.Reset();
  int status = 0;
  ::waitpid(pid, &status, 0);
  if (status != 0) {
    return Fail(ErrorCode::kInternal, "the dynamic linker cannot load " + program);
  }
  return said;
}

// Lines are "name => path (address)", of the linker itself "path (address)", and of the kernel's
// own library a name without a path.
Result<void> AddLibraries(const std::string& program, std::set<std::string>* paths) {
  auto listing = AskLinker(program);
  if (!listing) return Fail(listing.error());
  std::string_view rest = *listing;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    const std::size_t slash = line.find('/');
    const std::size_t address = line.rfind(" (0x");
    if (slash == std::string_view::npos || address == std::string_view::npos || address < slash) {
      if (line.find("not found") != std::string_view::npos) {
        return Fail(ErrorCode::kInternal, program + " lacks a library:" + std::string(line));
      }
      continue;
    }
    paths->emplace(line.substr(slash, address - slash));
  }
  return {};
}

// QEMU, its module, what is loaded into it by the templates (shared objects among the binds), and
// the libraries of them all, under the names by which they are looked for.
Result<std::vector<BindSpec>> Programs(const ForkserverConfig& config) {
  std::error_code error;
  std::set<std::string> paths;
  std::vector<std::string> loaded = {kQemu};
  if (fs::exists(kTcgModule, error)) {
    loaded.emplace_back(kTcgModule);
    paths.insert(kTcgModule);
  }
  if (!fs::exists(kQemu, error)) {
    return Fail(ErrorCode::kUnavailable, std::string("there is no ") + kQemu);
  }
  paths.insert(kQemu);
  for (const BindSpec& bind : config.binds) {
    for (fs::directory_iterator entry(bind.source, error), end; !error && entry != end;
         entry.increment(error)) {
      if (entry->path().extension() == ".so") loaded.push_back(entry->path());
    }
  }
  for (const std::string& file : loaded) {
    if (auto added = AddLibraries(file, &paths); !added) return Fail(added.error());
  }
  std::vector<BindSpec> binds;
  std::set<std::string> targets;
  for (const std::string& path : paths) {
    // In the folder that it really is in, whatever links lead there: links into /usr are copied.
    const fs::path folder = fs::canonical(fs::path(path).parent_path(), error);
    if (error) return Fail(ErrorCode::kInternal, path + ": " + error.message());
    const std::string target = folder / fs::path(path).filename();
    if (targets.insert(target).second) binds.push_back({path, target});
  }
  return binds;
}

}  // namespace

Result<void> FurnishForMachines(const std::string& root, const ForkserverConfig& config) {
  if (auto linked = CopyUsrLinks(root); !linked) return linked;
  auto binds = Programs(config);
  if (!binds) return Fail(binds.error());
  for (const char* folder : kFirmware) binds->push_back({folder, folder});
  if (auto bound = BindAll(root, *binds); !bound) return bound;
  if (auto bound = BindAll(root, config.binds); !bound) return bound;

  std::error_code error;
  fs::copy_file("/etc/ld.so.cache", root + "/etc/ld.so.cache", error);
  if (error) return Fail(ErrorCode::kInternal, "copy ld.so.cache: " + error.message());

  std::vector<DeviceNode> devices = {
      {"null", 1, 3}, {"zero", 1, 5}, {"random", 1, 8}, {"urandom", 1, 9}};
  if (config.kvm) devices.push_back({"kvm", 10, 232});
  for (const DeviceNode& device : devices) {
    if (auto made = MakeDevice(root, device, config.privileged); !made) return made;
  }
  return {};
}

}  // namespace forkbox::sandbox
