#include "runner/sandbox/uid_range.h"

#include <sys/random.h>

#include <algorithm>
#include <fstream>

#include "base/check.h"

namespace forkbox::sandbox {
namespace {

struct Span {
  std::uint32_t first = 0;
  std::uint32_t end = 0;
};

// Above what distributions, systemd and container engines give away, below where a signed int
// ends.
constexpr Span kHigh{1'900'000'000, 2'000'000'000};
// Below nobody (65534) and the ids that services are given from the top.
constexpr Span kLow{62'000, 65'000};

}  // namespace

std::uint32_t UidBaseOf(std::uint64_t mapped, std::uint32_t count, std::uint64_t draw) {
  const Span span = mapped >= kHigh.end ? kHigh : kLow;
  const std::uint32_t ranges = std::max(1U, (span.end - span.first) / std::max(1U, count));
  return span.first + static_cast<std::uint32_t>(draw % ranges) * count;
}

std::uint32_t DrawUidBase(std::uint32_t count) {
  std::ifstream map("/proc/self/uid_map");
  std::uint64_t inside = 0;
  std::uint64_t outside = 0;
  std::uint64_t mapped = 0;
  map >> inside >> outside >> mapped;
  std::uint64_t draw = 0;
  FORKBOX_CHECK(::getrandom(&draw, sizeof draw, 0) == sizeof draw);
  return UidBaseOf(mapped, count, draw);
}

}  // namespace forkbox::sandbox
