#include "runner/sandbox/vm/live/quiescence.h"

#include <sys/syscall.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <iterator>

namespace forkbox::sandbox::vm {
namespace {

constexpr long kWaits[] = {
    SYS_futex,
    SYS_ppoll,
    SYS_poll,
    SYS_epoll_wait,
    SYS_epoll_pwait,
    SYS_nanosleep,
    SYS_clock_nanosleep,
    SYS_pselect6,
    SYS_select,
    SYS_read,
    SYS_recvmsg,
    SYS_pause,
    SYS_rt_sigtimedwait,
    SYS_rt_sigsuspend,
    SYS_restart_syscall,
};

constexpr std::uintptr_t kPage = 4096;

bool IsSyscallInstruction(std::uintptr_t at) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(at);
  return bytes[0] == 0x0f && bytes[1] == 0x05;
}

}  // namespace

bool StandsInCall(const ucontext_t& context) {
  const greg_t* registers = context.uc_mcontext.gregs;
  const auto ip = static_cast<std::uintptr_t>(registers[REG_RIP]);
  const greg_t rax = registers[REG_RAX];
  // The kernel has it begin the call anew (SA_RESTART), or come out of it (signal(7)). Code may
  // begin with a page before which there is nothing to be read.
  if (rax == -EINTR) return ip % kPage >= 2 && IsSyscallInstruction(ip - 2);
  return ip % kPage <= kPage - 2 && IsSyscallInstruction(ip) &&
         std::find(std::begin(kWaits), std::end(kWaits), rax) != std::end(kWaits);
}

}  // namespace forkbox::sandbox::vm
