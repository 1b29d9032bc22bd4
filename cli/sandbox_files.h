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

// How many of `wanted` sandboxes there is room for, when the process may have `files` descriptors
// and `others` are spoken for. At least one.
constexpr std::size_t SandboxesWithin(std::size_t files, std::size_t others, std::size_t wanted) {
  const std::size_t room = files > others ? (files - others) / kFilesOfSandbox : 0;
  return std::min(wanted, std::max<std::size_t>(1, room));
}

}  // namespace forkbox::cli
