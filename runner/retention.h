// Retention: forgets what is old, a little at a time: finished executions with their webhooks,
// records of usage, counters and the audit log.
//
// Any number of processes may do it on one store; they start at different moments. Between two
// slices the store's writer is everybody else's.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "store/audit_log.h"
#include "store/execution_store.h"
#include "store/sandbox_store.h"
#include "store/usage_store.h"

namespace forkbox::runner {

struct RetentionOptions {
  std::chrono::days keep_executions{30};  // after they finished; 0: for ever
  std::uint64_t keep_per_owner = 0;       // the newest so many of each account; 0: all
  std::chrono::days keep_usage{90};       // and the audit log
  std::chrono::days keep_sandboxes{7};    // after they ended
  std::chrono::milliseconds interval{600'000};
  std::chrono::milliseconds pause{50};  // between two slices
  std::size_t slice = 100;              // executions deleted at once
};

// What one sweep deleted.
struct Forgotten {
  std::size_t executions = 0;
  std::size_t usage = 0;  // records and counters
  std::size_t audit = 0;
  std::size_t sandboxes = 0;
};

class Retention {
 public:
  // All outlive this. Without `sandboxes` theirs are left alone.
  Retention(RetentionOptions options, store::ExecutionStore& executions, store::UsageStore& usage,
            store::AuditLog& audit, Clock& clock, Log log,
            store::SandboxStore* sandboxes = nullptr);

  // Until nothing is left to forget, or the store fails; between two slices, as long as `go_on`
  // says so.
  Result<Forgotten> Sweep(const std::function<bool()>& go_on);

  // Sweeps at the interval, for the first time after a random part of it, until destroyed.
  void Start();

 private:
  const RetentionOptions options_;
  store::ExecutionStore& executions_;
  store::UsageStore& usage_;
  store::AuditLog& audit_;
  Clock& clock_;
  const Log log_;
  store::SandboxStore* const sandboxes_;
  std::mutex mu_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

}  // namespace forkbox::runner
