// Subscriptions: who hears of what is broadcast, within this process. The part of a Broker behind
// OnCancel() and OnWatch(), whose rules it keeps.
//
// Thread-safe. Of its own locks, only that of the subscription is held during a call: that is what
// the end of a token waits for.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "queue/progress.h"
#include "schema/execution.h"

namespace forkbox::queue {

template <class News>
class Subscriptions {
 public:
  // Until the token is gone.
  std::shared_ptr<void> Add(std::function<void(const News&)> on_news) {
    auto subscription = std::make_shared<Subscription>();
    subscription->on_news = std::move(on_news);
    {
      const std::lock_guard lock(mutex_);
      std::erase_if(subscriptions_, [](const auto& one) { return one.expired(); });
      subscriptions_.push_back(subscription);
    }
    // Holds the subscription alive; its end waits for a call under way and forbids the next.
    Subscription* const address = subscription.get();
    return {address, [subscription = std::move(subscription)](void*) {
              const std::lock_guard lock(subscription->mutex);
              subscription->on_news = nullptr;
            }};
  }

  // Tells every subscriber, on this thread.
  void Announce(const News& news) {
    std::vector<std::shared_ptr<Subscription>> subscriptions;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& one : subscriptions_) {
        if (auto subscription = one.lock()) subscriptions.push_back(std::move(subscription));
      }
    }
    for (const auto& subscription : subscriptions) {
      const std::lock_guard lock(subscription->mutex);
      if (subscription->on_news) subscription->on_news(news);
    }
  }

 private:
  // The mutex is held during a call, so that ending the subscription waits for it.
  struct Subscription {
    std::mutex mutex;
    std::function<void(const News&)> on_news;  // null once the token is gone
  };

  std::mutex mutex_;
  std::vector<std::weak_ptr<Subscription>> subscriptions_;
};

using CancelSubscriptions = Subscriptions<schema::ExecutionId>;
using WatchSubscriptions = Subscriptions<Watch>;

}  // namespace forkbox::queue
