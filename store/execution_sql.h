// Every statement on the table of executions. Portable, see store/database.h.
//
// Those on many rows say `finished_unix_ms IS NULL`: it lets the planner use the partial index.
// Those on one row say the same by its state, so that the planner may not: PostgreSQL, when it last
// saw that index empty, would rather read all of it than find the row by its id.
#pragma once

#include <string_view>

namespace forkbox::store::sql {

// $1 id, $2 owner, $3 created, $4 request, $5 lane, $6 dialect, $7 webhook URL, $8 language,
// $9 key, $10 the request without its source, or "" when it is short
inline constexpr std::string_view kInsert =
    "INSERT INTO executions (id, owner, state, attempts, runner, claim_expires_unix_ms,"
    " created_unix_ms, request, lane, dialect, webhook_url, dispatched_unix_ms, language, key_id,"
    " open_owner, request_head)"
    " VALUES ($1, $2, 'queued', 0, '', 0, $3, $4, $5, $6, $7, $3, $8, $9, $2, $10)"
    " ON CONFLICT (id) DO NOTHING";

inline constexpr std::string_view kRequest = "SELECT request FROM executions WHERE id = $1";

// $1 id, $2 runner, $3 now, $4 expires, $5 max attempts
inline constexpr std::string_view kClaim =
    "UPDATE executions SET state = 'running', attempts = attempts + 1, runner = $2,"
    " claim_expires_unix_ms = $4, started_unix_ms = COALESCE(started_unix_ms, $3)"
    " WHERE id = $1 AND attempts < $5"
    " AND (state = 'queued' OR (state = 'running' AND claim_expires_unix_ms <= $3))";

// $1 id, $2 now, $3 max attempts, $4 outcome
inline constexpr std::string_view kGiveUp =
    "UPDATE executions SET state = 'lost', runner = '', claim_expires_unix_ms = 0,"
    " finished_unix_ms = $2, outcome = $4,"
    " open_owner = NULL, ended_owner = owner, ended_language = language || ' ' || owner"
    " WHERE id = $1 AND attempts >= $3"
    " AND (state = 'queued' OR (state = 'running' AND claim_expires_unix_ms <= $2))"
    " RETURNING owner, webhook_url";

inline constexpr std::string_view kHolder =
    "SELECT finished_unix_ms, runner, claim_expires_unix_ms FROM executions WHERE id = $1";

// $1 runner, $2 expires
inline constexpr std::string_view kRenewClaims =
    "UPDATE executions SET claim_expires_unix_ms = $2"
    " WHERE finished_unix_ms IS NULL AND state = 'running' AND runner = $1";

// The attempt is given back; with the first of them its start is forgotten, too.
inline constexpr std::string_view kRelease =
    "UPDATE executions SET state = 'queued', runner = '', claim_expires_unix_ms = 0,"
    " started_unix_ms = CASE WHEN attempts > 1 THEN started_unix_ms END,"
    " attempts = attempts - 1"
    " WHERE id = $1 AND state = 'running' AND runner = $2";

// $1 id, $2 state, $3 now, $4 outcome
inline constexpr std::string_view kFinish =
    "UPDATE executions SET state = $2, runner = '', claim_expires_unix_ms = 0,"
    " finished_unix_ms = $3, outcome = $4,"
    " open_owner = NULL, ended_owner = owner, ended_language = language || ' ' || owner"
    " WHERE id = $1 AND state IN ('queued', 'running')"
    " RETURNING owner, webhook_url";

// The same of one that no runner has.
inline constexpr std::string_view kFinishQueued =
    "UPDATE executions SET state = $2, runner = '', claim_expires_unix_ms = 0,"
    " finished_unix_ms = $3, outcome = $4,"
    " open_owner = NULL, ended_owner = owner, ended_language = language || ' ' || owner"
    " WHERE id = $1 AND state = 'queued'"
    " RETURNING owner, webhook_url";

// As kFinish; nothing is owed then or later, and no list shows it.
inline constexpr std::string_view kWithdraw =
    "UPDATE executions SET state = $2, runner = '', claim_expires_unix_ms = 0,"
    " finished_unix_ms = $3, outcome = $4, webhook_url = '', open_owner = NULL"
    " WHERE id = $1 AND state IN ('queued', 'running')"
    " RETURNING owner, webhook_url, key_id, created_unix_ms, idempotency_key, counted";

inline constexpr std::string_view kEnd =
    "SELECT finished_unix_ms, outcome FROM executions WHERE id = $1";

inline constexpr std::string_view kGet =
    "SELECT state, attempts, runner, claim_expires_unix_ms, started_unix_ms, finished_unix_ms,"
    " request, outcome FROM executions WHERE id = $1";

inline constexpr std::string_view kGetOwned =
    "SELECT state, attempts, runner, claim_expires_unix_ms, started_unix_ms, finished_unix_ms,"
    " request, outcome FROM executions WHERE id = $1 AND owner = $2";

// The same without the source of a long request: it stays where it is.
inline constexpr std::string_view kGetHead =
    "SELECT state, attempts, runner, claim_expires_unix_ms, started_unix_ms, finished_unix_ms,"
    " CASE WHEN request_head <> '' THEN request_head ELSE request END, outcome"
    " FROM executions WHERE id = $1";

inline constexpr std::string_view kGetOwnedHead =
    "SELECT state, attempts, runner, claim_expires_unix_ms, started_unix_ms, finished_unix_ms,"
    " CASE WHEN request_head <> '' THEN request_head ELSE request END, outcome"
    " FROM executions WHERE id = $1 AND owner = $2";

// $1 lane, $2 now, $3 dispatched before, $4 limit. Each half reads the index in its order: of the
// waiting at most $4 rows, of the running as many as there are.
inline constexpr std::string_view kUndispatched =
    "SELECT id, dispatched_unix_ms FROM (SELECT id, dispatched_unix_ms FROM executions"
    " WHERE finished_unix_ms IS NULL AND state = 'queued' AND lane = $1"
    " AND dispatched_unix_ms < $3"
    " ORDER BY dispatched_unix_ms, id LIMIT $4) AS waiting"
    " UNION ALL "
    "SELECT id, dispatched_unix_ms FROM (SELECT id, dispatched_unix_ms FROM executions"
    " WHERE finished_unix_ms IS NULL AND state = 'running' AND lane = $1"
    " AND dispatched_unix_ms < $3 AND claim_expires_unix_ms <= $2"
    " ORDER BY dispatched_unix_ms, id LIMIT $4) AS abandoned"
    " ORDER BY dispatched_unix_ms, id LIMIT $4";

// $1 id, $2 dispatched as seen, $3 now
inline constexpr std::string_view kNoteDispatch =
    "UPDATE executions SET dispatched_unix_ms = $3"
    " WHERE id = $1 AND dispatched_unix_ms = $2 AND state IN ('queued', 'running')";

inline constexpr std::string_view kVoidClaims =
    "UPDATE executions SET state = 'queued', runner = '', claim_expires_unix_ms = 0"
    " WHERE finished_unix_ms IS NULL AND state = 'running' AND runner = $1";

inline constexpr std::string_view kCountUnfinished =
    "SELECT lane, state, COUNT(*), MIN(created_unix_ms) FROM executions"
    " WHERE finished_unix_ms IS NULL GROUP BY state, lane";

// $1 owner, $2 dialect, $3 the first id to look at, $4 changed since, $5 limit
inline constexpr std::string_view kChangedSince =
    "SELECT id, state, COALESCE(finished_unix_ms, started_unix_ms, created_unix_ms)"
    " FROM executions WHERE owner = $1 AND id >= $3 AND dialect = $2"
    " AND COALESCE(finished_unix_ms, started_unix_ms, created_unix_ms) >= $4"
    " ORDER BY id DESC LIMIT $5";

// For retention, in the order of the ids, which is that of time. $1 after this id, $2 before this
// one, $3 finished before, $4 limit
inline constexpr std::string_view kFinishedBefore =
    "SELECT id FROM executions WHERE id > $1 AND id < $2 AND finished_unix_ms < $3"
    " ORDER BY id LIMIT $4";

// Owners of finished executions, one at a time. $1 the one before
inline constexpr std::string_view kFirstOwner =
    "SELECT MIN(ended_owner) FROM executions WHERE ended_owner IS NOT NULL";
inline constexpr std::string_view kNextOwner =
    "SELECT MIN(ended_owner) FROM executions WHERE ended_owner > $1";

// $1 id
inline constexpr std::string_view kForget =
    "DELETE FROM executions WHERE id = $1 AND state NOT IN ('queued', 'running') AND NOT EXISTS"
    " (SELECT 1 FROM deliveries WHERE execution_id = $1 AND state = 'pending')";
// What belongs to an execution that is gone. The range says nothing new: it keeps PostgreSQL, when
// it last saw no attempts at all, from reading every one of them.
inline constexpr std::string_view kForgetAttempts =
    "DELETE FROM delivery_attempts WHERE delivery_id IN"
    " (SELECT id FROM deliveries WHERE execution_id = $1)"
    " AND delivery_id >= (SELECT MIN(id) FROM deliveries WHERE execution_id = $1)"
    " AND delivery_id <= (SELECT MAX(id) FROM deliveries WHERE execution_id = $1)"
    " AND NOT EXISTS (SELECT 1 FROM executions WHERE id = $1)";
inline constexpr std::string_view kForgetDeliveries =
    "DELETE FROM deliveries WHERE execution_id = $1"
    " AND NOT EXISTS (SELECT 1 FROM executions WHERE id = $1)";
inline constexpr std::string_view kForgetIdempotencyKey =
    "DELETE FROM idempotency_keys WHERE execution_id = $1"
    " AND NOT EXISTS (SELECT 1 FROM executions WHERE id = $1)";

inline constexpr std::string_view kPing = "SELECT COUNT(*) FROM schema_migrations";

}  // namespace forkbox::store::sql
