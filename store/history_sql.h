// The statements that list what an owner has. Portable, see store/database.h.
//
// A list is a merge of one short piece for each state, each of which an index has in the list's
// order: so what is rare costs no more than what is common, however long the history. The order is
// that of acceptance, newest first. docs/decisions/history.md.
#pragma once

#include <string>
#include <string_view>

namespace forkbox::store::sql {

// Of finished rows the states are $6 to $10, of the others $11 and $12; "" is none. $1 owner,
// $2 since, $3 and $4 before this time and id, $5 most of one piece, $13 limit, $14 offset.
// Brings id, created.
const std::string& ListHistory();
// The same with $1 "LANGUAGE OWNER", $15 owner, $16 language.
const std::string& ListHistoryOfLanguage();

// $1 to $12 as above, $13 as $5. Brings how many there are, up to $13.
const std::string& CountHistory();
// The same, and $14 owner, $15 language.
const std::string& CountHistoryOfLanguage();

// Rows in no order: $1 to $25, of which the last may be "". As kGetHead, and the id last.
inline constexpr int kRecordsAtOnce = 25;
const std::string& GetMany();

// $1 id
inline constexpr std::string_view kCreated = "SELECT created_unix_ms FROM executions WHERE id = $1";

}  // namespace forkbox::store::sql
