// UUID version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 random bits of
// which the first 12 count up within one millisecond, so ids of one process sort by creation.
#pragma once

#include <string>
#include <string_view>

namespace forkbox {

// Lower case with hyphens, 36 characters. Thread-safe; randomness from getrandom(2).
std::string NewUuidV7();

// True for 8-4-4-4-12 hexadecimal digits of any case and version.
bool IsUuid(std::string_view text);

}  // namespace forkbox
