#include "queue/amqp_address.h"

#include <amqp.h>

namespace forkbox::queue {

std::string AmqpAddress::ToString() const {
  return host + ":" + std::to_string(port) + " vhost " + vhost;
}

Result<AmqpAddress> ParseAmqpAddress(const std::string& url) {
  std::string text = url;  // parsed in place: what it points to lies in here
  if (text.find('\0') != text.npos) {
    return Fail(ErrorCode::kInvalidArgument, "the broker's URL holds a NUL");
  }
  amqp_connection_info info{};
  if (amqp_parse_url(text.data(), &info) != AMQP_STATUS_OK) {
    return Fail(ErrorCode::kInvalidArgument,
                "the broker's URL is not of the form amqp://user:password@host:port/vhost");
  }
  if (info.ssl != 0) {
    return Fail(ErrorCode::kInvalidArgument,
                "amqps is not supported: put a TLS tunnel in front and use amqp");
  }
  return AmqpAddress{.host = info.host,
                     .port = info.port,
                     .user = info.user,
                     .password = info.password,
                     .vhost = *info.vhost == '\0' ? "/" : info.vhost};
}

}  // namespace forkbox::queue
