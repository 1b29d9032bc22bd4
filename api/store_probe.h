// StoreProbe: whether the store answers, known at any moment without asking it.
//
// A handler must not wait for a database that is away, so a thread of our own asks at intervals and
// keeps the answer. A ping that hangs shows too: the last answer grows old. Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/result.h"
#include "store/execution_store.h"

namespace forkbox::api {

class StoreProbe {
 public:
  struct Options {
    std::chrono::milliseconds interval{1'000};
    std::chrono::milliseconds stale_after{5'000};  // without an answer it counts as away
  };

  // Asks once before it returns. Both references must outlive it.
  StoreProbe(Options options, store::ExecutionStore& store, const Clock& clock);

  // Success, or kUnavailable with the cause.
  [[nodiscard]] Result<void> Status() const;

 private:
  void Ping();
  void Run(const std::stop_token& stop);

  const Options options_;
  store::ExecutionStore& store_;
  const Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable_any wake_;
  Result<void> last_;       // guarded by mutex_
  SteadyTime answered_at_;  // guarded by mutex_
  std::jthread thread_;     // last: it uses all of the above
};

}  // namespace forkbox::api
