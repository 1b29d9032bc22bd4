// StoreProbe: what the store says about the whole, known at any moment without asking it.
//
// A handler must not wait for a database that is away, so a thread of our own asks at intervals and
// keeps the answer. A question that hangs shows too: the last answer grows old. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "runner/runner_details.h"
#include "store/store.h"

namespace forkbox::api {

// One look at the store.
struct StoreSnapshot {
  struct Runner {
    store::RunnerInfo info;
    runner::RunnerDetails details;
  };
  std::int64_t taken_unix_ms = 0;
  store::ExecutionStore::Counts executions;
  store::DeliveryCounts deliveries;
  std::vector<Runner> runners;  // those alive
  // What runners can run, one entry a language: ready when one of those alive has it ready. Without
  // any alive, as the last one said: what is accepted then waits for the next one.
  std::vector<sandbox::LanguageStatus> languages;
  // Their virtual machines, taken together (isolation_choice.h); without any alive likewise.
  std::optional<runner::VmService> vm;
};

class StoreProbe {
 public:
  struct Options {
    std::chrono::milliseconds interval{1'000};
    std::chrono::milliseconds stale_after{5'000};        // without an answer it counts as away
    std::chrono::milliseconds runner_alive_for{10'000};  // after its last heartbeat
  };

  // Asks once before it returns. All references must outlive it.
  StoreProbe(Options options, store::Store& store, const Clock& clock);

  // Success, or kUnavailable with the cause.
  [[nodiscard]] Result<void> Status() const;

  // The last look that succeeded, however old; null before the first.
  [[nodiscard]] std::shared_ptr<const StoreSnapshot> Snapshot() const;

  // Of the last look; none before a runner was ever seen.
  [[nodiscard]] std::vector<sandbox::LanguageStatus> RunnerLanguages() const;

  [[nodiscard]] std::optional<runner::VmService> RunnerVm() const;

  // Protections that at least one of the runners alive lacks.
  [[nodiscard]] std::vector<std::string> MissingProtections() const;

 private:
  Result<StoreSnapshot> Look() const;
  void Ask();
  void Run(const std::stop_token& stop);

  const Options options_;
  store::Store& store_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  Result<void> last_;                              // guarded by mutex_
  SteadyTime answered_at_;                         // guarded by mutex_
  std::shared_ptr<const StoreSnapshot> snapshot_;  // guarded by mutex_; shared with readers
  std::jthread thread_;                            // last: it uses all of the above
};

}  // namespace forkbox::api
