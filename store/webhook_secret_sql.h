// Every statement on the table of webhook secrets. Portable, see store/database.h.
//
// Adding one is three statements; each leaves out the new secret where it meets it, so that to run
// them again changes nothing.
#pragma once

#include <string_view>

namespace forkbox::store::sql {

// $1 owner, $2 secret, $3 until when the one before it is active
inline constexpr std::string_view kRetireSecrets =
    "UPDATE webhook_secrets SET expires_unix_ms = $3 WHERE owner = $1 AND secret <> $2";

// $1 owner, $2 secret
inline constexpr std::string_view kForgetOldSecrets =
    "DELETE FROM webhook_secrets WHERE owner = $1 AND number <"
    " (SELECT MAX(number) FROM webhook_secrets WHERE owner = $1 AND secret <> $2)";

// $1 owner, $2 secret, $3 now
inline constexpr std::string_view kInsertSecret =
    "INSERT INTO webhook_secrets (owner, number, secret, created_unix_ms, expires_unix_ms)"
    " SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, 0 FROM webhook_secrets WHERE owner = $1"
    " HAVING COUNT(CASE WHEN secret = $2 THEN 1 END) = 0";

// $1 owner, $2 now
inline constexpr std::string_view kActiveSecrets =
    "SELECT secret, created_unix_ms, expires_unix_ms FROM webhook_secrets"
    " WHERE owner = $1 AND (expires_unix_ms = 0 OR expires_unix_ms > $2) ORDER BY number DESC";

}  // namespace forkbox::store::sql
