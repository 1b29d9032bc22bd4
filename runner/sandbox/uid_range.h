// The uids of one forkserver's cells: a range that nobody on the host has, and no other forkserver
// either. What the kernel counts by uid (RLIMIT_NPROC, pending signals, locked memory) it counts
// across pid namespaces and containers: with the same uids, the programs of one runner would use up
// the processes of another's (credentials(7), user_namespaces(7)).
//
// Nobody hands ranges out: each is drawn, of so many that two are not the same.
#pragma once

#include <cstdint>

namespace forkbox::sandbox {

// First of `count` uids. `mapped`: how many ids there are in our user namespace, from 0. Small maps
// (64 K ids, as rootless container engines give) have room for a few ranges only, just below their
// end; but those are counted for their namespace apart. Pure; `draw` is any number.
std::uint32_t UidBaseOf(std::uint64_t mapped, std::uint32_t count, std::uint64_t draw);

// The same for this process and at random.
std::uint32_t DrawUidBase(std::uint32_t count);

}  // namespace forkbox::sandbox
