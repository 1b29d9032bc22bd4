// SqlExecutionStore: the ExecutionStore over any Database. One connection writes, by group commit;
// a few others read, so that no read waits for a write.
//
// Requests and outcomes become JSON on the caller's thread: the writer only writes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "store/connection_pool.h"
#include "store/database.h"
#include "store/execution_store.h"
#include "store/group_commit.h"

namespace forkbox::store {

class SqlExecutionStore final : public ExecutionStore {
 public:
  // Migrates the database, then opens its connections.
  static Result<std::unique_ptr<SqlExecutionStore>> Open(std::unique_ptr<Database> database,
                                                         Log log);
  // Returns once everything asked of it is written and answered.
  ~SqlExecutionStore() override = default;

  Result<void> Insert(const schema::Execution& execution) override;
  void InsertAsync(schema::Execution execution, Done done) override;
  Result<ClaimVerdict> Claim(const ClaimRequest& request) override;
  void ClaimAsync(ClaimRequest request, std::function<void(Result<ClaimVerdict>)> done) override;
  Result<void> Release(const schema::ExecutionId& id, const std::string& runner) override;
  Result<bool> Finish(const schema::ExecutionId& id, const schema::Outcome& outcome,
                      std::int64_t now_unix_ms) override;
  void FinishAsync(schema::ExecutionId id, schema::Outcome outcome, std::int64_t now_unix_ms,
                   std::function<void(Result<bool>)> done) override;
  Result<ExecutionRecord> Get(const schema::ExecutionId& id,
                              const std::optional<schema::OwnerId>& owner) override;
  Result<std::vector<schema::ExecutionId>> Unfinished(std::int64_t now_unix_ms,
                                                      std::size_t limit) override;
  Result<std::size_t> VoidClaims(const std::string& runner) override;
  Result<Counts> CountUnfinished() override;
  Result<void> Ping() override;

 private:
  SqlExecutionStore(std::unique_ptr<Database> database, std::unique_ptr<ConnectionPool> readers,
                    std::unique_ptr<Connection> writer, Log log);

  const std::unique_ptr<Database> database_;
  const std::unique_ptr<ConnectionPool> readers_;
  GroupCommit writer_;
};

}  // namespace forkbox::store
