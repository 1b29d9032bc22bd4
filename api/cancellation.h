// Cancellation: ends an execution on behalf of its owner, in whatever state it is.
//
// Queued: its row is finished at once, and whoever is handed the message later drops it. On a
// runner: a broadcast reaches that one, which kills the program and finishes the row with what had
// been printed; if it does not within `patience`, its row is finished without it. The row's first
// terminal write decides: there is one end, and the answer is what the row says.
//
// Thread-safe; nothing here blocks its caller.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

#include "api/execution_service.h"
#include "api/gate.h"
#include "api/timer.h"
#include "base/clock.h"
#include "base/log.h"
#include "queue/broker.h"
#include "store/execution_store.h"

namespace forkbox::api {

class Cancellation {
 public:
  struct Options {
    std::chrono::milliseconds first_look{10};  // for the end; then twice as late each time
    std::chrono::milliseconds longest_look{500};
    std::chrono::milliseconds patience{2'000};  // with a runner
    std::chrono::milliseconds give_up{5'000};   // with everything
    std::size_t max_at_once = 1'000;
  };

  enum class Verdict {
    kCancelled,  // it has ended, as cancelled
    kFinished,   // it had ended otherwise, or did so before we reached it
    kUnderWay,   // asked for, and not ended so far
  };
  struct Answer {
    Verdict verdict = Verdict::kUnderWay;
    store::ExecutionRecord record;
  };
  // Called once, from any thread: it must not block. kNotFound also for another owner's;
  // kUnavailable: nothing can be said, nothing may have happened.
  using OnDone = std::function<void(Result<Answer>)>;

  // All must outlive it.
  Cancellation(Options options, ExecutionService& service, store::ExecutionStore& store,
               queue::Broker& broker, const Clock& clock, Log log);
  ~Cancellation();  // Close()
  Cancellation(const Cancellation&) = delete;
  Cancellation& operator=(const Cancellation&) = delete;

  void Cancel(const schema::ExecutionId& id, const schema::OwnerId& owner, OnDone on_done);

  // Answers what is under way with what is known, and takes no more. Not from a callback.
  void Close();

 private:
  struct Attempt;
  using AttemptPtr = std::shared_ptr<Attempt>;  // handed from callback to callback

  void Look(const AttemptPtr& attempt);
  void OnRecord(const AttemptPtr& attempt, Result<store::ExecutionRecord> record);
  enum class Row { kQueued, kAnyOpen };
  void FinishRow(const AttemptPtr& attempt, Row row);
  void OnRowFinished(const AttemptPtr& attempt, const Result<bool>& finished);
  void LookLater(const AttemptPtr& attempt);
  void Broadcast(const AttemptPtr& attempt);

  const Options options_;
  ExecutionService& service_;
  store::ExecutionStore& store_;
  queue::Broker& broker_;
  const Clock& clock_;
  const Log log_;
  std::atomic<std::size_t> under_way_ = 0;
  std::atomic<bool> closed_ = false;
  Gate gate_;
  Timer timer_;
};

}  // namespace forkbox::api
