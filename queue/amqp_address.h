// AmqpAddress: where a broker is and who we are there, out of
// `amqp://user:password@host:port/vhost`.
#pragma once

#include <string>

#include "base/result.h"

namespace forkbox::queue {

struct AmqpAddress {
  std::string host;
  int port = 0;
  std::string user;
  std::string password;
  std::string vhost;

  // For people: host, port and vhost, nothing secret.
  [[nodiscard]] std::string ToString() const;
};

// Parts may be percent-encoded; absent ones are guest:guest@localhost:5672 and the vhost "/" (also
// when the path is a bare "/"). kInvalidArgument, in words that hold no part of the URL; amqps is
// among what is refused.
Result<AmqpAddress> ParseAmqpAddress(const std::string& url);

}  // namespace forkbox::queue
