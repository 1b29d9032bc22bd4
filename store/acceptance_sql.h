// The statements that accept an execution under terms. Portable, see store/database.h.
//
// They run in this order in one transaction that excludes others of the same owner
// (GroupCommit::Write::exclusive), so that what the first one finds is still so at the commit. Each
// but the first and the last does its part only if the first inserted the row: nothing is left of
// one that was refused, and no statement waits for the answer of another.
//
// The expression over `lane` and `state` is that of the index executions_at_once, word for word:
// no other index has it, so no planner can choose one that grows with a backlog.
#pragma once

#include <string_view>

namespace forkbox::store::sql {

// $1 to $10 as kInsert (store/execution_sql.h), $16 idempotency key, $11 minute, $12 most in it,
// $13 month, $14 most in it, $15 most at once (store/execution_store.h). An id that is taken fails:
// then the statements after it would take the other row for theirs.
inline constexpr std::string_view kAccept =
    "INSERT INTO executions (id, owner, state, attempts, runner, claim_expires_unix_ms,"
    " created_unix_ms, request, lane, dialect, webhook_url, dispatched_unix_ms, language, key_id,"
    " open_owner, request_head, idempotency_key, counted)"
    " SELECT $1, $2, 'queued', 0, '', 0, $3, $4, $5, $6, $7, $3, $8, $9, $2, $10, $16,"
    " CASE WHEN $12 = 0 THEN 2 ELSE 1 END"
    " WHERE ($12 = 0 OR COALESCE((SELECT n FROM accepted_by_minute"
    " WHERE minute = $11 AND key_id = $9), 0) < $12)"
    " AND ($14 = 0 OR COALESCE((SELECT n FROM accepted_by_month"
    " WHERE month = $13 AND owner = $2), 0) < $14)"
    " AND ($15 = 0 OR (SELECT COUNT(*) FROM (SELECT 1 FROM executions WHERE"
    " CASE WHEN lane = 'interactive' OR state = 'running' THEN open_owner END = $2"
    " LIMIT $15) AS at_once) < $15)"
    " AND NOT EXISTS (SELECT 1 FROM idempotency_keys"
    " WHERE owner = $2 AND idempotency_key = $16)";

// $1 execution, $2 minute, $3 key
inline constexpr std::string_view kCountMinute =
    "INSERT INTO accepted_by_minute (minute, key_id, n)"
    " SELECT $2, $3, 1 WHERE EXISTS (SELECT 1 FROM executions WHERE id = $1)"
    " ON CONFLICT (minute, key_id) DO UPDATE SET n = accepted_by_minute.n + 1";

// $1 execution, $2 month, $3 owner
inline constexpr std::string_view kCountMonth =
    "INSERT INTO accepted_by_month (month, owner, n)"
    " SELECT $2, $3, 1 WHERE EXISTS (SELECT 1 FROM executions WHERE id = $1)"
    " ON CONFLICT (month, owner) DO UPDATE SET n = accepted_by_month.n + 1";

// $1 execution, $2 owner, $3 idempotency key, $4 digest
inline constexpr std::string_view kKeepIdempotencyKey =
    "INSERT INTO idempotency_keys (owner, idempotency_key, execution_id, request_digest)"
    " SELECT $2, $3, $1, $4 WHERE EXISTS (SELECT 1 FROM executions WHERE id = $1)";

// $1 execution, $2 now, $3 owner, $4 key, $5 client's address, $6 id of the request
inline constexpr std::string_view kAuditAccepted =
    "INSERT INTO audit_log (time_unix_ms, id, owner, key_id, action, target, client_address,"
    " request_id)"
    " SELECT $2, $1, $3, $4, 'execution.accepted', $1, $5, $6"
    " WHERE EXISTS (SELECT 1 FROM executions WHERE id = $1)";

// How things stand. $1 minute, $2 key, $3 month, $4 owner, $5 count those at once up to,
// $6 idempotency key
inline constexpr std::string_view kStanding =
    "SELECT COALESCE((SELECT n FROM accepted_by_minute WHERE minute = $1 AND key_id = $2), 0),"
    " COALESCE((SELECT n FROM accepted_by_month WHERE month = $3 AND owner = $4), 0),"
    " (SELECT COUNT(*) FROM (SELECT 1 FROM executions WHERE"
    " CASE WHEN lane = 'interactive' OR state = 'running' THEN open_owner END = $4"
    " LIMIT $5) AS at_once),"
    " (SELECT execution_id FROM idempotency_keys WHERE owner = $4 AND idempotency_key = $6),"
    " (SELECT request_digest FROM idempotency_keys WHERE owner = $4 AND idempotency_key = $6)";

// What a withdrawn execution gives back. $1 minute, $2 key
inline constexpr std::string_view kUncountMinute =
    "UPDATE accepted_by_minute SET n = n - 1 WHERE minute = $1 AND key_id = $2 AND n > 0";
// $1 month, $2 owner
inline constexpr std::string_view kUncountMonth =
    "UPDATE accepted_by_month SET n = n - 1 WHERE month = $1 AND owner = $2 AND n > 0";
// $1 owner, $2 idempotency key, $3 execution
inline constexpr std::string_view kDropIdempotencyKey =
    "DELETE FROM idempotency_keys"
    " WHERE owner = $1 AND idempotency_key = $2 AND execution_id = $3";

}  // namespace forkbox::store::sql
