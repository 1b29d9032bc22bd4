// Cgroups of v1, v2 and mixed hosts behind one face: detected, never assumed (cgroups(7)).
//
// CgroupTree is opened before the host's file tree is given up and works by directory descriptor
// from then on. One thread at a time.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace forkbox::sandbox {

// v2 gives memory limits to children only of a cgroup without processes of its own ("no internal
// processes", cgroups(7)): moves those of ours, which are the service's, one level down. For the
// driver, before it starts the forkserver: in the forkserver's pid namespace they have no numbers.
// Leaves everything as it is where that is not needed or not allowed.
void MakeRoomForCells();

struct CgroupLimits {
  std::uint64_t memory_bytes = 0;  // with swap
  std::uint32_t pids = 0;
  std::uint32_t cpu_millis = 0;  // of a core; 0: a fair share
  bool box = false;  // to be frozen and thawed, and entered again and again: `procs` is kept
};

// One cell's cgroups. Remove() takes the directories away once nobody is inside.
class CellCgroup {
 public:
  CellCgroup() = default;
  CellCgroup(CellCgroup&&) noexcept = default;
  CellCgroup& operator=(CellCgroup&&) noexcept = default;
  ~CellCgroup();

  // cgroup.procs of every hierarchy, open for writing.
  std::vector<UniqueFd> procs;
  // Read by the driver; /dev/null where the host gives no such number.
  UniqueFd cpu_usage;
  UniqueFd memory_peak;
  UniqueFd memory_events;
  UniqueFd memory_now;  // of a box

  // Of a box. Stopping takes a moment: Freeze() is called again until it says true. On an error
  // errno is set; ENOTSUP where there is no freezer.
  Result<bool> Freeze();
  Result<void> Thaw();

  // Of a box: how many processes and threads are inside. 0 where nobody counts them.
  [[nodiscard]] std::uint64_t Processes() const;

  // True when nothing of it is left.
  bool Remove();

 private:
  friend class CgroupTree;
  struct Place {
    int parent_fd = -1;  // owned by the tree, which outlives its cells
    std::string name;
  };
  std::vector<Place> places_;
  UniqueFd freezer_;         // freezer.state or cgroup.freeze
  UniqueFd freezer_events_;  // v2: cgroup.events
  UniqueFd pids_now_;        // pids.current
};

class CgroupTree {
 public:
  // Finds the hierarchies, makes our own directory in each and clears away what earlier instances
  // of ours left. Never fails: what is not there is missing from protections().
  static CgroupTree Open();

  CgroupTree(CgroupTree&&) noexcept = default;
  ~CgroupTree();

  Result<CellCgroup> Create(const std::string& name, const CgroupLimits& limits);

  // Protection bits (protocol.h).
  [[nodiscard]] std::uint32_t protections() const { return protections_; }

 private:
  struct Hierarchy {
    bool v2 = false;
    bool memory = false;
    bool pids = false;
    bool cpu = false;
    bool accounting = false;
    bool freezer = false;
    bool boxes_only = false;  // nothing but the freezer: single runs are not in it
    std::string name;         // of our directory below `base`
    UniqueFd base;
    UniqueFd own;
  };
  CgroupTree() = default;
  void Adopt(Hierarchy hierarchy);

  std::vector<Hierarchy> hierarchies_;
  std::uint32_t protections_ = 0;
};

}  // namespace forkbox::sandbox
