#include "runner/sandbox/template/fork_loop.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

#include "runner/sandbox/protocol.h"
#include "runner/sandbox/template/isolation.h"
#include "runner/sandbox/template/job_wire.h"
#include "runner/sandbox/wire.h"

namespace forkbox::sandbox {
namespace {

constexpr std::size_t kMaxTemplateFds = kTplFixedCount + kMaxCgroups;
constexpr int kLookAgainMs = 50;  // for the end of a child without a pidfd

[[noreturn]] void Die(const char* what) {
  std::fprintf(stderr, "%s: %s\n", what, std::strerror(errno));
  std::_Exit(70);
}

struct Child {
  pid_t pid = -1;
  int pidfd = -1;  // -1: there was none to be had
  int status_fd = -1;
};

void Report(int status_fd, const StatusMessage& message) {
  // The driver may be gone already: then nobody wants to know.
  (void)SendPacket(status_fd, &message, sizeof message);
}

std::vector<sock_filter> LoadFilter() {
  struct stat info {};
  if (::fstat(kTemplateFilterFd, &info) != 0) Die("seccomp program");
  std::vector<sock_filter> program(static_cast<std::size_t>(info.st_size) / sizeof(sock_filter));
  const std::size_t bytes = program.size() * sizeof(sock_filter);
  if (program.empty() ||
      ::pread(kTemplateFilterFd, program.data(), bytes, 0) != static_cast<ssize_t>(bytes)) {
    Die("seccomp program");
  }
  return program;
}

// To be killed when the last writer of this pipe goes: the kernel tells the readers, by a signal of
// their choice (fcntl(2), F_SETSIG), and this one asks nobody and waits for nothing. Done before
// the child can be stopped by anybody.
bool Leash(int pipe) {
  return ::fcntl(pipe, F_SETOWN, ::getpid()) == 0 && ::fcntl(pipe, F_SETSIG, SIGKILL) == 0 &&
         ::fcntl(pipe, F_SETFL, ::fcntl(pipe, F_GETFL) | O_ASYNC) == 0;
}

void Forget(const Child& child) {
  if (child.pidfd >= 0) ::close(child.pidfd);
  ::close(child.status_fd);
}

void Reap(Child* child) {
  int status = 0;
  rusage usage{};
  if (::wait4(child->pid, &status, 0, &usage) == child->pid) {
    const auto micros = [](const timeval& t) { return t.tv_sec * 1'000'000L + t.tv_usec; };
    StatusMessage message;
    message.kind = StatusKind::kExited;
    message.wait_status = status;
    message.cpu_us = micros(usage.ru_utime) + micros(usage.ru_stime);
    Report(child->status_fd, message);
  }
  Forget(*child);
}

bool HasEnded(const Child& child, const pollfd& polled) {
  if (child.pidfd >= 0) return polled.revents != 0;
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(child.pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         info.si_pid == child.pid;
}

// After a request has been received, descriptors and all: whether another would be. It would lose
// its own otherwise, the one by which to say so among them. They are given out from below: `fds`
// have taken what was free there.
bool RoomForAnother(std::span<const int> fds) {
  rlimit files{};
  const int highest = *std::max_element(fds.begin(), fds.end());
  return ::getrlimit(RLIMIT_NOFILE, &files) == 0 &&
         static_cast<rlim_t>(highest) + 1 + kMaxTemplateFds <= files.rlim_cur;
}

}  // namespace

int ServeForks(const ForkHooks& hooks) {
  std::vector<sock_filter> program = LoadFilter();
  const sock_fprog filter{static_cast<unsigned short>(program.size()), program.data()};
  if (!TrimTemplatePrivileges()) Die("drop privileges");
  const TemplateReady ready{.pid = ::getpid()};
  if (!SendPacket(kTemplateControlFd, &ready, sizeof ready)) Die("forkserver");

  std::vector<Child> children;
  std::vector<pollfd> polled;
  for (;;) {
    polled.clear();
    polled.push_back({kTemplateControlFd, POLLIN, 0});
    for (const Child& child : children) polled.push_back({child.pidfd, POLLIN, 0});
    const bool all_told =
        std::ranges::none_of(children, [](const Child& c) { return c.pidfd < 0; });
    if (::poll(polled.data(), polled.size(), all_told ? -1 : kLookAgainMs) < 0) {
      if (errno == EINTR) continue;
      Die("poll");
    }
    // Ends before beginnings: somebody waits for them.
    for (std::size_t i = children.size(); i-- > 0;) {
      if (!HasEnded(children[i], polled[i + 1])) continue;
      Reap(&children[i]);
      children[i] = children.back();
      children.pop_back();
    }
    if (polled[0].revents == 0) continue;

    TemplateFork request;
    std::array<int, kMaxTemplateFds> fds{};
    std::size_t fd_count = fds.size();
    const ssize_t size =
        RecvPacket(kTemplateControlFd, &request, sizeof request, fds.data(), &fd_count);
    if (size == 0) std::_Exit(0);  // the forkserver is gone, and so are all cells
    // Descriptors ran out all the same, and what came is closed. Whoever asked sees the end of the
    // status socket or loses patience; it is no reason for the ends of all others to be lost.
    if (size < 0 && errno == EMSGSIZE) continue;
    if (size != sizeof request || fd_count < kTplFixedCount ||
        fd_count != kTplFixedCount + request.cgroup_count) {
      Die("fork request");
    }

    StatusMessage failure;
    failure.kind = StatusKind::kForkFailed;
    pid_t pid = -1;
    if (hooks.before_fork) hooks.before_fork();
    if (!RoomForAnother(std::span(fds.data(), fd_count))) {
      failure.stage = Stage::kDescriptors;
      failure.error = EMFILE;
    } else if (::setns(fds[kTplInitPidfd], CLONE_NEWPID) != 0) {
      failure.stage = Stage::kEnterPidNamespace;
      failure.error = errno;
    } else {
      pid = hooks.fork ? hooks.fork() : ::fork();
      if (pid < 0) {
        failure.stage = Stage::kFork;
        failure.error = errno;
      }
    }
    if (pid == 0) {
      if (hooks.channel_place >= 0) {
        for (const Child& sibling : children) Forget(sibling);
      }
      if (hooks.after_fork_child) hooks.after_fork_child();
      IsolationFailure isolation;
      if (hooks.leashed && !Leash(fds[kTplStdin])) isolation = {Stage::kDescriptors, errno};
      if (isolation.stage == Stage::kNone) {
        isolation = EnterCell(request, fds.data(), fd_count, filter, hooks.channel_place);
      }
      // Once more as the user that it is now: whose leash it is decides whether it may be pulled.
      if (hooks.leashed && isolation.stage == Stage::kNone && !Leash(STDIN_FILENO)) {
        isolation = {Stage::kDescriptors, errno};
      }
      if (isolation.stage != Stage::kNone) {
        failure.stage = isolation.stage;
        failure.error = isolation.error;
        Report(fds[kTplStatus], failure);      // where the report is now depends on how
        Report(kChildChannelFd + 1, failure);  // far we came; one of the two is the socket
        std::_Exit(70);
      }
      StatusMessage isolated;
      isolated.pid = ::getpid();
      Report(kChildChannelFd + 1, isolated);
      if (hooks.leashed || hooks.channel_place >= 0) {
        ::close(kChildChannelFd + 1);
      } else {
        BecomeVisible(kChildChannelFd + 1);
      }
      return hooks.channel_place < 0 ? kChildChannelFd : hooks.channel_place;
    }
    if (hooks.after_fork_parent) hooks.after_fork_parent();

    // The child's streams and channel must end with the child.
    for (std::size_t i = 0; i < fd_count; ++i) {
      if (i != kTplStatus) ::close(fds[i]);
    }
    if (pid > 0) {
      const auto pidfd = static_cast<int>(::syscall(SYS_pidfd_open, pid, 0));
      children.push_back({pid, pidfd, fds[kTplStatus]});
    } else {
      Report(fds[kTplStatus], failure);
      ::close(fds[kTplStatus]);
    }
  }
}

namespace {

void ReadExactly(int fd, void* data, std::size_t size) {
  auto* at = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = ::read(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) std::_Exit(0);  // nobody wanted this fork
    at += n;
    size -= static_cast<std::size_t>(n);
  }
}

void WriteFile(std::string_view path, std::string_view content, bool executable) {
  // Paths were checked where they entered; this process may only hurt itself. Folders on the way
  // are made as needed.
  std::string name(path);
  for (std::size_t slash = name.find('/'); slash != std::string::npos;
       slash = name.find('/', slash + 1)) {
    if (slash == 0) continue;
    name[slash] = '\0';
    ::mkdir(name.c_str(), 0755);
    name[slash] = '/';
  }
  const int fd =
      ::open(name.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, executable ? 0755 : 0644);
  bool written = fd >= 0;
  while (written && !content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    written = n > 0;
    if (written) content.remove_prefix(static_cast<std::size_t>(n));
  }
  if (!written) {
    std::fprintf(stderr, "%s: %s\n", name.c_str(), std::strerror(errno));
    std::_Exit(1);
  }
  ::close(fd);
}

// The last that there is room for before a process's table of descriptors grows: what programs
// open themselves keeps its numbers.
constexpr int kAnnouncementFd = 63;

// The channel of a script, and whose it is.
class Announcer {
 public:
  void Keep(int channel) {
    struct stat info {};
    if (::fstat(channel, &info) != 0 || ::dup3(channel, kAnnouncementFd, O_CLOEXEC) < 0) return;
    owner_ = ::getpid();
    socket_ = info.st_ino;
  }
  // The program may have closed it, opened something else there, or be a fork of the process.
  [[nodiscard]] bool IsOurs() const {
    struct stat info {};
    return owner_ == ::getpid() && ::fstat(kAnnouncementFd, &info) == 0 && S_ISSOCK(info.st_mode) &&
           info.st_ino == socket_;
  }

