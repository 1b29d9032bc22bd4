#include "runner/execd/agent/agent_channel.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "runner/sandbox/wire.h"

namespace forkbox::execd {

bool AgentChannel::ReadExactly(char* data, std::size_t size) {
  while (size > 0) {
    const ssize_t n = ::recv(fd_, data, size, MSG_WAITALL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    data += n;
    size -= static_cast<std::size_t>(n);
  }
  return true;
}

bool AgentChannel::Receive(FrameKind* kind, std::string* body) {
  FrameHeader header;
  if (!ReadExactly(reinterpret_cast<char*>(&header), sizeof header)) return false;
  if (header.size > kMaxRequestBytes) return false;
  *kind = static_cast<FrameKind>(header.kind);
  body->resize(header.size);
  return ReadExactly(body->data(), body->size());
}

bool AgentChannel::Send(FrameKind kind, std::string_view body, std::span<const int> descriptors) {
  const FrameHeader header{static_cast<std::uint32_t>(kind),
                           static_cast<std::uint32_t>(body.size())};
  // Descriptors go with the header, whose few bytes are never parted.
  if (!sandbox::SendPacket(fd_, &header, sizeof header, descriptors)) return false;
  while (!body.empty()) {
    const ssize_t n = ::send(fd_, body.data(), body.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    body.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

bool AgentChannel::PeerGone() const {
  pollfd polled{fd_, POLLRDHUP, 0};
  return ::poll(&polled, 1, 0) == 1;
}

void AgentChannel::Drain() {
  std::array<char, 16 << 10> waste;
  for (;;) {
    const ssize_t n = ::recv(fd_, waste.data(), waste.size(), 0);
    if (n == 0 || (n < 0 && errno != EINTR)) return;
  }
}

}  // namespace forkbox::execd
