#include "base/uuid.h"

#include <sys/random.h>
#include <time.h>

#include <array>
#include <cctype>
#include <cstdint>
#include <mutex>

#include "base/check.h"

namespace forkbox {
namespace {

struct Sequence {
  std::mutex mutex;
  std::uint64_t last_ms = 0;
  std::uint32_t counter = 0;  // 12 bits, starts at a random value below half in each millisecond
};

}  // namespace

std::string NewUuidV7() {
  static Sequence sequence;  // the one process-wide order of ids; no other state
  std::array<unsigned char, 16> b{};
  FORKBOX_CHECK(::getrandom(b.data(), b.size(), 0) == static_cast<ssize_t>(b.size()));
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  std::uint64_t ms = static_cast<std::uint64_t>(now.tv_sec) * 1000 +
                     static_cast<std::uint64_t>(now.tv_nsec) / 1000000;
  std::uint32_t count = 0;
  {
    std::lock_guard lock(sequence.mutex);
    if (ms > sequence.last_ms) {
      sequence.last_ms = ms;
      sequence.counter = (static_cast<std::uint32_t>(b[6]) << 8 | b[7]) & 0x7ff;
    } else if (++sequence.counter > 0xfff) {  // clock went back, or 2048 ids in one millisecond
      ++sequence.last_ms;
      sequence.counter = 0;
    }
    ms = sequence.last_ms;
    count = sequence.counter;
  }
  for (int i = 0; i < 6; ++i) {
    b[static_cast<std::size_t>(i)] = static_cast<unsigned char>(ms >> (40 - 8 * i));
  }
  b[6] = static_cast<unsigned char>(0x70 | (count >> 8));
  b[7] = static_cast<unsigned char>(count);
  b[8] = static_cast<unsigned char>(0x80 | (b[8] & 0x3f));

  static constexpr char kHex[] = "0123456789abcdef";
  std::string text;
  text.reserve(36);
  for (std::size_t i = 0; i < b.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text += '-';
    text += kHex[b[i] >> 4];
    text += kHex[b[i] & 15];
  }
  return text;
}

bool IsUuid(std::string_view text) {
  if (text.size() != 36) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
    if (hyphen ? text[i] != '-' : std::isxdigit(static_cast<unsigned char>(text[i])) == 0) {
      return false;
    }
  }
  return true;
}

}  // namespace forkbox
