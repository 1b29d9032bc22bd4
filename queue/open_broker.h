// OpenBroker: the Broker that a URL names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/log.h"
#include "queue/broker.h"

namespace forkbox::queue {

struct BrokerOptions {
  std::uint64_t max_waiting_interactive = 1'000;
  std::uint64_t max_waiting_background = 10'000;
  std::uint64_t max_in_flight_per_owner = 0;  // embedded: only; see EmbeddedBroker
  // amqp: only; see RabbitMqBroker.
  std::size_t slots = 0;
  std::size_t background_slots = 0;
  std::string prefix = "forkbox.";
};

// "embedded:" or "amqp://user:password@host:port/vhost". kInvalidArgument: another scheme, or
// malformed. Errors never hold the URL.
Result<std::unique_ptr<Broker>> OpenBroker(const std::string& url, const BrokerOptions& options,
                                           const Log& log);

}  // namespace forkbox::queue
