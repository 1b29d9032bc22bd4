#include "runner/sandbox/template/isolation.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

#include "runner/sandbox/template/fork_loop.h"

namespace forkbox::sandbox {
namespace {

constexpr std::uint64_t Cap(int capability) { return 1ULL << capability; }

bool SetCapabilities(std::uint64_t permitted) {
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2]{};
  for (int i = 0; i < 2; ++i) {
    const auto half = static_cast<std::uint32_t>(permitted >> (32 * i));
    data[i].effective = half;
    data[i].permitted = half;
  }
  return ::syscall(SYS_capset, &header, data) == 0;
}

// Containers may start us with less than a limit of ours and without the right to more, which does
// as well; except for RLIMIT_CORE, where 0 is more than 1 (below).
bool Limit(__rlimit_resource resource, rlim_t value) {
  rlimit now{};
  if (resource != RLIMIT_CORE && ::getrlimit(resource, &now) == 0 && value > now.rlim_max) {
    value = now.rlim_max;
  }
  const rlimit limit{value, value};
  return ::setrlimit(resource, &limit) == 0;
}

// Moves descriptor `from` to exactly `to`, which may be in use.
bool Place(int from, int to) { return from == to || ::dup2(from, to) == to; }

// The same for whoever goes on using `to` as it was: without blocking, if that was how.
bool PlaceAlike(int from, int to) {
  const int flags = ::fcntl(to, F_GETFL);
  return flags >= 0 && Place(from, to) && ::fcntl(to, F_SETFL, flags) == 0;
}

// 0-2, the channel and the status socket, nothing else.
bool ReplaceDescriptors(const int* fds) {
  // All we keep is above 3 here (a template has 0-4 open), so no Place() overwrites a source.
  if (!Place(fds[kTplStdin], 0) || !Place(fds[kTplStdout], 1) || !Place(fds[kTplStderr], 2) ||
      !Place(fds[kTplChannel], kChildChannelFd)) {
    return false;
  }
  // The status socket is still needed to report; it goes to 4 and is closed by the caller.
  if (!Place(fds[kTplStatus], kChildChannelFd + 1) ||
      ::fcntl(kChildChannelFd + 1, F_SETFD, FD_CLOEXEC) != 0 ||
      ::syscall(SYS_close_range, kChildChannelFd + 2, ~0U, 0) != 0) {
    return false;
  }
  ::fcntl(kChildChannelFd, F_SETFD, FD_CLOEXEC);
  return true;
}

// What came with the request takes its places among the template's own, which stay.
bool JoinDescriptors(const int* fds, std::size_t fd_count, int channel_place) {
  if (!PlaceAlike(fds[kTplStdin], 0) || !PlaceAlike(fds[kTplStdout], 1) ||
      !PlaceAlike(fds[kTplStderr], 2) || !PlaceAlike(fds[kTplChannel], channel_place) ||
      !Place(fds[kTplStatus], kTemplateFilterFd) || ::close(kTemplateControlFd) != 0) {
    return false;
  }
  for (std::size_t i = 0; i < fd_count; ++i) ::close(fds[i]);
  return true;
}
static_assert(kTemplateControlFd == kChildChannelFd && kTemplateFilterFd == kChildChannelFd + 1);

}  // namespace

bool TrimTemplatePrivileges() {
  for (int capability = 0; capability <= 63; ++capability) {
    if (::prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0) {
      if (errno == EINVAL) break;  // past the last one this kernel knows
      return false;
    }
  }
  ::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  // setns(2) by pidfd asks for SYS_PTRACE over the target, which is another user's, undumpable.
  return SetCapabilities(Cap(CAP_SYS_ADMIN) | Cap(CAP_SYS_CHROOT) | Cap(CAP_SYS_PTRACE) |
                         Cap(CAP_SETUID) | Cap(CAP_SETGID));
}

IsolationFailure EnterCell(const TemplateFork& request, const int* fds, std::size_t fd_count,
                           const sock_fprog& filter, int channel_place) {
  const auto failed = [](Stage stage) { return IsolationFailure{stage, errno}; };
  // Capabilities keep its neighbours in a box, where all are one user, from reaching into it;
  // between the last of them and the filter nothing else would.
  const auto hide = [] { return ::prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0; };
  if (!hide()) return failed(Stage::kCredentials);

  // The pid namespace was chosen by the template before the fork; a pidfd takes the rest at once
  // (setns(2), Linux 5.8).
  if (::setns(fds[kTplInitPidfd], CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET) != 0) {
    return failed(Stage::kEnterNamespaces);
  }
  // "0" is the writer itself, whatever its pid is called in this namespace (cgroups(7)).
  for (std::size_t i = kTplFixedCount; i < fd_count; ++i) {
    if (::write(fds[i], "0", 1) != 1) return failed(Stage::kJoinCgroup);
  }

  if (!(channel_place < 0 ? ReplaceDescriptors(fds)
                          : JoinDescriptors(fds, fd_count, channel_place))) {
    return failed(Stage::kDescriptors);
  }

  ::umask(022);
  ::setsid();

  // setsid() made a session; limits are hard, so they cannot be raised again.
  // Not RLIMIT_AS: runtimes reserve address space by the gigabyte. Not RLIMIT_FSIZE: it kills where
  // the private disk's own size gives an error that programs understand. A core limit of 1, not 0:
  // the host's core handler, if core_pattern names one, would be started for 0 (core(5)).
  if (!Limit(RLIMIT_NOFILE, 1024) || !Limit(RLIMIT_CORE, 1) || !Limit(RLIMIT_MEMLOCK, 1U << 20) ||
      !Limit(RLIMIT_MSGQUEUE, 0) || !Limit(RLIMIT_SIGPENDING, 1024) || !Limit(RLIMIT_RTPRIO, 0) ||
      !Limit(RLIMIT_NICE, 0)) {
    return failed(Stage::kRlimits);
  }

  // From here on nothing can be undone.
  if (request.uid != 0) {
    // Not by glibc, which would tell all threads that the template had to do the same (nptl(7)).
    if (::syscall(SYS_setgroups, 0, nullptr) != 0 ||
        ::syscall(SYS_setresgid, request.gid, request.gid, request.gid) != 0 ||
        ::syscall(SYS_setresuid, request.uid, request.uid, request.uid) != 0) {
      return failed(Stage::kCredentials);
    }
    // The kernel sets it anew with the user, to what fs.suid_dumpable says.
    if (!hide()) return failed(Stage::kCredentials);
  }
  // Not before: a uid that has as many processes already, in a box, would then be refused its next
  // execve(2), and there would be no way in to end them.
  if (!Limit(RLIMIT_NPROC, request.pids)) return failed(Stage::kRlimits);
  // As the user that it belongs to, who may have closed it to others; of a box, even to itself.
  // Then it can be opened again from elsewhere.
  if (::chdir(kWorkPath) != 0 && ::chdir("/") != 0) return failed(Stage::kWorkDirectory);
  if (!SetCapabilities(0) || ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
    return failed(Stage::kCredentials);
  }
  if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) != 0) {
    return failed(Stage::kSeccomp);
  }
  return {};
}

void BecomeVisible(int status_fd) {
  ::close(status_fd);
  ::prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

}  // namespace forkbox::sandbox
