// Presence: a runner's sign of life. At intervals it says in the store what this runner is and has,
// and makes its claims last a while longer. When it stops, so does the runner as far as anyone can
// tell, and what it had claimed is run by others.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "runner/runner_details.h"
#include "runner/worker.h"
#include "store/execution_store.h"
#include "store/runner_registry.h"

namespace forkbox::runner {

struct PresenceOptions {
  std::string runner_id;
  std::string host;
  std::size_t slots = 0;
  std::chrono::milliseconds interval{2'000};  // well below the lease: a beat or two may be lost
  std::chrono::milliseconds claim_lease = kClaimLease;
};

// All references must outlive it.
class Presence {
 public:
  // What changes from beat to beat. Called from a thread of Presence.
  struct Now {
    std::size_t busy = 0;       // programs that run
    bool holds_claims = false;  // there may be some to renew
    RunnerDetails details;
  };

  // Beats once before it returns; a store that is away is only logged.
  Presence(PresenceOptions options, store::ExecutionStore& store, store::RunnerRegistry& registry,
           std::function<Now()> look, const Clock& clock, Log log);
  // Stops, and takes its leave of the registry.
  ~Presence();
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;

 private:
  void Beat();

  const PresenceOptions options_;
  store::ExecutionStore& store_;
  store::RunnerRegistry& registry_;
  const std::function<Now()> look_;
  const Clock& clock_;
  const Log log_;
  const std::int64_t started_unix_ms_;
  bool failing_ = false;  // the beating thread's: a failure is logged when it starts and ends
  std::mutex mu_;
  std::condition_variable_any wake_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace forkbox::runner
