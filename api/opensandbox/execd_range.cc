#include "api/opensandbox/execd_range.h"

#include <time.h>

#include <algorithm>
#include <charconv>
#include <cstdio>

namespace forkbox::api {
namespace {

constexpr const char* kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
constexpr const char* kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                   "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

std::string_view Trim(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t");
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

bool ReadNumber(std::string_view text, std::uint64_t* number) {
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, *number);
  return !text.empty() && error == std::errc() && stop == end;
}

}  // namespace

ByteRange ParseByteRange(std::string_view header, std::uint64_t size) {
  constexpr std::string_view kUnit = "bytes=";
  const ByteRange malformed{.kind = ByteRange::Kind::kMalformed};
  if (!header.starts_with(kUnit)) return malformed;
  header.remove_prefix(kUnit.size());
  ByteRange found{.kind = ByteRange::Kind::kUnsatisfiable};
  bool any = false;
  while (!header.empty()) {
    const std::size_t comma = header.find(',');
    const std::string_view one = Trim(header.substr(0, comma));
    header = comma == header.npos ? std::string_view() : header.substr(comma + 1);
    if (one.empty()) continue;
    const std::size_t dash = one.find('-');
    if (dash == one.npos) return malformed;
    const std::string_view first = Trim(one.substr(0, dash));
    const std::string_view last = Trim(one.substr(dash + 1));
    any = true;
    std::uint64_t begin = 0;
    std::uint64_t end = 0;  // one behind
    if (first.empty()) {
      std::uint64_t suffix = 0;
      if (!ReadNumber(last, &suffix)) return malformed;
      begin = size - std::min(suffix, size);
      end = size;
    } else {
      if (!ReadNumber(first, &begin)) return malformed;
      end = size;
      if (!last.empty()) {
        std::uint64_t position = 0;
        if (!ReadNumber(last, &position) || position < begin) return malformed;
        if (position < size) end = position + 1;
      }
    }
    if (begin < end && found.kind == ByteRange::Kind::kUnsatisfiable) {
      found = {.kind = ByteRange::Kind::kPart, .offset = begin, .length = end - begin};
    }
  }
  if (!any) return malformed;
  // Clients that put a range into every request must be able to read an empty file.
  if (size == 0) return {.kind = ByteRange::Kind::kWhole};
  return found;
}

std::string ContentDisposition(std::string_view file_name) {
  std::string quoted;
  std::string encoded;
  bool plain = true;
  for (const char c : file_name) {
    const auto byte = static_cast<unsigned char>(c);
    const bool alphanumeric =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (byte < 0x20 || byte >= 0x7F) plain = false;
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
    if (alphanumeric || c == '.' || c == '-' || c == '_' || c == '~') {
      encoded += c;
    } else {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "%%%02X", static_cast<unsigned>(byte));
      encoded += escape;
    }
  }
  if (plain) return "attachment; filename=\"" + quoted + "\"";
  return "attachment; filename=\"" + encoded + "\"; filename*=UTF-8''" + encoded;
}

std::string HttpDate(std::int64_t unix_seconds) {
  const auto when = static_cast<time_t>(unix_seconds);
  tm parts{};
  if (::gmtime_r(&when, &parts) == nullptr || parts.tm_year < 0 || parts.tm_year > 8099) return {};
  char text[64];
  std::snprintf(text, sizeof(text), "%s, %02d %s %04d %02d:%02d:%02d GMT", kDays[parts.tm_wday],
                parts.tm_mday, kMonths[parts.tm_mon], parts.tm_year + 1900, parts.tm_hour,
                parts.tm_min, parts.tm_sec);
  return text;
}

std::optional<std::int64_t> ParseHttpDate(std::string_view text) {
  constexpr std::string_view kForm = "Mon, 15 Jun 2026 09:46:00 GMT";
  if (text.size() != kForm.size() || !text.ends_with(" GMT")) return std::nullopt;
  const auto number = [&](std::size_t at, std::size_t digits, int* value) {
    std::uint64_t read = 0;
    if (!ReadNumber(text.substr(at, digits), &read)) return false;
    *value = static_cast<int>(read);
    return true;
  };
  tm parts{};
  int year = 0;
  if (!number(5, 2, &parts.tm_mday) || !number(12, 4, &year) || !number(17, 2, &parts.tm_hour) ||
      !number(20, 2, &parts.tm_min) || !number(23, 2, &parts.tm_sec)) {
    return std::nullopt;
  }
  const auto* const month = std::ranges::find(kMonths, text.substr(8, 3));
  if (month == std::end(kMonths) || year < 1900) return std::nullopt;
  parts.tm_mon = static_cast<int>(month - std::begin(kMonths));
  parts.tm_year = year - 1900;
  const time_t when = ::timegm(&parts);
  // What is no date comes out as another one: written again, it tells.
  if (HttpDate(when).substr(5) != text.substr(5)) return std::nullopt;
  return when;
}

}  // namespace forkbox::api
