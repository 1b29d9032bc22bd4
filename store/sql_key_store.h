// SqlKeyStore: the KeyStore over any Database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "store/connection_pool.h"
#include "store/group_commit.h"
#include "store/key_store.h"

namespace forkbox::store {

class SqlKeyStore final : public KeyStore {
 public:
  // Both outlive this.
  SqlKeyStore(GroupCommit& writer, ConnectionPool& readers) : writer_(writer), readers_(readers) {}

  Result<void> Create(const ApiKey& key, const std::string& digest) override;
  Result<std::optional<ApiKey>> FindByDigest(const std::string& digest) override;
  Result<std::vector<ApiKey>> List(const schema::OwnerId& owner, std::size_t limit) override;
  Result<std::vector<std::pair<std::string, ApiKey>>> ChangedSince(
      std::int64_t since_unix_ms) override;
  Result<ApiKey> Change(const schema::OwnerId& owner, const schema::KeyId& id,
                        const KeyChange& change, std::int64_t now_unix_ms) override;
  Result<void> Revoke(const schema::OwnerId& owner, const schema::KeyId& id,
                      std::int64_t now_unix_ms) override;
  Result<void> Rotate(const schema::OwnerId& owner, const schema::KeyId& id,
                      const ApiKey& successor, const std::string& digest,
                      std::int64_t now_unix_ms) override;
  Result<void> NoteUse(
      const std::vector<std::pair<schema::KeyId, std::int64_t>>& last_used_unix_ms) override;
  Result<AccountLimits> LimitsOf(const schema::OwnerId& owner) override;
  Result<void> SetLimits(const schema::OwnerId& owner, const AccountLimits& limits,
                         std::int64_t now_unix_ms) override;

 private:
  GroupCommit& writer_;
  ConnectionPool& readers_;
};

}  // namespace forkbox::store
