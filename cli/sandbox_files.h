// What the descriptors of this process allow for: how many long-lived sandboxes it can have so that
// none of them takes what the others, or clients, need.
#pragma once

#include <algorithm>
#include <cstddef>

#include "runner/execd/descriptor_budget.h"
#include "runner/execd/leftover_pipes.h"

namespace forkbox::cli {

// Of one sandbox at the most, whatever runs in it; each of these bounds is kept by who holds them.
inline constexpr std::size_t kFilesOfSandbox =
    execd::DescriptorBudget::kOfBox +         // commands, shells and terminals
    execd::LeftoverPipes::kDefaultCapacity +  // of what commands have left behind
    std::size_t{4} * 32 +                     // contexts
    std::size_t{3} * 36 +                     // agents, with what they hand over
    20;                                       // the box itself, and agents on their way out

// What is planned for each. They are not all full at once, an idle one holds a handful; should they
// be, what comes too late is refused with kUnavailable. One account's sandboxes (20 by default) have
// room to be full.
inline constexpr std::size_t kFilesPlanned = kFilesOfSandbox / 4;

// How many of `wanted` sandboxes there is room for, when the process may have `files` descriptors
// and `others` are spoken for. At least one.
constexpr std::size_t SandboxesWithin(std::size_t files, std::size_t others, std::size_t wanted) {
  const std::size_t room = files > others ? (files - others) / kFilesPlanned : 0;
  return std::min(wanted, std::max<std::size_t>(1, room));
}

}  // namespace forkbox::cli
