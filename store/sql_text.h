// What may stand in a TEXT column of any database: UTF-8 without NUL, since PostgreSQL has no
// other. Requests and outcomes are JSON, which is that by itself.
#pragma once

#include <algorithm>
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

}  // namespace forkbox::store
