#include "runner/sandbox/vm/machine_source.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>

#include "runner/sandbox/vm/qmp.h"
#include "schema/utf8.h"

namespace forkbox::sandbox::vm {

namespace {

constexpr std::size_t kQuoted = 1024;

// What QEMU has to say about its end, if it has ended.
std::string LastWords(const UniqueFd& pipe) {
  pollfd polled{pipe.get(), POLLIN, 0};
  std::array<char, kQuoted> said;
  if (::poll(&polled, 1, 0) <= 0) return "";
  const ssize_t n = ::read(pipe.get(), said.data(), said.size());
  return n <= 0 ? "" : "; QEMU: " + schema::ToValidUtf8({said.data(), static_cast<std::size_t>(n)});
}

}  // namespace

Result<void> ReadyMachine::AwaitLoaded(Deadline deadline) {
  if (!monitor) return {};
  Qmp qmp(monitor.get());
  for (;;) {
    auto event = qmp.AwaitEvent("MIGRATION", deadline);
    if (!event) {
      return Fail(event.error().code, event.error().message + LastWords(fork.stderr_pipe));
    }
    const auto status = event->is_object() ? event->find("status") : event->end();
    if (status == event->end()) continue;
    if (*status == "completed") return {};
    if (*status == "failed") {
      return Fail(ErrorCode::kUnavailable,
                  "the machine could not load its state" + LastWords(fork.stderr_pipe));
    }
    if (std::chrono::steady_clock::now() >= deadline) {
      return Fail(ErrorCode::kDeadlineExceeded, "the machine did not load its state in time");
    }
  }
}

Result<void> ReadyMachine::Resume() {
  if (!monitor) return {};
  const std::string command = QmpCommand("cont");
  ssize_t n = 0;
  do {
    // A machine that reads nothing has no room for it, and is not waited for.
    n = ::send(monitor.get(), command.data(), command.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(command.size())) {
    return Fail(ErrorCode::kUnavailable, "the machine has ended before it could run");
  }
  return {};
}

}  // namespace forkbox::sandbox::vm
