// Every statement on the audit log but the one that accepts (store/acceptance_sql.h). Portable, see
// store/database.h.
#pragma once

#include <string_view>

namespace forkbox::store::sql {

// $1 time, $2 id, $3 owner, $4 key, $5 action, $6 target, $7 client's address, $8 id of the request
inline constexpr std::string_view kAppendAudit =
    "INSERT INTO audit_log (time_unix_ms, id, owner, key_id, action, target, client_address,"
    " request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
    " ON CONFLICT (time_unix_ms, id) DO NOTHING";

// $1 owner, $2 before, $3 limit
inline constexpr std::string_view kListAudit =
    "SELECT time_unix_ms, key_id, action, target, client_address, request_id FROM audit_log"
    " WHERE owner = $1 AND time_unix_ms < $2"
    " ORDER BY time_unix_ms DESC, id DESC LIMIT $3";

// All of the milliseconds in which the first $2 lie, if before $1. $1 before, $2 limit
inline constexpr std::string_view kForgetAudit =
    "DELETE FROM audit_log WHERE time_unix_ms < $1 AND time_unix_ms <="
    " (SELECT MAX(time_unix_ms) FROM (SELECT time_unix_ms FROM audit_log"
    " ORDER BY time_unix_ms LIMIT $2) AS first)";

}  // namespace forkbox::store::sql
