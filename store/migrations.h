// The tables, by version. Versions only go up: a released step is never edited, a change is a new
// step at the end, and there is no way back.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/result.h"
#include "store/database.h"

namespace forkbox::store {

struct Migration {
  std::int64_t version = 0;
  std::span<const std::string_view> statements;
  std::span<const std::string_view> on_postgres;  // after those; how it stores, not what
  std::span<const std::string_view> on_sqlite{};  // likewise; also what only its functions can say
};

// Ours, from 1 upwards without gaps.
std::span<const Migration> Migrations();

// Brings the database to the last version in one transaction; any number of processes may try at
// once. kInternal when the database is of a later version than this program knows.
Result<void> Migrate(Connection& connection, std::span<const Migration> migrations,
                     std::int64_t now_unix_ms);

}  // namespace forkbox::store
