// KeyStore: who may use the API. The key itself is stored nowhere, only its digest.
//
// An account (schema::OwnerId) has any number of keys. Everything an account owns is seen by all
// its keys and by nobody else's.
//
// Thread-safe; calls return once their change is durable. Errors as for ExecutionStore.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "schema/execution.h"

namespace forkbox::store {

// A set; what each allows is api/auth/permission.h's to say.
struct KeyPermissions {
  bool full_access = false;
  bool execute_only = false;
  bool read_only = false;
  bool operator==(const KeyPermissions&) const = default;
};

struct ApiKey {
  schema::KeyId id;
  schema::OwnerId owner;
  std::string name;
  std::string description;
  std::string prefix;  // of the key's text, to recognise it by
  KeyPermissions permissions;
  bool enabled = true;
  std::int64_t created_unix_ms = 0;
  std::int64_t expires_unix_ms = 0;    // 0: never
  std::int64_t last_used_unix_ms = 0;  // 0: never; may be a minute behind
  std::int64_t revoked_unix_ms = 0;    // 0: not
  schema::KeyId rotated_to;            // the key that took its place
};

// What is set is changed.
struct KeyChange {
  std::optional<std::string> name;
  std::optional<std::string> description;
  std::optional<KeyPermissions> permissions;
  std::optional<std::int64_t> expires_unix_ms;
  std::optional<bool> enabled;
};

// What an account may do at most; 0 is no limit.
struct AccountLimits {
  std::uint32_t executions_per_minute = 100;  // of each key
  std::uint32_t concurrency = 20;             // that run or wait in the interactive lane
  std::uint64_t monthly_quota = 0;            // executions in a calendar month (UTC), of all keys
  bool operator==(const AccountLimits&) const = default;
};

class KeyStore {
 public:
  virtual ~KeyStore() = default;

  // kConflict: that id or digest is there. `digest` is 64 hexadecimal digits
  // (api/auth/key_digest.h).
  virtual Result<void> Create(const ApiKey& key, const std::string& digest) = 0;

  // Null when there is none. Revoked, expired and disabled ones are found as well.
  virtual Result<std::optional<ApiKey>> FindByDigest(const std::string& digest) = 0;

  // Newest first, revoked ones included, at most `limit`.
  virtual Result<std::vector<ApiKey>> List(const schema::OwnerId& owner, std::size_t limit) = 0;
  // Of every account, with the digests: for caches. Those created, changed, revoked or rotated at
  // `since_unix_ms` or later (NoteUse() is no change). The time is that of whoever made the change,
  // and a change is seen only once it is committed: who polls asks for a minute more than has
  // passed since the last time, and meets some again.
  virtual Result<std::vector<std::pair<std::string, ApiKey>>> ChangedSince(
      std::int64_t since_unix_ms) = 0;

  // kNotFound also for another owner's. kConflict for a revoked key. Returns it as it is then.
  virtual Result<ApiKey> Change(const schema::OwnerId& owner, const schema::KeyId& id,
                                const KeyChange& change, std::int64_t now_unix_ms) = 0;
  virtual Result<void> Revoke(const schema::OwnerId& owner, const schema::KeyId& id,
                              std::int64_t now_unix_ms) = 0;
  // `successor` is created and the old one revoked, together.
  virtual Result<void> Rotate(const schema::OwnerId& owner, const schema::KeyId& id,
                              const ApiKey& successor, const std::string& digest,
                              std::int64_t now_unix_ms) = 0;

  // When keys were last used; the latest wins. Unknown ones are passed over.
  virtual Result<void> NoteUse(
      const std::vector<std::pair<schema::KeyId, std::int64_t>>& last_used_unix_ms) = 0;

  // The defaults when the account has none of its own.
  virtual Result<AccountLimits> LimitsOf(const schema::OwnerId& owner) = 0;
  virtual Result<void> SetLimits(const schema::OwnerId& owner, const AccountLimits& limits,
                                 std::int64_t now_unix_ms) = 0;
};

}  // namespace forkbox::store
