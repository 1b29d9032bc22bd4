#include "store/history_sql.h"

namespace forkbox::store::sql {
namespace {

std::string Parameter(int number) { return "$" + std::to_string(number); }

// One piece. `$5` is the most rows of it.
std::string Piece(const std::string& where, const std::string& name) {
  return "SELECT id, created_unix_ms FROM (SELECT id, created_unix_ms FROM executions WHERE " +
         where +
         " AND created_unix_ms >= $2 AND (created_unix_ms, id) < ($3, $4)"
         " ORDER BY created_unix_ms DESC, id DESC LIMIT $5) AS " +
         name;
}

// `owner` and `language`: their parameters, when a language is asked for.
std::string Pieces(bool of_language, int owner, int language) {
  std::string pieces;
  for (int state = 6; state <= 10; ++state) {
    pieces += Piece(std::string(of_language ? "ended_language" : "ended_owner") +
                        " = $1 AND state = " + Parameter(state),
                    "ended_" + std::to_string(state)) +
              " UNION ALL ";
  }
  std::string open = "open_owner = " + Parameter(of_language ? owner : 1);
  if (of_language) open += " AND language = " + Parameter(language);
  return pieces + Piece(open + " AND state IN ($11, $12)", "unfinished");
}

std::string List(bool of_language) {
  return Pieces(of_language, 15, 16) +
         " ORDER BY created_unix_ms DESC, id DESC LIMIT $13 OFFSET $14";
}

std::string Count(bool of_language) {
  return "SELECT COUNT(*) FROM (SELECT id FROM (" + Pieces(of_language, 14, 15) +
         ") AS pieces LIMIT $13) AS counted";
}

}  // namespace

const std::string& ListHistory() {
  static const std::string text = List(false);
  return text;
}
const std::string& ListHistoryOfLanguage() {
  static const std::string text = List(true);
  return text;
}
const std::string& CountHistory() {
  static const std::string text = Count(false);
  return text;
}
const std::string& CountHistoryOfLanguage() {
  static const std::string text = Count(true);
  return text;
}

const std::string& GetMany() {
  static const std::string text = [] {
    std::string made =
        "SELECT state, attempts, runner, claim_expires_unix_ms, started_unix_ms,"
        " finished_unix_ms, CASE WHEN request_head <> '' THEN request_head ELSE request END,"
        " outcome, id FROM executions WHERE id IN (";
    for (int i = 1; i <= kRecordsAtOnce; ++i) made += (i == 1 ? "" : ", ") + Parameter(i);
    return made + ")";
  }();
  return text;
}

}  // namespace forkbox::store::sql
