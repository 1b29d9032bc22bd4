#include "runner/sandbox/vm/live/control.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>

#include "runner/sandbox/vm/live/guest.h"
#include "runner/sandbox/vm/live/huge_pages.h"
#include "runner/sandbox/vm/live/monitor.h"
#include "runner/sandbox/vm/live/open_files.h"
#include "runner/sandbox/vm/live/parking.h"
#include "runner/sandbox/vm/live/raw_calls.h"
#include "runner/sandbox/vm/live/shared_memory.h"
#include "runner/sandbox/vm/live/thread_identity.h"
#include "runner/sandbox/vm/live/threads.h"

namespace forkbox::sandbox::vm {
namespace {

// The forkserver takes the last line as the reason.
[[noreturn]] void Refuse(const std::string& why) {
  std::fprintf(stderr, "%s\n", why.c_str());
  std::_Exit(1);
}

[[noreturn]] void RefuseErrno(const char* what) {
  Refuse(std::string(what) + ": " + std::strerror(errno));
}

void MakeSockets(int ours, int qemus) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 ||
      ::dup3(ends[0], ours, O_CLOEXEC) < 0 || ::dup3(ends[1], qemus, O_CLOEXEC) < 0) {
    RefuseErrno("sockets of the machine");
  }
  ::close(ends[0]);
  ::close(ends[1]);
}

class Template {
 public:
  // Looks at what it is about to copy. "" or why it cannot.
  std::string Examine() {
    constexpr int kKnown[] = {STDIN_FILENO,       STDOUT_FILENO,     STDERR_FILENO,
                              kTemplateControlFd, kTemplateFilterFd, kLiveAgentFd,
                              kLiveMonitorFd,     kOurAgentFd,       kOurMonitorFd};
    if (auto why = files_.Examine(kKnown, std::size(kKnown)); !why.empty()) return why;
    if (auto shared = FindSharedMemory(); !shared.empty()) return "shared memory " + shared;
    const std::span<const ParkedThread> threads = ParkThreads();
    if (threads.empty()) return std::string("threads do not stand still: ") + std::strerror(errno);
    const auto offset = FindThreadIdOffset(threads);
    ReleaseThreads();
    if (!offset) return "this C library keeps thread ids where they cannot be found";
    id_offset_ = *offset;
    return {};
  }

  // As fork(2), of all threads.
  pid_t Fork() {
    threads_ = ParkThreads();
    if (threads_.empty()) return -1;
    // Written by the kernel in the child alone: the caller's own id.
    pid_t* id = ThreadIdAt(ThreadPointer(), id_offset_);
    const long pid = ::syscall(SYS_clone, SIGCHLD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID,
                               nullptr, nullptr, id, nullptr);
    const int error = errno;
    if (pid != 0) ReleaseThreads();
    errno = error;
    return static_cast<pid_t>(pid);
  }

  // In the child, while it may still open things.
  void Renew() const {
    if (!files_.Renew() || !RenewMonitor(kLiveMonitorFd)) RefuseErrno("descriptors of the machine");
    ::close(kOurAgentFd);
    ::close(kOurMonitorFd);
    ::prctl(PR_SET_NAME, "machine", 0, 0, 0);
  }

  // In the child, in its cell.
  [[noreturn]] void Run() const {
    if (!ReviveThreads(threads_, id_offset_)) RefuseErrno("threads of the machine");
    // The leader of a process that ends would hide it from those who look into /proc.
    for (;;) ::ppoll(nullptr, 0, nullptr, nullptr);
  }

 private:
  OpenFiles files_;
  std::size_t id_offset_ = 0;
  std::span<const ParkedThread> threads_;
};

void* Control(void*) {
  ::prctl(PR_SET_NAME, "template", 0, 0, 0);
  if (auto why = AwaitGuest(kOurAgentFd); !why.empty()) Refuse(why);
  if (auto why = StopMachine(kOurMonitorFd); !why.empty()) Refuse(why);
  GatherIntoHugePages();
  Template machine;
  if (auto why = machine.Examine(); !why.empty()) Refuse("cannot be forked: " + why);
  ForkHooks hooks;
  hooks.fork = [&] { return machine.Fork(); };
  hooks.after_fork_child = [&] { machine.Renew(); };
  hooks.channel_place = kLiveAgentFd;
  ServeForks(hooks);
  machine.Run();
}

}  // namespace

void StartControlThread() {
  MakeSockets(kOurAgentFd, kLiveAgentFd);
  MakeSockets(kOurMonitorFd, kLiveMonitorFd);
  if (!PrepareParking()) RefuseErrno("the signal to park");
  // Signals are for QEMU's own threads.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread{};
  errno = ::pthread_create(&thread, nullptr, Control, nullptr);
  if (errno != 0) RefuseErrno("the control thread");
  ::pthread_detach(thread);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

}  // namespace forkbox::sandbox::vm
