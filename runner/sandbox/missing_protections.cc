#include "runner/sandbox/missing_protections.h"

#include "runner/sandbox/protocol.h"

namespace forkbox::sandbox {

std::vector<std::string> NamesOfMissing(std::uint32_t in_force, std::uint32_t wanted) {
  struct Missing {
    std::uint32_t bit;
    const char* text;
  };
  constexpr Missing kAll[] = {
      {kOwnUid, "a uid of its own for every sandbox (start as root)"},
      {kMemoryCgroup, "memory limits (no memory cgroup that we may use)"},
      {kPidsCgroup, "process limits per sandbox (no pids cgroup that we may use)"},
      {kCpuCgroup, "fair shares of the processor (no cpu cgroup that we may use)"},
      {kCpuAccounting, "limits of processor time, wall time apart (no accounting cgroup)"},
      {kSwapLimit, "a limit on swap (the kernel does not account for it)"},
      {kFreezer, "pauses of long-lived sandboxes (no freezer cgroup that we may use)"},
  };
  std::vector<std::string> missing;
  for (const Missing& protection : kAll) {
    if ((wanted & ~in_force & protection.bit) != 0) missing.emplace_back(protection.text);
  }
  return missing;
}

}  // namespace forkbox::sandbox
