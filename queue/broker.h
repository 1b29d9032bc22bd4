// Broker: hands accepted executions to runners, and what runners have to say back to whoever
// waits. It dispatches only; the store is the truth (store/execution_store.h).
//
// Thread-safe. Delivery is at least once: a runner claims the execution in the store before it
// runs it, which makes every further delivery harmless. Two lanes, `interactive` and
// `background`; within a lane, first in, first out by owner in turn.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/result.h"
#include "schema/execution.h"

namespace forkbox::queue {

// What travels: enough to find the row, and to be fair without reading it.
struct Message {
  schema::ExecutionId id;
  schema::OwnerId owner;
  schema::Priority lane = schema::Priority::kInteractive;
  std::int64_t enqueued_unix_ms = 0;
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
  virtual Result<void> Ack() = 0;
};

struct Depth {
  std::uint64_t waiting = 0;
  std::uint64_t leased = 0;
  std::int64_t oldest_enqueued_unix_ms = 0;  // 0 when nothing waits
  std::uint64_t limit = 0;
};

// What a finished execution sends to the API instance that waits for it.
struct Reply {
  schema::ExecutionId id;
  schema::Outcome outcome;
};

class Broker {
 public:
  virtual ~Broker() = default;

  // Takes the message or refuses it at once. kQueueFull: the lane is at its limit (see GetDepth
  // for the numbers a 429 needs). kUnavailable: not connected or closed, retry later. A message
  // with the id of one that waits already may be taken as the same.
  virtual Result<void> Publish(Message message) = 0;

  // Waits for one message of any lane, interactive first; null when none came by the deadline or
  // after Close(). With `interactive_only` the background lane is left alone, so that a backlog
  // cannot take every slot. Any number of threads may wait.
  virtual Result<std::unique_ptr<Lease>> Next(Deadline deadline, bool interactive_only) = 0;

  virtual Result<Depth> GetDepth(schema::Priority lane) = 0;

  // Registers who is called with the reply to `id`; at most one (a later one replaces it), called
  // at most once, from the thread that replies: keep it short. Register before Publish. It may
  // still be running when Forget() returns, so it shares what it touches.
  virtual void Expect(const schema::ExecutionId& id, std::function<void(Reply)> on_reply) = 0;
  virtual void Forget(const schema::ExecutionId& id) = 0;
  virtual void SendReply(Reply reply) = 0;  // dropped when nobody expects it

  // Cancel broadcast: every subscriber hears every id, including its own process's. The
  // subscription ends with the token: once that is destroyed, `on_cancel` neither runs nor will.
  // So neither destroy it from within `on_cancel` nor with a lock held that `on_cancel` takes, and
  // do not Cancel() from there.
  virtual std::shared_ptr<void> OnCancel(
      std::function<void(const schema::ExecutionId&)> on_cancel) = 0;
  virtual Result<void> Cancel(const schema::ExecutionId& id) = 0;

  // Refuses new messages and wakes every Next(). Messages not yet leased stay in the store. Leases
  // can still be acknowledged, and replies and cancels still arrive.
  virtual void Close() = 0;
};

}  // namespace forkbox::queue
