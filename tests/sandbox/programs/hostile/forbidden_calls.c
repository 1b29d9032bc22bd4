// Tries what a sandboxed program must not get and prints "name: errno" or "name: ALLOWED".
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char* name, long result) {
  if (result >= 0) {
    printf("%s: ALLOWED\n", name);
  } else {
    printf("%s: %s\n", name, strerrorname_np(errno));
  }
  fflush(stdout);
}

#define TRY(name, ...) errno = 0, say(name, syscall(__VA_ARGS__))

// Setting it looks like a success everywhere; what counts is whether it is on.
static void try_linger(const char* name, int family, int type, unsigned long level,
                       unsigned long option) {
  const struct linger wanted = {1, 20};
  struct linger now = {0, 0};
  socklen_t size = sizeof now;
  const int fd = socket(family, type, 0);
  errno = 0;
  if (syscall(SYS_setsockopt, fd, level, option, &wanted, sizeof wanted) != 0 ||
      getsockopt(fd, SOL_SOCKET, SO_LINGER, &now, &size) != 0) {
    printf("%s: failed with %s\n", name, strerrorname_np(errno));
  } else {
    errno = EPERM;
    say(name, now.l_onoff != 0 ? 0 : -1);
  }
  close(fd);
}

int main(void) {
  char buffer[256] = {0};
  struct {
    unsigned bytes;
    int type;
    char handle[128];
  } handle = {128, 0, {0}};
  int mount_id = 0;

  // The child is stopped by nobody: it only lends its pid.
  const pid_t child = fork();
  if (child == 0) {
    for (;;) pause();
  }
  TRY("ptrace attach", SYS_ptrace, PTRACE_ATTACH, child, 0, 0);
  TRY("ptrace seize", SYS_ptrace, PTRACE_SEIZE, child, 0, 0);
  TRY("ptrace init", SYS_ptrace, PTRACE_ATTACH, 1, 0, 0);
  TRY("ptrace traceme", SYS_ptrace, PTRACE_TRACEME, 0, 0, 0);
  TRY("process_vm_readv", SYS_process_vm_readv, 1, 0, 0, 0, 0, 0);
  TRY("process_vm_writev", SYS_process_vm_writev, child, 0, 0, 0, 0, 0);
  TRY("pidfd_getfd", SYS_pidfd_getfd, syscall(SYS_pidfd_open, child, 0), 0, 0);
  TRY("kcmp", SYS_kcmp, child, child, 0, 0, 0);
  kill(child, SIGKILL);
  waitpid(child, 0, 0);

  TRY("unshare user", SYS_unshare, CLONE_NEWUSER);
  TRY("unshare net", SYS_unshare, CLONE_NEWNET);
  TRY("unshare mount", SYS_unshare, CLONE_NEWNS);
  TRY("clone user", SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0);
  TRY("clone pid", SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
  TRY("clone cgroup", SYS_clone, CLONE_NEWCGROUP | SIGCHLD, 0, 0, 0, 0);
  TRY("clone3", SYS_clone3, buffer, 88);
  TRY("setns", SYS_setns, open("/proc/self/ns/net", O_RDONLY), 0);
  TRY("mount tmpfs", SYS_mount, "x", "/tmp", "tmpfs", 0, "");
  TRY("mount bind", SYS_mount, "/", "/tmp", 0, MS_BIND, 0);
  TRY("remount", SYS_mount, 0, "/", 0, MS_REMOUNT, 0);
  TRY("umount", SYS_umount2, "/proc", MNT_DETACH);
  TRY("pivot_root", SYS_pivot_root, ".", ".");
  TRY("chroot", SYS_chroot, "/tmp");
  TRY("fsopen", SYS_fsopen, "tmpfs", 0);
  TRY("open_tree", SYS_open_tree, AT_FDCWD, "/", 1);
  TRY("move_mount", SYS_move_mount, 0, "", 0, "", 0);
  TRY("mount_setattr", SYS_mount_setattr, AT_FDCWD, "/", 0, buffer, 32);

  TRY("io_uring_setup", SYS_io_uring_setup, 4, buffer);
  TRY("io_uring_enter", SYS_io_uring_enter, 0, 0, 0, 0, 0);
  TRY("io_uring_register", SYS_io_uring_register, 0, 0, 0, 0);
  TRY("bpf", SYS_bpf, BPF_MAP_CREATE, buffer, sizeof buffer);
  TRY("perf_event_open", SYS_perf_event_open, buffer, 0, -1, -1, 0);
  TRY("userfaultfd", SYS_userfaultfd, 1);
  TRY("keyctl", SYS_keyctl, 0, -3, 0);
  TRY("add_key", SYS_add_key, "user", "x", "y", 1, -3);
  TRY("request_key", SYS_request_key, "user", "x", 0, 0);
  TRY("fanotify_init", SYS_fanotify_init, 0, 0);
  TRY("name_to_handle_at", SYS_name_to_handle_at, AT_FDCWD, "/", &handle, &mount_id, 0);
  TRY("open_by_handle_at", SYS_open_by_handle_at, AT_FDCWD, &handle, O_RDONLY);
  TRY("memfd_secret", SYS_memfd_secret, 0);
  TRY("quotactl", SYS_quotactl, 0, 0, 0, 0);

  TRY("init_module", SYS_init_module, buffer, 1, "");
  TRY("finit_module", SYS_finit_module, 0, "", 0);
  TRY("kexec_load", SYS_kexec_load, 0, 0, 0, 0);
  TRY("reboot", SYS_reboot, 0xfee1dead, 672274793, RB_DISABLE_CAD, 0);
  TRY("swapon", SYS_swapon, "/box/work/x", 0);
  TRY("acct", SYS_acct, "/box/work/x");
  TRY("syslog", SYS_syslog, 3, buffer, 10);
  TRY("iopl", SYS_iopl, 3);
  TRY("ioperm", SYS_ioperm, 0x80, 1, 1);
  TRY("modify_ldt", SYS_modify_ldt, 0, buffer, 16);
  TRY("settimeofday", SYS_settimeofday, buffer, 0);
  TRY("clock_settime", SYS_clock_settime, 0, buffer);
  TRY("adjtimex", SYS_adjtimex, buffer);
  TRY("sethostname", SYS_sethostname, "x", 1);
  TRY("personality", SYS_personality, 0x0040000);
  TRY("vhangup", SYS_vhangup);
  TRY("tiocsti", SYS_ioctl, 0, 0x5412, "x");
  TRY("tiocsti high", SYS_ioctl, 0, 0x100005412UL, "x");
  TRY("socket netlink", SYS_socket, AF_NETLINK, SOCK_RAW, 0);
  TRY("socket packet", SYS_socket, AF_PACKET, SOCK_RAW, 0);
  TRY("socket vsock", SYS_socket, AF_VSOCK, SOCK_STREAM, 0);
  TRY("socket alg", SYS_socket, AF_ALG, SOCK_SEQPACKET, 0);
  TRY("socket high bits", SYS_socket, 0x100000000UL | AF_NETLINK, SOCK_RAW, 0);
  TRY("socketpair tipc", SYS_socketpair, 30, SOCK_STREAM, 0, buffer);
  TRY("socket mptcp", SYS_socket, AF_INET, SOCK_STREAM, 262);
  TRY("socket mptcp 6", SYS_socket, AF_INET6, SOCK_STREAM, 262);
  TRY("socket smc", SYS_socket, AF_INET, SOCK_STREAM, 256);
  TRY("socket smc high bits", SYS_socket, AF_INET, SOCK_STREAM, 0x100000100UL);
  TRY("socket sctp", SYS_socket, AF_INET, SOCK_STREAM, IPPROTO_SCTP);
  TRY("socket dccp", SYS_socket, AF_INET, 6, IPPROTO_DCCP);

  // Descriptors whose close waits for somebody, to be sent to the host.
  const unsigned long high = 0x100000000UL;
  try_linger("linger tcp", AF_INET, SOCK_STREAM, SOL_SOCKET, SO_LINGER);
  try_linger("linger tcp 6", AF_INET6, SOCK_STREAM, SOL_SOCKET, SO_LINGER);
  try_linger("linger udp", AF_INET, SOCK_DGRAM, SOL_SOCKET, SO_LINGER);
  try_linger("linger unix", AF_UNIX, SOCK_STREAM, SOL_SOCKET, SO_LINGER);
  try_linger("linger high bits", AF_INET, SOCK_STREAM, high | SOL_SOCKET, high | SO_LINGER);
  const int tcp = socket(AF_INET, SOCK_STREAM, 0);
  TRY("tcp ulp", SYS_setsockopt, tcp, IPPROTO_TCP, TCP_ULP, "tls", 3);
  TRY("tcp ulp high bits", SYS_setsockopt, tcp, high | IPPROTO_TCP, high | TCP_ULP, "smc", 3);
  TRY("line discipline", SYS_ioctl, 0, 0x5423, buffer);
  // A sibling would be a child of the template, outside: nobody here could ever wait for it.
  TRY("clone parent", SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
  return 0;
}
