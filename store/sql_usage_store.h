// SqlUsageStore: the UsageStore over any Database.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "store/connection_pool.h"
#include "store/group_commit.h"
#include "store/usage_store.h"

namespace forkbox::store {

class SqlUsageStore final : public UsageStore {
 public:
  // Both outlive this.
  SqlUsageStore(GroupCommit& writer, ConnectionPool& readers)
      : writer_(writer), readers_(readers) {}

  Result<UsageSummary> Summarize(const schema::OwnerId& owner, std::int64_t since_unix_ms,
                                 std::int64_t until_unix_ms) override;
  Result<std::vector<UsageRecord>> List(const schema::OwnerId& owner, std::int64_t since_unix_ms,
                                        std::size_t limit) override;
  Result<std::uint64_t> AcceptedThisMonth(const schema::OwnerId& owner,
                                          std::int64_t now_unix_ms) override;
  Result<std::uint64_t> AcceptedThisMinute(const schema::KeyId& key,
                                           std::int64_t now_unix_ms) override;
  Result<std::size_t> Prune(std::int64_t before_unix_ms) override;

 private:
  GroupCommit& writer_;
  ConnectionPool& readers_;
};

}  // namespace forkbox::store
