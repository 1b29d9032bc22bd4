// The times of files, which their owners set as they like, beyond what nanoseconds can count.
#pragma once

#include <cstdint>
#include <limits>

namespace forkbox::execd {

// Since the Unix epoch; the nearest there is for years before 1678 and after 2261.
inline std::int64_t UnixNanoseconds(std::int64_t seconds, std::int64_t nanoseconds) {
  std::int64_t whole = 0;
  if (__builtin_mul_overflow(seconds, std::int64_t{1'000'000'000}, &whole) ||
      __builtin_add_overflow(whole, nanoseconds, &whole)) {
    return seconds < 0 ? std::numeric_limits<std::int64_t>::min()
                       : std::numeric_limits<std::int64_t>::max();
  }
  return whole;
}

}  // namespace forkbox::execd
