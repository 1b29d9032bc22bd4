#include "runner/sandbox/wire.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace forkbox::sandbox {

bool SendPacket(int socket, const void* data, std::size_t size, std::span<const int> fds) {
  iovec part{const_cast<void*>(data), size};  // sendmsg does not write through it
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPacketFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    if (fds.size() > kMaxPacketFds) {
      errno = EMSGSIZE;
      return false;
    }
    std::memset(control, 0, sizeof control);
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
  }
  for (;;) {
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(size)) return true;
    if (sent >= 0) errno = EMSGSIZE;
    if (sent >= 0 || errno != EINTR) return false;
  }
}

ssize_t RecvPacket(int socket, void* data, std::size_t capacity, int* fds, std::size_t* fd_count) {
  const std::size_t room = fd_count != nullptr ? std::min(*fd_count, kMaxPacketFds) : 0;
  if (fd_count != nullptr) *fd_count = 0;
  iovec part{data, capacity};
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxPacketFds * sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t size = 0;
  do {
    size = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return -1;

  int received[kMaxPacketFds];
  std::size_t count = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t here = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < here && count < kMaxPacketFds; ++i) {
      std::memcpy(&received[count++], CMSG_DATA(header) + i * sizeof(int), sizeof(int));
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 || count > room) {
    for (std::size_t i = 0; i < count; ++i) ::close(received[i]);
    errno = EMSGSIZE;
    return -1;
  }
  for (std::size_t i = 0; i < count; ++i) fds[i] = received[i];
  if (fd_count != nullptr) *fd_count = count;
  return size;
}

}  // namespace forkbox::sandbox
