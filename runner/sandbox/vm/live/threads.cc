#include "runner/sandbox/vm/live/threads.h"

#include <linux/rseq.h>
#include <sched.h>
#include <sys/rseq.h>

#include <cerrno>

#include "runner/sandbox/vm/live/thread_identity.h"

// clone(2) into a thread whose first and only instructions of ours are rt_sigreturn(2): its stack
// begins with the context in the frame of the park handler, where a handler that returns finds it.
// In: rdi flags, rsi context, rdx and rcx where to write the id, r8 thread pointer.
asm(R"(
.pushsection .text
.type forkbox_clone_into_sigreturn, @function
forkbox_clone_into_sigreturn:
  endbr64
  mov $56, %eax
  mov %rcx, %r10
  syscall
  test %rax, %rax
  jz 1f
  ret
1:
  mov $15, %eax
  syscall
  hlt
.size forkbox_clone_into_sigreturn, .-forkbox_clone_into_sigreturn
.popsection
)");
extern "C" long forkbox_clone_into_sigreturn(unsigned long flags, void* context, pid_t* parent_id,
                                             pid_t* child_id, std::uintptr_t thread_pointer);

namespace forkbox::sandbox::vm {
namespace {

// To the letter what the machine filter lets through.
constexpr unsigned long kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                  CLONE_SYSVSEM | CLONE_SETTLS | CLONE_PARENT_SETTID |
                                  CLONE_CHILD_CLEARTID;

// The kernel no longer tells the copy which processor it runs on; glibc is to ask then.
void ForgetProcessor(std::uintptr_t thread_pointer) {
  auto* area =
      reinterpret_cast<struct rseq*>(thread_pointer + static_cast<std::uintptr_t>(__rseq_offset));
  area->cpu_id = static_cast<std::uint32_t>(RSEQ_CPU_ID_REGISTRATION_FAILED);
}

}  // namespace

bool ReviveThreads(std::span<const ParkedThread> threads, std::size_t id_offset) {
  for (const ParkedThread& thread : threads) {
    if (__rseq_size != 0) ForgetProcessor(thread.thread_pointer);
    pid_t* id = ThreadIdAt(thread.thread_pointer, id_offset);
    const long made =
        forkbox_clone_into_sigreturn(kThread, thread.context, id, id, thread.thread_pointer);
    if (made < 0) {
      errno = static_cast<int>(-made);
      return false;
    }
  }
  return true;
}

}  // namespace forkbox::sandbox::vm
