// The periods in which what is accepted is counted: minutes and calendar months, UTC.
#pragma once

#include <chrono>
#include <cstdint>

namespace forkbox::store {

inline constexpr std::int64_t kMinuteMs = 60'000;
inline constexpr std::int64_t kDayMs = 24 * 60 * kMinuteMs;

// Since 1970.
inline std::int64_t MinuteOf(std::int64_t unix_ms) { return unix_ms / kMinuteMs; }
inline std::int64_t EndOfMinute(std::int64_t unix_ms) {
  return (MinuteOf(unix_ms) + 1) * kMinuteMs;
}

// Since the year 0.
inline std::int64_t MonthOf(std::int64_t unix_ms) {
  const std::chrono::year_month_day day{std::chrono::sys_days(std::chrono::days(unix_ms / kDayMs))};
  return std::int64_t{static_cast<int>(day.year())} * 12 + static_cast<unsigned>(day.month()) - 1;
}
inline std::int64_t EndOfMonth(std::int64_t unix_ms) {
  const std::chrono::year_month_day day{std::chrono::sys_days(std::chrono::days(unix_ms / kDayMs))};
  const auto next = std::chrono::year_month(day.year(), day.month()) + std::chrono::months(1);
  return std::chrono::sys_days(next / 1).time_since_epoch().count() * kDayMs;
}

}  // namespace forkbox::store