 private:
  pid_t owner_ = -1;
  ino_t socket_ = 0;
};
Announcer announcer;

}  // namespace

ChildJob ReceiveJob(int channel) {
  std::uint64_t size = 0;
  ReadExactly(channel, &size, sizeof size);
  if (size > kMaxJobFrameBytes) std::_Exit(70);
  std::string body(size, '\0');
  ReadExactly(channel, body.data(), body.size());
  ChildJob job;
  std::vector<JobFile> files;
  if (!DecodeJob(body, &job, &files)) std::_Exit(70);
  for (const JobFile& file : files) WriteFile(file.path, file.content, file.executable);
  if (!job.file_name.empty() && job.entry != ChildJob::Entry::kSession) {
    WriteFile(job.file_name, job.code, false);
  }
  if (!job.cwd.empty() && ::chdir(job.cwd.c_str()) != 0) {
    std::fprintf(stderr, "%s: %s\n", job.cwd.c_str(), std::strerror(errno));
    std::fflush(stderr);
    std::_Exit(126);
  }
  if (job.entry == ChildJob::Entry::kScript) {
    if (job.reseed && job.command.empty()) announcer.Keep(channel);
    ::close(channel);
  }
  return job;
}

void AnnounceExit(int exit_code) {
  if (!announcer.IsOurs()) return;
  const std::string text = Announcement(exit_code);
  if (::send(kAnnouncementFd, text.data(), text.size(), MSG_NOSIGNAL) < 0) return;
  for (;;) ::pause();
}

void SendAnswer(int channel, std::string_view answer) {
  while (!answer.empty()) {
    const ssize_t n = ::send(channel, answer.data(), answer.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    answer.remove_prefix(static_cast<std::size_t>(n));
  }
  ::close(channel);
}

}  // namespace forkbox::sandbox
