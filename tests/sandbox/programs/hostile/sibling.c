// Makes a process whose parent is this one's parent, which lives outside of the sandbox, and ends.
// Were that allowed, the sandbox could not be buried before somebody outside waits for a process
// that nobody outside knows of.
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(void) {
  const long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0);
  if (pid == 0) _exit(0);
  printf("%s\n", pid > 0 ? "made a sibling" : strerrorname_np(errno));
  return 0;
}
