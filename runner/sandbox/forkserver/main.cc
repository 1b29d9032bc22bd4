// forkbox-forkserver: the privileged part, started by the driver with its control socket as
// descriptor 3, an empty environment, and its own pid, mount, ipc, uts and network namespaces.
// Not a command for people.

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <vector>

#include "runner/sandbox/forkserver/config.h"
#include "runner/sandbox/forkserver/forkserver.h"
#include "runner/sandbox/protocol.h"
#include "runner/sandbox/wire.h"

int main() {
  using namespace forkbox;
  using namespace forkbox::sandbox;
  struct stat info {};
  if (::fstat(kControlFd, &info) != 0 || !S_ISSOCK(info.st_mode) || ::getpid() != 1) {
    std::fprintf(stderr, "forkbox-forkserver is started by forkbox itself\n");
    return 2;
  }
  UniqueFd control(kControlFd);
  ::fcntl(control.get(), F_SETFD, FD_CLOEXEC);
  ::signal(SIGPIPE, SIG_IGN);
  // A few descriptors for each cell; programs get their own limit.
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
  ::umask(022);
  std::vector<char> packet(kMaxConfigBytes);
  const ssize_t size = RecvPacket(control.get(), packet.data(), packet.size(), nullptr, nullptr);
  if (size <= 0) return 2;
  const auto config =
      ForkserverConfig::Decode(std::string_view(packet.data(), static_cast<std::size_t>(size)));
  if (!config || config->uid_count < 2) {
    std::fprintf(stderr, "forkbox-forkserver: malformed configuration\n");
    return 2;
  }
  return RunForkserver(std::move(control), *config);
}
