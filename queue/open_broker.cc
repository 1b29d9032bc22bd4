#include "queue/open_broker.h"

#include <utility>

#include "queue/embedded_broker.h"
#include "queue/rabbitmq_broker.h"

namespace forkbox::queue {

Result<std::unique_ptr<Broker>> OpenBroker(const std::string& url, const BrokerOptions& options,
                                           const Log& log) {
  if (url == "embedded:") {
    return std::make_unique<EmbeddedBroker>(
        EmbeddedBroker::Options{.max_waiting_interactive = options.max_waiting_interactive,
                                .max_waiting_background = options.max_waiting_background,
                                .max_in_flight_per_owner = options.max_in_flight_per_owner});
  }
  if (url.starts_with("amqp:") || url.starts_with("amqps:")) {
    Result<std::unique_ptr<RabbitMqBroker>> broker =
        RabbitMqBroker::Open({.url = url,
                              .prefix = options.prefix,
                              .max_waiting_interactive = options.max_waiting_interactive,
                              .max_waiting_background = options.max_waiting_background,
                              .slots = options.slots,
                              .background_slots = options.background_slots},
                             log);
    if (!broker) return Fail(broker.error());
    return std::move(*broker);
  }
  return Fail(ErrorCode::kInvalidArgument,
              "the broker's URL begins with neither embedded: nor amqp://");
}

}  // namespace forkbox::queue
