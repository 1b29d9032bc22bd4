#include "cli/listen_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/unique_fd.h"

namespace forkbox::cli {

namespace {

bool IsIpv6(const std::string& host) { return host.find(':') != std::string::npos; }

}  // namespace

Result<ListenAddress> ListenAddress::Parse(std::string_view text) {
  const auto bad = [&](const char* why) {
    return Fail(ErrorCode::kInvalidArgument, "\"" + std::string(text.substr(0, 80)) + "\" " + why);
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad("is not HOST:PORT, such as 127.0.0.1:8080");
  std::string_view host = text.substr(0, colon);
  const std::string_view port = text.substr(colon + 1);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) host = host.substr(1, host.size() - 2);
  if (!bracketed && host.find(':') != std::string_view::npos) {
    return bad("needs brackets around an IPv6 address, such as [::1]:8080");
  }

  ListenAddress address;
  address.host = host == "localhost" ? "127.0.0.1" : std::string(host);
  in_addr v4{};
  in6_addr v6{};
  const bool known = bracketed ? ::inet_pton(AF_INET6, address.host.c_str(), &v6) == 1
                               : ::inet_pton(AF_INET, address.host.c_str(), &v4) == 1;
  if (!known) return bad("does not start with an IP address or localhost");
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), address.port);
  if (error != std::errc() || end != port.data() + port.size()) {
    return bad("does not end in a port of 0 to 65535");
  }
  return address;
}

std::string ListenAddress::UrlHost() const {
  if (host == "0.0.0.0") return "127.0.0.1";
  if (host == "::") return "[::1]";
  return IsIpv6(host) ? "[" + host + "]" : host;
}

Result<void> CheckCanListen(const ListenAddress& address) {
  sockaddr_storage storage{};
  socklen_t size = 0;
  const int family = IsIpv6(address.host) ? AF_INET6 : AF_INET;
  if (family == AF_INET6) {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(address.port);
    ::inet_pton(AF_INET6, address.host.c_str(), &v6->sin6_addr);
    size = sizeof *v6;
  } else {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(address.port);
    ::inet_pton(AF_INET, address.host.c_str(), &v4->sin_addr);
    size = sizeof *v4;
  }
  const UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd) return FailErrno("socket");
  const int on = 1;
  ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&storage), size) == 0 &&
      ::listen(fd.get(), 1) == 0) {
    return {};
  }
  const int error = errno;
  const std::string where = address.host + " port " + std::to_string(address.port);
  if (error == EADDRINUSE) {
    return Fail(ErrorCode::kUnavailable,
                where + " is in use by another program; choose another with --listen HOST:PORT");
  }
  return Fail(ErrorCode::kUnavailable,
              "cannot listen on " + where + ": " + std::string(std::strerror(error)));
}

}  // namespace forkbox::cli
