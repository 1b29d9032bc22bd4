// Every statement on the table of executions. Portable, see store/database.h.
//
// `finished_unix_ms IS NULL` stands in each that touches unfinished rows: it is what makes a write
// conditional, and what lets the planner use the partial index.
#pragma once

#include <string_view>

namespace forkbox::store::sql {

inline constexpr std::string_view kInsert =
    "INSERT INTO executions (id, owner, state, attempts, runner, claim_expires_unix_ms,"
    " created_unix_ms, request)"
    " VALUES ($1, $2, 'queued', 0, '', 0, $3, $4)"
    " ON CONFLICT (id) DO NOTHING";

// $1 id, $2 runner, $3 now, $4 expires, $5 max attempts
inline constexpr std::string_view kClaim =
    "UPDATE executions SET state = 'running', attempts = attempts + 1, runner = $2,"
    " claim_expires_unix_ms = $4, started_unix_ms = COALESCE(started_unix_ms, $3)"
    " WHERE id = $1 AND finished_unix_ms IS NULL AND attempts < $5"
    " AND (state = 'queued' OR claim_expires_unix_ms <= $3)";

// $1 id, $2 now, $3 max attempts, $4 outcome
inline constexpr std::string_view kGiveUp =
    "UPDATE executions SET state = 'lost', runner = '', claim_expires_unix_ms = 0,"
    " finished_unix_ms = $2, outcome = $4"
    " WHERE id = $1 AND finished_unix_ms IS NULL AND attempts >= $3"
    " AND (state = 'queued' OR claim_expires_unix_ms <= $2)";

inline constexpr std::string_view kFinishedAt =
    "SELECT finished_unix_ms FROM executions WHERE id = $1";

// The attempt is given back; with the first of them its start is forgotten, too.
inline constexpr std::string_view kRelease =
    "UPDATE executions SET state = 'queued', runner = '', claim_expires_unix_ms = 0,"
    " started_unix_ms = CASE WHEN attempts > 1 THEN started_unix_ms END,"
    " attempts = attempts - 1"
    " WHERE id = $1 AND state = 'running' AND runner = $2 AND finished_unix_ms IS NULL";

// $1 id, $2 state, $3 now, $4 outcome
inline constexpr std::string_view kFinish =
    "UPDATE executions SET state = $2, runner = '', claim_expires_unix_ms = 0,"
    " finished_unix_ms = $3, outcome = $4"
    " WHERE id = $1 AND finished_unix_ms IS NULL";

inline constexpr std::string_view kGet =
    "SELECT state, attempts, runner, claim_expires_unix_ms, started_unix_ms, finished_unix_ms,"
    " request, outcome FROM executions WHERE id = $1";

inline constexpr std::string_view kGetOwned =
    "SELECT state, attempts, runner, claim_expires_unix_ms, started_unix_ms, finished_unix_ms,"
    " request, outcome FROM executions WHERE id = $1 AND owner = $2";

// $1 now, $2 limit. Each half reads at most $2 rows of the index in its order.
inline constexpr std::string_view kUnfinished =
    "SELECT id, created_unix_ms FROM (SELECT id, created_unix_ms FROM executions"
    " WHERE finished_unix_ms IS NULL AND state = 'queued'"
    " ORDER BY created_unix_ms, id LIMIT $2) AS waiting"
    " UNION ALL "
    "SELECT id, created_unix_ms FROM (SELECT id, created_unix_ms FROM executions"
    " WHERE finished_unix_ms IS NULL AND state = 'running' AND claim_expires_unix_ms <= $1"
    " ORDER BY created_unix_ms, id LIMIT $2) AS abandoned"
    " ORDER BY created_unix_ms, id LIMIT $2";

inline constexpr std::string_view kVoidClaims =
    "UPDATE executions SET state = 'queued', runner = '', claim_expires_unix_ms = 0"
    " WHERE finished_unix_ms IS NULL AND state = 'running' AND runner = $1";

inline constexpr std::string_view kCountUnfinished =
    "SELECT state, COUNT(*) FROM executions WHERE finished_unix_ms IS NULL GROUP BY state";

inline constexpr std::string_view kPing = "SELECT COUNT(*) FROM schema_migrations";

}  // namespace forkbox::store::sql
