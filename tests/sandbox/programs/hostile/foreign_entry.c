// Enters the kernel by the doors of other ABIs, where system calls have other numbers: each must
// end the process. argv[1] says which.
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char** argv) {
  long result = -1;
  if (argc < 2) return 2;
  if (strcmp(argv[1], "int80") == 0) {
    // 20 is getpid there; on a kernel without the door it is a fault, which is as good.
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
  } else if (strcmp(argv[1], "x32") == 0) {
    result = syscall(0x40000000L | SYS_getpid);
  }
  printf("survived: %ld\n", result);
  return 0;
}
