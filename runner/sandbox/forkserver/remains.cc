#include "runner/sandbox/forkserver/remains.h"

#include <utility>

namespace forkbox::sandbox {
namespace {

// A hang-up is always reported.
bool IsHeld(const UniqueFd& status) {
  pollfd polled{status.get(), 0, 0};
  return ::poll(&polled, 1, 0) == 0;
}

}  // namespace

void Remains::Add(CellCgroup cgroup, UniqueFd status, std::uint32_t uid_index) {
  graves_.push_back({std::move(cgroup), std::move(status), uid_index});
}

bool Remains::WaitFor(std::vector<pollfd>* polled) const {
  bool removable = false;
  for (const Grave& grave : graves_) {
    if (IsHeld(grave.status)) {
      polled->push_back({grave.status.get(), 0, 0});
    } else {
      removable = true;
    }
  }
  return removable;
}

std::vector<std::uint32_t> Remains::Bury(bool all) {
  std::vector<std::uint32_t> free_uids;
  std::erase_if(graves_, [&](Grave& grave) {
    if ((!all && IsHeld(grave.status)) || !grave.cgroup.Remove()) return false;
    free_uids.push_back(grave.uid_index);
    return true;
  });
  return free_uids;
}

}  // namespace forkbox::sandbox
