// RabbitMqReceiver: all that RabbitMQ tells a process: messages to lease, replies, cancels, and how
// much waits.
//
// It never publishes, so the broker reads from its connection in every state (rabbitmq_sender.h).
// It holds no message that no slot is free for: `slots` at once, delivered or leased, and of them
// `background_slots` from the background lane. A thread that waits in Next() while all of these are
// leased has a free slot all the same (the result of its last one is still being written), and gets
// one more.
//
// Thread-safe. Leases and what waits for an answer are void once the connection is lost: they say
// kUnavailable, and the messages come again. Callbacks come from the receiver's thread, or from
// within the call when it is refused, and with no lock held.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "queue/amqp_link.h"
#include "queue/broker.h"
#include "queue/next_line.h"
#include "queue/progress_desk.h"
#include "queue/rabbitmq_topology.h"
#include "queue/reply_desk.h"
#include "queue/subscriptions.h"

namespace forkbox::queue {

class RabbitMqReceiver final : private AmqpLinkHandler {
 public:
  struct Slots {
    std::uint16_t all = 0;         // 0: takes no messages
    std::uint16_t background = 0;  // of all; 0: none of that lane
  };

  // Where replies, progress and broadcasts go.
  struct Desks {
    ReplyDesk& replies;
    CancelSubscriptions& cancels;
    ProgressDesk& progress;
    WatchSubscriptions& watches;
  };
  RabbitMqReceiver(const AmqpAddress& address, RabbitMqTopology topology, Slots slots,
                   const Desks& desks, const Log& log);
  ~RabbitMqReceiver() override;  // every lease is gone by then

  // As the Broker's.
  Result<std::unique_ptr<Lease>> Next(Deadline deadline, bool interactive_only);
  Result<Depth> GetDepth(schema::Priority lane);
  void FreshDepth(schema::Priority lane, std::function<void(Result<Depth>)> done);
  Result<std::optional<std::int64_t>> OldestDispatch(schema::Priority lane);
  void Close();

  [[nodiscard]] const AmqpLink& link() const { return link_; }
  // What was no message of ours, since the start; it is in the dead-letter queue.
  [[nodiscard]] std::uint64_t rejected() const { return rejected_; }

  // Sends what is left to be acknowledged and ends the thread. What is asked from then on is
  // refused.
  void Stop() { link_.Stop(); }

 private:
  class RabbitMqLease;

  // A message that came, and where its acknowledgement goes: a tag means something only within the
  // connection it came by.
  struct Delivery {
    Message message;
    bool redelivered = false;
    std::uint64_t tag = 0;
    std::uint64_t connection = 0;
  };
  struct Settlement {
    std::uint64_t tag = 0;
    bool acked = false;  // else it goes back
  };
  // Who waits for the answer to one kind of question about one lane. One question is on its way at
  // a time; who asks meanwhile waits for the next, whose answer is fresh for him as well.
  template <class T>
  struct Question {
    using Callbacks = std::vector<std::function<void(Result<T>)>>;
    Callbacks wanted;  // guarded by mutex_
    // The link's thread's own.
    Callbacks asked;
    std::optional<SteadyTime> asked_at;  // null: none on its way
  };
  struct Lane {
    const schema::Priority priority;
    const std::string queue;
    Question<Depth> depth = {};
    Question<std::optional<std::int64_t>> oldest = {};
    // The link's thread's own.
    SteadyTime refresh_at = SteadyTime::min();  // of `waiting`
    bool depth_asked_again = false;

    // Guarded by mutex_.
    std::deque<Delivery> delivered = {};  // and not leased
    std::uint64_t leased = 0;
    std::uint64_t waiting = 0;  // when the broker was last asked
  };

  Result<void> SetUp(AmqpConnection& connection) override;
  Result<void> OnEvent(AmqpConnection& connection, AmqpEvent event) override;
  Result<Turn> Work(AmqpConnection* connection) override;
  void OnLost(const Error& why) override;

  Result<void> OnMessage(AmqpConnection& connection, Lane& lane, const AmqpDelivery& delivery);
  Result<void> OnGot(AmqpConnection& connection, const AmqpDelivery& delivery);
  void OnOldest(std::optional<std::int64_t> at_head);  // of the lane whose answer is next
  Result<void> OnDepth(AmqpConnection& connection, const AmqpQueueDepth& depth);
  void OnReply(const AmqpDelivery& delivery);
  void OnBroadcast(const AmqpDelivery& delivery);
  // Null when it is no message of ours and was rejected.
  Result<std::optional<Message>> Accept(AmqpConnection& connection, AmqpChannel channel,
                                        const Lane& lane, const AmqpDelivery& delivery);
  Result<void> StartConsuming(AmqpConnection& connection);
  Result<void> StopConsuming(AmqpConnection& connection);
  Result<void> Settle(AmqpConnection& connection);

  // Ask what is wanted, if no such question is on its way; when to look at it again.
  Result<Deadline> AskDepth(AmqpConnection& connection, Lane& lane, SteadyTime now);
  Result<Deadline> AskOldest(AmqpConnection& connection, Lane& lane, SteadyTime now);
  template <class T>
  void TakeWanted(Question<T>& question);
  template <class T>
  void Answer(Question<T>& question, const Result<T>& answer);

  Lane& LaneOf(schema::Priority priority);
  [[nodiscard]] Error NotConnected() const;
  bool IsClosed();
  // With mutex_ held.
  std::unique_ptr<Lease> Take(Lane& lane);
  [[nodiscard]] Depth DepthOf(const Lane& lane) const;
  void GiveBack(Lane& lane);  // what is delivered
  [[nodiscard]] std::size_t WantedLimit() const;
  // What a lease does at its end.
  Result<void> EndLease(const Delivery& delivery, bool acked);

  const RabbitMqTopology topology_;
  const Slots slots_;
  const Desks desks_;
  const Log log_;
  std::atomic<std::uint64_t> rejected_ = 0;

  std::mutex mutex_;
  Lane interactive_;
  Lane background_;
  std::vector<Settlement> settlements_;  // to be sent
  std::size_t unsettled_ = 0;            // delivered or leased by this connection
  std::size_t limit_ = 0;                // of unsettled_, as the broker knows it
  NextLine next_line_;
  std::uint64_t connection_ = 0;  // counts them
  bool up_ = false;
  bool closed_ = false;

  // The link's thread's own.
  bool consuming_ = false;
  std::deque<Lane*> gets_;  // whose answers come, in this order

  AmqpLink link_;  // last: its thread uses all of the above
};

}  // namespace forkbox::queue
