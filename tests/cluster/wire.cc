#include "tests/cluster/wire.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <list>
#include <vector>

#include "base/check.h"

namespace forkbox::tests {
namespace {

sockaddr_in Loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

bool SendAll(int to, const char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t sent = ::send(to, data, size, MSG_NOSIGNAL);
    if (sent <= 0) return false;
    data += sent;
    size -= static_cast<std::size_t>(sent);
  }
  return true;
}

}  // namespace

Wire::Wire(std::uint16_t to_port)
    : to_port_(to_port), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address = Loopback(0);
  socklen_t size = sizeof(address);
  FORKBOX_CHECK(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size) == 0);
  FORKBOX_CHECK(::listen(listener_.get(), 16) == 0);
  FORKBOX_CHECK(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size) == 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

Wire::~Wire() = default;

void Wire::Run(const std::stop_token& stop) {
  struct Pair {
    UniqueFd ends[2];
    bool broken = false;
  };
  std::list<Pair> pairs;
  std::array<char, 65'536> buffer{};
  while (!stop.stop_requested()) {
    std::vector<pollfd> polled{{listener_.get(), POLLIN, 0}};
    for (const Pair& pair : pairs) {
      for (const UniqueFd& end : pair.ends) polled.push_back({end.get(), POLLIN, 0});
    }
    if (::poll(polled.data(), polled.size(), 20) <= 0) continue;
    std::size_t i = 1;
    for (Pair& pair : pairs) {
      for (int side = 0; side < 2; ++side, ++i) {
        if (polled[i].revents == 0 || pair.broken) continue;
        const ssize_t got = ::recv(pair.ends[side].get(), buffer.data(), buffer.size(), 0);
        if (got <= 0) {
          pair.broken = true;
        } else if (!silent_) {
          pair.broken =
              !SendAll(pair.ends[1 - side].get(), buffer.data(), static_cast<std::size_t>(got));
        }
      }
    }
    std::erase_if(pairs, [](const Pair& pair) { return pair.broken; });
    if (polled[0].revents != 0) {
      Pair pair;
      pair.ends[0] = UniqueFd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      pair.ends[1] = UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      const sockaddr_in address = Loopback(to_port_);
      if (::connect(pair.ends[1].get(), reinterpret_cast<const sockaddr*>(&address),
                    sizeof(address)) == 0) {
        pairs.push_back(std::move(pair));
      }
    }
  }
}

}  // namespace forkbox::tests
