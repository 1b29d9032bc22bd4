// Every statement on the tables of keys and of accounts' limits. Portable, see store/database.h.
#pragma once

#include <string_view>

namespace forkbox::store::sql {

// $1 id, $2 digest, $3 owner, $4 name, $5 description, $6 prefix, $7 full access, $8 execute only,
// $9 read only, $10 enabled, $11 created, $12 expires
inline constexpr std::string_view kInsertKey =
    "INSERT INTO api_keys (id, digest, owner, name, description, prefix, full_access,"
    " execute_only, read_only, enabled, created_unix_ms, expires_unix_ms, last_used_unix_ms,"
    " revoked_unix_ms, rotated_to, changed_unix_ms)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 0, 0, '', $11)"
    " ON CONFLICT DO NOTHING";

// $1 id, $2 digest
inline constexpr std::string_view kOwnKey = "SELECT id FROM api_keys WHERE id = $1 AND digest = $2";

inline constexpr std::string_view kKeyByDigest =
    "SELECT id, owner, name, description, prefix, full_access, execute_only, read_only, enabled,"
    " created_unix_ms, expires_unix_ms, last_used_unix_ms, revoked_unix_ms, rotated_to"
    " FROM api_keys WHERE digest = $1";

// $1 owner, $2 limit
inline constexpr std::string_view kListKeys =
    "SELECT id, owner, name, description, prefix, full_access, execute_only, read_only, enabled,"
    " created_unix_ms, expires_unix_ms, last_used_unix_ms, revoked_unix_ms, rotated_to"
    " FROM api_keys WHERE owner = $1 ORDER BY created_unix_ms DESC, id DESC LIMIT $2";

// $1 since
inline constexpr std::string_view kKeysChangedSince =
    "SELECT id, owner, name, description, prefix, full_access, execute_only, read_only, enabled,"
    " created_unix_ms, expires_unix_ms, last_used_unix_ms, revoked_unix_ms, rotated_to, digest"
    " FROM api_keys WHERE changed_unix_ms >= $1";

// Of each pair the first says whether the second counts. $1 owner, $2 id, $3 now, $4 $5 name,
// $6 $7 description, $8 permissions, $9 full access, $10 execute only, $11 read only, $12 $13
// expires, $14 $15 enabled
inline constexpr std::string_view kChangeKey =
    "UPDATE api_keys SET changed_unix_ms = $3,"
    " name = CASE WHEN $4 = 1 THEN $5 ELSE name END,"
    " description = CASE WHEN $6 = 1 THEN $7 ELSE description END,"
    " full_access = CASE WHEN $8 = 1 THEN $9 ELSE full_access END,"
    " execute_only = CASE WHEN $8 = 1 THEN $10 ELSE execute_only END,"
    " read_only = CASE WHEN $8 = 1 THEN $11 ELSE read_only END,"
    " expires_unix_ms = CASE WHEN $12 = 1 THEN $13 ELSE expires_unix_ms END,"
    " enabled = CASE WHEN $14 = 1 THEN $15 ELSE enabled END"
    " WHERE id = $2 AND owner = $1 AND revoked_unix_ms = 0"
    " RETURNING id, owner, name, description, prefix, full_access, execute_only, read_only,"
    " enabled, created_unix_ms, expires_unix_ms, last_used_unix_ms, revoked_unix_ms, rotated_to";

// $1 owner, $2 id, $3 now, $4 the key in its place
inline constexpr std::string_view kRevokeKey =
    "UPDATE api_keys SET revoked_unix_ms = $3, rotated_to = $4, changed_unix_ms = $3"
    " WHERE id = $2 AND owner = $1 AND revoked_unix_ms = 0";

// $1 owner, $2 id
inline constexpr std::string_view kRevokedKey =
    "SELECT revoked_unix_ms, rotated_to FROM api_keys WHERE id = $2 AND owner = $1";

// $1 id, $2 when
inline constexpr std::string_view kNoteKeyUse =
    "UPDATE api_keys SET last_used_unix_ms = $2 WHERE id = $1 AND last_used_unix_ms < $2";

inline constexpr std::string_view kLimitsOf =
    "SELECT executions_per_minute, concurrency, monthly_quota FROM account_limits"
    " WHERE owner = $1";

// $1 owner, $2 per minute, $3 concurrency, $4 monthly quota, $5 now
inline constexpr std::string_view kSetLimits =
    "INSERT INTO account_limits (owner, executions_per_minute, concurrency, monthly_quota,"
    " changed_unix_ms) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (owner) DO UPDATE SET executions_per_minute = $2, concurrency = $3,"
    " monthly_quota = $4, changed_unix_ms = $5";

}  // namespace forkbox::store::sql
