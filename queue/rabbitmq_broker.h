// RabbitMqBroker: the Broker for many processes on many machines, over RabbitMQ.
//
// Two connections, each with a thread of its own: one that publishes, which the broker may stop
// reading from (rabbitmq_sender.h), and one that never does (rabbitmq_receiver.h). Both come back
// by themselves, and declare anew whatever is not there. How things are named: rabbitmq_topology.h.
//
// Beyond the contract:
// - A message of the background lane is on the broker's disk when its publish succeeds; one of the
//   interactive lane is in its memory, and lost with it: the row is swept and published again.
// - What is delivered to a process and not leased yet does not count against the limit of its lane,
//   and is missing from a depth that another process asks for.
// - A dropped lease goes back to the head of its queue, for any process to take. What is on its way
//   at that moment comes before it.
// - Oversized or malformed messages and those of an unknown version go to the dead-letter queue.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "queue/broker.h"
#include "queue/progress_desk.h"
#include "queue/rabbitmq_receiver.h"
#include "queue/rabbitmq_sender.h"
#include "queue/reply_desk.h"
#include "queue/subscriptions.h"

namespace forkbox::queue {

class RabbitMqBroker final : public Broker {
 public:
  struct Options {
    std::string url;  // amqp://user:password@host:port/vhost
    std::string prefix = "forkbox.";
    std::uint64_t max_waiting_interactive = 1'000;
    std::uint64_t max_waiting_background = 10'000;
    // Threads that call Next(): as many messages are held at once, and for each that waits while
    // all of those are leased, one more. 0: this process only publishes.
    std::size_t slots = 0;
    std::size_t background_slots = 0;  // of these, those that take any lane
    std::chrono::milliseconds open_timeout{15'000};
  };

  // Connects, trying again for `open_timeout`. kUnavailable, kUnauthenticated and kInvalidArgument
  // name the cause and never the password.
  static Result<std::unique_ptr<RabbitMqBroker>> Open(const Options& options, const Log& log);
  // Every lease is gone by then. Sends what has been accepted, for about a second at most.
  ~RabbitMqBroker() override;

  void PublishAsync(Message message, Done done) override;
  // Waits through a lost connection.
  Result<std::unique_ptr<Lease>> Next(Deadline deadline, bool interactive_only) override;
  Result<Depth> GetDepth(schema::Priority lane) override;
  void FreshDepth(schema::Priority lane, std::function<void(Result<Depth>)> done) override;
  Result<std::optional<std::int64_t>> OldestDispatch(schema::Priority lane) override;
  [[nodiscard]] const std::string& ReplyAddress() const override { return reply_address_; }
  void Expect(const schema::ExecutionId& id, std::function<void(Reply)> on_reply) override;
  void Forget(const schema::ExecutionId& id) override;
  void SendReply(Reply reply) override;
  std::shared_ptr<void> OnCancel(
      std::function<void(const schema::ExecutionId&)> on_cancel) override;
  Result<void> Cancel(const schema::ExecutionId& id) override;
  std::shared_ptr<void> OnWatch(std::function<void(const Watch&)> on_watch) override;
  Result<void> SendWatch(const Watch& watch) override;
  void ExpectProgress(const schema::ExecutionId& id,
                      std::function<void(Progress)> on_progress) override;
  void ForgetProgress(const schema::ExecutionId& id) override;
  void SendProgress(Progress progress) override;
  Result<void> Status() override;
  void Close() override;

  // Messages this process has put into the dead-letter queue.
  [[nodiscard]] std::uint64_t Rejected() const { return receiver_.rejected(); }

 private:
  RabbitMqBroker(const AmqpAddress& address, const RabbitMqTopology& topology,
                 RabbitMqReceiver::Slots slots, const Log& log);

  const std::string reply_address_;
  ReplyDesk replies_;
  CancelSubscriptions cancels_;
  ProgressDesk progress_;
  WatchSubscriptions watches_;
  RabbitMqReceiver receiver_;
  RabbitMqSender sender_;
};

}  // namespace forkbox::queue
