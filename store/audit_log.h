// AuditLog: who did what, when and from where. Append-only. Never code, output or a key.
//
// Thread-safe. Errors as for ExecutionStore. That an execution was accepted is written by
// ExecutionStore::AcceptAsync in the transaction that accepts it, and that it was withdrawn
// likewise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "schema/execution.h"

namespace forkbox::store {

struct AuditEntry {
  std::int64_t time_unix_ms = 0;
  schema::OwnerId owner{};
  schema::KeyId key_id{};        // that it was done with; "" on the command line
  std::string action{};          // "execution.accepted", "key.created", "key.changed", …
  std::string target{};          // the id of what it was done to
  std::string client_address{};  // "" on the command line
  std::string request_id{};
};

class AuditLog {
 public:
  virtual ~AuditLog() = default;
  // Returns once it is durable.
  virtual Result<void> Append(const AuditEntry& entry) = 0;
  // Newest first, those before `before_unix_ms` (0: all), at most `limit`.
  virtual Result<std::vector<AuditEntry>> List(const schema::OwnerId& owner,
                                               std::int64_t before_unix_ms, std::size_t limit) = 0;
  // Forgets about a thousand of those that are older. Returns how many; 0 when none is left.
  virtual Result<std::size_t> Prune(std::int64_t before_unix_ms) = 0;
};

}  // namespace forkbox::store
