#include "webhook/ip_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <charconv>
#include <cstring>

namespace forkbox::webhook {

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  const std::string terminated(text);
  if (terminated.find('\0') != std::string::npos) return std::nullopt;
  IpAddress address;
  for (const int family : {AF_INET, AF_INET6}) {
    if (::inet_pton(family, terminated.c_str(), address.bytes.data()) == 1) {
      address.family = family;
      return address;
    }
  }
  return std::nullopt;
}

std::optional<IpAddress> IpAddress::FromSocket(const sockaddr* address, socklen_t length) {
  IpAddress ip;
  ip.family = address->sa_family;
  if (ip.family == AF_INET && length >= sizeof(sockaddr_in)) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof(in));
    std::memcpy(ip.bytes.data(), &in.sin_addr, sizeof(in.sin_addr));
    return ip;
  }
  if (ip.family == AF_INET6 && length >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in6{};
    std::memcpy(&in6, address, sizeof(in6));
    std::memcpy(ip.bytes.data(), &in6.sin6_addr, sizeof(in6.sin6_addr));
    return ip;
  }
  return std::nullopt;
}

Result<IpNetwork> IpNetwork::Parse(std::string_view text) {
  const auto bad = [&](const char* why) {
    return Fail(ErrorCode::kInvalidArgument, "'" + std::string(text) + "': " + why);
  };
  const std::size_t slash = text.find('/');
  const auto address = IpAddress::Parse(text.substr(0, slash));
  if (!address) return bad("not an IP address or CIDR block");
  IpNetwork network{*address, address->bits()};
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const char* const end = digits.data() + digits.size();
    const auto [rest, error] = std::from_chars(digits.data(), end, network.prefix_bits);
    if (error != std::errc() || rest != end || network.prefix_bits < 0 ||
        network.prefix_bits > address->bits()) {
      return bad("no such prefix length");
    }
  }
  for (int bit = network.prefix_bits; bit < address->bits(); ++bit) {
    if ((address->bytes[static_cast<std::size_t>(bit / 8)] >> (7 - bit % 8) & 1) != 0) {
      return bad("the address has bits beyond the prefix");
    }
  }
  return network;
}

bool IpNetwork::Contains(const IpAddress& address) const {
  if (address.family != first.family) return false;
  const auto whole = static_cast<std::size_t>(prefix_bits / 8);
  if (std::memcmp(address.bytes.data(), first.bytes.data(), whole) != 0) return false;
  const int rest = prefix_bits % 8;
  return rest == 0 || (address.bytes[whole] ^ first.bytes[whole]) >> (8 - rest) == 0;
}

}  // namespace forkbox::webhook
