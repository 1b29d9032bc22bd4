#include "runner/sandbox/vm/live/open_files.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string_view>

namespace forkbox::sandbox::vm {
namespace {

namespace fs = std::filesystem;

bool WatchesSomething(int epoll) {
  std::ifstream info("/proc/self/fdinfo/" + std::to_string(epoll));
  std::string word;
  while (info >> word) {
    if (word == "tfd:") return true;
  }
  return false;
}

// A signalfd tells each reader of its own signals (signalfd(2)).
bool CanBeShared(int fd, std::string_view target) {
  if (target == "anon_inode:[signalfd]") return true;
  struct stat info {};
  if (::fstat(fd, &info) != 0) return false;
  if (S_ISCHR(info.st_mode)) {
    return target == "/dev/null" || target == "/dev/urandom" || target == "/dev/random";
  }
  return S_ISREG(info.st_mode) && (::fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
}

}  // namespace

std::string OpenFiles::Examine(const int* known, std::size_t known_count) {
  own_count_ = 0;
  std::error_code error;
  for (fs::directory_iterator entry("/proc/self/fd", error), end; !error && entry != end;
       entry.increment(error)) {
    const int fd = std::atoi(entry->path().filename().c_str());
    if (std::find(known, known + known_count, fd) != known + known_count) continue;
    std::error_code gone;  // this very listing's descriptor leads to a folder
    const std::string target = fs::read_symlink(entry->path(), gone);
    if (gone || target.starts_with("/proc/")) continue;
    const bool is_eventfd = target == "anon_inode:[eventfd]";
    const bool is_epoll = target == "anon_inode:[eventpoll]" && !WatchesSomething(fd);
    if (!is_eventfd && !is_epoll) {
      if (CanBeShared(fd, target)) continue;
      return "descriptor " + std::to_string(fd) + " is " + target;
    }
    if (own_count_ == kMaxOwn) return "too many eventfds";
    own_[own_count_++] = {fd, is_eventfd ? Kind::kEventfd : Kind::kEpoll,
                          (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0,
                          (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0};
  }
  return error ? "/proc/self/fd: " + error.message() : "";
}

bool OpenFiles::Renew() const {
  for (std::size_t i = 0; i < own_count_; ++i) {
    const Own& own = own_[i];
    // Full, whatever it was: a thread that looks in vain goes on waiting, one that was not told
    // waits for ever.
    const int fresh = own.kind == Kind::kEventfd ? ::eventfd(1, own.nonblocking ? EFD_NONBLOCK : 0)
                                                 : ::epoll_create1(0);
    if (fresh < 0 || ::dup3(fresh, own.fd, own.close_on_exec ? O_CLOEXEC : 0) < 0) return false;
    ::close(fresh);
  }
  return true;
}

}  // namespace forkbox::sandbox::vm
