// SqlExecutionStore: the ExecutionStore over any Database.
//
// Requests and outcomes become JSON on the caller's thread: the writer only writes.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/connection_pool.h"
#include "store/execution_store.h"
#include "store/group_commit.h"

namespace forkbox::store {

class SqlExecutionStore final : public ExecutionStore {
 public:
  // Both outlive this.
  SqlExecutionStore(GroupCommit& writer, ConnectionPool& readers)
      : writer_(writer), readers_(readers) {}

  Result<void> Insert(const schema::Execution& execution) override;
  void InsertAsync(schema::Execution execution, Done done) override;
  void AcceptAsync(schema::Execution execution, AcceptTerms terms,
                   std::function<void(Result<Acceptance>)> done) override;
  Result<ClaimVerdict> Claim(const ClaimRequest& request) override;
  void ClaimAsync(ClaimRequest request, std::function<void(Result<ClaimVerdict>)> done) override;
  Result<std::size_t> RenewClaims(const std::string& runner, std::int64_t expires_unix_ms) override;
  Result<void> Release(const schema::ExecutionId& id, const std::string& runner) override;
  Result<bool> Finish(const schema::ExecutionId& id, const schema::Outcome& outcome,
                      std::int64_t now_unix_ms) override;
  void FinishAsync(schema::ExecutionId id, schema::Outcome outcome, std::int64_t now_unix_ms,
                   std::function<void(Result<bool>)> done) override;
  void FinishQueuedAsync(schema::ExecutionId id, schema::Outcome outcome, std::int64_t now_unix_ms,
                         std::function<void(Result<bool>)> done) override;
  void WithdrawAsync(schema::ExecutionId id, schema::Outcome outcome, std::int64_t now_unix_ms,
                     std::function<void(Result<bool>)> done) override;
  Result<ExecutionRecord> Get(const schema::ExecutionId& id,
                              const std::optional<schema::OwnerId>& owner) override;
  Result<ExecutionRecord> GetHead(const schema::ExecutionId& id,
                                  const std::optional<schema::OwnerId>& owner) override;
  Result<std::vector<Undispatched>> FindUndispatched(schema::Priority lane,
                                                     std::int64_t now_unix_ms,
                                                     std::int64_t dispatched_before_unix_ms,
                                                     std::size_t limit) override;
  Result<bool> NoteDispatch(const Undispatched& seen, std::int64_t now_unix_ms) override;
  Result<std::size_t> VoidClaims(const std::string& runner) override;
  Result<Counts> CountUnfinished() override;
  Result<std::vector<ExecutionSummary>> ListChangedSince(const schema::OwnerId& owner,
                                                         const std::string& dialect,
                                                         std::int64_t since_unix_ms,
                                                         std::size_t limit) override;
  Result<HistoryPage> ListHistory(const HistoryQuery& query) override;
  Result<std::uint64_t> CountHistory(const HistoryQuery& query, std::uint64_t at_most) override;
  Result<std::size_t> Prune(const RetentionRule& rule, std::size_t limit) override;
  Result<void> Ping() override;

 private:
  // In the order of a list, without what it is not about.
  Result<std::vector<schema::ExecutionId>> ListIds(const HistoryQuery& query, std::size_t limit);
  // In that order, without those that are gone.
  Result<std::vector<ExecutionRecord>> GetMany(const std::vector<schema::ExecutionId>& ids);
  Result<std::size_t> PruneByAge(std::int64_t finished_before_unix_ms, std::size_t limit);
  Result<std::size_t> PruneByCount(std::uint64_t keep, std::size_t limit);
  Result<std::size_t> Forget(const std::vector<schema::ExecutionId>& ids);

  GroupCommit& writer_;
  ConnectionPool& readers_;

  std::mutex prune_mutex_;
  std::string pruned_to_;                    // by age, in this round; guarded by prune_mutex_
  std::optional<std::string> pruned_owner_;  // by count, likewise
};

}  // namespace forkbox::store
