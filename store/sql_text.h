// What may stand in a TEXT column of any database: UTF-8 without NUL, since PostgreSQL has no
// other. Requests and outcomes are JSON, which is that by itself.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "schema/utf8.h"

namespace forkbox::store {

// Names and URLs are refused when they are not; to mend them could make two of them one.
inline bool IsSqlText(std::string_view text) {
  return text.find('\0') == std::string_view::npos && schema::IsValidUtf8(text);
}

// Words for people are mended.
inline std::string ToSqlText(std::string text) {
  std::replace(text.begin(), text.end(), '\0', ' ');
  return schema::ToValidUtf8(std::move(text));
}

// What can be an id of ours at all. Others may come from any URL, and are merely unknown.
inline bool IsPlausibleId(std::string_view id) {
  return !id.empty() && id.size() <= 128 &&
         std::all_of(id.begin(), id.end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

// What the ids of `unix_ms` (UUIDv7) and later begin with or sort after, and no earlier one does.
inline std::string FirstIdOf(std::int64_t unix_ms) {
  static constexpr char kHex[] = "0123456789abcdef";
  const auto ms = static_cast<std::uint64_t>(std::clamp<std::int64_t>(unix_ms, 0, 1LL << 47));
  std::string id;
  for (int shift = 44; shift >= 0; shift -= 4) {
    id += kHex[(ms >> shift) & 15];
    if (shift == 16) id += '-';
  }
  return id;
}

// When a UUIDv7 was made; of another text something.
inline std::int64_t TimeOfId(std::string_view id) {
  std::int64_t unix_ms = 0;
  int digits = 0;
  for (const char c : id) {
    if (c == '-') continue;
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
    unix_ms = unix_ms * 16 + digit;
    if (++digits == 12) break;
  }
  return unix_ms;
}

}  // namespace forkbox::store
