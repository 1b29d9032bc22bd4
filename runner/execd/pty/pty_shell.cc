// Runs inside a box: opens a terminal there, hands its master over descriptor 3 (SCM_RIGHTS) and
// becomes the program in its arguments, with the terminal as its own.
//
//   pty_shell COLUMNS ROWS PROGRAM [ARGUMENT …]
//
// Fails with exit code 125.

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {

constexpr int kChannel = 3;
constexpr int kFailed = 125;

int Fail(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  return kFailed;
}

bool HandOver(int master) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof master)] = {};
  char byte = 'M';
  iovec part{&byte, 1};
  msghdr header{};
  header.msg_iov = &part;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  cmsghdr* rights = CMSG_FIRSTHDR(&header);
  rights->cmsg_level = SOL_SOCKET;
  rights->cmsg_type = SCM_RIGHTS;
  rights->cmsg_len = CMSG_LEN(sizeof master);
  std::memcpy(CMSG_DATA(rights), &master, sizeof master);
  return ::sendmsg(kChannel, &header, MSG_NOSIGNAL) == 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return kFailed;
  const int master = ::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
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
  // We lead a session already, without a terminal.
  if (::ioctl(terminal, TIOCSCTTY, 0) != 0) return Fail("TIOCSCTTY");
  if (!HandOver(master)) return Fail("channel");
  ::close(kChannel);
  for (int fd = 0; fd < 3; ++fd) {
    if (::dup2(terminal, fd) != fd) return Fail("dup2");
  }
  ::execv(argv[3], argv + 3);
  return Fail(argv[3]);
}
