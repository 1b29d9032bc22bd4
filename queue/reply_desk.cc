#include "queue/reply_desk.h"

#include <utility>

namespace forkbox::queue {

void ReplyDesk::Expect(const schema::ExecutionId& id, std::function<void(Reply)> on_reply) {
  {
    const std::lock_guard lock(mutex_);
    expected_[id].swap(on_reply);
  }
  // One that was replaced is destroyed here, outside the lock: what it holds may be anything.
}

void ReplyDesk::Forget(const schema::ExecutionId& id) {
  decltype(expected_)::node_type forgotten;  // outlives the lock, as above
  const std::lock_guard lock(mutex_);
  forgotten = expected_.extract(id);
}

void ReplyDesk::Deliver(Reply reply) {
  decltype(expected_)::node_type found;
  {
    const std::lock_guard lock(mutex_);
    found = expected_.extract(reply.id);
  }
  if (found) found.mapped()(std::move(reply));
}

}  // namespace forkbox::queue
