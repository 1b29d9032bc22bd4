// CancelSubscriptions: who hears of cancelled executions in this process. The part of a Broker
// behind OnCancel(), whose rules it keeps.
//
// Thread-safe. Of its own locks, only that of the subscription is held during a call: that is what
// the end of a token waits for.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "schema/execution.h"

namespace forkbox::queue {

class CancelSubscriptions {
 public:
  // Until the token is gone.
  std::shared_ptr<void> Add(std::function<void(const schema::ExecutionId&)> on_cancel);
  // Tells every subscriber, on this thread.
  void Announce(const schema::ExecutionId& id);

 private:
  struct Subscription;

  std::mutex mutex_;
  std::vector<std::weak_ptr<Subscription>> subscriptions_;
};

}  // namespace forkbox::queue
