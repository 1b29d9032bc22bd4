// SqlSandboxStore: the SandboxStore over any Database.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "store/connection_pool.h"
#include "store/group_commit.h"
#include "store/sandbox_store.h"

namespace forkbox::store {

class SqlSandboxStore final : public SandboxStore {
 public:
  // Both outlive this.
  SqlSandboxStore(GroupCommit& writer, ConnectionPool& readers)
      : writer_(writer), readers_(readers) {}

  Result<void> Insert(const SandboxRecord& record) override;
  Result<std::optional<SandboxRecord>> Get(const std::string& id) override;
  Result<SandboxPage> List(const SandboxQuery& query) override;
  Result<bool> SetState(const std::string& id, SandboxState state, const std::string& reason,
                        const std::string& message, std::int64_t now_unix_ms) override;
  Result<bool> DeleteFailed(const std::string& id, std::int64_t now_unix_ms) override;
  Result<bool> SetExpiry(const std::string& id, std::int64_t expires_unix_ms) override;
  Result<bool> SetMetadata(
      const std::string& id, const std::vector<std::pair<std::string, std::string>>& was,
      const std::vector<std::pair<std::string, std::string>>& metadata) override;
  Result<std::uint64_t> FailOfRunner(const std::string& runner_id, const std::string& reason,
                                     std::int64_t now_unix_ms) override;
  Result<std::uint64_t> FailOfLostRunners(std::int64_t before_unix_ms,
                                          std::int64_t now_unix_ms) override;
  Result<std::uint64_t> Prune(std::int64_t before_unix_ms) override;

 private:
  GroupCommit& writer_;
  ConnectionPool& readers_;
};

}  // namespace forkbox::store
