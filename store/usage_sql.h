// Every statement on the tables of usage. Portable, see store/database.h.
#pragma once

#include <string_view>

namespace forkbox::store::sql {

// By an execution that ends, after the statement that ended it: when another one had, its record is
// there. $1 execution, $2 state, $3 finished, $4 milliseconds of run
inline constexpr std::string_view kNoteUsage =
    "INSERT INTO usage_records (execution_id, owner, key_id, language, state, finished_unix_ms,"
    " exec_ms)"
    " SELECT id, owner, key_id, language, state, finished_unix_ms, $4 FROM executions"
    " WHERE id = $1 AND state = $2 AND finished_unix_ms = $3"
    " ON CONFLICT (execution_id) DO NOTHING";

// $1 owner, $2 since, $3 until, $4 milliseconds of a day
inline constexpr std::string_view kSummarizeUsage =
    "SELECT finished_unix_ms / $4, language, state, COUNT(*), CAST(SUM(exec_ms) AS BIGINT)"
    " FROM usage_records"
    " WHERE owner = $1 AND finished_unix_ms >= $2 AND finished_unix_ms < $3"
    " GROUP BY finished_unix_ms / $4, language, state";

// $1 owner, $2 since, $3 limit
inline constexpr std::string_view kListUsage =
    "SELECT execution_id, key_id, language, state, finished_unix_ms, exec_ms FROM usage_records"
    " WHERE owner = $1 AND finished_unix_ms >= $2 ORDER BY finished_unix_ms, language, state,"
    " exec_ms LIMIT $3";

// $1 month, $2 owner
inline constexpr std::string_view kAcceptedInMonth =
    "SELECT n FROM accepted_by_month WHERE month = $1 AND owner = $2";
// $1 minute, $2 key
inline constexpr std::string_view kAcceptedInMinute =
    "SELECT n FROM accepted_by_minute WHERE minute = $1 AND key_id = $2";

// Ids sort by time, and nothing finished before it was accepted. $1 finished before, $2 the first
// id of that time, $3 limit
inline constexpr std::string_view kForgetUsage =
    "DELETE FROM usage_records WHERE execution_id IN (SELECT execution_id FROM usage_records"
    " WHERE execution_id < $2 AND finished_unix_ms < $1 ORDER BY execution_id LIMIT $3)";

inline constexpr std::string_view kLastMinute = "SELECT MAX(minute) FROM accepted_by_minute";
// $1 before this minute, $2 limit
inline constexpr std::string_view kForgetMinutes =
    "DELETE FROM accepted_by_minute WHERE minute < $1 AND minute <="
    " (SELECT MAX(minute) FROM (SELECT minute FROM accepted_by_minute"
    " ORDER BY minute LIMIT $2) AS first)";
// $1 before this month
inline constexpr std::string_view kForgetMonths = "DELETE FROM accepted_by_month WHERE month < $1";

}  // namespace forkbox::store::sql
