// RabbitMqSender: all that a process publishes to RabbitMQ: messages into the lanes, replies,
// progress, cancels and watches.
//
// It has a connection of its own, because the broker stops reading from a connection that publishes
// while it is short of memory or disk. Acknowledgements must get through just then: they are what
// empties the queues.
//
// Thread-safe. Nothing waits: what cannot be written is kept, within bounds and for
// Broker::kPublishTimeout at most. A message that was not confirmed when the connection broke is
// published again. Callbacks come from the sender's thread or from within the call.
#pragma once

#include <atomic>
#include <cstddef>
#include <deque>
#include <mutex>
#include <vector>

#include "base/log.h"
#include "queue/amqp_link.h"
#include "queue/broker.h"
#include "queue/publish_window.h"
#include "queue/rabbitmq_topology.h"

namespace forkbox::queue {

class RabbitMqSender final : private AmqpLinkHandler {
 public:
  RabbitMqSender(const AmqpAddress& address, RabbitMqTopology topology, const Log& log);
  ~RabbitMqSender() override;

  [[nodiscard]] const AmqpLink& link() const { return link_; }
  // kUnavailable also while the broker does not read what we publish.
  [[nodiscard]] Result<void> Status() const;

  // As Broker::PublishAsync.
  void Publish(const Message& message, Broker::Done done);
  // Dropped when it cannot be sent.
  void SendReply(const Reply& reply);
  void SendProgress(const Progress& progress);
  // kUnavailable: not connected, or too much waits.
  Result<void> SendWatch(const Watch& watch);
  Result<void> SendCancel(const schema::ExecutionId& id);

  // Refuses every further Publish().
  void Close() { closed_ = true; }
  // The same, ends the thread once what waits has been sent, about a second later at most, and
  // answers whoever has none by then.
  void Stop();

 private:
  Result<void> SetUp(AmqpConnection& connection) override;
  Result<void> OnEvent(AmqpConnection& connection, AmqpEvent event) override;
  Result<Turn> Work(AmqpConnection* connection) override;
  void OnLost(const Error& why) override;

  // What waits to be written on one channel: the lanes' messages, progress, or the rest.
  struct Stream {
    const std::size_t max_bytes;
    // Guarded by mutex_.
    std::deque<PendingPublish> inbox = {};
    std::size_t bytes = 0;  // from Enqueue() to Finish()
    // The link's thread's own: oldest first, the first perhaps written in part.
    std::deque<PendingPublish> waiting = {};
  };

  [[nodiscard]] Result<void> MayPublish() const;
  // False, with `publish` untouched, when too much waits already.
  bool Enqueue(Stream& stream, PendingPublish& publish);
  // The last of every publish: lets go of it and calls whoever waits.
  void Finish(Stream& stream, PendingPublish publish, Result<void> result);
  Result<void> Broadcast(std::string body);
  void FinishAll(std::vector<PendingPublish> publishes, const Result<void>& result);  // of lanes_
  void TakeInbox();
  void DropLate(SteadyTime now);
  Stream* NextToWrite();
  Result<void> WriteFirst(AmqpConnection& connection, Stream& stream);

  const RabbitMqTopology topology_;
  const Log log_;
  std::atomic<bool> closed_ = false;
  std::atomic<bool> blocked_ = false;

  std::mutex mutex_;
  Stream lanes_;
  Stream others_;
  Stream progress_;  // apart, so that no flood of it delays a reply

  // The link's thread's own.
  PublishWindow window_;
  std::size_t turn_ = 0;  // whose it is

  AmqpLink link_;  // last: its thread uses all of the above
};

}  // namespace forkbox::queue
