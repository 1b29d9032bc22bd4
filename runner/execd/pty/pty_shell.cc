// Runs inside a box: opens a terminal there, starts the program in its arguments with the terminal
// as its own, and relays between the two sides (pty_relay.h). Ends as the program ends, by the same
// signal or code; ended itself, it takes the program with it.
//
//   pty_shell COLUMNS ROWS PROGRAM [ARGUMENT …]
//
// Fails with exit code 125.

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "runner/execd/pty/pty_relay.h"
#include "runner/execd/pty/pty_wire.h"

namespace {

constexpr int kChannel = 3;
constexpr int kFailed = 125;

int Fail(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  return kFailed;
}

void SetNonBlocking(int fd) { ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK); }

int RunProgram(pid_t relay, int terminal, const sigset_t& mask, char** argv) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
  if (::getppid() != relay) return kFailed;
  if (::setsid() < 0 || ::ioctl(terminal, TIOCSCTTY, 0) != 0) return Fail("TIOCSCTTY");
  ::signal(SIGPIPE, SIG_DFL);
  ::sigprocmask(SIG_SETMASK, &mask, nullptr);
  for (int fd = 0; fd < 3; ++fd) {
    if (::dup2(terminal, fd) != fd) return Fail("dup2");
  }
  ::execv(argv[0], argv);
  return Fail(argv[0]);
}

int EndLike(int wait_status) {
  if (!WIFSIGNALED(wait_status)) return WEXITSTATUS(wait_status);
  const int number = WTERMSIG(wait_status);
  const rlimit none{};
  ::setrlimit(RLIMIT_CORE, &none);
  ::signal(number, SIG_DFL);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, number);
  ::sigprocmask(SIG_UNBLOCK, &set, nullptr);
  ::raise(number);
  return 128 + number;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return kFailed;
  ::fcntl(kChannel, F_SETFD, FD_CLOEXEC);
  const int master = ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (master < 0) return Fail("/dev/ptmx");
  winsize size{};
  size.ws_col = static_cast<unsigned short>(std::atoi(argv[1]));
  size.ws_row = static_cast<unsigned short>(std::atoi(argv[2]));
  if (::ioctl(master, TIOCSWINSZ, &size) != 0) return Fail("TIOCSWINSZ");
  const int unlocked = 0;
  if (::ioctl(master, TIOCSPTLCK, &unlocked) != 0) return Fail("TIOCSPTLCK");
  // Not by its name, which could be another's where /dev/pts is not the master's.
  const int terminal = ::ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) return Fail("TIOCGPTPEER");

  ::signal(SIGPIPE, SIG_IGN);
  sigset_t children;
  sigset_t mask;
  ::sigemptyset(&children);
  ::sigaddset(&children, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &children, &mask);
  const int signals = ::signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) return Fail("signalfd");

  const pid_t relay = ::getpid();
  const pid_t program = ::fork();
  if (program < 0) return Fail("fork");
  if (program == 0) ::_exit(RunProgram(relay, terminal, mask, argv + 3));
  ::close(terminal);
  const char opened = forkbox::execd::kPtyOpened;
  if (::send(kChannel, &opened, 1, MSG_NOSIGNAL) != 1) return Fail("channel");
  SetNonBlocking(STDIN_FILENO);
  SetNonBlocking(STDOUT_FILENO);
  static forkbox::execd::PtyRelay terminal_relay(master, kChannel, signals, program);
  return EndLike(terminal_relay.Run());
}
