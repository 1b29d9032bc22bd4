// IpAddress and IpNetwork: addresses and CIDR blocks of IPv4 and IPv6, as plain values.
//
// The two families never mix: an IPv4 address that travels inside an IPv6 one (::ffff:127.0.0.1) is
// an IPv6 address here.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace forkbox::webhook {

struct IpAddress {
  int family = AF_UNSPEC;  // AF_INET or AF_INET6
  std::array<std::uint8_t, 16> bytes{};

  // The canonical spellings only: four decimal numbers, or IPv6 without brackets and zone.
  static std::optional<IpAddress> Parse(std::string_view text);
  // Null for another family, or one that does not fit in `length`.
  static std::optional<IpAddress> FromSocket(const sockaddr* address, socklen_t length);

  [[nodiscard]] int bits() const { return family == AF_INET ? 32 : 128; }
};

struct IpNetwork {
  IpAddress first;
  int prefix_bits = 0;

  // "10.0.0.0/8", "fd00::/8", or one address. kInvalidArgument names the text; so it does where
  // the address has bits beyond the prefix, which is more than was meant or less.
  static Result<IpNetwork> Parse(std::string_view text);

  [[nodiscard]] bool Contains(const IpAddress& address) const;
};

}  // namespace forkbox::webhook
