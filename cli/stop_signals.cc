#include "cli/stop_signals.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace forkbox::cli {

namespace {

// Only what a handler may touch: the write end of the pipe.
int g_pipe[2] = {-1, -1};

extern "C" void OnStopSignal(int) {
  const int saved = errno;
  const char byte = 1;
  [[maybe_unused]] const ssize_t written = ::write(g_pipe[1], &byte, 1);
  errno = saved;
}

}  // namespace

Result<StopSignals> StopSignals::Install() {
  if (::pipe2(g_pipe, O_CLOEXEC | O_NONBLOCK) != 0) return FailErrno("pipe2");
  struct sigaction action {};
  action.sa_handler = OnStopSignal;
  action.sa_flags = SA_RESTART;
  if (::sigaction(SIGTERM, &action, nullptr) != 0 || ::sigaction(SIGINT, &action, nullptr) != 0) {
    return FailErrno("sigaction");
  }
  StopSignals signals;
  signals.installed_ = true;
  return signals;
}

StopSignals::StopSignals(StopSignals&& other) noexcept
    : installed_(std::exchange(other.installed_, false)) {}

StopSignals::~StopSignals() {
  if (!installed_) return;
  ::signal(SIGTERM, SIG_DFL);
  ::signal(SIGINT, SIG_DFL);
  ::close(std::exchange(g_pipe[1], -1));
  ::close(std::exchange(g_pipe[0], -1));
}

bool StopSignals::Wait(std::chrono::milliseconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (true) {
    char byte = 0;
    if (::read(g_pipe[0], &byte, 1) == 1) return true;
    int left = -1;
    if (timeout >= std::chrono::milliseconds(0)) {
      left = static_cast<int>(
          std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now())
              .count());
      if (left <= 0) return false;
    }
    pollfd ready{g_pipe[0], POLLIN, 0};
    ::poll(&ready, 1, left);
  }
}

}  // namespace forkbox::cli
