#include "base/rfc3339.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace forkbox {
namespace {

std::tm Utc(std::int64_t unix_seconds) {
  const std::time_t seconds = unix_seconds;
  std::tm utc{};
  ::gmtime_r(&seconds, &utc);
  return utc;
}

std::string Format(const char* format, const std::tm& utc) {
  std::array<char, 64> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), format, &utc);
  return {text.data(), length};
}

}  // namespace

std::string Rfc3339Millis(std::int64_t unix_ms) {
  std::int64_t seconds = unix_ms / 1000;
  std::int64_t millis = unix_ms % 1000;
  if (millis < 0) {
    millis += 1000;
    --seconds;
  }
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03dZ", static_cast<int>(millis));
  return Format("%Y-%m-%dT%H:%M:%S", Utc(seconds)) + fraction.data();
}

std::string Rfc3339Seconds(std::int64_t unix_ms) {
  return Format("%Y-%m-%dT%H:%M:%SZ", Utc(unix_ms / 1000));
}

}  // namespace forkbox
