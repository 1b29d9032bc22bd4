#include "runner/sandbox/forkserver/seccomp_filter.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <linux/vm_sockets.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "runner/sandbox/forkserver/seccomp_program.h"

namespace forkbox::sandbox {
namespace {

struct Denied {
  int error;
  const char* name;
};

// Names, not numbers: libseccomp knows which exist on this architecture and skips the others.
constexpr Denied kDenied[] = {
    // ENOSYS where programs probe and fall back.
    {ENOSYS, "io_uring_setup"},
    {ENOSYS, "io_uring_enter"},
    {ENOSYS, "io_uring_register"},
    {ENOSYS, "clone3"},  // flags behind a pointer cannot be checked; libc falls back to clone
    {ENOSYS, "userfaultfd"},
    {ENOSYS, "bpf"},
    {ENOSYS, "perf_event_open"},
    {ENOSYS, "fsopen"},
    {ENOSYS, "fsconfig"},
    {ENOSYS, "fsmount"},
    {ENOSYS, "fspick"},
    {ENOSYS, "open_tree"},
    {ENOSYS, "move_mount"},
    {ENOSYS, "mount_setattr"},
    {ENOSYS, "landlock_create_ruleset"},
    {ENOSYS, "memfd_secret"},
    {ENOSYS, "fanotify_init"},
    {ENOSYS, "fanotify_mark"},
    {ENOSYS, "cachestat"},
    {ENOSYS, "map_shadow_stack"},
    {ENOSYS, "lsm_set_self_attr"},
    {ENOSYS, "quotactl_fd"},
    // Namespaces and mounts.
    {EPERM, "unshare"},
    {EPERM, "setns"},
    {EPERM, "mount"},
    {EPERM, "umount2"},
    {EPERM, "umount"},
    {EPERM, "pivot_root"},
    {EPERM, "chroot"},
    // Other processes' memory and state.
    {EPERM, "ptrace"},
    {EPERM, "process_vm_readv"},
    {EPERM, "process_vm_writev"},
    {EPERM, "process_madvise"},
    {EPERM, "kcmp"},
    {EPERM, "pidfd_getfd"},
    {EPERM, "migrate_pages"},
    {EPERM, "move_pages"},
    {EPERM, "lookup_dcookie"},
    // Keys, which no namespace separates.
    {EPERM, "keyctl"},
    {EPERM, "add_key"},
    {EPERM, "request_key"},
    // The machine.
    {EPERM, "init_module"},
    {EPERM, "finit_module"},
    {EPERM, "delete_module"},
    {EPERM, "create_module"},
    {EPERM, "kexec_load"},
    {EPERM, "kexec_file_load"},
    {EPERM, "reboot"},
    {EPERM, "swapon"},
    {EPERM, "swapoff"},
    {EPERM, "acct"},
    {EPERM, "syslog"},
    {EPERM, "quotactl"},
    {EPERM, "nfsservctl"},
    {EPERM, "vhangup"},
    {EPERM, "iopl"},
    {EPERM, "ioperm"},
    {EPERM, "modify_ldt"},
    {EPERM, "vm86"},
    {EPERM, "vm86old"},
    {EPERM, "uselib"},
    {EPERM, "ustat"},
    {EPERM, "sysfs"},
    {EPERM, "_sysctl"},
    {EPERM, "settimeofday"},
    {EPERM, "clock_settime"},
    {EPERM, "clock_adjtime"},
    {EPERM, "adjtimex"},
    {EPERM, "stime"},
    {EPERM, "sethostname"},
    {EPERM, "setdomainname"},
    // Files by handle walk around every mount.
    {EPERM, "open_by_handle_at"},
    {EPERM, "name_to_handle_at"},
    // NUMA policy and real-time scheduling of others.
    {EPERM, "mbind"},
    {EPERM, "set_mempolicy"},
    {EPERM, "set_mempolicy_home_node"},
    {EPERM, "vmsplice"},
};

bool Deny(scmp_filter_ctx context, int error, const char* name) {
  const int number = seccomp_syscall_resolve_name(name);
  if (number == __NR_SCMP_ERROR || number < 0) return true;  // not on this architecture
  const int result =
      seccomp_rule_add(context, SCMP_ACT_ERRNO(static_cast<unsigned>(error)), number, 0);
  return result == 0;
}

// An `int` argument, of which the kernel takes the low half: what is above it must not matter.
constexpr scmp_datum_t kLowHalf = 0xffffffffUL;

// What comes out of a box may be any descriptor: its programs can send theirs over every socket
// that we read from. The last reference to it may then be ours, so no close(2) of theirs may wait:
// with SO_LINGER it does for as long as they please, and with what can be laid over TCP (TLS, SMC)
// for its last records. Neither is inherited by a socket from anything but another that has it.
bool RefuseSlowCloses(scmp_filter_ctx context) {
  struct Option {
    int error;
    int level;
    int name;
  };
  // Nobody checks what they got of SO_LINGER, and many servers fail without it: a success, of which
  // getsockopt(2) tells the truth. The other is refused as on a kernel that knows of none.
  for (const Option& option :
       {Option{0, SOL_SOCKET, SO_LINGER}, Option{ENOPROTOOPT, IPPROTO_TCP, TCP_ULP}}) {
    if (seccomp_rule_add(
            context, SCMP_ACT_ERRNO(static_cast<unsigned>(option.error)), SCMP_SYS(setsockopt), 2,
            SCMP_A1(SCMP_CMP_MASKED_EQ, kLowHalf, static_cast<scmp_datum_t>(option.level)),
            SCMP_A2(SCMP_CMP_MASKED_EQ, kLowHalf, static_cast<scmp_datum_t>(option.name))) != 0) {
      return false;
    }
  }
  // Nor protocols of other kinds: SCTP and DCCP; those beyond a byte, SMC and MPTCP, for which
  // programs have TCP to fall back on.
  for (const int protocol : {IPPROTO_DCCP, IPPROTO_SCTP}) {
    if (seccomp_rule_add(
            context, SCMP_ACT_ERRNO(EPROTONOSUPPORT), SCMP_SYS(socket), 1,
            SCMP_A2(SCMP_CMP_MASKED_EQ, kLowHalf, static_cast<scmp_datum_t>(protocol))) != 0) {
      return false;
    }
  }
  return seccomp_rule_add(context, SCMP_ACT_ERRNO(EPROTONOSUPPORT), SCMP_SYS(socket), 1,
                          SCMP_A2(SCMP_CMP_GT, 255)) == 0;
}

bool AddArgumentRules(scmp_filter_ctx context) {
  // clone() may make threads and processes, not namespaces; and no siblings: the parent of a job is
  // the template, outside of the cell, which would never wait for a child that it has not made, and
  // a pid namespace does not end before all of its dead are waited for.
  for (const std::uint64_t flag : {CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                   CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_PARENT}) {
    const auto mask = static_cast<scmp_datum_t>(static_cast<std::uint32_t>(flag));
    if (seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                         SCMP_A0(SCMP_CMP_MASKED_EQ, mask, mask)) != 0) {
      return false;
    }
  }
  // socket(): AF_UNIX sees its own file tree and abstract names, AF_INET and AF_INET6 an empty
  // network. Every other family drags in rarely exercised kernel code; without AF_NETLINK
  // getifaddrs() fails, which programs take as "no interfaces".
  const auto refuse_family = [&](scmp_compare comparison, int family) {
    return seccomp_rule_add(context, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                            SCMP_A0_32(comparison, static_cast<scmp_datum_t>(family))) == 0;
  };
  for (int family = 0; family < AF_INET6; ++family) {
    if (family == AF_UNIX || family == AF_INET) continue;
    if (!refuse_family(SCMP_CMP_EQ, family)) return false;
  }
  if (!refuse_family(SCMP_CMP_GT, AF_INET6)) return false;
  // No other family has pairs, but asking for one loads its module all the same.
  if (seccomp_rule_add(context, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socketpair), 1,
                       SCMP_A0(SCMP_CMP_NE, AF_UNIX)) != 0) {
    return false;
  }
  // TIOCSTI and TIOCLINUX type into somebody's terminal; TIOCSETD drags in line disciplines, made
  // for modems, which end when they like.
  for (const std::uint64_t request : {0x5412UL, 0x541CUL, 0x5423UL}) {
    if (seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                         SCMP_A1(SCMP_CMP_MASKED_EQ, kLowHalf, request)) != 0) {
      return false;
    }
  }
  // personality(): the plain Linux one only; no ADDR_NO_RANDOMIZE, no other ABIs.
  return seccomp_rule_add(context, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(personality), 1,
                          SCMP_A0_32(SCMP_CMP_NE, 0)) == 0;
}

}  // namespace

Result<std::vector<sock_filter>> CompileSeccompFilter() {
  const SeccompRules context = NewSeccompRules(SCMP_ACT_ALLOW);
  if (context == nullptr) return Fail(ErrorCode::kInternal, "seccomp_init failed");
  for (const Denied& denied : kDenied) {
    if (!Deny(context.get(), denied.error, denied.name)) {
      return Fail(ErrorCode::kInternal, std::string("seccomp rule for ") + denied.name);
    }
  }
  if (!AddArgumentRules(context.get()) || !RefuseSlowCloses(context.get())) {
    return Fail(ErrorCode::kInternal, "seccomp argument rules");
  }
  return ExportProgram(context);
}

}  // namespace forkbox::sandbox
