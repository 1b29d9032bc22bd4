// RabbitMqTopology: what we call our queues and our exchange, and how they are declared.
//
//   forkbox.interactive, forkbox.background   durable, bounded, full means refused
//   forkbox.dead                              what was no message of ours; the newest 10,000
//   forkbox.cancel                            fanout: ids of executions to cancel or to watch
//   forkbox.reply.INSTANCE, forkbox.cancel.INSTANCE   of one process, gone with its connection
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/log.h"
#include "base/result.h"
#include "queue/amqp_connection.h"
#include "schema/execution.h"

namespace forkbox::queue {

struct RabbitMqTopology {
  std::string prefix;
  std::string instance;
  std::uint64_t max_waiting_interactive = 0;
  std::uint64_t max_waiting_background = 0;

  [[nodiscard]] std::string Lane(schema::Priority lane) const;
  [[nodiscard]] std::uint64_t Limit(schema::Priority lane) const;
  [[nodiscard]] std::string Dead() const { return prefix + "dead"; }
  [[nodiscard]] std::string CancelExchange() const { return prefix + "cancel"; }
  [[nodiscard]] std::string CancelQueue() const { return CancelExchange() + "." + instance; }
  [[nodiscard]] std::string ReplyQueue() const { return ReplyPrefix() + instance; }
  // Of every process: what else is named as an address is none.
  [[nodiscard]] std::string ReplyPrefix() const { return prefix + "reply."; }

  // Everything that is shared by all processes. A queue that an operator has declared with other
  // arguments is used as it is, with a word in the log.
  Result<void> Declare(AmqpConnection& connection, AmqpChannel channel, const Log& log) const;
};

inline constexpr schema::Priority kLanes[] = {schema::Priority::kInteractive,
                                              schema::Priority::kBackground};

}  // namespace forkbox::queue
