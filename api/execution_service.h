// ExecutionService: the one engine behind every dialect. It takes an execution in, gets it to a
// runner, and hands back what became of it. It knows nothing of HTTP.
//
// The order for an execution somebody waits for: refused at once if the lane is at its limit; then
// the row goes to the store and the message to the queue side by side; the answer is given when the
// outcome is in *and* the row is durable, whichever comes later.
//
// Thread-safe; nothing here blocks its caller. One thread of its own looks after replies that do
// not come (a runner was lost, a message dropped): it asks the store, which knows.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "api/metrics.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "queue/broker.h"
#include "schema/execution.h"
#include "store/execution_store.h"

namespace forkbox::api {

class ExecutionService {
 public:
  struct Options {
    // How long after its wall limit an unanswered execution is first looked up in the store, and
    // how often again while the row says it is still waiting or running.
    std::chrono::milliseconds reply_slack{5'000};
    // Beyond the wall limit, the longest anybody waits: then it is cancelled, kDeadlineExceeded.
    std::chrono::milliseconds max_wait{600'000};
    // How often the watching thread looks at its clock.
    std::chrono::milliseconds watch_interval{1'000};
    // Answers with more output than this are given from the service's own thread, so that shaping
    // megabytes of text does not hold up a thread of the store or of a runner.
    std::size_t inline_output_bytes = 64 << 10;
  };

  // Called exactly once for each Submit, from any thread, possibly before Submit returns: it must
  // not block. Errors: kQueueFull (not accepted, retry later), kUnavailable (store or queue away,
  // or shutting down), kDeadlineExceeded, kInternal.
  using OnDone = std::function<void(Result<schema::Outcome>)>;

  // All references must outlive it.
  ExecutionService(Options options, store::ExecutionStore& store, queue::Broker& broker,
                   Metrics& metrics, const Clock& clock, Log log);
  ~ExecutionService();  // Close()
  ExecutionService(const ExecutionService&) = delete;
  ExecutionService& operator=(const ExecutionService&) = delete;

  // For Delivery::kWait. An empty id becomes a new UUIDv7, the time of creation is now. An
  // execution with no time at all (wall limit 0) has timed out before anything is done with it.
  schema::ExecutionId Submit(schema::Execution execution, OnDone on_done);

  // Nobody waits any more: ends the execution wherever it is, and answers kCancelled. Nothing
  // happens if it has been answered already.
  void Cancel(const schema::ExecutionId& id);

  // Answers what still waits with kUnavailable; the executions themselves go on, and Cancel() no
  // longer reaches them. Once it returns, no callback of the store or the broker can reach this
  // object, and Submit() is refused. For a server that goes down: to be called before the
  // connections are cut, which would look like clients that gave up. Not from a callback.
  void Close();

  // How full a lane is.
  Result<queue::Depth> Depth(schema::Priority lane);

  [[nodiscard]] std::size_t waiting() const;  // submitted and not yet answered

 private:
  class Core;  // shared with the callbacks that store and broker hold
  std::shared_ptr<Core> core_;
};

}  // namespace forkbox::api
