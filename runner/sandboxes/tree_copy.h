// Copies the files of one box into another: a tar in the one writes to a tar in the other. Both run
// inside, as any command there; what goes between them passes through here unread.
#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/result.h"
#include "runner/sandbox/box.h"

namespace forkbox::sandboxes {

// What is in the folders below /box: the work directory, /tmp and those that are bound to /home,
// /var and so on, but not shared memory. Names, contents, modes, times, links. At most
// `max_bytes` of archive. kUnavailable: one of the boxes could not do it, or has no room for it.
// kDeadlineExceeded.
Result<void> CopyTree(sandbox::Box& from, sandbox::Box& to, std::uint64_t max_bytes,
                      Deadline deadline);

}  // namespace forkbox::sandboxes
