#include "runner/sandboxes/tree_copy.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <vector>

#include "runner/sandbox/protocol.h"

namespace forkbox::sandboxes {
namespace {

// All that a user keeps stands below /box: the work directory, /tmp and, where there are such, the
// folders that are bound to /home, /var and so on. Those themselves are there on both sides and
// keep what they are; shared memory belongs to processes. tar says 1 when a file changed while it
// was read: such is life.
constexpr char kPack[] =
    "cd / && find box -mindepth 1 -maxdepth 2 -path box/shm -prune -o"
    " \\( -path 'box/*/*' -o ! -type d \\) -print0 2>/dev/null |"
    " tar -cf - --sparse --null -T - 2>/dev/null; test $? -le 1";
constexpr char kUnpack[] = "exec tar -C / -xpf - --no-same-owner --no-overwrite-dir 2>/dev/null";

sandbox::BoxProgram Program(const char* script) {
  sandbox::BoxProgram program;
  program.kind = sandbox::BoxProgram::Kind::kCommand;
  program.command = {"/bin/bash", "-c", script};
  return program;
}

int MillisUntil(Deadline deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 60'000));
}

// False: not by the deadline.
bool Await(int fd, short events, Deadline deadline) {
  while (true) {
    pollfd one{fd, events, 0};
    const int ready = ::poll(&one, 1, MillisUntil(deadline));
    if (ready > 0) return true;
    if (ready == 0 && std::chrono::steady_clock::now() >= deadline) return false;
    if (ready < 0 && errno != EINTR) return false;
  }
}

tl::unexpected<Error> Late() {
  return Fail(ErrorCode::kDeadlineExceeded, "the files could not be copied in time");
}

Result<void> AwaitEnd(const sandbox::BoxProcess& process, const char* what, Deadline deadline) {
  if (!Await(process.status.get(), POLLIN, deadline)) return Late();
  sandbox::StatusMessage message;
  const ssize_t got = ::recv(process.status.get(), &message, sizeof message, MSG_DONTWAIT);
  if (got == static_cast<ssize_t>(sizeof message) && message.kind == sandbox::StatusKind::kExited &&
      WIFEXITED(message.wait_status) && WEXITSTATUS(message.wait_status) == 0) {
    return {};
  }
  return Fail(ErrorCode::kUnavailable, std::string("the files could not be ") + what);
}

Result<void> Pump(int from, UniqueFd to, std::uint64_t max_bytes, Deadline deadline) {
  for (const int fd : {from, to.get()}) {
    if (::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) != 0) return FailErrno("fcntl");
  }
  std::vector<char> buffer(64U << 10);
  std::uint64_t total = 0;
  while (true) {
    if (!Await(from, POLLIN, deadline)) return Late();
    const ssize_t got = ::read(from, buffer.data(), buffer.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) return FailErrno("read");
    if (got == 0) return {};
    total += static_cast<std::uint64_t>(got);
    if (total > max_bytes) {
      return Fail(ErrorCode::kUnavailable, "the files are more than there is room for");
    }
    for (ssize_t done = 0; done < got;) {
      if (!Await(to.get(), POLLOUT, deadline)) return Late();
      const ssize_t put =
          ::write(to.get(), buffer.data() + done, static_cast<std::size_t>(got - done));
      if (put < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (put < 0) return Fail(ErrorCode::kUnavailable, "the files could not be unpacked");
      done += put;
    }
  }
}

}  // namespace

Result<void> CopyTree(sandbox::Box& from, sandbox::Box& to, std::uint64_t max_bytes,
                      Deadline deadline) {
  auto unpack = to.Start(Program(kUnpack));
  if (!unpack) return Fail(unpack.error());
  auto pack = from.Start(Program(kPack));
  if (!pack) return Fail(pack.error());
  pack->stdin_pipe.Reset();
  if (auto pumped =
          Pump(pack->stdout_pipe.get(), std::move(unpack->stdin_pipe), max_bytes, deadline);
      !pumped) {
    return pumped;
  }
  if (auto packed = AwaitEnd(*pack, "packed", deadline); !packed) return packed;
  return AwaitEnd(*unpack, "unpacked", deadline);
}

}  // namespace forkbox::sandboxes
