// Recovery: finds executions that the store has accepted and the broker does not know (any more),
// and publishes them again: what fell between an insert and its publish, what a broker forgot when
// it went down, and claims whose runner never came back. With an embedded broker that is, at start,
// everything the process before us left behind.
//
// Any number of processes may sweep one store: each dispatch is noted there first. A needless
// publish is harmless (the claim decides), so this errs on that side, but not so often that it
// fills the queue.
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
  // Longer than that of heartbeats: what two looks in a row see has missed at least one.
  std::chrono::milliseconds interval{2'500};
  // A row must have been dispatched before the message at the head of its lane, and by this much,
  // before it counts as lost by the queue.
  std::chrono::milliseconds margin{2'000};
  std::size_t batch = 1'000;  // rows looked at per sweep and lane
  std::size_t start_batch = 100'000;
};

class Recovery {
 public:
  Recovery(RecoveryOptions options, store::ExecutionStore& store, queue::Broker& broker,
           Clock& clock, Log log);

  // For a broker that starts empty: voids the claims of the process that ran before us and
  // publishes all it left. Returns how many were published; what the queue had no room for, the
  // sweeps bring. Call before the worker starts.
  Result<std::size_t> AtStart();

  // One look; returns how many were published. An execution is published when two looks in a row
  // found it without dispatch.
  Result<std::size_t> Sweep();

  // Sweeps at the interval until destroyed.
  void StartSweeping();

 private:
  Result<bool> Publish(const store::Undispatched& row);  // false: it needs none any more
  Result<std::size_t> SweepLane(schema::Priority lane, std::int64_t now,
                                std::unordered_set<schema::ExecutionId>& suspects);

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

}  // namespace forkbox::runner
