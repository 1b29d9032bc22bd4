/* Preloaded into the Node template: keeps V8's memory in forked children.
 *
 * V8 marks its heap and code MADV_DONTFORK, because node never forks without exec. A template does,
 * and a child without the heap dies at its first instruction. Undoing the mark afterwards
 * (MADV_DOFORK) would race with V8's threads, so it is never set.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

int madvise(void* address, size_t size, int advice) {
  if (advice == MADV_DONTFORK) return 0;
  return (int)syscall(SYS_madvise, address, size, advice);
}

/* The addon looks for this name: without the preload nothing that it forks would live. */
const int forkbox_keeps_mappings = 1;

/* Neither jobs nor what they start should know. */
__attribute__((constructor)) static void ForgetPreload(void) { unsetenv("LD_PRELOAD"); }
