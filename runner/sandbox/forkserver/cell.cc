#include "runner/sandbox/forkserver/cell.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

namespace forkbox::sandbox {
namespace {

struct InitReport {
  int error = 0;
  char what[60] = {};
};

// Everything below runs in the clone of a multi-threaded process: system calls only.

bool MakeDirectory(const char* path, const CellOptions& options, mode_t mode) {
  return ::mkdir(path, mode) == 0 && ::chmod(path, mode) == 0 &&
         (options.uid == 0 || ::chown(path, options.uid, options.uid) == 0);
}

const char* Furnish(const CellOptions& options) {
  // Read-only keeps programs from writing /proc/sys and the like; the rest of what is worth
  // hiding needs privileges to be read.
  if (::mount("proc", "/proc", "proc", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) !=
      0) {
    return "mount /proc";
  }
  // Masked as container runtimes do: what tells of the host and is readable by anybody.
  for (const char* path : {"/proc/keys", "/proc/key-users", "/proc/cmdline"}) {
    if (::mount("/dev/null", path, nullptr, MS_BIND, nullptr) != 0 && errno != ENOENT) {
      return "mask /proc";
    }
  }
  char sizes[96];
  // One inode for every 4 KiB: a fill of empty files ends as a fill of bytes does.
  std::snprintf(sizes, sizeof sizes, "size=%llu,nr_inodes=%llu,mode=755",
                static_cast<unsigned long long>(options.disk_bytes),
                static_cast<unsigned long long>(options.disk_bytes / 4096 + 16));
  if (::mount("box", "/box", "tmpfs", MS_NOSUID | MS_NODEV, sizes) != 0) return "mount /box";
  if (!MakeDirectory("/box/work", options, 0755) || !MakeDirectory("/box/tmp", options, 01777) ||
      !MakeDirectory("/box/shm", options, 01777)) {
    return "make /box";
  }
  if (::mount("/box/tmp", "/tmp", nullptr, MS_BIND, nullptr) != 0) return "bind /tmp";
  if (::mount("/box/shm", "/dev/shm", nullptr, MS_BIND, nullptr) != 0) return "bind /dev/shm";
  // Of its own, as every mount of devpts is; terminals belong to whoever opens them. The kernel has
  // a few thousand for everybody (kernel.pty.max): no cell gets more than its share.
  char terminals[64];
  std::snprintf(terminals, sizeof terminals, "newinstance,ptmxmode=0666,mode=0620,max=%u",
                kCellTerminals);
  if (options.standing &&
      ::mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, terminals) != 0) {
    return "mount /dev/pts";
  }
  if (options.standing) {
    char folder[32];
    for (const char* target : kHomelyFolders) {
      std::snprintf(folder, sizeof folder, "/box%s", target);
      if (!MakeDirectory(folder, options, 0755) ||
          ::mount(folder, target, nullptr, MS_BIND, nullptr) != 0) {
        return "bind the folders of a box";
      }
    }
    if (!MakeDirectory("/var/tmp", options, 01777)) return "make /var/tmp";
  }
  if (::sethostname("forkbox", 7) != 0 || ::setdomainname("", 0) != 0) return "sethostname";
  if (options.net_namespace >= 0) {
    return ::setns(options.net_namespace, CLONE_NEWNET) == 0 ? nullptr
                                                             : "enter the network namespace";
  }
  // Programs talk to their own servers on 127.0.0.1; there is no other interface.
  const int socket = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq request{};
  std::memcpy(request.ifr_name, "lo", 3);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  const bool up = socket >= 0 && ::ioctl(socket, SIOCSIFFLAGS, &request) == 0;
  if (socket >= 0) ::close(socket);
  return up ? nullptr : "bring lo up";
}

[[noreturn]] void RunInit(const CellOptions& options, int report_fd) {
  InitReport report;
  const char* failed = Furnish(options);
  if (failed == nullptr && options.privileged) {
    if (::setgroups(0, nullptr) != 0 ||
        ::setresgid(options.init_uid, options.init_uid, options.init_uid) != 0 ||
        ::setresuid(options.init_uid, options.init_uid, options.init_uid) != 0) {
      failed = "init credentials";
    }
  }
  if (failed == nullptr && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) failed = "no_new_privs";
  if (failed != nullptr) {
    report.error = errno;
    std::strncpy(report.what, failed, sizeof report.what - 1);
  }
  // Orphans of the program come here; the kernel buries them for whoever ignores SIGCHLD
  // (wait(2), NOTES). Nothing else can be sent to pid 1 from inside.
  ::signal(SIGCHLD, SIG_IGN);
  ::prctl(PR_SET_NAME, "init", 0, 0, 0);
  (void)!::write(report_fd, &report, sizeof report);
  if (failed != nullptr) ::_exit(1);
  ::syscall(SYS_close_range, 0, ~0U, 0);
  for (;;) ::pause();
}

}  // namespace

Result<Cell> MakeCell(const CellOptions& options) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return FailErrno("pipe");
  const UniqueFd report_out(ends[0]);
  UniqueFd report_in(ends[1]);

  int pidfd = -1;
  clone_args args{};
  args.flags =
      CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_PIDFD | CLONE_CLEAR_SIGHAND;
  if (options.net_namespace < 0) args.flags |= CLONE_NEWNET;
  args.pidfd = reinterpret_cast<std::uintptr_t>(&pidfd);
  args.exit_signal = SIGCHLD;
  const auto pid = static_cast<pid_t>(::syscall(SYS_clone3, &args, sizeof args));
  if (pid < 0) return FailErrno("clone the cell");
  if (pid == 0) RunInit(options, report_in.get());

  Cell cell{pid, UniqueFd(pidfd)};
  report_in.Reset();
  InitReport report;
  ssize_t n = 0;
  do {
    n = ::read(report_out.get(), &report, sizeof report);
  } while (n < 0 && errno == EINTR);
  if (n == sizeof report && report.error == 0 && report.what[0] == '\0') return cell;
  ::syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, nullptr, 0);
  ::waitpid(pid, nullptr, 0);
  if (n != sizeof report) return Fail(ErrorCode::kInternal, "the cell's init died");
  errno = report.error;
  return FailErrno(std::string(report.what, strnlen(report.what, sizeof report.what)));
}

}  // namespace forkbox::sandbox
