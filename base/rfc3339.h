// Points in time as text: RFC 3339 in UTC.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace forkbox {

// "2026-01-02T03:04:05.678Z"
std::string Rfc3339Millis(std::int64_t unix_ms);

// "2026-01-02T03:04:05Z"
std::string Rfc3339Seconds(std::int64_t unix_ms);

// The way back: "2026-01-02T03:04:05Z", with any number of decimals (those beyond milliseconds are
// dropped), "z" and "t" too, and with an offset like "+02:00". Null for everything else, for days
// that are not in the calendar and for years before 1970. A leap second counts as the one before.
std::optional<std::int64_t> ParseRfc3339(std::string_view text);

}  // namespace forkbox
