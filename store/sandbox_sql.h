// Every statement on the tables of sandboxes. Portable, see store/database.h.
#pragma once

#include <cstddef>
#include <string_view>

namespace forkbox::store::sql {

inline constexpr std::size_t kStateSlots = 8;   // $3 … $10 of a list
inline constexpr std::size_t kLabelSlots = 16;  // $12 … $27

// $1 id, $2 owner, $3 runner, $4 address, $5 token, $6 state, $7 reason, $8 message, $9 request,
// $10 metadata, $11 created, $12 changed, $13 expires (0: never)
inline constexpr std::string_view kInsertSandbox =
    "INSERT INTO sandboxes (id, owner, runner, address, token, state, reason, message, request,"
    " metadata, created_unix_ms, changed_unix_ms, expires_unix_ms)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (id) DO NOTHING";

// One row for each piece of metadata, for lists that ask for it. $1 id, $2 "key=value"
inline constexpr std::string_view kInsertLabel =
    "INSERT INTO sandbox_labels (sandbox_id, label) VALUES ($1, $2)"
    " ON CONFLICT (sandbox_id, label) DO NOTHING";
inline constexpr std::string_view kDeleteLabels =
    "DELETE FROM sandbox_labels WHERE sandbox_id = $1";

#define FORKBOX_SANDBOX_COLUMNS                                                   \
  "id, owner, runner, address, token, state, reason, message, request, metadata," \
  " created_unix_ms, changed_unix_ms, expires_unix_ms"

inline constexpr std::string_view kGetSandbox =
    "SELECT " FORKBOX_SANDBOX_COLUMNS " FROM sandboxes WHERE id = $1";

// $1: 1 for any owner, $2 owner, $3 … $10 states, $11 how many labels, $12 … $27 these.
#define FORKBOX_SANDBOX_FILTER                                                                    \
  " FROM sandboxes WHERE (CAST($1 AS BIGINT) = 1 OR owner = $2)"                                  \
  " AND state IN ($3, $4, $5, $6, $7, $8, $9, $10)"                                               \
  " AND (CAST($11 AS BIGINT) = 0 OR id IN (SELECT sandbox_id FROM sandbox_labels WHERE label IN " \
  "($12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27)"              \
  " GROUP BY sandbox_id HAVING COUNT(*) = CAST($11 AS BIGINT)))"

inline constexpr std::string_view kCountSandboxes = "SELECT COUNT(*)" FORKBOX_SANDBOX_FILTER;
// $28 how many at most, $29 how many to pass over.
inline constexpr std::string_view kListSandboxes =
    "SELECT " FORKBOX_SANDBOX_COLUMNS FORKBOX_SANDBOX_FILTER
    " ORDER BY created_unix_ms DESC, id DESC LIMIT $28 OFFSET $29";

#undef FORKBOX_SANDBOX_FILTER
#undef FORKBOX_SANDBOX_COLUMNS

// A final state stays.
#define FORKBOX_NOT_FINAL " state <> 'Terminated' AND state <> 'Failed'"

// $1 id, $2 state, $3 reason, $4 message, $5 now
inline constexpr std::string_view kSetSandboxState =
    "UPDATE sandboxes SET state = $2, reason = $3, message = $4, changed_unix_ms = $5"
    " WHERE id = $1 AND" FORKBOX_NOT_FINAL;
inline constexpr std::string_view kSetSandboxExpiry =
    "UPDATE sandboxes SET expires_unix_ms = $2 WHERE id = $1 AND" FORKBOX_NOT_FINAL;
// $1 id, $2 metadata, $3 what it was
inline constexpr std::string_view kSetSandboxMetadata =
    "UPDATE sandboxes SET metadata = $2 WHERE id = $1 AND metadata = $3 AND" FORKBOX_NOT_FINAL;
// $1 id, $2 now
inline constexpr std::string_view kDeleteFailedSandbox =
    "UPDATE sandboxes SET state = 'Terminated', changed_unix_ms = $2"
    " WHERE id = $1 AND state = 'Failed'";

// $1 runner, $2 reason, $3 message, $4 now
inline constexpr std::string_view kFailSandboxesOfRunner =
    "UPDATE sandboxes SET state = 'Failed', reason = $2, message = $3, changed_unix_ms = $4"
    " WHERE runner = $1 AND" FORKBOX_NOT_FINAL;
// $1 since when nobody has seen the runner, $2 message, $3 now
inline constexpr std::string_view kFailSandboxesOfLostRunners =
    "UPDATE sandboxes SET state = 'Failed', reason = 'runner_lost', message = $2,"
    " changed_unix_ms = $3 WHERE created_unix_ms < $1 AND" FORKBOX_NOT_FINAL
    " AND NOT EXISTS (SELECT 1 FROM runners WHERE runners.id = sandboxes.runner"
    " AND runners.seen_unix_ms >= $1)";

#undef FORKBOX_NOT_FINAL

inline constexpr std::string_view kPruneLabels =
    "DELETE FROM sandbox_labels WHERE sandbox_id IN (SELECT id FROM sandboxes"
    " WHERE changed_unix_ms < $1 AND (state = 'Terminated' OR state = 'Failed'))";
inline constexpr std::string_view kPruneSandboxes =
    "DELETE FROM sandboxes WHERE changed_unix_ms < $1"
    " AND (state = 'Terminated' OR state = 'Failed')";

}  // namespace forkbox::store::sql
