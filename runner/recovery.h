// Recovery: finds executions that the store has accepted and the broker does not know (any more),
// and publishes them again. At start that is everything a dead process left behind; afterwards it
// is what fell between an insert and its publish, and claims whose runner never came back.
//
// For a store with one runner in the same process. A needless publish is harmless (the claim
// decides), so this errs on that side, but not so often that it fills the queue.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_set>

#include "base/clock.h"
#include "base/log.h"
#include "queue/broker.h"
#include "store/execution_store.h"

namespace forkbox::runner {

struct RecoveryOptions {
  std::string runner_id;
  std::chrono::milliseconds interval{5'000};
  // A row must be queued for longer than the oldest waiting message, and by this much, before it
  // counts as lost by the queue.
  std::chrono::milliseconds margin{2'000};
  std::size_t batch = 1'000;  // rows looked at per sweep
  std::size_t start_batch = 100'000;
};

class Recovery {
 public:
  Recovery(RecoveryOptions options, store::ExecutionStore& store, queue::Broker& broker,
           Clock& clock, Log log);

  // Voids the claims of the process that ran before us and publishes all it left. Returns how many
  // were published; what the queue had no room for, the sweeps bring. Call before the worker
  // starts.
  Result<std::size_t> AtStart();

  // One look; returns how many were published. An execution is published when two looks in a row
  // found it without dispatch.
  Result<std::size_t> Sweep();

  // Sweeps at the interval until destroyed.
  void StartSweeping();

 private:
  Result<bool> Publish(const schema::ExecutionId& id);  // false: it needs none any more

  const RecoveryOptions options_;
  store::ExecutionStore& store_;
  queue::Broker& broker_;
  Clock& clock_;
  const Log log_;
  std::unordered_set<schema::ExecutionId> suspects_;  // of the last sweep
  std::mutex mu_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

// When a UUIDv7 was made, in Unix milliseconds; 0 for anything else.
std::int64_t UuidV7Millis(std::string_view uuid);

}  // namespace forkbox::runner
