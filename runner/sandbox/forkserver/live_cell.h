// A cell in use: of a run, with the one fork in it, or a box.
#pragma once

#include <cstddef>
#include <cstdint>

#include "runner/sandbox/forkserver/cell.h"
#include "runner/sandbox/forkserver/cgroup.h"
#include "runner/sandbox/forkserver/streams.h"
#include "runner/sandbox/forkserver/warm_template.h"

namespace forkbox::sandbox {

struct LiveCell {
  Cell cell;
  CellCgroup cgroup;
  UniqueFd net_namespace;
  UniqueFd status;  // a copy of the far end of the driver's status socket
  std::uint32_t uid_index = 0;
  std::uint32_t uid = 0;
  std::size_t template_index = 0;  // of a run
  std::uint32_t pids = 0;
  std::uint64_t disk_bytes = 0;
  bool box = false;
  bool frozen = false;
  bool killed = false;
  bool orphaned = false;  // a template died: programs in it are our children

  // Ends everything inside, frozen or not.
  void Kill();
};

// Asks the template for a fork into the cell, which is to have its ends of the streams. False when
// there is no such template any more.
bool SendFork(const WarmTemplate& warm, const LiveCell& cell, const Streams& streams);

}  // namespace forkbox::sandbox
