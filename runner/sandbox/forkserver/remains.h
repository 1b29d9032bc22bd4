// What is left of dead cells. A cell's cgroup outlives it until the driver has read what is written
// there, which it says by letting go of the status socket, and then for a moment while the kernel
// buries the last process. One thread at a time.
#pragma once

#include <poll.h>

#include <cstdint>
#include <vector>

#include "base/unique_fd.h"
#include "runner/sandbox/forkserver/cgroup.h"

namespace forkbox::sandbox {

class Remains {
 public:
  void Add(CellCgroup cgroup, UniqueFd status, std::uint32_t uid_index);

  // Adds to `polled` what tells that some can be removed. True when some could be already, if it
  // were not for the kernel: to be tried again by the clock, for nothing tells when a cgroup is
  // empty.
  bool WaitFor(std::vector<pollfd>* polled) const;

  // Removes what can be removed, of `all` also what the driver still holds; whose uids are free
  // now.
  std::vector<std::uint32_t> Bury(bool all);

 private:
  struct Grave {
    CellCgroup cgroup;
    UniqueFd status;
    std::uint32_t uid_index = 0;
  };
  std::vector<Grave> graves_;
};

}  // namespace forkbox::sandbox
