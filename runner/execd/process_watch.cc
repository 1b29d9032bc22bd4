#include "runner/execd/process_watch.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <thread>
#include <vector>

#include "runner/execd/pipe_reading.h"
#include "runner/sandbox/protocol.h"

namespace forkbox::execd {
namespace {

// When the signal could not be sent: the process that sends it may have been killed.
constexpr std::chrono::milliseconds kKillAgain{500};

// Read at a stretch when nobody waits, and the rest after it: at most 100 MiB a second.
constexpr std::size_t kPacedBytes = 1U << 20;
constexpr std::chrono::milliseconds kPacedRest{10};

struct StatusRead {
  enum { kNothing, kEnded, kLost } what = kNothing;
  Ending ending = {};
};

StatusRead ReadStatus(int status_fd) {
  sandbox::StatusMessage message;
  const ssize_t n = ::recv(status_fd, &message, sizeof message, MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (n != sizeof message) return {StatusRead::kLost};
  switch (message.kind) {
    case sandbox::StatusKind::kReady:
      return {};
    case sandbox::StatusKind::kExited:
      return {StatusRead::kEnded, DescribeWaitStatus(message.wait_status)};
    case sandbox::StatusKind::kForkFailed:
    case sandbox::StatusKind::kTemplateLost:
      break;
  }
  return {StatusRead::kLost};
}

bool Kill(Files& files, pid_t pid) {
  const auto sent = files.Signal(pid, SIGKILL, /*whole_group=*/true, kSignalPatience);
  return sent || sent.error().code == ErrorCode::kNotFound;
}

}  // namespace

Ending WatchProcess(sandbox::BoxProcess& process, Files& files, const Clock& clock,
                    const ProcessWatch& watch) {
  SetNonBlocking(process.stdout_pipe.get());
  SetNonBlocking(process.stderr_pipe.get());
  std::vector<char> buffer(kPipeReadBytes);
  const SteadyTime started = clock.Now();
  SteadyTime ping = started + kPingInterval;
  SteadyTime kill = watch.timeout.count() > 0 ? started + watch.timeout : SteadyTime::max();
  SteadyTime given_up = SteadyTime::max();  // set once it was to be killed
  bool killed = false;
  std::size_t since_rest = 0;

  for (;;) {
    const SteadyTime now = clock.Now();
    if (now >= kill) {
      if (!killed) given_up = now + kKillPatience;
      killed = true;
      // Not found: its end is on its way to us.
      const bool sent = Kill(files, process.pid);
      kill = sent ? SteadyTime::max() : clock.Now() + kKillAgain;
      if (sent) given_up = std::min(given_up, clock.Now() + kDeathPatience);
    }
    if (now >= given_up) return DescribeTimeout(watch.timeout);
    if (watch.on_ping && now >= ping) {
      watch.on_ping();
      ping = clock.Now() + kPingInterval;
      continue;
    }
    SteadyTime next = std::min({now + kPingInterval, kill, given_up});
    if (watch.on_ping) next = std::min(next, ping);
    const auto wait = std::chrono::ceil<std::chrono::milliseconds>(next - now).count();

    // poll(2) passes over negative descriptors: pipes that have ended.
    std::array<pollfd, 4> polled{{{process.status.get(), POLLIN, 0},
                                  {process.stdout_pipe.get(), POLLIN, 0},
                                  {process.stderr_pipe.get(), POLLIN, 0},
                                  {watch.stop_fd, POLLIN, 0}}};
    if (::poll(polled.data(), polled.size(), static_cast<int>(wait)) < 0) continue;
    if (polled[3].revents != 0) {
      (void)Kill(files, process.pid);
      return DescribeWaitStatus(SIGKILL);
    }

    // Looked at before the pipes are read: what it wrote before its end is then in them.
    const StatusRead status =
        polled[0].revents != 0 ? ReadStatus(process.status.get()) : StatusRead{};
    const bool ended = status.what != StatusRead::kNothing;
    std::array<UniqueFd*, 2> pipes{&process.stdout_pipe, &process.stderr_pipe};
    for (std::size_t i = 0; i < pipes.size(); ++i) {
      UniqueFd& pipe = *pipes[i];
      if (!pipe || (polled[i + 1].revents == 0 && !ended)) continue;
      const auto consume = [&](std::string_view bytes) {
        since_rest += bytes.size();
        watch.on_output(i == 1, bytes);
      };
      const PipeState state =
          ended ? ReadWaiting(pipe.get(), buffer, consume) : ReadOnce(pipe.get(), buffer, consume);
      if (state == PipeState::kEnded) pipe.Reset();
    }
    if (status.what == StatusRead::kLost) {
      // Nobody will tell how it ends, so that it has ended is made true.
      (void)Kill(files, process.pid);
      return DescribeWaitStatus(SIGKILL);
    }
    if (ended) {
      return killed && status.ending.exit_code == -1 ? DescribeTimeout(watch.timeout)
                                                     : status.ending;
    }
    if (since_rest >= kPacedBytes) {
      if (watch.paced && watch.paced()) std::this_thread::sleep_for(kPacedRest);
      since_rest = 0;
    }
  }
}

}  // namespace forkbox::execd
