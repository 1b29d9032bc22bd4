// RunnerRegistry: which runners there are, by their heartbeats. For monitoring and for the list of
// languages; who may run what is decided by claims (store/execution_store.h).
//
// Thread-safe. Not fsynced: a row lives for seconds. Errors as for ExecutionStore.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"

namespace forkbox::store {

struct RunnerInfo {
  std::string id;
  std::string host;
  std::uint64_t slots = 0;  // 0: it has left
  std::uint64_t busy = 0;
  std::int64_t started_unix_ms = 0;
  std::int64_t seen_unix_ms = 0;
  std::string details_json;  // languages and protections, as runner/presence.h writes them
};

class RunnerRegistry {
 public:
  virtual ~RunnerRegistry() = default;

  // The first one also forgets whoever has not been seen for a day before it, but for the last.
  virtual Result<void> Beat(const RunnerInfo& runner) = 0;
  // Not alive from now on, unless it beats again.
  virtual Result<void> Leave(const std::string& runner_id) = 0;
  // Those seen at `since_unix_ms` or later that have not left, by id; at most a thousand.
  virtual Result<std::vector<RunnerInfo>> AliveRunners(std::int64_t since_unix_ms) = 0;
  // The one that was seen last, alive or not; null when there never was one.
  virtual Result<std::optional<RunnerInfo>> LastRunner() = 0;
};

}  // namespace forkbox::store
