#include "webhook/address_guard.h"

#include <algorithm>

#include "base/check.h"

namespace forkbox::webhook {
namespace {

// IANA's special-purpose registries (RFC 6890), where not globally reachable.
constexpr std::string_view kRefused[] = {
    "0.0.0.0/8",         // this network
    "10.0.0.0/8",        // private
    "100.64.0.0/10",     // shared, behind carriers' NAT; one cloud's metadata
    "127.0.0.0/8",       // loopback
    "168.63.129.16/32",  // Azure's platform service: a public address, but of the host we run on
    "169.254.0.0/16",    // link-local; metadata
    "172.16.0.0/12",     // private
    "192.0.0.0/24",      // protocol assignments
    "192.0.2.0/24",      // documentation
    "192.88.99.0/24",    // 6to4 relays
    "192.168.0.0/16",    // private
    "198.18.0.0/15",     // benchmarking
    "198.51.100.0/24",   // documentation
    "203.0.113.0/24",    // documentation
    "224.0.0.0/4",       // multicast
    "240.0.0.0/4",       // reserved; broadcast
    // Of IPv6 only 2000::/3 is given out to the world. Outside are loopback, unspecified, mapped
    // and translated IPv4, NAT64, unique local, link-local, site-local, multicast and what is
    // reserved.
    "::/3", "4000::/2", "8000::/1",
    "2001::/23",      // protocol assignments; Teredo, benchmarking, ORCHID
    "2001:db8::/32",  // documentation
    "2002::/16",      // 6to4
    "3fff::/20",      // documentation
};

bool ContainsAny(const std::vector<IpNetwork>& networks, const IpAddress& address) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const IpNetwork& network) { return network.Contains(address); });
}

const std::vector<IpNetwork>& Refused() {
  static const std::vector<IpNetwork> refused = [] {
    std::vector<IpNetwork> networks;
    for (const std::string_view text : kRefused) {
      const auto network = IpNetwork::Parse(text);
      FORKBOX_CHECK(network.has_value());
      networks.push_back(*network);
    }
    return networks;
  }();
  return refused;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

}  // namespace

Result<AddressGuard> AddressGuard::Parse(std::string_view allowed) {
  AddressGuard guard;
  if (Trim(allowed).empty()) return guard;
  for (std::size_t start = 0; start <= allowed.size();) {
    const std::size_t comma = std::min(allowed.find(',', start), allowed.size());
    auto network = IpNetwork::Parse(Trim(allowed.substr(start, comma - start)));
    if (!network) return Fail(std::move(network).error());
    guard.allowed_.push_back(*network);
    start = comma + 1;
  }
  return guard;
}

bool AddressGuard::Allows(const IpAddress& address) const {
  return !ContainsAny(Refused(), address) || ContainsAny(allowed_, address);
}

bool AddressGuard::AllowsLoopback() const {
  return Allows(*IpAddress::Parse("127.0.0.1")) || Allows(*IpAddress::Parse("::1"));
}

}  // namespace forkbox::webhook
