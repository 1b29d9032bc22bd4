// Every statement on the tables of deliveries and their attempts. Portable, see store/database.h.
//
// Who holds a claim holds a pending delivery, so statements on a claimed one ask for the sender
// alone; see store/execution_sql.h for why they keep away from the partial indexes.
#pragma once

#include <string_view>

namespace forkbox::store::sql {

// By an execution that ends. $1 id, $2 execution, $3 owner, $4 URL, $5 now
inline constexpr std::string_view kOwe =
    "INSERT INTO deliveries (id, execution_id, owner, url, state, attempts, sender,"
    " claim_expires_unix_ms, created_unix_ms, next_attempt_unix_ms, finished_unix_ms, body)"
    " VALUES ($1, $2, $3, $4, 'pending', 0, '', 0, $5, $5, 0, '')";

// $1 sender, $2 now, $3 expires, $4 limit. The outer condition is the claim: of several senders
// that chose the same rows PostgreSQL lets one through and then looks at the rows again for the
// others. What the inner one says of the state twice lets SQLite use the partial index. What is
// claimed is due again when the claim ends, and no sooner: so the index has it out of the way of
// the next call, and behind whatever else is due by then.
inline constexpr std::string_view kClaimDue =
    "UPDATE deliveries SET sender = $1, claim_expires_unix_ms = $3, next_attempt_unix_ms = $3"
    " WHERE id IN (SELECT id FROM deliveries WHERE state = 'pending' AND state <> 'delivered'"
    " AND next_attempt_unix_ms <= $2 AND claim_expires_unix_ms <= $2"
    " ORDER BY next_attempt_unix_ms, id LIMIT $4)"
    " AND finished_unix_ms = 0 AND next_attempt_unix_ms <= $2 AND claim_expires_unix_ms <= $2"
    " RETURNING id, execution_id, owner, url, state, attempts, created_unix_ms,"
    " next_attempt_unix_ms, finished_unix_ms, body";

// $1 id, $2 body
inline constexpr std::string_view kFixBody =
    "UPDATE deliveries SET body = CASE WHEN body = '' THEN $2 ELSE body END WHERE id = $1"
    " RETURNING body";

// $1 id, $2 sender, $3 number of the attempt, $4 state, $5 next attempt, $6 finished
inline constexpr std::string_view kEndClaim =
    "UPDATE deliveries SET attempts = $3, state = $4, next_attempt_unix_ms = $5,"
    " finished_unix_ms = $6, sender = '', claim_expires_unix_ms = 0"
    " WHERE id = $1 AND sender = $2";

// $1 delivery, $2 number, $3 started, $4 duration, $5 status, $6 error
inline constexpr std::string_view kInsertAttempt =
    "INSERT INTO delivery_attempts (delivery_id, number, started_unix_ms, duration_ms, status,"
    " error) VALUES ($1, $2, $3, $4, $5, $6)";

// Due at once, as it has been. $1 id, $2 sender
inline constexpr std::string_view kReleaseDelivery =
    "UPDATE deliveries SET sender = '', claim_expires_unix_ms = 0,"
    " next_attempt_unix_ms = created_unix_ms"
    " WHERE id = $1 AND sender = $2";

inline constexpr std::string_view kOwnerOfExecution = "SELECT owner FROM executions WHERE id = $1";

// $1 execution, $2 limit; newest first, without the bodies
inline constexpr std::string_view kDeliveriesOf =
    "SELECT id, execution_id, owner, url, state, attempts, created_unix_ms,"
    " next_attempt_unix_ms, finished_unix_ms, ''"
    " FROM deliveries WHERE execution_id = $1 ORDER BY id DESC LIMIT $2";

inline constexpr std::string_view kAttemptsOf =
    "SELECT number, started_unix_ms, duration_ms, status, error"
    " FROM delivery_attempts WHERE delivery_id = $1 ORDER BY number";

// $1 id, $2 execution, $3 now. None when there is nothing to deliver, or one is pending.
inline constexpr std::string_view kRedeliver =
    "INSERT INTO deliveries (id, execution_id, owner, url, state, attempts, sender,"
    " claim_expires_unix_ms, created_unix_ms, next_attempt_unix_ms, finished_unix_ms, body)"
    " SELECT $1, id, owner, webhook_url, 'pending', 0, '', 0, $3, $3, 0, ''"
    " FROM executions WHERE id = $2 AND finished_unix_ms IS NOT NULL AND webhook_url <> ''"
    " ON CONFLICT DO NOTHING";

inline constexpr std::string_view kDeliveryState = "SELECT state FROM deliveries WHERE id = $1";

inline constexpr std::string_view kCountDeliveries =
    "SELECT state, COUNT(*), MIN(next_attempt_unix_ms) FROM deliveries"
    " WHERE state <> 'delivered' GROUP BY state";

}  // namespace forkbox::store::sql
