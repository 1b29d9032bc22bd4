#include "queue/embedded_broker.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace forkbox::queue {

using schema::ExecutionId;
using schema::OwnerId;
using schema::Priority;

class EmbeddedBroker::EmbeddedLease final : public Lease {
 public:
  EmbeddedLease(EmbeddedBroker& broker, Entry entry) : broker_(broker), entry_(std::move(entry)) {}
  ~EmbeddedLease() override {
    if (!acked_) broker_.EndLease(std::move(entry_.message), /*acked=*/false);
  }

  [[nodiscard]] const Message& message() const override { return entry_.message; }
  [[nodiscard]] bool redelivered() const override { return entry_.redelivered; }
  Result<void> Ack() override {
    // A copy: message() stays what it was.
    if (!std::exchange(acked_, true)) broker_.EndLease(entry_.message, /*acked=*/true);
    return {};
  }

 private:
  EmbeddedBroker& broker_;
  Entry entry_;
  bool acked_ = false;
};

// The mutex is held during a call, so that ending the subscription waits for it.
struct EmbeddedBroker::Subscription {
  std::mutex mutex;
  std::function<void(const ExecutionId&)> on_cancel;  // null once the token is gone
};

EmbeddedBroker::EmbeddedBroker(Options options) : options_(options) {
  interactive_.limit = options.max_waiting_interactive;
  background_.limit = options.max_waiting_background;
}

EmbeddedBroker::~EmbeddedBroker() {
  FORKBOX_CHECK(interactive_.leased == 0 && background_.leased == 0);
  FORKBOX_CHECK(waiters_.empty());
}

EmbeddedBroker::Lane& EmbeddedBroker::LaneOf(Priority priority) {
  return priority == Priority::kInteractive ? interactive_ : background_;
}

bool EmbeddedBroker::MayLease(const OwnerId& id, const Owner& owner) const {
  return id.empty() || options_.max_in_flight_per_owner == 0 ||
         owner.leased < options_.max_in_flight_per_owner;
}

void EmbeddedBroker::TakeTurn(Lane& lane, const OwnerId& id, Owner& owner, bool at_head) {
  if (owner.in_turn || owner.waiting.empty() || !MayLease(id, owner)) return;
  owner.in_turn = true;
  if (at_head) {
    lane.turns.push_front(id);
  } else {
    lane.turns.push_back(id);
  }
}

Result<void> EmbeddedBroker::Publish(Message message) {
  const std::lock_guard lock(mutex_);
  if (closed_) return Fail(ErrorCode::kUnavailable, "the queue is closed");
  const Priority priority = message.lane;
  Lane& lane = LaneOf(priority);
  if (lane.ids.contains(message.id)) return {};
  if (lane.ids.size() >= lane.limit) {
    return Fail(ErrorCode::kQueueFull, "the queue is full: " + std::to_string(lane.ids.size()) +
                                           " waiting in the " + std::string(ToString(priority)) +
                                           " lane");
  }
  lane.ids.insert(message.id);
  lane.enqueued_unix_ms.insert(message.enqueued_unix_ms);
  const OwnerId id = message.owner;
  Owner& owner = lane.owners[id];
  owner.waiting.push_back({std::move(message), /*redelivered=*/false});
  TakeTurn(lane, id, owner, /*at_head=*/false);
  WakeOne(priority);
  return {};
}

// Null when nothing may be leased.
std::unique_ptr<Lease> EmbeddedBroker::Take(Lane& lane) {
  if (lane.turns.empty()) return nullptr;
  const OwnerId id = std::move(lane.turns.front());
  lane.turns.pop_front();
  Owner& owner = lane.owners.at(id);
  owner.in_turn = false;
  Entry entry = std::move(owner.waiting.front());
  owner.waiting.pop_front();
  ++owner.leased;
  ++lane.leased;
  lane.ids.erase(entry.message.id);
  lane.enqueued_unix_ms.erase(lane.enqueued_unix_ms.find(entry.message.enqueued_unix_ms));
  TakeTurn(lane, id, owner, /*at_head=*/false);
  return std::make_unique<EmbeddedLease>(*this, std::move(entry));
}

