#include "runner/execd/agent/local_connection.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "runner/execd/agent/system_error.h"

namespace forkbox::execd {
namespace {

constexpr int kPatienceMs = 3000;  // a server whose backlog is full does not answer at all

// 0 or an errno.
int ConnectTo(const sockaddr* address, socklen_t size, UniqueFd* connection) {
  UniqueFd made(::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!made) return errno;
  if (::connect(made.get(), address, size) != 0) {
    if (errno != EINPROGRESS) return errno;
    pollfd polled{made.get(), POLLOUT, 0};
    if (::poll(&polled, 1, kPatienceMs) != 1) return ETIMEDOUT;
    int error = 0;
    socklen_t error_size = sizeof error;
    if (::getsockopt(made.get(), SOL_SOCKET, SO_ERROR, &error, &error_size) != 0) return errno;
    if (error != 0) return error;
  }
  *connection = std::move(made);
  return 0;
}

}  // namespace

Result<UniqueFd> ConnectLocally(std::uint16_t port) {
  UniqueFd connection;
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int error = ConnectTo(reinterpret_cast<const sockaddr*>(&v4), sizeof v4, &connection);
  if (error == 0) return connection;
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  v6.sin6_addr = in6addr_loopback;
  if (ConnectTo(reinterpret_cast<const sockaddr*>(&v6), sizeof v6, &connection) == 0) {
    return connection;
  }
  return Fail(ErrorCode::kUnavailable,
              "connect to port " + std::to_string(port) + ": " + SystemWords(error));
}

}  // namespace forkbox::execd
