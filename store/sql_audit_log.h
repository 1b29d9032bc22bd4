// SqlAuditLog: the AuditLog over any Database.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.h"
#include "store/audit_log.h"
#include "store/connection_pool.h"
#include "store/group_commit.h"

namespace forkbox::store {

class SqlAuditLog final : public AuditLog {
 public:
  // Both outlive this.
  SqlAuditLog(GroupCommit& writer, ConnectionPool& readers) : writer_(writer), readers_(readers) {}

  Result<void> Append(const AuditEntry& entry) override;
  Result<std::vector<AuditEntry>> List(const schema::OwnerId& owner, std::int64_t before_unix_ms,
                                       std::size_t limit) override;
  Result<std::size_t> Prune(std::int64_t before_unix_ms) override;

 private:
  GroupCommit& writer_;
  ConnectionPool& readers_;
};

}  // namespace forkbox::store
