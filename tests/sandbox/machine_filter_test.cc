// The filter's promise, call by call: a child installs it and tries.
#include "runner/sandbox/forkserver/machine_filter.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>

namespace forkbox::sandbox {
namespace {

// The wait status of a child that runs `action` behind the filter and exits with what it returns.
int StatusBehindFilter(const std::function<int()>& action) {
  auto program = CompileMachineFilter();
  EXPECT_TRUE(program) << program.error().message;
  const sock_fprog filter{static_cast<unsigned short>(program->size()), program->data()};
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) ::_exit(99);
    ::_exit(action());
  }
  int status = -1;
  EXPECT_EQ(::waitpid(pid, &status, 0), pid);
  return status;
}

struct Call {
  const char* name;
  long number;
  long a = 0;
  long b = 0;
  long c = 0;
};

long Pointer(const void* at) { return reinterpret_cast<long>(at); }

TEST(MachineFilterTest, EndsWhoeverAsksForMore) {
  const char* const no_words[] = {nullptr};
  const Call calls[] = {
      // Files, and what makes descriptors.
      {"open", SYS_open, Pointer("/dev/null"), O_RDONLY},
      {"openat", SYS_openat, AT_FDCWD, Pointer("/dev/null"), O_RDONLY},
      {"openat2", SYS_openat2, AT_FDCWD, Pointer("/dev/null")},
      {"creat", SYS_creat, Pointer("/tmp/x"), 0600},
      {"unlink", SYS_unlink, Pointer("/nothing")},
      {"stat", SYS_stat, Pointer("/")},
      {"memfd_create", SYS_memfd_create, Pointer("x")},
      {"dup", SYS_dup, 0},
      {"dup2", SYS_dup2, 0, 9},
      {"dup3", SYS_dup3, 0, 9},
      {"pipe2", SYS_pipe2},
      {"eventfd2", SYS_eventfd2},
      {"epoll_create1", SYS_epoll_create1},
      {"pidfd_open", SYS_pidfd_open, 1},
      {"io_uring_setup", SYS_io_uring_setup, 1},
      {"lseek", SYS_lseek, 0},
      {"pwrite64", SYS_pwrite64, 0},
      {"ftruncate", SYS_ftruncate, 0},
      // Others, near and far.
      {"socket", SYS_socket, AF_UNIX, SOCK_STREAM},
      {"socketpair", SYS_socketpair, AF_UNIX, SOCK_STREAM},
      {"connect", SYS_connect, 0},
      {"bind", SYS_bind, 0},
      {"accept4", SYS_accept4, 0},
      {"kill", SYS_kill, 1, 0},
      {"tkill", SYS_tkill, 1, 0},
      {"tgkill", SYS_tgkill, 1, 1, 0},
      {"pidfd_send_signal", SYS_pidfd_send_signal, 0},
      {"rt_sigqueueinfo", SYS_rt_sigqueueinfo, 1},
      {"ptrace", SYS_ptrace, 0},
      {"process_vm_readv", SYS_process_vm_readv, 1},
      {"process_vm_writev", SYS_process_vm_writev, 1},
      {"pidfd_getfd", SYS_pidfd_getfd, 0},
      {"shmget", SYS_shmget, 1},
      {"mq_open", SYS_mq_open, Pointer("/x")},
      // Processes.
      {"execve", SYS_execve, Pointer("/bin/true"), Pointer(no_words), Pointer(no_words)},
      {"execveat", SYS_execveat, AT_FDCWD, Pointer("/bin/true"), Pointer(no_words)},
      {"fork", SYS_fork},
      {"vfork", SYS_vfork},
      {"clone of a process", SYS_clone, SIGCHLD},
      {"clone into a user namespace", SYS_clone, CLONE_NEWUSER | SIGCHLD},
      {"clone of a thread that shares less", SYS_clone,
       CLONE_VM | CLONE_SIGHAND | CLONE_THREAD | CLONE_SETTLS},
      {"unshare", SYS_unshare, CLONE_NEWUSER},
      {"setns", SYS_setns, 0},
      // The kernel.
      {"mount", SYS_mount},
      {"chroot", SYS_chroot, Pointer("/")},
      {"setuid", SYS_setuid, 0},
      {"capset", SYS_capset},
      {"prctl", SYS_prctl, PR_GET_DUMPABLE},
      {"seccomp", SYS_seccomp, SECCOMP_GET_ACTION_AVAIL},
      {"setrlimit", SYS_setrlimit, 0},
      {"bpf", SYS_bpf},
      {"perf_event_open", SYS_perf_event_open},
      {"userfaultfd", SYS_userfaultfd},
      {"keyctl", SYS_keyctl},
      {"a call that is yet to be invented", 4000},
      {"a call of x32", 0x40000000 | SYS_read},
  };
  for (const Call& call : calls) {
    const int status = StatusBehindFilter([&] {
      ::syscall(call.number, call.a, call.b, call.c);
      return 0;
    });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        << call.name << ": status " << std::hex << status;
  }
}

TEST(MachineFilterTest, Knows32BitCallsByNoOtherNumbers) {
  const int status = StatusBehindFilter([] {
    long result = SYS_read;  // 0: restart_syscall there; 3 would be read, which is close here
    asm volatile("int $0x80" : "+a"(result) : "b"(0L) : "memory");
    return 0;
  });
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS) << status;
}

TEST(MachineFilterTest, RefusesWithAnAnswerWhatQemuAsksInGoodFaith) {
  const int status = StatusBehindFilter([] {
    if (::syscall(SYS_clone3, nullptr, 0) != -1 || errno != ENOSYS) return 1;
    if (::syscall(SYS_ioctl, 0, 0x5401, nullptr) != -1 || errno != ENOTTY) return 2;
    if (::syscall(SYS_fcntl, 0, F_SETFL, O_NONBLOCK) != -1 || errno != ENOTTY) return 3;
    return 0;
  });
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(MachineFilterTest, LetsAMachineRun) {
  const int status = StatusBehindFilter([] {
    // Code that is written and then run, as translators do.
    constexpr std::size_t kBytes = 4096;
    void* code = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE | PROT_EXEC,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (code == MAP_FAILED || ::madvise(code, kBytes, MADV_DONTNEED) != 0) return 1;
    static_cast<std::uint8_t*>(code)[0] = 0xc3;  // ret
    reinterpret_cast<void (*)()>(code)();
    // A thread, as glibc makes it.
    constexpr long kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                             CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                             CLONE_CHILD_CLEARTID;
    errno = 0;  // past the filter, and refused for want of a valid thread pointer
    if (::syscall(SYS_clone, kThread, nullptr, nullptr, nullptr, ~0UL) != -1 || errno != EPERM) {
      return 2;
    }
    char byte = 0;
    if (::syscall(SYS_getrandom, &byte, 1, 0) != 1) return 3;
    const timespec moment{0, 1000};
    return ::syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &moment, nullptr) == 0 ? 0 : 4;
  });
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace forkbox::sandbox
