// AddressGuard: which IP addresses a webhook may be sent to. By default those of the public
// internet and no other, so that nobody can make this service speak to its own neighbours.
//
// Refused are private, shared, loopback, link-local (with every cloud's metadata address),
// multicast, documentation, benchmarking and reserved blocks, and all IPv6 addresses that carry an
// IPv4 address inside (mapped, compatible, translated, NAT64, 6to4, Teredo), whichever that is.
//
// A value; its const methods are thread-safe.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "webhook/ip_network.h"

namespace forkbox::webhook {

class AddressGuard {
 public:
  AddressGuard() = default;  // no exceptions

  // FORKBOX_WEBHOOK_ALLOW: networks allowed nevertheless, comma-separated; "" for none.
  // kInvalidArgument names the entry.
  static Result<AddressGuard> Parse(std::string_view allowed);

  [[nodiscard]] bool Allows(const IpAddress& address) const;
  [[nodiscard]] bool AllowsLoopback() const;  // of either family
  [[nodiscard]] bool HasExceptions() const { return !allowed_.empty(); }

 private:
  std::vector<IpNetwork> allowed_;
};

}  // namespace forkbox::webhook
