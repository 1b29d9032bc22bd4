// Worker::Job: one delivery on its way through a worker. Only for worker*.cc.
#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <optional>

#include "runner/worker.h"

namespace forkbox::runner {

inline constexpr std::chrono::milliseconds kMaxRetryDelay{5'000};

struct Worker::Job {
  // The delivery's own; touched by one thread at a time, handed on with the job.
  schema::ExecutionId id;
  std::unique_ptr<queue::Lease> lease;
  std::shared_ptr<const schema::Execution> execution;  // shared with the publisher's message
  SteadyTime leased_at{};
  std::shared_ptr<ProgressBoard::Run> progress;  // null until it runs; shared with the board

  // Guarded by Worker::mu_.
  bool on_slot = true;
  bool discarded = false;
  bool cancelled = false;  // its owner does not want it any more
  bool abandoned = false;  // we shut down, or have no driver yet: to be given back
  bool waits = false;      // the latter
  std::optional<Result<store::ClaimVerdict>> verdict;
  std::optional<schema::Outcome> outcome;
  bool complete = false;  // both of the above were there, Settle() was called

  // Who calls Cancel() on a sandbox holds this, so that it cannot go away meanwhile.
  std::mutex sandbox_mu;
  sandbox::Sandbox* running = nullptr;
  bool kill = false;

  void Kill() {
    const std::lock_guard lock(sandbox_mu);
    kill = true;
    if (running != nullptr) running->Cancel();
  }
};

}  // namespace forkbox::runner
