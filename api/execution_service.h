// ExecutionService: the one engine behind every dialect. It takes an execution in, gets it to a
// runner, and hands back what became of it. It knows nothing of HTTP.
//
// The order for an execution somebody waits for: refused at once if the lane is at its limit; then
// the row goes to the store and the message to the queue side by side; the answer is given when the
// outcome is in *and* the row is durable, whichever comes later.
//
// What an account may do at most is decided by the store, in the transaction that writes the row.
// While the account has plenty of room (AccountRoom) row and message still go side by side, and a
// run that the store refuses after all is stopped; else the store is asked first. The nameless
// owner has no terms, so nothing of this concerns him.
//
// For one that nobody waits for: the row first, then the message; accepted once the queue has it.
// A full queue refuses it and takes the row back. A queue that is away does not: the row is the
// promise, and the sweep of a runner dispatches it later.
//
// Thread-safe; nothing here blocks its caller. One thread of its own looks after replies that do
// not come (a runner was lost, a message dropped): it asks the store, which knows. A few others
// make the calls of the store that block.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/account_room.h"
#include "api/metrics.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "queue/broker.h"
#include "schema/execution.h"
#include "store/execution_store.h"

namespace forkbox::api {

// What an execution was refused with that the queue did not take, by the outcome its row was
// withdrawn with; null for every other outcome. Whoever asked for the same meanwhile gets the same.
std::optional<Error> RefusalOfQueue(const schema::Outcome& outcome);

class ExecutionService {
 public:
  struct Options {
    // How often an unanswered execution is looked up in the store: its reply may have been lost
    // with a connection, or with the broker.
    std::chrono::milliseconds look_interval{5'000};
    // Beyond the wall limit, the longest anybody waits: then it is cancelled, kDeadlineExceeded.
    std::chrono::milliseconds max_wait{600'000};
    // How often the watching thread looks at its clock.
    std::chrono::milliseconds watch_interval{1'000};
    // Answers with more output than this are given from the service's own thread, so that shaping
    // megabytes of text does not hold up a thread of the store or of a runner.
    std::size_t inline_output_bytes = 64 << 10;
    // Questions to the store: threads that ask, and how many may wait for one of them.
    std::size_t reader_threads = 2;
    std::size_t max_waiting_reads = 1'000;
    // How many executions one owner may wait for at once in this process; the nameless owner, who
    // is everybody when authentication is off, has no such limit. 0 is none.
    std::size_t max_waits_per_owner = 500;
    // How many callers may await an execution that somebody else asked for.
    std::size_t max_awaits = 500;
    // And how many of them of one owner but the nameless one; 0 is no limit.
    std::size_t max_awaits_per_owner = 20;
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

  // For Delivery::kWait. An empty id becomes a new UUIDv7, no time of creation is now. An
  // execution with no time at all (wall limit 0) has timed out before anything is done with it.
  schema::ExecutionId Submit(schema::Execution execution, OnDone on_done);

  // The same under terms, which say what the account may do. What the store said of the account is
  // handed back with every answer: its ends of minute and month are 0 when it was not asked. Beyond
  // the errors of OnDone, by `verdict`: kQueueFull for a limit of the account; kConflict for
  // kRepeated, where `id` is the execution to Await() instead, and for kOtherRequest.
  using OnAnswer = std::function<void(Result<schema::Outcome>, const store::Acceptance& account)>;
  // `patience`: how long it may wait for others of its account to end when there are too many at
  // once, before it is refused for that; meanwhile it counts as one of them in this process.
  schema::ExecutionId Submit(schema::Execution execution, store::AcceptTerms terms,
                             OnAnswer on_answer, std::chrono::milliseconds patience = {});

  // Called exactly once for each Enqueue, as OnDone is. Success: the row is durable, it will run.
  // The depth is that of its lane right afterwards, or what it was when it was kQueueFull; zeros
  // when nobody could tell.
  using OnAccepted = std::function<void(Result<void>, queue::Depth)>;

  // For Delivery::kPoll and kWebhook. kQueueFull when `max_waiting` executions wait in its lane
  // already; with 0 only the lane's own limit counts.
  schema::ExecutionId Enqueue(schema::Execution execution, std::uint64_t max_waiting,
                              OnAccepted on_accepted);

  // The same under terms, as with Submit().
  using OnTaken = std::function<void(Result<void>, queue::Depth, const store::Acceptance& account)>;
  schema::ExecutionId Enqueue(schema::Execution execution, store::AcceptTerms terms,
                              std::uint64_t max_waiting, OnTaken on_taken);

  // What the key has used of the current minute, as far as this process knows.
  AccountRoom::Minute MinuteOf(const schema::KeyId& key);

  // The record of an execution once it is terminal, or as it is after `at_most`, or when `wanted`
  // says no: looks into the store again and again. For whoever did not submit it himself. Errors as
  // for Find(); kUnavailable, too, when too many await.
  void Await(schema::ExecutionId id, std::optional<schema::OwnerId> owner,
             std::chrono::milliseconds at_most, std::function<bool()> wanted,
             std::function<void(Result<store::ExecutionRecord>)> done);

  // What the store knows, without the source, asked on threads of ours. `done` is called once, as
  // OnDone is. kUnavailable, too, when too many such questions wait.
  void Find(schema::ExecutionId id, std::optional<schema::OwnerId> owner,
            std::function<void(Result<store::ExecutionRecord>)> done);
  void ListChangedSince(schema::OwnerId owner, std::string dialect, std::int64_t since_unix_ms,
                        std::size_t limit,
                        std::function<void(Result<std::vector<store::ExecutionSummary>>)> done);
  // A page, and how many there are in all, counted up to `count_at_most`. `shape` is called with
  // them on a thread of ours: a page may take its time to become a document.
  struct History {
    store::HistoryPage page;
    std::uint64_t total = 0;
  };
  void ListHistory(store::HistoryQuery query, std::uint64_t count_at_most,
                   std::function<void(Result<History>)> shape);
  void FreshDepth(schema::Priority lane, std::function<void(Result<queue::Depth>)> done);

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
