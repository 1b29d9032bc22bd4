#include "runner/sandbox/forkserver/warm_template.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "runner/sandbox/template/fork_loop.h"

namespace forkbox::sandbox {

void WarmTemplate::DrainErrors() {
  char buffer[1024];
  while (errors) {
    const ssize_t n = ::read(errors.get(), buffer, sizeof buffer);
    if (n <= 0) {
      if (n == 0 || (errno != EAGAIN && errno != EINTR)) errors.Reset();
      return;
    }
    said.append(buffer, static_cast<std::size_t>(n));
    if (said.size() > 4096) said.erase(0, said.size() - 2048);
  }
}

std::string WarmTemplate::LastWords() const {
  std::string words = said;
  while (!words.empty() && words.back() == '\n') words.pop_back();
  if (words.empty()) return "ended without a word";
  const auto line = words.rfind('\n');
  return line == std::string::npos ? words : words.substr(line + 1);
}

pid_t SpawnTemplate(const TemplateSpec& spec, int control_fd, int errors_fd, int filter_fd) {
  std::vector<char*> argv;
  for (const auto& word : spec.command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::vector<char*> envp;
  for (const auto& entry : spec.env) envp.push_back(const_cast<char*>(entry.c_str()));
  envp.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;

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
  ::execve(argv[0], argv.data(), envp.data());
  ::dprintf(2, "cannot start %s: %s", argv[0], std::strerror(errno));
  ::_exit(72);
}

}  // namespace forkbox::sandbox
