#include "runner/languages/node/loop_descriptors.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace forkbox::javascript {
namespace {

// A template has about twenty.
constexpr int kMaxDescriptor = 255;

// What uv__signal_unlock() writes; the value is never looked at.
constexpr char kUnlockToken = 42;

bool IsBlockingPipe(int fd, int access, struct stat* info) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_ACCMODE) == access && (flags & O_NONBLOCK) == 0 &&
         ::fstat(fd, info) == 0 && S_ISFIFO(info->st_mode);
}

}  // namespace

Result<LoopDescriptors> LoopDescriptors::Find() {
  int lock_read = -1;
  int lock_write = -1;
  int found = 0;
  for (int fd = STDERR_FILENO + 1; fd <= kMaxDescriptor; ++fd) {
    // A blocking pipe holding one byte, with both ends here, is an unlocked uv__signal_lock.
    struct stat reader {};
    int waiting = 0;
    if (!IsBlockingPipe(fd, O_RDONLY, &reader) || ::ioctl(fd, FIONREAD, &waiting) != 0 ||
        waiting != 1) {
      continue;
    }
    for (int other = STDERR_FILENO + 1; other <= kMaxDescriptor; ++other) {
      struct stat writer {};
      if (IsBlockingPipe(other, O_WRONLY, &writer) && writer.st_ino == reader.st_ino &&
          writer.st_dev == reader.st_dev) {
        lock_read = fd;
        lock_write = other;
        ++found;
      }
    }
  }
  if (found != 1) return Fail(ErrorCode::kUnavailable, "libuv's signal lock was not found");

  const int highest = std::max(lock_read, lock_write);
  for (;;) {
    const int fd = ::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    if (fd < 0) return FailErrno("reserve descriptors");
    if (fd > highest) {
      ::close(fd);
      break;
    }
  }
  return LoopDescriptors(lock_read, lock_write);
}

bool LoopDescriptors::Renew(uv_loop_t& loop, int channel) const {
  std::array<int, 2> lock{};
  if (::pipe2(lock.data(), O_CLOEXEC) != 0) return false;
  // Out of the way first: the pipe may have been given the very numbers it must not be lost to.
  const int read_end = ::fcntl(lock[0], F_DUPFD_CLOEXEC, kMaxDescriptor + 1);
  const int write_end = ::fcntl(lock[1], F_DUPFD_CLOEXEC, kMaxDescriptor + 1);
  ::close(lock[0]);
  ::close(lock[1]);
  if (read_end < 0 || write_end < 0 || ::dup3(read_end, lock_read_, O_CLOEXEC) < 0 ||
      ::dup3(write_end, lock_write_, O_CLOEXEC) < 0 ||
      ::write(write_end, &kUnlockToken, sizeof kUnlockToken) != sizeof kUnlockToken) {
    return false;
  }
  ::close(read_end);
  ::close(write_end);

  // uv_loop_fork() closes the loop's old numbers, one after the other, between opening new ones.
  // Held by something, none of them can be taken by a new one and then be closed by mistake.
  for (const int fd : {loop.backend_fd, loop.async_io_watcher.fd, loop.async_wfd,
                       loop.signal_pipefd[0], loop.signal_pipefd[1]}) {
    if (fd > channel && ::dup3(channel, fd, O_CLOEXEC) < 0) return false;
  }
  const int error = uv_loop_fork(&loop);
  errno = -error;
  return error == 0;
}

}  // namespace forkbox::javascript
