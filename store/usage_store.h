// UsageStore: what each account used. One record an execution, written by ExecutionStore in the
// transaction that makes the execution terminal; it outlives the execution's row. Without
// authentication all of it is that of the owner "".
//
// Thread-safe. Errors as for ExecutionStore.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "schema/execution.h"

namespace forkbox::store {

struct UsageRecord {
  schema::ExecutionId execution_id;
  schema::OwnerId owner;
  schema::KeyId key_id;
  std::string language;
  schema::State state = schema::State::kCompleted;
  std::int64_t finished_unix_ms = 0;
  std::int64_t exec_ms = 0;  // wall clock of the program
};

struct UsageSummary {
  std::uint64_t total = 0;
  std::uint64_t total_exec_ms = 0;
  std::map<std::string, std::uint64_t> by_day;  // UTC, "2026-11-20"
  std::map<std::string, std::uint64_t> by_language;
  std::map<std::string, std::uint64_t> by_state;
};

class UsageStore {
 public:
  virtual ~UsageStore() = default;
  // Of records finished at `since_unix_ms` or later and before `until_unix_ms`.
  virtual Result<UsageSummary> Summarize(const schema::OwnerId& owner, std::int64_t since_unix_ms,
                                         std::int64_t until_unix_ms) = 0;
  // Oldest first, at most `limit`.
  virtual Result<std::vector<UsageRecord>> List(const schema::OwnerId& owner,
                                                std::int64_t since_unix_ms, std::size_t limit) = 0;
  // Executions accepted in the calendar month (UTC) of `now_unix_ms`; and by that key in the
  // minute, of those whose rate is limited.
  virtual Result<std::uint64_t> AcceptedThisMonth(const schema::OwnerId& owner,
                                                  std::int64_t now_unix_ms) = 0;
  virtual Result<std::uint64_t> AcceptedThisMinute(const schema::KeyId& key,
                                                   std::int64_t now_unix_ms) = 0;
  // Forgets some thousands of the older records and counters, and the counters of minutes that are
  // long over. Returns how many; 0 when none is left.
  virtual Result<std::size_t> Prune(std::int64_t before_unix_ms) = 0;
};

}  // namespace forkbox::store
