#include "runner/sandbox/feed.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace forkbox::sandbox {

Feed::Feed(UniqueFd fd, std::string bytes) : fd_(std::move(fd)), bytes_(std::move(bytes)) {
  ::fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
}

void Feed::Pump() {
  while (fd_ && at_ < bytes_.size()) {
    // A pipe knows no MSG_NOSIGNAL; the process ignores SIGPIPE (see process_driver.h).
    const ssize_t n = ::write(fd_.get(), bytes_.data() + at_, bytes_.size() - at_);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) break;
    at_ += static_cast<std::size_t>(n);
  }
  fd_.Reset();
  bytes_ = std::string();  // the run may be long, and they many
}

}  // namespace forkbox::sandbox
