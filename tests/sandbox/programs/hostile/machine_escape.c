// Started in a machine's cell where QEMU would be, with QEMU's descriptors: what somebody could do
// who has taken it over, without the filter that QEMU puts on itself. Prints "name: errno" or
// "name: ALLOWED" for each try.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { kRam = 5, kState = 6 };

static void say(const char* name, long result) {
  if (result >= 0) {
    printf("%s: ALLOWED\n", name);
  } else {
    printf("%s: %s\n", name, strerrorname_np(errno));
  }
  fflush(stdout);
}

static long map(int fd, int protection, int flags) {
  void* at = mmap(NULL, 4096, protection, flags, fd, 0);
  if (at == MAP_FAILED) return -1;
  if ((protection & PROT_WRITE) != 0) *(volatile char*)at = 'x';
  return 0;
}

static long reach_network(void) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(53)};
  address.sin_addr.s_addr = htonl(0x08080808);
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  return fd < 0 ? -1 : connect(fd, (struct sockaddr*)&address, sizeof address);
}

// Descriptors besides the standard streams and those of a launch.
static int other_descriptors(void) {
  DIR* folder = opendir("/proc/self/fd");
  int count = 0;
  for (const struct dirent* entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
    int fd = -1;
    if (sscanf(entry->d_name, "%d", &fd) == 1 && fd > kState && fd != dirfd(folder)) ++count;
  }
  return count;
}

int main(void) {
  char byte = 0;
  say("other descriptors", other_descriptors() > 0 ? 0 : (errno = ENOENT, -1));
  say("write the template's memory", pwrite(kRam, "x", 1, 0));
  say("map the template's memory shared", map(kRam, PROT_READ | PROT_WRITE, MAP_SHARED));
  say("map the template's memory privately", map(kRam, PROT_READ | PROT_WRITE, MAP_PRIVATE));
  say("shorten the template's memory", ftruncate(kRam, 4096));
  say("lengthen the template's memory", ftruncate(kRam, 1L << 40));
  say("punch a hole into the template's memory",
      fallocate(kRam, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
  say("unseal the template's memory", fcntl(kRam, F_ADD_SEALS, F_SEAL_SEAL));
  const int again = open("/proc/self/fd/5", O_RDWR);
  say("open the template's memory anew and write", again < 0 ? -1 : pwrite(again, "x", 1, 0));
  say("read the template's state", pread(kState, &byte, 1, 0));
  say("write the template's state", pwrite(kState, "x", 1, 0));
  const int state = open("/proc/self/fd/6", O_RDWR);
  say("open the template's state anew and write", state < 0 ? -1 : pwrite(state, "x", 1, 0));

  say("open a disk for writing", open("/image/base.erofs", O_RDWR));
  say("make a file in the image", open("/image/x", O_WRONLY | O_CREAT, 0644));
  say("remove a disk", unlink("/image/base.erofs"));
  say("make a file in the root", open("/x", O_WRONLY | O_CREAT, 0644));
  say("overwrite QEMU", open("/usr/bin/qemu-system-x86_64", O_WRONLY));
  say("overwrite a program of ours", open("/opt/forkbox-vm/forkbox-vm-launch", O_WRONLY));
  say("remount the root", mount(NULL, "/", NULL, MS_REMOUNT, NULL));
  say("read the accounts", open("/etc/passwd", O_RDONLY));
  say("read the accounts' secrets", open("/etc/shadow", O_RDONLY));
  say("start a shell", access("/bin/sh", F_OK));
  say("start python", access("/usr/bin/python3", F_OK));
  say("open /dev/kvm", open("/dev/kvm", O_RDWR));
  say("open the kernel's log", open("/dev/kmsg", O_RDONLY));
  say("open the host's memory", open("/dev/mem", O_RDONLY));
  say("look at devices", access("/sys/devices", F_OK));
  say("write a setting of the kernel", open("/proc/sys/kernel/core_pattern", O_WRONLY));

  say("reach the network", reach_network());
  say("take packets from the wire", socket(AF_PACKET, SOCK_RAW, 0));
  say("become root", setuid(0));
  say("trace pid 1", ptrace(PTRACE_ATTACH, 1, NULL, NULL));
  say("end pid 1", kill(1, SIGKILL) == 0 && kill(1, 0) != 0 ? 0 : (errno = EPERM, -1));
  say("a namespace of one's own", syscall(SYS_unshare, 0x10000000 /* CLONE_NEWUSER */));
  say("load a module", syscall(SYS_init_module, "", 0UL, ""));
  say("bpf", syscall(SYS_bpf, 0, NULL, 0));
  say("io_uring", syscall(SYS_io_uring_setup, 8, NULL));
  printf("end\n");
  return 0;
}
