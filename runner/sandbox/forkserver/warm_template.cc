#include "runner/sandbox/forkserver/warm_template.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>
#include <vector>

#include "runner/sandbox/forkserver/streams.h"
#include "runner/sandbox/template/fork_loop.h"

namespace forkbox::sandbox {
namespace {

constexpr std::size_t kMostSaid = 16384;  // a kernel's panic with all that it says is 3 KiB

// In the child of a fork.
[[noreturn]] void Become(char* const* argv, char* const* envp, int control_fd, int errors_fd,
                         int filter_fd);

}  // namespace

void WarmTemplate::End() {
  DrainErrors();
  if (pid > 0) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
  }
  pid = -1;
  ready = false;
  control.Reset();
  errors.Reset();
}

TemplateSpec WarmTemplate::Varied() const {
  TemplateSpec varied = spec;
  for (std::string& word : varied.command) {
    const std::size_t at = word.find(kVariant);
    if (at != std::string::npos) word.replace(at, kVariant.size(), variant);
  }
  return varied;
}

void WarmTemplate::DrainErrors() {
  char buffer[1024];
  while (errors) {
    const ssize_t n = ::read(errors.get(), buffer, sizeof buffer);
    if (n <= 0) {
      if (n == 0 || (errno != EAGAIN && errno != EINTR)) errors.Reset();
      return;
    }
    said.append(buffer, static_cast<std::size_t>(n));
    if (said.size() > kMostSaid) said.erase(0, said.size() - kMostSaid / 2);
  }
}

std::string WarmTemplate::LastWords() const {
  std::string words = said;
  words.erase(words.find_last_not_of("\r\n") + 1);
  if (words.empty()) return "ended without a word";
  const auto panic = words.find("panic");
  const auto from = words.rfind('\n', panic);  // npos is the end as well
  words.erase(0, from == std::string::npos ? 0 : from + 1);
  if (panic != std::string::npos) words.erase(std::min(words.find_first_of("\r\n"), words.size()));
  return words;
}

Result<StartedTemplate> SpawnTemplate(const TemplateSpec& spec, int filter_fd) {
  auto control = MakeSocketPair(SOCK_SEQPACKET);
  if (!control) return Fail(control.error());
  auto errors = MakePipe();
  if (!errors) return Fail(errors.error());
  std::vector<char*> argv;
  for (const auto& word : spec.command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (const auto& entry : spec.env) envp.push_back(const_cast<char*>(entry.c_str()));
  envp.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid == 0) {
    Become(argv.data(), envp.data(), control->theirs.get(), errors->theirs.get(), filter_fd);
  }
  if (pid < 0) return FailErrno("fork");
  ::fcntl(errors->ours.get(), F_SETFL, O_NONBLOCK);
  return StartedTemplate{pid, std::move(control->ours), std::move(errors->ours)};
}

namespace {

void Become(char* const* argv, char* const* envp, int control_fd, int errors_fd, int filter_fd) {
  // Another thread may have held any lock at the fork: system calls only until exec.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  // An ignored signal stays ignored over exec, down to the program: SIGPIPE is by us, SIGHUP and
  // others are where the driver was started by nohup or a job scheduler.
  for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
  const int null_fd = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  // High copies first, so that no dup2 below overwrites what a later one needs.
  const int control_high = ::fcntl(control_fd, F_DUPFD_CLOEXEC, 100);
  const int errors_high = ::fcntl(errors_fd, F_DUPFD_CLOEXEC, 100);
  const int filter_high = ::fcntl(filter_fd, F_DUPFD_CLOEXEC, 100);
  if (null_fd < 0 || ::dup2(null_fd, 0) < 0 || ::dup2(null_fd, 1) < 0 ||
      ::dup2(errors_high, 2) < 0 || ::dup2(control_high, kTemplateControlFd) < 0 ||
      ::dup2(filter_high, kTemplateFilterFd) < 0) {
    ::_exit(71);
  }
  ::syscall(SYS_close_range, kTemplateFilterFd + 1, ~0U, 0);
  ::setsid();
  ::execve(argv[0], argv, envp);
  ::dprintf(2, "cannot start %s: %s", argv[0], std::strerror(errno));
  ::_exit(72);
}

}  // namespace

}  // namespace forkbox::sandbox
