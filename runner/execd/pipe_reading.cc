#include "runner/execd/pipe_reading.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace forkbox::execd {

void SetNonBlocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

PipeState ReadOnce(int fd, std::span<char> buffer,
                   const std::function<void(std::string_view)>& consume) {
  const ssize_t n = ::read(fd, buffer.data(), buffer.size());
  if (n > 0) consume({buffer.data(), static_cast<std::size_t>(n)});
  if (n > 0) return PipeState::kOpen;
  if (n < 0) return errno == EAGAIN || errno == EINTR ? PipeState::kOpen : PipeState::kEnded;
  // A terminal whose output is thrown away by an interrupt just now reads as if it had ended.
  pollfd polled{fd, POLLIN, 0};
  (void)::poll(&polled, 1, 0);
  return (polled.revents & (POLLHUP | POLLERR)) != 0 ? PipeState::kEnded : PipeState::kOpen;
}

PipeState ReadWaiting(int fd, std::span<char> buffer,
                      const std::function<void(std::string_view)>& consume) {
  int waiting = 0;
  if (::ioctl(fd, FIONREAD, &waiting) != 0) return PipeState::kEnded;
  auto rest = static_cast<std::size_t>(std::max(waiting, 0));
  PipeState state = PipeState::kOpen;
  while (rest > 0 && state == PipeState::kOpen) {
    const std::size_t before = rest;
    state = ReadOnce(fd, buffer.first(std::min(rest, buffer.size())), [&](std::string_view bytes) {
      rest -= bytes.size();
      consume(bytes);
    });
    if (rest == before) break;  // it was thrown away
  }
  return state;
}

}  // namespace forkbox::execd
