#include "queue/rabbitmq_topology.h"

#include <algorithm>
#include <limits>

namespace forkbox::queue {
namespace {

using schema::Priority;

constexpr std::int32_t kMaxDead = 10'000;

std::int32_t AsArgument(std::uint64_t limit) {
  return static_cast<std::int32_t>(
      std::min<std::uint64_t>(limit, std::numeric_limits<std::int32_t>::max()));
}

Result<void> DeclareShared(AmqpConnection& connection, AmqpChannel channel, const AmqpQueue& queue,
                           const Log& log) {
  const Result<std::uint64_t> declared = connection.DeclareQueue(channel, queue);
  if (declared) return {};
  if (declared.error().code != ErrorCode::kConflict) return Fail(declared.error());
  log.Warn("broker.queue_differs", {{"queue", queue.name}, {"error", declared.error().message}});
  if (const auto there = connection.DeclareQueue(channel, queue, /*passive=*/true); !there) {
    return Fail(there.error());
  }
  return {};
}

}  // namespace

std::string RabbitMqTopology::Lane(Priority lane) const {
  return prefix + std::string(ToString(lane));
}

std::uint64_t RabbitMqTopology::Limit(Priority lane) const {
  return lane == Priority::kInteractive ? max_waiting_interactive : max_waiting_background;
}

Result<void> RabbitMqTopology::Declare(AmqpConnection& connection, AmqpChannel channel,
                                       const Log& log) const {
  for (const Priority lane : kLanes) {
    // The type is named because later brokers let a vhost choose another default. A classic queue
    // keeps its limit exactly and refuses within 0.03 ms.
    const AmqpQueue queue{.name = Lane(lane),
                          .arguments = {{"x-queue-type", "classic"},
                                        {"x-max-length", AsArgument(Limit(lane))},
                                        {"x-overflow", "reject-publish"},
                                        {"x-dead-letter-exchange", ""},
                                        {"x-dead-letter-routing-key", Dead()}}};
    if (auto declared = DeclareShared(connection, channel, queue, log); !declared) return declared;
  }
  const AmqpQueue dead{
      .name = Dead(),
      .arguments = {
          {"x-queue-type", "classic"}, {"x-max-length", kMaxDead}, {"x-overflow", "drop-head"}}};
  if (auto declared = DeclareShared(connection, channel, dead, log); !declared) return declared;
  return connection.DeclareFanout(channel, CancelExchange());
}

}  // namespace forkbox::queue
