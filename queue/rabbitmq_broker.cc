#include "queue/rabbitmq_broker.h"

#include <limits>
#include <utility>

#include "base/uuid.h"
#include "queue/amqp_address.h"

namespace forkbox::queue {
namespace {

// Room for what is appended to it within the 255 bytes of a name.
constexpr std::size_t kMaxPrefixBytes = 128;

}  // namespace

Result<std::unique_ptr<RabbitMqBroker>> RabbitMqBroker::Open(const Options& options,
                                                             const Log& log) {
  const Result<AmqpAddress> address = ParseAmqpAddress(options.url);
  if (!address) return Fail(address.error());
  if (options.prefix.empty() || options.prefix.size() > kMaxPrefixBytes) {
    return Fail(ErrorCode::kInvalidArgument, "the prefix of queues has 1 to 128 bytes");
  }
  if (options.slots > std::numeric_limits<std::uint16_t>::max() ||
      options.background_slots > options.slots) {
    return Fail(ErrorCode::kInvalidArgument,
                "at most 65535 slots, and of them the background slots");
  }
  const RabbitMqTopology topology{.prefix = options.prefix,
                                  .instance = NewUuidV7(),
                                  .max_waiting_interactive = options.max_waiting_interactive,
                                  .max_waiting_background = options.max_waiting_background};
  const RabbitMqReceiver::Slots slots{
      .all = static_cast<std::uint16_t>(options.slots),
      .background = static_cast<std::uint16_t>(options.background_slots)};
  const Deadline deadline = std::chrono::steady_clock::now() + options.open_timeout;
  std::unique_ptr<RabbitMqBroker> broker(new RabbitMqBroker(*address, topology, slots, log));
  for (const AmqpLink* link : {&broker->receiver_.link(), &broker->sender_.link()}) {
    if (const Result<void> up = link->WaitUntilUp(deadline); !up) return Fail(up.error());
  }
  return broker;
}

RabbitMqBroker::RabbitMqBroker(const AmqpAddress& address, const RabbitMqTopology& topology,
                               RabbitMqReceiver::Slots slots, const Log& log)
    : reply_address_(topology.ReplyQueue()),
      receiver_(
          address, topology, slots,
          {.replies = replies_, .cancels = cancels_, .progress = progress_, .watches = watches_},
          log),
      sender_(address, topology, log) {}

RabbitMqBroker::~RabbitMqBroker() {
  Close();
  // Both threads end before either half goes: what one of them calls may well use the other.
  sender_.Stop();
  receiver_.Stop();
}

void RabbitMqBroker::PublishAsync(Message message, Done done) {
  sender_.Publish(message, std::move(done));
}

Result<std::unique_ptr<Lease>> RabbitMqBroker::Next(Deadline deadline, bool interactive_only) {
  return receiver_.Next(deadline, interactive_only);
}

Result<Depth> RabbitMqBroker::GetDepth(schema::Priority lane) { return receiver_.GetDepth(lane); }

void RabbitMqBroker::FreshDepth(schema::Priority lane, std::function<void(Result<Depth>)> done) {
  receiver_.FreshDepth(lane, std::move(done));
}

Result<std::optional<std::int64_t>> RabbitMqBroker::OldestDispatch(schema::Priority lane) {
  return receiver_.OldestDispatch(lane);
}

void RabbitMqBroker::Expect(const schema::ExecutionId& id, std::function<void(Reply)> on_reply) {
  replies_.Expect(id, std::move(on_reply));
}

void RabbitMqBroker::Forget(const schema::ExecutionId& id) { replies_.Forget(id); }

void RabbitMqBroker::SendReply(Reply reply) {
  if (reply.to.empty() || reply.to == reply_address_) {
    replies_.Deliver(std::move(reply));
  } else {
    sender_.SendReply(reply);
  }
}

std::shared_ptr<void> RabbitMqBroker::OnCancel(
    std::function<void(const schema::ExecutionId&)> on_cancel) {
  return cancels_.Add(std::move(on_cancel));
}

Result<void> RabbitMqBroker::Cancel(const schema::ExecutionId& id) {
  return sender_.SendCancel(id);
}

std::shared_ptr<void> RabbitMqBroker::OnWatch(std::function<void(const Watch&)> on_watch) {
  return watches_.Add(std::move(on_watch));
}

Result<void> RabbitMqBroker::SendWatch(const Watch& watch) { return sender_.SendWatch(watch); }

void RabbitMqBroker::ExpectProgress(const schema::ExecutionId& id,
                                    std::function<void(Progress)> on_progress) {
  progress_.Expect(id, std::move(on_progress));
}

void RabbitMqBroker::ForgetProgress(const schema::ExecutionId& id) { progress_.Forget(id); }

void RabbitMqBroker::SendProgress(Progress progress) {
  if (progress.to == reply_address_) {
    progress_.Deliver(std::move(progress));
  } else {
    sender_.SendProgress(progress);
  }
}

Result<void> RabbitMqBroker::Status() {
  if (Result<void> sends = sender_.Status(); !sends) return sends;
  return receiver_.link().Status();
}

void RabbitMqBroker::Close() {
  sender_.Close();
  receiver_.Close();
}

}  // namespace forkbox::queue
