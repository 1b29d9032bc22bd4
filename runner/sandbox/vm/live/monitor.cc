#include "runner/sandbox/vm/live/monitor.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>

namespace forkbox::sandbox::vm {
namespace {

constexpr std::size_t kMaxLine = 64U << 10;

// "" when the socket ended.
std::string ReadLine(int socket) {
  std::string line;
  char byte = 0;
  while (line.size() < kMaxLine) {
    const ssize_t n = ::read(socket, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return {};
    if (byte == '\n') return line;
    line += byte;
  }
  return {};
}

// Events come in between; answers begin with their kind.
std::string Execute(int socket, std::string_view command) {
  const std::string line = "{\"execute\":\"" + std::string(command) + "\"}\n";
  if (::send(socket, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) {
    return "QEMU's monitor: " + std::string(std::strerror(errno));
  }
  for (;;) {
    const std::string answer = ReadLine(socket);
    if (answer.empty()) return "QEMU's monitor has closed";
    if (answer.starts_with("{\"return\"")) return {};
    if (answer.starts_with("{\"error\"")) return std::string(command) + ": " + answer;
  }
}

}  // namespace

std::string StopMachine(int socket) {
  if (auto failure = Execute(socket, "qmp_capabilities"); !failure.empty()) return failure;
  return Execute(socket, "stop");
}

bool RenewMonitor(int place) {
  constexpr std::string_view kRun = "{\"execute\":\"cont\"}\n";
  const int flags = ::fcntl(place, F_GETFL);
  int ends[2];
  if (flags < 0 || ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return false;
  if (::fcntl(ends[1], F_SETFL, flags) != 0 || ::dup3(ends[1], place, O_CLOEXEC) < 0) return false;
  ::close(ends[1]);
  return ::write(ends[0], kRun.data(), kRun.size()) == static_cast<ssize_t>(kRun.size());
}

}  // namespace forkbox::sandbox::vm
