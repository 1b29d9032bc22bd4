// Worker: leases executions from the broker, runs each in a fresh sandbox, and reports its outcome.
//
//   lease → claim → fork → run → verdict → reply (who waits) → result durable → ack
//
// One result, whatever happens: an outcome counts only under a claim of the store, a lease is
// acknowledged only once the result is durable, and what cannot be finished here goes back as if
// it had never been taken. A slot is busy while a program runs, never while a disk writes.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "queue/broker.h"
#include "runner/progress_board.h"
#include "runner/sandbox/driver_set.h"
#include "runner/waiting_room.h"
#include "store/execution_store.h"

namespace forkbox::runner {

// After this long without a heartbeat, a runner's work is another's.
inline constexpr std::chrono::milliseconds kClaimLease{15'000};

struct WorkerOptions {
  std::size_t slots = 4;                 // programs that run at once
  std::size_t interactive_reserved = 1;  // of these, kept from the background lane; < slots
  std::string runner_id;
  // How long a claim lasts unless it is renewed (runner/presence.h).
  std::chrono::milliseconds claim_lease = kClaimLease;
  int max_attempts = 3;  // of claims in the store, and of forks within one claim
  std::chrono::milliseconds retry_delay{100};  // first pause after a failure of ours; then doubled
  std::chrono::milliseconds poll{500};         // how late a slot notices Drain()
  // No other runner takes what a driver here will never have: it fails at once. What no driver is
  // here for waits all the same, for the next start.
  bool only_runner = false;
  // How long an execution waits for a driver that is coming, or that others have, counted from when
  // a runner first put it back: not in a slot (waiting_room.h). Then it fails.
  std::chrono::milliseconds patience{900'000};
};

// Thread-safe. Everything passed by reference must outlive it.
class Worker {
 public:
  // Once per execution whose outcome counted, before the lease is acknowledged; from a thread of
  // the worker or of the store, so it must be short. For metrics and the log.
  using OnFinished = std::function<void(const schema::Execution&, const schema::Outcome&)>;

  Worker(WorkerOptions options, store::ExecutionStore& store, queue::Broker& broker,
         sandbox::DriverSet drivers, Clock& clock, Log log, OnFinished on_finished = {});
  // Drains with no patience if nobody did.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Stops taking, lets programs run until `deadline`, then kills the rest and gives their claims
  // and leases back: they are queued again, with no result and no attempt spent. Returns once all
  // results are durable, or the store has not taken them for `kSettleGrace` after the deadline
  // (then the claims expire and the executions run again). A later call can only shorten the
  // deadline, and may come from another thread.
  void Drain(Deadline deadline);
  static constexpr std::chrono::seconds kSettleGrace{5};

  [[nodiscard]] std::size_t Running() const;   // programs in a sandbox or on the way into one
  [[nodiscard]] std::size_t Settling() const;  // ended, result on its way to the disk
  // For a driver: held here, or on their way behind the others in the queue.
  [[nodiscard]] std::size_t Waiting() const { return room_.Waiting(); }

 private:
  struct Job;
  using JobPtr = std::shared_ptr<Job>;  // shared by its slot, the store's callbacks and Cancel

  void SlotLoop(bool interactive_only);
  void Process(std::unique_ptr<queue::Lease> lease);
  // Whether the driver it needs is not here now, and there is time left to wait for it.
  bool ShouldWait(const Job& job);
  [[nodiscard]] bool HasTime(const Job& job) const;
  void LetWait(const JobPtr& job);
  [[nodiscard]] store::ClaimRequest MakeClaim(const schema::Execution& execution) const;
  // Without its source where that is not in the message; kNotFound when there is no such row.
  Result<void> LoadHead(Job& job);
  Result<void> LoadWhole(Job& job);
  schema::Outcome RunOne(Job& job);
  schema::Outcome RunInSandbox(Job& job, std::int64_t now_ms);
  // One fork and one run in it; forks that fail are tried again, and what waits for a driver is
  // abandoned to be given back.
  schema::Outcome RunOnce(Job& job, const schema::Source& source, const schema::Limits& limits,
                          const sandbox::EventSink& sink);

  // The verdict and the outcome come from two threads; whichever is second settles the job.
  // For a delivery that carries its execution: `delay` is the pause if the row is not there yet.
  void ClaimBesideTheRun(const JobPtr& job, std::chrono::milliseconds delay);
  void OnVerdict(const JobPtr& job, Result<store::ClaimVerdict> verdict);
  void OnOutcome(const JobPtr& job, schema::Outcome outcome);
  void SettleIfComplete(const JobPtr& job);
  void Refuse(const JobPtr& job, const Result<store::ClaimVerdict>& verdict);
  void Announce(Job& job);
  void WriteResult(const JobPtr& job, std::chrono::milliseconds next_delay);
  void OnWritten(const JobPtr& job, Result<bool> written, std::chrono::milliseconds next_delay);
  void ReplyFromStore(Job& job);
  void GiveBack(const JobPtr& job, std::chrono::milliseconds next_delay);
  // The last step of every job. `finished`: its row is terminal.
  void Discard(const JobPtr& job, bool ack, bool finished = false);

  void OnCancelBroadcast(const schema::ExecutionId& id);
  void RememberCancelled(const schema::ExecutionId& id);

  void PauseFor(std::chrono::milliseconds delay);  // or until Drain()
  // For what must not run on the store's threads, or not yet.
  void Later(std::chrono::milliseconds delay, std::function<void()> task);
  void ChoreLoop(const std::stop_token& stop);

  const WorkerOptions options_;
  store::ExecutionStore& store_;
  queue::Broker& broker_;
  const sandbox::DriverSet drivers_;
  Clock& clock_;
  const Log log_;
  const OnFinished on_finished_;
  const std::size_t max_settling_;
  ProgressBoard board_;  // a run of it for each job that runs here
  WaitingRoom room_;
  std::atomic<bool> lack_told_ = false;

  mutable std::mutex mu_;  // guards everything down to the threads, and the flags of jobs
  std::condition_variable changed_;
  bool stopping_ = false;
  bool giving_up_ = false;  // past the grace: results the store does not take are left to the claim
  Deadline drain_deadline_ = Deadline::max();
  std::size_t busy_ = 0;      // slots between a lease and the end of its run
  std::size_t settling_ = 0;  // jobs after their run, before Discard
  std::size_t live_slots_ = 0;
  std::size_t returning_ = 0;                             // leases on their way back to the broker
  std::unordered_map<schema::ExecutionId, JobPtr> jobs_;  // from lease to Discard
  // Cancelled before they came here. Bounded: the oldest is forgotten, which the store makes
  // harmless for a row that was finished as cancelled.
  std::unordered_set<schema::ExecutionId> cancelled_;
  std::deque<schema::ExecutionId> cancelled_order_;

  std::mutex chores_mu_;
  std::condition_variable_any chores_changed_;
  std::vector<std::pair<SteadyTime, std::function<void()>>> chores_;

  std::shared_ptr<void> cancel_subscription_;
  std::jthread chore_thread_;
  std::vector<std::jthread> slots_;
};

}  // namespace forkbox::runner
