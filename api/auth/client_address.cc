#include "api/auth/client_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

namespace forkbox::api {
namespace {

constexpr std::size_t kMaxAddressBytes = 64;  // INET6_ADDRSTRLEN is 46; a zone or a port may follow

std::string_view FirstEntry(const http::Fields& fields, std::string_view name) {
  const std::string* value = http::FindField(fields, name);
  if (value == nullptr) return {};
  std::string_view entry = std::string_view(*value).substr(0, value->find(','));
  while (!entry.empty() && (entry.front() == ' ' || entry.front() == '\t')) entry.remove_prefix(1);
  while (!entry.empty() && (entry.back() == ' ' || entry.back() == '\t')) entry.remove_suffix(1);
  return entry.size() <= kMaxAddressBytes ? entry : std::string_view();
}

}  // namespace

std::string ClientAddress(const http::Fields& fields, std::string_view peer, ProxyTrust trust) {
  if (trust == ProxyTrust::kAlways || (trust == ProxyTrust::kLoopback && IsLoopback(peer))) {
    for (const std::string_view name : {"CF-Connecting-IP", "X-Forwarded-For"}) {
      if (const std::string_view entry = FirstEntry(fields, name); !entry.empty()) {
        return std::string(entry);
      }
    }
  }
  return std::string(peer);
}

bool IsLoopback(std::string_view address) {
  if (address == "localhost") return true;
  if (address.size() > 2 && address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
  }
  const std::string text(address);
  in_addr v4{};
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) return (ntohl(v4.s_addr) >> 24) == 127;
  in6_addr v6{};
  if (inet_pton(AF_INET6, text.c_str(), &v6) != 1) return false;
  if (IN6_IS_ADDR_LOOPBACK(&v6)) return true;
  return IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127;
}

}  // namespace forkbox::api
