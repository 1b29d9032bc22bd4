// Points in time as text: RFC 3339 in UTC.
#pragma once

#include <cstdint>
#include <string>

namespace forkbox {

// "2026-01-02T03:04:05.678Z"
std::string Rfc3339Millis(std::int64_t unix_ms);

// "2026-01-02T03:04:05Z"
std::string Rfc3339Seconds(std::int64_t unix_ms);

}  // namespace forkbox
