// Broker: hands accepted executions to runners, and what runners have to say back to whoever
// waits. It dispatches only; the store is the truth (store/execution_store.h).
//
// Thread-safe. Delivery is at least once: a runner claims the execution in the store before it
// runs it, which makes every further delivery harmless. Two lanes, `interactive` and
// `background`, each first in, first out. A broker that loses its connection comes back by itself;
// meanwhile it says kUnavailable, and leases it had given out are void: their messages come again.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "queue/progress.h"
#include "schema/execution.h"

namespace forkbox::queue {

// What travels: enough to find the row, and to be fair without reading it.
struct Message {
  schema::ExecutionId id;
  schema::OwnerId owner;
  schema::Priority lane = schema::Priority::kInteractive;
  std::int64_t enqueued_unix_ms = 0;    // when the execution was accepted
  std::int64_t dispatched_unix_ms = 0;  // when this message was handed to the broker
  // When a runner first put it behind the others, for want of a driver; 0: none has. Whoever
  // leases it publishes it anew, then acknowledges the lease (runner/waiting_room.h).
  std::int64_t waits_since_unix_ms = 0;
  // The whole execution, where the publisher has it at hand and it is small: saves the runner the
  // read. The runner falls back to the store when null.
  std::shared_ptr<const schema::Execution> execution;  // shared: waiters and runners only read it
};

// One delivered message. Dropping it without Ack() puts it back at the head of its lane, or leaves
// it to the store once the broker is closed. Must not outlive its Broker. One thread at a time.
class Lease {
 public:
  virtual ~Lease() = default;
  [[nodiscard]] virtual const Message& message() const = 0;
  [[nodiscard]] virtual bool redelivered() const = 0;
  // kUnavailable: the connection it came by is gone, and the message comes again.
  virtual Result<void> Ack() = 0;
};

struct Depth {
  std::uint64_t waiting = 0;
  std::uint64_t leased = 0;  // by this Broker
  std::uint64_t limit = 0;   // of waiting; 0 is none
};

// What a finished execution sends to the API process that waits for it.
struct Reply {
  schema::ExecutionId id;
  std::string to;  // Execution::reply_to
  schema::Outcome outcome;
};

class Broker {
 public:
  using Done = std::function<void(Result<void>)>;
  static constexpr std::chrono::seconds kPublishTimeout{5};

  virtual ~Broker() = default;

  // Takes the message or refuses it. `done` is called exactly once, from any thread, perhaps before
  // this returns; it must not block. Success: it waits in its lane, and in the background lane it
  // would survive a restart of the broker. kQueueFull: the lane is at its limit. kUnavailable: not
  // connected or closed. kDeadlineExceeded: no word within kPublishTimeout, so nobody knows; a
  // second Publish() is harmless. A message with the id of one that waits already may be taken as
  // the same.
  virtual void PublishAsync(Message message, Done done) = 0;
  // The same, and waits. Not from a callback of the broker.
  Result<void> Publish(Message message);

  // Waits for one message of any lane, interactive first; null when none came by the deadline or
  // after Close(). With `interactive_only` the background lane is left alone, so that a backlog
  // cannot take every slot. Any number of threads may wait.
  virtual Result<std::unique_ptr<Lease>> Next(Deadline deadline, bool interactive_only) = 0;

  // From memory, at most about a second old. kUnavailable: not connected.
  virtual Result<Depth> GetDepth(schema::Priority lane) = 0;
  // Asks afresh: counts every Publish() that has been answered. `done` as for PublishAsync.
  virtual void FreshDepth(schema::Priority lane, std::function<void(Result<Depth>)> done) = 0;

  // When the message at the head of the lane was dispatched; null when nothing waits. What was
  // dispatched before it and is not leased is not in this broker any more. For the sweep only: it
  // waits for an answer, and may make that message a redelivered one.
  virtual Result<std::optional<std::int64_t>> OldestDispatch(schema::Priority lane) = 0;

  // Where replies to this process go: what it puts into Execution::reply_to. Constant.
  [[nodiscard]] virtual const std::string& ReplyAddress() const = 0;
  // Registers who is called with the reply to `id`; at most one (a later one replaces it), called
  // at most once, from a thread of the broker or the one that replies: keep it short. Register
  // before Publish. It may still be running when Forget() returns, so it shares what it touches.
  virtual void Expect(const schema::ExecutionId& id, std::function<void(Reply)> on_reply) = 0;
  virtual void Forget(const schema::ExecutionId& id) = 0;
  // Dropped when nobody expects it, or when it cannot be sent: the store has the outcome.
  virtual void SendReply(Reply reply) = 0;

  // Cancel broadcast: every subscriber hears every id, including its own process's. The
  // subscription ends with the token: once that is destroyed, `on_cancel` neither runs nor will.
  // So neither destroy it from within `on_cancel` nor with a lock held that `on_cancel` takes, and
  // do not Cancel() from there.
  virtual std::shared_ptr<void> OnCancel(
      std::function<void(const schema::ExecutionId&)> on_cancel) = 0;
  virtual Result<void> Cancel(const schema::ExecutionId& id) = 0;

  // Watch broadcast, by the rules of the cancel broadcast: whoever runs the execution, or is about
  // to, answers with SendProgress(). Lost ones are lost: who watches asks again from time to time.
  virtual std::shared_ptr<void> OnWatch(std::function<void(const Watch&)> on_watch) = 0;
  virtual Result<void> SendWatch(const Watch& watch) = 0;
  // Registers who hears of the progress of `id` that is sent to this process; at most one, as often
  // as some comes, from any thread: keep it short. It may still be running when ForgetProgress()
  // returns. Progress of one run comes in the order in which it was sent, and may have gaps.
  virtual void ExpectProgress(const schema::ExecutionId& id,
                              std::function<void(Progress)> on_progress) = 0;
  virtual void ForgetProgress(const schema::ExecutionId& id) = 0;
  // Dropped when nobody expects it, or when it cannot be sent. Never waits.
  virtual void SendProgress(Progress progress) = 0;

  // One word on the connection, for /health: success, or kUnavailable with the cause.
  virtual Result<void> Status() = 0;

  // Refuses new messages and wakes every Next(). Messages not yet leased stay in the store. Leases
  // can still be acknowledged, and replies and cancels still arrive.
  virtual void Close() = 0;
};

}  // namespace forkbox::queue
