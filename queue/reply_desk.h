// ReplyDesk: who waits for the reply to which execution. The part of a Broker behind Expect(),
// Forget() and the arrival of a reply.
//
// Thread-safe. Calls nobody with its lock held.
#pragma once

#include <functional>
#include <mutex>
#include <unordered_map>

#include "queue/broker.h"

namespace forkbox::queue {

class ReplyDesk {
 public:
  void Expect(const schema::ExecutionId& id, std::function<void(Reply)> on_reply);
  void Forget(const schema::ExecutionId& id);
  // Calls who expects it; drops it when nobody does.
  void Deliver(Reply reply);

 private:
  std::mutex mutex_;
  std::unordered_map<schema::ExecutionId, std::function<void(Reply)>> expected_;
};

}  // namespace forkbox::queue
