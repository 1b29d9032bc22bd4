// The functions that QEMU finds here instead of in its libraries. All are C's; these and nothing
// else of the library can be seen from outside.
//
// Each stands for a thing that a copy of the process could not have, or would have in common with
// its siblings; docs/decisions/vm-live-fork.md.
#include <dlfcn.h>
#include <malloc.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

#include "runner/sandbox/template/fork_loop.h"
#include "runner/sandbox/vm/live/control.h"
#include "runner/sandbox/vm/live/parking.h"
#include "runner/sandbox/vm/live/privileges.h"

namespace {

using Main = int (*)(int, char**, char**);

template <class Function>
Function Next(const char* name) {
  auto function = reinterpret_cast<Function>(::dlsym(RTLD_NEXT, name));
  if (function == nullptr) {
    std::fprintf(stderr, "no %s to stand in for\n", name);
    std::_Exit(1);
  }
  return function;
}

// Before QEMU's main(), and before its constructors, of which one starts a thread.
void BecomeTemplate() {
  ::unsetenv("LD_PRELOAD");
  const char* uid = std::getenv(forkbox::sandbox::kTemplateUidVariable);
  // What the guest's kernel says goes where the reason for a template's end is looked for.
  ::dup2(STDERR_FILENO, STDOUT_FILENO);
  // With many threads malloc(3) would count the processors, by a file that a fork may not open, to
  // know how many heaps to have at most.
  ::mallopt(M_ARENA_MAX, 4);
  forkbox::sandbox::vm::StartControlThread();
  const unsigned long number = uid == nullptr ? 0 : std::strtoul(uid, nullptr, 10);
  if (!forkbox::sandbox::vm::GiveUpPrivileges(static_cast<unsigned>(number))) {
    std::perror("give up privileges");
    std::_Exit(1);
  }
}

}  // namespace

#define FORKBOX_INTERPOSED extern "C" __attribute__((visibility("default")))

FORKBOX_INTERPOSED int __libc_start_main(Main program_main, int argc, char** argv, void (*init)(),
                                         void (*fini)(), void (*linker_fini)(), void* stack_end) {
  using Start = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);
  BecomeTemplate();
  return Next<Start>("__libc_start_main")(program_main, argc, argv, init, fini, linker_fini,
                                          stack_end);
}

// The guest's memory is to be in the copy.
FORKBOX_INTERPOSED int madvise(void* address, std::size_t size, int advice) noexcept {
  if (advice == MADV_DONTFORK) return 0;
  return static_cast<int>(::syscall(SYS_madvise, address, size, advice));
}

// Every thread can be parked at any time.
FORKBOX_INTERPOSED int pthread_sigmask(int how, const sigset_t* set, sigset_t* old) noexcept {
  static const auto real = Next<int (*)(int, const sigset_t*, sigset_t*)>("pthread_sigmask");
  if (set == nullptr || how == SIG_UNBLOCK) return real(how, set, old);
  sigset_t open = *set;
  ::sigdelset(&open, forkbox::sandbox::vm::kParkSignal);
  return real(how, &open, old);
}

// A ring is shared with the kernel for one process. QEMU takes poll(2) then.
FORKBOX_INTERPOSED int io_uring_queue_init(unsigned, void*, unsigned) { return -ENOSYS; }

// Answers the guest's RDRAND and RDSEED, among others. A generator of its own would be copied, and
// all forks would draw the same.
FORKBOX_INTERPOSED int gnutls_rnd(int, void* data, std::size_t size) {
  auto* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = ::getrandom(at, size, 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return -1;
    at += n;
    size -= static_cast<std::size_t>(n);
  }
  return 0;
}
