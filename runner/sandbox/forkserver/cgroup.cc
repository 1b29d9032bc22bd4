#include "runner/sandbox/forkserver/cgroup.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>

#include "runner/sandbox/cgroup_numbers.h"
#include "runner/sandbox/protocol.h"

namespace forkbox::sandbox {
namespace {

constexpr const char* kOwnPrefix = "forkbox-cells-";
constexpr std::string_view kServiceLeaf = "/forkbox-main";

bool WriteAt(int directory, const char* file, const std::string& text) {
  const UniqueFd fd(::openat(directory, file, O_WRONLY | O_CLOEXEC));
  return fd && ::write(fd.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
}

std::string ReadAt(int directory, const char* file) {
  const UniqueFd fd(::openat(directory, file, O_RDONLY | O_CLOEXEC));
  std::string text(4096, '\0');
  const ssize_t n = fd ? ::read(fd.get(), text.data(), text.size()) : -1;
  text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
  return text;
}

bool HasWord(const std::string& words, std::string_view word) {
  std::istringstream in(words);
  for (std::string candidate; in >> candidate;) {
    if (candidate == word) return true;
  }
  return false;
}

UniqueFd OpenDirectory(int parent, const std::string& name) {
  return UniqueFd(::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

// An instance holds this lock on its own directory for as long as it lives, however empty that is:
// no other takes it for abandoned. Children of ours close it before they do anything else.
bool LockDirectory(int directory) { return ::flock(directory, LOCK_EX | LOCK_NB) == 0; }

// Cgroups below `parent` that an instance of ours which was killed left behind. Those with somebody
// still inside refuse rmdir and stay for the next start.
void ClearAbandoned(int parent) {
  const UniqueFd listing = OpenDirectory(parent, ".");
  if (!listing) return;
  DIR* directory = ::fdopendir(::dup(listing.get()));
  if (directory == nullptr) return;
  while (const dirent* entry = ::readdir(directory)) {
    const std::string name = entry->d_name;
    if (name.rfind(kOwnPrefix, 0) != 0) continue;
    if (const UniqueFd own = OpenDirectory(parent, name)) {
      if (!LockDirectory(own.get())) continue;
      DIR* cells = ::fdopendir(::dup(own.get()));
      while (const dirent* cell = cells != nullptr ? ::readdir(cells) : nullptr) {
        if (cell->d_type == DT_DIR && cell->d_name[0] != '.') {
          // What was frozen cannot be dead before it is thawed.
          WriteAt(own.get(), (std::string(cell->d_name) + "/freezer.state").c_str(), "THAWED");
          ::unlinkat(own.get(), cell->d_name, AT_REMOVEDIR);
        }
      }
      if (cells != nullptr) ::closedir(cells);
    }
    ::unlinkat(parent, name.c_str(), AT_REMOVEDIR);
  }
  ::closedir(directory);
}

struct MountPoint {
  bool v2 = false;
  std::string path;
  std::string root;  // of the mount, as a path in the hierarchy
  std::string options;
};

std::vector<MountPoint> CgroupMounts() {
  // proc(5): id parent dev root path options [optional…] - type source superoptions
  std::vector<MountPoint> mounts;
  std::ifstream file("/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream in(line);
    std::string skip;
    MountPoint mount;
    in >> skip >> skip >> skip >> mount.root >> mount.path >> skip;
    while (in >> skip && skip != "-") {
    }
    std::string type;
    std::string source;
    in >> type >> source >> mount.options;
    if (type != "cgroup" && type != "cgroup2") continue;
    mount.v2 = type == "cgroup2";
    std::replace(mount.options.begin(), mount.options.end(), ',', ' ');
    mounts.push_back(std::move(mount));
  }
  return mounts;
}

// Where this process is in each hierarchy: controller (or "" for v2) → path.
std::map<std::string, std::string> OwnPaths() {
  std::map<std::string, std::string> paths;
  std::ifstream file("/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string controllers = line.substr(first + 1, second - first - 1);
    std::replace(controllers.begin(), controllers.end(), ',', ' ');
    const std::string path = line.substr(second + 1);
    if (controllers.empty()) paths[""] = path;
    std::istringstream in(controllers);
    for (std::string controller; in >> controller;) paths[controller] = path;
  }
  return paths;
}

// The directory of our own cgroup, or the mount's top when that is not visible from here. Cells go
// beside the leaf that holds the service.
UniqueFd OpenBase(const MountPoint& mount, const std::string& own_path) {
  std::string below = own_path;
  if (below.ends_with(kServiceLeaf)) below.resize(below.size() - kServiceLeaf.size());
  if (mount.root != "/" && below.rfind(mount.root, 0) == 0) below = below.substr(mount.root.size());
  UniqueFd base = OpenDirectory(AT_FDCWD, mount.path + "/" + below);
  if (!base) base = OpenDirectory(AT_FDCWD, mount.path);
  return base;
}

void EnableV2Controllers(int base) {
  for (const char* one : {"+memory", "+pids", "+cpu"}) WriteAt(base, "cgroup.subtree_control", one);
}

UniqueFd OpenForReading(int directory, const char* file) {
  return UniqueFd(::openat(directory, file, O_RDONLY | O_CLOEXEC));
}

}  // namespace

void MakeRoomForCells() {
  const auto own_paths = OwnPaths();
  const auto own = own_paths.find("");
  if (own == own_paths.end() || own->second.ends_with(kServiceLeaf)) return;
  for (const MountPoint& mount : CgroupMounts()) {
    if (!mount.v2) continue;
    const UniqueFd base = OpenBase(mount, own->second);
    // The root of all may have both processes and controllers; it alone has no type.
    if (!base || ReadAt(base.get(), "cgroup.type").empty()) return;
    const std::string available = ReadAt(base.get(), "cgroup.controllers");
    if (!HasWord(available, "memory") && !HasWord(available, "pids")) return;  // v1 has them
    const std::string leaf(kServiceLeaf.substr(1));
    if (::mkdirat(base.get(), leaf.c_str(), 0755) != 0 && errno != EEXIST) return;
    std::istringstream pids(ReadAt(base.get(), "cgroup.procs"));
    for (std::string pid; pids >> pid;) WriteAt(base.get(), (leaf + "/cgroup.procs").c_str(), pid);
    return;
  }
}

CellCgroup::~CellCgroup() { Remove(); }

// kernel: cgroup-v1/freezer-subsystem.rst, cgroup-v2.rst ("cgroup.freeze").
Result<bool> CellCgroup::Freeze() {
  if (!freezer_) {
    errno = ENOTSUP;
    return FailErrno("no freezer cgroup that we may use");
  }
  const std::string_view order = freezer_events_ ? "1" : "FROZEN";
  if (::pwrite(freezer_.get(), order.data(), order.size(), 0) !=
      static_cast<ssize_t>(order.size())) {
    return FailErrno("freeze");
  }
  char text[256];
  const int state = freezer_events_ ? freezer_events_.get() : freezer_.get();
  const ssize_t n = ::pread(state, text, sizeof text, 0);
  if (n < 0) return FailErrno("freezer state");
  const std::string_view said(text, static_cast<std::size_t>(n));
  return freezer_events_ ? said.find("frozen 1") != said.npos : said.starts_with("FROZEN");
}

Result<void> CellCgroup::Thaw() {
  if (!freezer_) {
    errno = ENOTSUP;
    return FailErrno("no freezer cgroup that we may use");
  }
  const std::string_view order = freezer_events_ ? "0" : "THAWED";
  if (::pwrite(freezer_.get(), order.data(), order.size(), 0) !=
      static_cast<ssize_t>(order.size())) {
    return FailErrno("thaw");
  }
  return {};
}

std::uint64_t CellCgroup::Processes() const { return PlainNumber(pids_now_.get()); }

bool CellCgroup::Remove() {
  procs.clear();
  freezer_.Reset();
  freezer_events_.Reset();
  pids_now_.Reset();
  std::erase_if(places_, [](const Place& place) {
    return ::unlinkat(place.parent_fd, place.name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT;
  });
  return places_.empty();
}

CgroupTree::~CgroupTree() {
  for (const Hierarchy& hierarchy : hierarchies_) {
    ::unlinkat(hierarchy.base.get(), hierarchy.name.c_str(), AT_REMOVEDIR);
  }
}

void CgroupTree::Adopt(Hierarchy hierarchy) {
  ClearAbandoned(hierarchy.base.get());
  // Forkservers are pid 1 of their own namespace: a boot-wide unique name needs more than a pid.
  // Between mkdir and lock another start may take the new directory for abandoned: then once more.
  for (int attempt = 0; attempt < 10 && !hierarchy.own; ++attempt) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    hierarchy.name = kOwnPrefix + std::to_string(now.tv_sec) + "-" + std::to_string(now.tv_nsec);
    if (::mkdirat(hierarchy.base.get(), hierarchy.name.c_str(), 0755) != 0) return;
    UniqueFd own = OpenDirectory(hierarchy.base.get(), hierarchy.name);
    if (own && LockDirectory(own.get()) &&
        ::faccessat(hierarchy.base.get(), hierarchy.name.c_str(), F_OK, 0) == 0) {
      hierarchy.own = std::move(own);
    }
  }
  if (!hierarchy.own) return;
  const int own = hierarchy.own.get();
  if (hierarchy.v2) {
    for (const char* one : {"+memory", "+pids", "+cpu"})
      WriteAt(own, "cgroup.subtree_control", one);
    const std::string enabled = ReadAt(own, "cgroup.subtree_control");
    hierarchy.memory = hierarchy.memory && HasWord(enabled, "memory");
    hierarchy.pids = hierarchy.pids && HasWord(enabled, "pids");
    hierarchy.cpu = hierarchy.cpu && HasWord(enabled, "cpu");
  }
  if (hierarchy.v2) hierarchy.freezer = ::faccessat(own, "cgroup.freeze", W_OK, 0) == 0;
  hierarchy.boxes_only =
      !hierarchy.memory && !hierarchy.pids && !hierarchy.cpu && !hierarchy.accounting;
  if (hierarchy.boxes_only && !hierarchy.freezer) {
    ::unlinkat(hierarchy.base.get(), hierarchy.name.c_str(), AT_REMOVEDIR);
    return;
  }
  if (hierarchy.freezer) protections_ |= kFreezer;
  if (hierarchy.memory) {
    protections_ |= kMemoryCgroup;
    const char* swap = hierarchy.v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes";
    const bool present = ::faccessat(own, swap, W_OK, 0) == 0;
    std::ifstream swaps("/proc/swaps");
    std::string header;
    std::string first;
    std::getline(swaps, header);
    const bool no_swap = !std::getline(swaps, first);
    if (present || no_swap) protections_ |= kSwapLimit;
  }
  if (hierarchy.pids) protections_ |= kPidsCgroup;
  if (hierarchy.cpu) protections_ |= kCpuCgroup;
  if (hierarchy.accounting) protections_ |= kCpuAccounting;
  if (hierarchy.v2 && hierarchy.memory) protections_ |= kCgroupV2;
  hierarchies_.push_back(std::move(hierarchy));
}

CgroupTree CgroupTree::Open() {
  CgroupTree tree;
  const auto own_paths = OwnPaths();
  const auto own_path = [&](const std::string& controller) {
    const auto found = own_paths.find(controller);
    return found == own_paths.end() ? std::string("/") : found->second;
  };
  const std::vector<MountPoint> mounts = CgroupMounts();
  std::optional<Hierarchy> v1_freezer;  // by itself; only for want of a better one
  for (const MountPoint& mount : mounts) {
    if (mount.v2) continue;
    Hierarchy hierarchy;
    std::string controller;
    const auto has = [&](const char* name) {
      if (!HasWord(mount.options, name)) return false;
      controller = name;
      return true;
    };
    hierarchy.memory = has("memory");
    hierarchy.pids = has("pids");
    hierarchy.accounting = has("cpuacct");
    hierarchy.cpu = has("cpu");
    const bool only_freezer = controller.empty();
    hierarchy.freezer = has("freezer");
    if (controller.empty()) continue;
    hierarchy.base = OpenBase(mount, own_path(controller));
    if (!hierarchy.base) continue;
    if (only_freezer) {
      v1_freezer = std::move(hierarchy);
    } else {
      tree.Adopt(std::move(hierarchy));
    }
  }
  for (const MountPoint& mount : mounts) {
    if (!mount.v2) continue;
    Hierarchy hierarchy;
    hierarchy.v2 = true;
    hierarchy.base = OpenBase(mount, own_path(""));
    if (!hierarchy.base) continue;
    const std::string available = ReadAt(hierarchy.base.get(), "cgroup.controllers");
    hierarchy.memory = HasWord(available, "memory");
    hierarchy.pids = HasWord(available, "pids");
    hierarchy.cpu = HasWord(available, "cpu");
    // cpu.stat counts in every v2 cgroup, with or without controllers.
    hierarchy.accounting = (tree.protections_ & kCpuAccounting) == 0;
    if (hierarchy.memory || hierarchy.pids || hierarchy.cpu) {
      EnableV2Controllers(hierarchy.base.get());
    } else if (!hierarchy.accounting && (tree.protections_ & kFreezer) != 0) {
      continue;  // v1 gives everything already
    }
    tree.Adopt(std::move(hierarchy));
    break;
  }
  // What v2 has frozen can be killed as it is; hence this one last.
  if (v1_freezer && (tree.protections_ & kFreezer) == 0) tree.Adopt(std::move(*v1_freezer));
  return tree;
}

Result<CellCgroup> CgroupTree::Create(const std::string& name, const CgroupLimits& limits) {
  CellCgroup cell;
  for (const Hierarchy& hierarchy : hierarchies_) {
    if (hierarchy.boxes_only && !limits.box) continue;
    const int parent = hierarchy.own.get();
    if (::mkdirat(parent, name.c_str(), 0755) != 0) return FailErrno("mkdir cgroup " + name);
    cell.places_.push_back({parent, name});
    const UniqueFd directory = OpenDirectory(parent, name);
    if (!directory) return FailErrno("open cgroup " + name);
    const int fd = directory.get();
    if (hierarchy.memory) {
      const std::string bytes = std::to_string(limits.memory_bytes);
      const char* file = hierarchy.v2 ? "memory.max" : "memory.limit_in_bytes";
      if (!WriteAt(fd, file, bytes)) return FailErrno(std::string("write ") + file);
      if (hierarchy.v2) {
        WriteAt(fd, "memory.swap.max", "0");  // absent without swap accounting
        // Half a program is no use to anybody; but in a box there are many.
        if (!limits.box) WriteAt(fd, "memory.oom.group", "1");
      } else {
        WriteAt(fd, "memory.memsw.limit_in_bytes", bytes);
      }
      cell.memory_peak =
          OpenForReading(fd, hierarchy.v2 ? "memory.peak" : "memory.max_usage_in_bytes");
      cell.memory_events =
          OpenForReading(fd, hierarchy.v2 ? "memory.events" : "memory.oom_control");
      if (limits.box) {
        cell.memory_now =
            OpenForReading(fd, hierarchy.v2 ? "memory.current" : "memory.usage_in_bytes");
      }
    }
    if (hierarchy.cpu && limits.cpu_millis != 0) {
      // Of periods of 100 ms; a millisecond of each is the least there is (sched-bwc.rst).
      const std::string quota = std::to_string(std::max(limits.cpu_millis, 10U) * 100ULL);
      const char* file = hierarchy.v2 ? "cpu.max" : "cpu.cfs_quota_us";
      if (!WriteAt(fd, file, quota)) return FailErrno(std::string("write ") + file);
    }
    if (hierarchy.freezer && limits.box) {
      cell.freezer_.Reset(
          ::openat(fd, hierarchy.v2 ? "cgroup.freeze" : "freezer.state", O_RDWR | O_CLOEXEC));
      if (hierarchy.v2) cell.freezer_events_ = OpenForReading(fd, "cgroup.events");
    }
    if (hierarchy.pids && !WriteAt(fd, "pids.max", std::to_string(limits.pids))) {
      return FailErrno("write pids.max");
    }
    // The same in v1 and v2.
    if (hierarchy.pids && limits.box) cell.pids_now_ = OpenForReading(fd, "pids.current");
    if (hierarchy.accounting) {
      cell.cpu_usage = OpenForReading(fd, hierarchy.v2 ? "cpu.stat" : "cpuacct.usage");
    }
    UniqueFd procs(::openat(fd, "cgroup.procs", O_WRONLY | O_CLOEXEC));
    if (!procs) return FailErrno("open cgroup.procs");
    cell.procs.push_back(std::move(procs));
  }
  for (UniqueFd* fd : {&cell.cpu_usage, &cell.memory_peak, &cell.memory_events, &cell.memory_now}) {
    if (fd == &cell.memory_now && !limits.box) continue;
    if (!*fd) fd->Reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
  return cell;
}

}  // namespace forkbox::sandbox
