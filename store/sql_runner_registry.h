// SqlRunnerRegistry: the RunnerRegistry over any Database.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/connection_pool.h"
#include "store/group_commit.h"
#include "store/runner_registry.h"

namespace forkbox::store {

class SqlRunnerRegistry final : public RunnerRegistry {
 public:
  // Both outlive this.
  SqlRunnerRegistry(GroupCommit& writer, ConnectionPool& readers)
      : writer_(writer), readers_(readers) {}

  Result<void> Beat(const RunnerInfo& runner) override;
  Result<void> Leave(const std::string& runner_id) override;
  Result<std::vector<RunnerInfo>> AliveRunners(std::int64_t since_unix_ms) override;
  Result<std::optional<RunnerInfo>> LastRunner() override;

 private:
  GroupCommit& writer_;
  ConnectionPool& readers_;
  std::atomic<bool> forgotten_{false};  // those of long ago, by this process
};

}  // namespace forkbox::store