void EmbeddedBroker::EndLease(Message message, bool acked) {
  const std::lock_guard lock(mutex_);
  const Priority priority = message.lane;
  Lane& lane = LaneOf(priority);
  const OwnerId id = message.owner;
  const auto found = lane.owners.find(id);
  FORKBOX_CHECK(found != lane.owners.end() && found->second.leased > 0);
  Owner& owner = found->second;
  --owner.leased;
  --lane.leased;
  // Back it goes, over the limit too: it was accepted. Unless it was published anew meanwhile, or
  // nobody will ask again.
  const bool requeue = !acked && !closed_ && lane.ids.insert(message.id).second;
  if (requeue) {
    lane.enqueued_unix_ms.insert(message.enqueued_unix_ms);
    owner.waiting.push_front({std::move(message), /*redelivered=*/true});
    if (owner.in_turn) {  // its turn comes first now
      lane.turns.erase(std::find(lane.turns.begin(), lane.turns.end(), id));
      owner.in_turn = false;
    }
  }
  const bool had_turn = owner.in_turn;
  TakeTurn(lane, id, owner, /*at_head=*/requeue);
  if (owner.in_turn && !had_turn) WakeOne(priority);
  if (owner.leased == 0 && owner.waiting.empty()) lane.owners.erase(found);
}

// One more message may be leased: one more sleeper has to look. A sleeper that was woken already
// is busy with another. Those that take nothing but interactive work go first for it, which leaves
// the others for the rest.
void EmbeddedBroker::WakeOne(Priority priority) {
  Waiter* chosen = nullptr;
  for (Waiter* waiter : waiters_) {
    if (waiter->woken || (waiter->interactive_only && priority != Priority::kInteractive)) continue;
    chosen = waiter;
    if (waiter->interactive_only) break;
  }
  if (chosen == nullptr) return;
  chosen->woken = true;
  chosen->wake.notify_one();
}

Result<std::unique_ptr<Lease>> EmbeddedBroker::Next(Deadline deadline, bool interactive_only) {
  std::unique_lock lock(mutex_);
  Waiter self;
  self.interactive_only = interactive_only;
  for (;;) {
    if (closed_) return std::unique_ptr<Lease>();
    std::unique_ptr<Lease> lease = Take(interactive_);
    if (lease == nullptr && !interactive_only) lease = Take(background_);
    if (lease != nullptr) {
      // One wake may stand for several messages (two leases of an owner at its limit end, and it
      // gets one turn), so whoever takes one passes the word on.
      if (!interactive_.turns.empty()) WakeOne(Priority::kInteractive);
      if (!background_.turns.empty()) WakeOne(Priority::kBackground);
      return lease;
    }
    // Looks once more after the deadline: a sleeper that was woken must not leave without looking.
    if (!self.woken && std::chrono::steady_clock::now() >= deadline) {
      return std::unique_ptr<Lease>();
    }
    self.woken = false;
    const auto place = waiters_.insert(waiters_.end(), &self);
    self.wake.wait_until(lock, deadline, [&] { return self.woken || closed_; });
    waiters_.erase(place);
  }
}

Result<Depth> EmbeddedBroker::GetDepth(Priority priority) {
  const std::lock_guard lock(mutex_);
  const Lane& lane = LaneOf(priority);
  return Depth{
      .waiting = lane.ids.size(),
      .leased = lane.leased,
      .oldest_enqueued_unix_ms = lane.enqueued_unix_ms.empty() ? 0 : *lane.enqueued_unix_ms.begin(),
      .limit = lane.limit};
}

void EmbeddedBroker::Expect(const ExecutionId& id, std::function<void(Reply)> on_reply) {
  const std::lock_guard lock(replies_mutex_);
  expected_.insert_or_assign(id, std::move(on_reply));
}

void EmbeddedBroker::Forget(const ExecutionId& id) {
  // Destroyed outside the lock: what it holds may be anything.
  decltype(expected_)::node_type forgotten;
  const std::lock_guard lock(replies_mutex_);
  forgotten = expected_.extract(id);
}

void EmbeddedBroker::SendReply(Reply reply) {
  std::function<void(Reply)> on_reply;
  {
    const std::lock_guard lock(replies_mutex_);
    auto found = expected_.extract(reply.id);
    if (found.empty()) return;
    on_reply = std::move(found.mapped());
  }
  on_reply(std::move(reply));
}

std::shared_ptr<void> EmbeddedBroker::OnCancel(std::function<void(const ExecutionId&)> on_cancel) {
  auto subscription = std::make_shared<Subscription>();
  subscription->on_cancel = std::move(on_cancel);
  {
    const std::lock_guard lock(subscriptions_mutex_);
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

Result<void> EmbeddedBroker::Cancel(const ExecutionId& id) {
  std::vector<std::shared_ptr<Subscription>> subscriptions;
  {
    const std::lock_guard lock(subscriptions_mutex_);
    for (const auto& one : subscriptions_) {
      if (auto subscription = one.lock()) subscriptions.push_back(std::move(subscription));
    }
  }
  for (const auto& subscription : subscriptions) {
    const std::lock_guard lock(subscription->mutex);
    if (subscription->on_cancel) subscription->on_cancel(id);
  }
  return {};
}

void EmbeddedBroker::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (Waiter* waiter : waiters_) waiter->wake.notify_one();
}

}  // namespace forkbox::queue
