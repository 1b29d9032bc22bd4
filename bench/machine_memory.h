// What virtual machines have in memory for themselves: pages that their process has written and
// shares with nobody. Page tables are not in it, nor what all share: the template's memory, files.
//
// From smaps (proc(5)): of each mapping what is both "Private_Dirty" and "Anonymous". Pages of a
// snapshot that only one machine has looked at are the former without being copies, those that a
// live fork shares with its template are the latter.
#pragma once

#include <optional>
#include <string>

#include "runner/sandbox/vm/vm_driver.h"

namespace forkbox::bench {

struct MachineMemory {
  std::optional<double> idle_mib;       // one that waits in the pool, of `ready` the mean
  std::optional<double> after_job_mib;  // one whose program has printed 1+1 and waits
};

// Leaves the driver without machines. Nothing where processes of the machines' users may not be
// looked into: that takes root.
MachineMemory MeasureMachineMemory(sandbox::vm::VmDriver& driver, std::size_t ready);

// Has the driver keep that many ready, and waits until there are just as many; false when they
// do not come.
bool AwaitPool(sandbox::vm::VmDriver& driver, std::size_t ready);

}  // namespace forkbox::bench
