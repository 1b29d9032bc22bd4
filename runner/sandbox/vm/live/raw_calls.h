// System calls as the kernel has them: without errno, which is a variable of a thread, for code
// that runs where another thread was.
#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>

namespace forkbox::sandbox::vm {

inline long RawCall(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
  long result;
  register long r10 asm("r10") = d;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
               : "rcx", "r11", "memory");
  return result;
}

inline pid_t RawThreadId() { return static_cast<pid_t>(RawCall(SYS_gettid)); }

// While `word` is `value`; may return early. At most `milliseconds`, if any are given.
inline void FutexWait(const std::atomic<std::uint32_t>& word, std::uint32_t value,
                      int milliseconds = -1) {
  const timespec limit{milliseconds / 1000, milliseconds % 1000 * 1'000'000L};
  RawCall(SYS_futex, reinterpret_cast<long>(&word), FUTEX_WAIT_PRIVATE, value,
          milliseconds < 0 ? 0 : reinterpret_cast<long>(&limit));
}

inline void FutexWakeAll(const std::atomic<std::uint32_t>& word) {
  RawCall(SYS_futex, reinterpret_cast<long>(&word), FUTEX_WAKE_PRIVATE, INT_MAX);
}

// Of the calling thread: where its struct pthread is, whose first word points to itself.
inline std::uintptr_t ThreadPointer() {
  std::uintptr_t pointer;
  asm("mov %%fs:0, %0" : "=r"(pointer));
  return pointer;
}

}  // namespace forkbox::sandbox::vm
