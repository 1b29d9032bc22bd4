// The protections of protocol.h in words, for operators.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace forkbox::sandbox {

// Those of `wanted` that are not `in_force`; both are Protection bits.
std::vector<std::string> NamesOfMissing(std::uint32_t in_force, std::uint32_t wanted = ~0U);

}  // namespace forkbox::sandbox
