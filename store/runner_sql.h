// Every statement on the table of runners. Portable, see store/database.h.
#pragma once

#include <string_view>

namespace forkbox::store::sql {

// $1 id, $2 host, $3 slots, $4 busy, $5 started, $6 seen, $7 details
inline constexpr std::string_view kBeat =
    "INSERT INTO runners (id, host, slots, busy, started_unix_ms, seen_unix_ms, details)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7)"
    " ON CONFLICT (id) DO UPDATE SET host = excluded.host, slots = excluded.slots,"
    " busy = excluded.busy, started_unix_ms = excluded.started_unix_ms,"
    " seen_unix_ms = excluded.seen_unix_ms, details = excluded.details";

inline constexpr std::string_view kLeave = "UPDATE runners SET slots = 0, busy = 0 WHERE id = $1";

inline constexpr std::string_view kAliveRunners =
    "SELECT id, host, slots, busy, started_unix_ms, seen_unix_ms, details FROM runners"
    " WHERE seen_unix_ms >= $1 AND slots > 0 ORDER BY id LIMIT 1000";

inline constexpr std::string_view kLastRunner =
    "SELECT id, host, slots, busy, started_unix_ms, seen_unix_ms, details FROM runners"
    " ORDER BY seen_unix_ms DESC, id LIMIT 1";

inline constexpr std::string_view kForgetRunners =
    "DELETE FROM runners WHERE seen_unix_ms < $1"
    " AND seen_unix_ms < (SELECT MAX(seen_unix_ms) FROM runners)";

}  // namespace forkbox::store::sql
