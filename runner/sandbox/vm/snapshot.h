// Snapshot: a warmed machine at rest: its memory and the state of everything else in it, from
// which any number of forks come up. Both are sealed memory files: nobody can write them any more,
// not even a QEMU that has been taken over and holds them open for writing (fcntl(2), F_ADD_SEALS).
#pragma once

#include <cstddef>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/sandbox/forkserver_client.h"
#include "runner/sandbox/vm/machine.h"

namespace forkbox::sandbox::vm {

struct Snapshot {
  UniqueFd ram;
  UniqueFd state;  // some 60 kB; to be opened anew by who reads it, for an offset of its own
};

// Boots the image in a cell of `launcher_index`, waits for the agent's word that all is warm, saves
// the machine and ends it. kUnavailable or kDeadlineExceeded with the end of what QEMU and the
// guest's kernel said; in every case nothing of it runs any more or will for long.
Result<Snapshot> TakeSnapshot(ForkserverClient& client, std::size_t launcher_index,
                              const schema::Limits& cell, const Machine& machine,
                              Deadline deadline);

}  // namespace forkbox::sandbox::vm
