// forkbox-vm-launch: a template whose forks become QEMU. A fork is in its cell and has given up
// every privilege before it hears what to start (fork_loop.h); it parses what the driver says, puts
// the descriptors where the words expect them, and is QEMU from then on. Static, so that being
// forked costs little: what comes after costs the time of QEMU's own start.
//
// Started by the forkserver; not a command for people.

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "runner/sandbox/template/fork_loop.h"
#include "runner/sandbox/vm/launch/descriptors.h"
#include "runner/sandbox/wire.h"

namespace forkbox::sandbox::vm {
namespace {

// Above all that is placed, and below what a fork may have open.
constexpr int kOutOfTheWay = 64;

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "cannot start the machine: %s\n", what);
  std::_Exit(71);
}

[[noreturn]] void DieOfErrno(const char* what) {
  std::fprintf(stderr, "cannot start the machine: %s: %s\n", what, std::strerror(errno));
  std::_Exit(71);
}

struct Launch {
  std::vector<std::string> words;
  std::array<int, kMaxPacketFds> fds{};
};

Launch Receive(int channel) {
  Launch launch;
  std::uint32_t size = 0;
  std::size_t fd_count = launch.fds.size();
  // On a stream descriptors come with the first byte that they were sent with.
  const ssize_t got = RecvPacket(channel, &size, sizeof size, launch.fds.data(), &fd_count);
  if (got == 0) std::_Exit(0);  // nobody wanted this fork
  if (got < 0) DieOfErrno("channel");
  if (got != sizeof size || size == 0 || size > kMaxLaunchBytes) Die("the launch's size");
  if (fd_count != kLaunchFdCount) Die("the launch's descriptors");
  std::string body(size, '\0');
  for (std::size_t at = 0; at < body.size();) {
    const ssize_t n = ::read(channel, body.data() + at, body.size() - at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) DieOfErrno("channel");
    if (n == 0) std::_Exit(0);
    at += static_cast<std::size_t>(n);
  }
  auto words = DecodeLaunch(body);
  if (!words) Die("the launch's words");
  launch.words = std::move(*words);
  return launch;
}

// Each to its number, open over exec; nothing else stays open.
void PlaceDescriptors(int channel, const Launch& launch) {
  constexpr int kFirst = kAgentFd;
  const std::array<int, 4> sources = {channel, launch.fds[kLaunchMonitor], launch.fds[kLaunchRam],
                                      launch.fds[kLaunchState]};
  static_assert(kMonitorFd == kFirst + 1 && kRamFd == kFirst + 2 && kStateFd == kFirst + 3);
  std::array<int, sources.size()> high{};
  for (std::size_t i = 0; i < sources.size(); ++i) {
    high[i] = ::fcntl(sources[i], F_DUPFD_CLOEXEC, kOutOfTheWay);
    if (high[i] < 0) DieOfErrno("descriptors");
  }
  for (std::size_t i = 0; i < sources.size(); ++i) {
    // The copy is not closed on exec (dup2(2)).
    if (::dup2(high[i], kFirst + static_cast<int>(i)) < 0) DieOfErrno("descriptors");
  }
  if (::syscall(SYS_close_range, kFirst + static_cast<int>(sources.size()), ~0U, 0) != 0) {
    DieOfErrno("descriptors");
  }
}

int Main() {
  const int channel = ServeForks({});
  Launch launch = Receive(channel);
  PlaceDescriptors(channel, launch);
  std::vector<char*> argv;
  for (std::string& word : launch.words) argv.push_back(word.data());
  argv.push_back(nullptr);
  char* const no_environment[] = {nullptr};
  ::execve(argv[0], argv.data(), no_environment);
  DieOfErrno(argv[0]);
}

}  // namespace
}  // namespace forkbox::sandbox::vm

int main() { return forkbox::sandbox::vm::Main(); }
