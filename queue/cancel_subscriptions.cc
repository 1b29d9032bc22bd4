#include "queue/cancel_subscriptions.h"

#include <utility>

namespace forkbox::queue {

using schema::ExecutionId;

// The mutex is held during a call, so that ending the subscription waits for it.
struct CancelSubscriptions::Subscription {
  std::mutex mutex;
  std::function<void(const ExecutionId&)> on_cancel;  // null once the token is gone
};

std::shared_ptr<void> CancelSubscriptions::Add(std::function<void(const ExecutionId&)> on_cancel) {
  auto subscription = std::make_shared<Subscription>();
  subscription->on_cancel = std::move(on_cancel);
  {
    const std::lock_guard lock(mutex_);
    std::erase_if(subscriptions_, [](const auto& one) { return one.expired(); });
    subscriptions_.push_back(subscription);
  }
  // Holds the subscription alive; its end waits for a call under way and forbids the next.
  Subscription* const address = subscription.get();
  return {address, [subscription = std::move(subscription)](void*) {
            const std::lock_guard lock(subscription->mutex);
            subscription->on_cancel = nullptr;
          }};
}

void CancelSubscriptions::Announce(const ExecutionId& id) {
  std::vector<std::shared_ptr<Subscription>> subscriptions;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& one : subscriptions_) {
      if (auto subscription = one.lock()) subscriptions.push_back(std::move(subscription));
    }
  }
  for (const auto& subscription : subscriptions) {
    const std::lock_guard lock(subscription->mutex);
    if (subscription->on_cancel) subscription->on_cancel(id);
  }
}

}  // namespace forkbox::queue
