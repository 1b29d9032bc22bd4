#include "base/rfc3339.h"

#include <algorithm>
#include <array>
#include <chrono>
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

// Reads exactly `digits` digits off the front.
std::optional<int> TakeNumber(std::string_view* text, std::size_t digits) {
  if (text->size() < digits) return std::nullopt;
  int number = 0;
  for (const char c : text->substr(0, digits)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  text->remove_prefix(digits);
  return number;
}

bool Take(std::string_view* text, std::string_view any_of) {
  if (text->empty() || any_of.find(text->front()) == std::string_view::npos) return false;
  text->remove_prefix(1);
  return true;
}

// ".25" as 250; nothing there is 0.
std::optional<int> TakeMillis(std::string_view* text) {
  if (!Take(text, ".")) return 0;
  int millis = 0;
  int weight = 100;
  std::size_t digits = 0;
  while (!text->empty() && text->front() >= '0' && text->front() <= '9') {
    millis += (text->front() - '0') * weight;
    weight /= 10;
    ++digits;
    text->remove_prefix(1);
  }
  return digits == 0 ? std::nullopt : std::optional<int>(millis);
}

// "Z" or "+02:00", in minutes.
std::optional<int> TakeOffset(std::string_view* text) {
  if (Take(text, "Zz")) return 0;
  if (text->empty()) return std::nullopt;
  const int sign = text->front() == '-' ? -1 : 1;
  if (!Take(text, "+-")) return std::nullopt;
  const auto hours = TakeNumber(text, 2);
  if (!hours || *hours > 23 || !Take(text, ":")) return std::nullopt;
  const auto minutes = TakeNumber(text, 2);
  if (!minutes || *minutes > 59) return std::nullopt;
  return sign * (*hours * 60 + *minutes);
}

}  // namespace

std::optional<std::int64_t> ParseRfc3339(std::string_view text) {
  using namespace std::chrono;
  const auto year_number = TakeNumber(&text, 4);
  if (!year_number || !Take(&text, "-")) return std::nullopt;
  const auto month_number = TakeNumber(&text, 2);
  if (!month_number || !Take(&text, "-")) return std::nullopt;
  const auto day_number = TakeNumber(&text, 2);
  if (!day_number || !Take(&text, "Tt")) return std::nullopt;
  const auto hour = TakeNumber(&text, 2);
  if (!hour || *hour > 23 || !Take(&text, ":")) return std::nullopt;
  const auto minute = TakeNumber(&text, 2);
  if (!minute || *minute > 59 || !Take(&text, ":")) return std::nullopt;
  const auto second = TakeNumber(&text, 2);
  if (!second || *second > 60) return std::nullopt;
  const auto millis = TakeMillis(&text);
  const auto offset = millis ? TakeOffset(&text) : std::nullopt;
  if (!offset || !text.empty()) return std::nullopt;
  const year_month_day date(year(*year_number), month(static_cast<unsigned>(*month_number)),
                            day(static_cast<unsigned>(*day_number)));
  if (!date.ok() || *year_number < 1970) return std::nullopt;
  const auto time = sys_days(date).time_since_epoch() + hours(*hour) + minutes(*minute - *offset) +
                    seconds(std::min(*second, 59)) + milliseconds(*millis);
  return duration_cast<milliseconds>(time).count();
}

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
