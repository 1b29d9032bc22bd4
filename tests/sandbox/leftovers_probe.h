// What a driver holds on this host at a moment of rest: so that a test can say that a run
// has left nothing behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <ostream>
#include <string>
#include <vector>

#include "runner/sandbox/process_driver.h"

namespace forkbox::sandbox::testing {

struct Footprint {
  std::size_t processes = 0;  // the forkserver and all below it, threads not counted
  std::size_t cgroups = 0;    // directories of its cells, over all hierarchies
  std::size_t own_fds = 0;    // of this process
  std::size_t forkserver_fds = 0;
  std::size_t template_fds = 0;  // of the forkserver's children that are templates
  std::size_t mounts = 0;        // of this process and of the forkserver
  std::size_t ready = 0;         // forks that wait in the pool
  bool operator==(const Footprint&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Footprint& footprint);

// All processes below `ancestor`, itself included, as the host sees them.
std::vector<pid_t> ProcessTree(pid_t ancestor);
// The forkserver's templates: its children whose program is not the forkserver's own.
std::vector<pid_t> TemplatesOf(pid_t forkserver);
// The names of the cgroup directories that the forkserver holds open ("forkbox-cells-…").
std::vector<std::string> CgroupsOf(pid_t forkserver);
// Directories of that name anywhere in the host's hierarchies, with how many cells are below each.
std::vector<std::pair<std::string, std::size_t>> FindCgroups(const std::string& name);
// Without handles of network namespaces, which the forkserver keeps a bounded number of.
std::size_t OpenFds(pid_t pid);
std::size_t ResidentBytes(pid_t pid);

class LeftoversProbe {
 public:
  // Waits until the driver is at rest: pools full, nothing changing for that long.
  LeftoversProbe(const Driver& driver, pid_t forkserver,
                 std::chrono::milliseconds rest = std::chrono::milliseconds(150));
  explicit LeftoversProbe(const ProcessDriver& driver)
      : LeftoversProbe(driver, driver.forkserver_pid()) {}

  // Waits, within a bound, until the driver's footprint is what it was at the start. What is left
  // over otherwise, in words; "" if nothing.
  std::string WaitUntilClean();

  [[nodiscard]] const Footprint& before() const { return before_; }

 private:
  [[nodiscard]] Footprint Now() const;

  const Driver& driver_;
  const pid_t forkserver_;
  Footprint before_;
};

}  // namespace forkbox::sandbox::testing
