#include "runner/sandbox/forkserver/machine_filter.h"

#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <memory>
#include <string>

#include "base/unique_fd.h"

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
  std::unique_ptr<void, void (*)(scmp_filter_ctx)> context(seccomp_init(SCMP_ACT_KILL_PROCESS),
                                                           seccomp_release);
  if (context == nullptr) return Fail(ErrorCode::kInternal, "seccomp_init failed");
  // Another architecture's entry (int 0x80, x32) would have other numbers for the same calls.
  seccomp_attr_set(context.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_NNP, 0);
  seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a tree, not a list
  if (!AddRules(context.get())) return Fail(ErrorCode::kInternal, "seccomp rules of machines");
  const UniqueFd file(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!file) return FailErrno("memfd_create");
  if (seccomp_export_bpf(context.get(), file.get()) != 0) {
    return Fail(ErrorCode::kInternal, "seccomp_export_bpf failed");
  }
  const off_t size = ::lseek(file.get(), 0, SEEK_END);
  if (size <= 0) return FailErrno("lseek");
  std::vector<sock_filter> program(static_cast<std::size_t>(size) / sizeof(sock_filter));
  if (::pread(file.get(), program.data(), static_cast<std::size_t>(size), 0) != size) {
    return FailErrno("read the seccomp program");
  }
  return program;
}

}  // namespace forkbox::sandbox
