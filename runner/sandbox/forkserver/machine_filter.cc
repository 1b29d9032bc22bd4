#include "runner/sandbox/forkserver/machine_filter.h"

#include <sched.h>
#include <seccomp.h>

#include <cerrno>
#include <string>

#include "runner/sandbox/forkserver/seccomp_program.h"

namespace forkbox::sandbox {
namespace {

constexpr const char* kAllowed[] = {
    // What is open: the sockets of the agent and the monitor, the disks, the console, its own
    // wake-ups. No call here makes another descriptor, but recvmsg(2) of one that our side would
    // have to send; and none changes those that are shared with the machine's siblings, as
    // fcntl(2), lseek(2) and ioctl(2) would.
    "read",
    "write",
    "readv",
    "writev",
    "pread64",
    "preadv",
    "recvmsg",
    "sendmsg",
    "poll",
    "ppoll",
    "close",
    // Waiting for each other and for the time, which the kernel does not always tell without being
    // asked (vdso(7)).
    "futex",
    "clock_nanosleep",
    "clock_gettime",
    "gettimeofday",
    "restart_syscall",
    // Memory. Translated code is written and then run, so PROT_EXEC cannot be refused: whoever has
    // taken over the process under emulation can run what he likes in it, and it is this list that
    // he meets.
    "mmap",
    "munmap",
    "mprotect",
    "mremap",
    "madvise",
    "brk",
    // Threads, with what glibc does at their start and end.
    "set_robust_list",
    "rseq",
    "rt_sigprocmask",
    "rt_sigreturn",
    "exit",
    "exit_group",
    "getpid",  // with which a fork reports itself ready
    "getrandom",
};

bool AddRules(scmp_filter_ctx context) {
  for (const char* name : kAllowed) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number < 0 || seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0) != 0) return false;
  }
  // To the letter what pthread_create(3) asks for: a thread, never a process or a namespace.
  constexpr scmp_datum_t kLowHalf = 0xffffffffUL;
  constexpr scmp_datum_t kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
                                   CLONE_THREAD | CLONE_SYSVSEM | CLONE_SETTLS |
                                   CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  if (seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                       SCMP_A0(SCMP_CMP_MASKED_EQ, kLowHalf, kThread)) != 0) {
    return false;
  }
  // At its end QEMU puts back the settings of a terminal that it has never had. Without an answer a
  // guest that turns itself off would look like one that was caught.
  for (const int number : {SCMP_SYS(ioctl), SCMP_SYS(fcntl)}) {
    if (seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOTTY), number, 0) != 0) return false;
  }
  // Flags behind a pointer cannot be checked; glibc falls back to clone(2).
  return seccomp_rule_add(context, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0) == 0;
}

}  // namespace

Result<std::vector<sock_filter>> CompileMachineFilter() {
  const SeccompRules context = NewSeccompRules(SCMP_ACT_KILL_PROCESS);
  if (context == nullptr) return Fail(ErrorCode::kInternal, "seccomp_init failed");
  if (!AddRules(context.get())) return Fail(ErrorCode::kInternal, "seccomp rules of machines");
  return ExportProgram(context);
}

}  // namespace forkbox::sandbox
