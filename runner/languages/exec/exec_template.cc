// The template of languages that need no warming: forks into a cell, then becomes the command
// that came with the job. Its own footprint is what makes `bash` ready in a fraction of a
// millisecond. For a compile it starts the command beside itself, waits for it and sends back what
// it has made. The command of a session keeps the channel, as its descriptor 3.

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "runner/languages/exec/collect_artefacts.h"
#include "runner/sandbox/template/fork_loop.h"

namespace {

using forkbox::sandbox::ChildJob;

int Become(const ChildJob& job) {
  std::vector<char*> argv;
  for (const auto& word : job.command) argv.push_back(const_cast<char*>(word.c_str()));
  for (const auto& arg : job.args) argv.push_back(const_cast<char*>(arg.c_str()));
  argv.push_back(nullptr);
  std::vector<std::string> environment;
  for (const auto& [name, value] : job.env) environment.push_back(name + "=" + value);
  std::vector<char*> envp;
  for (auto& entry : environment) envp.push_back(entry.data());
  envp.push_back(nullptr);
  if (job.command.empty()) return 70;
  ::execve(argv[0], argv.data(), envp.data());
  // As a shell says it: 127 not found, 126 found but not executable.
  const int error = errno;
  std::fprintf(stderr, "%s: %s\n", argv[0], std::strerror(error));
  return error == ENOENT ? 127 : 126;
}

// The channel is close-on-exec: the command cannot answer in our place.
int Compile(const ChildJob& job, int channel) {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(Become(job));
  int status = 0;
  if (pid < 0 || ::waitpid(pid, &status, 0) != pid) {
    std::fprintf(stderr, "the compiler could not be started: %s\n", std::strerror(errno));
    return 70;
  }
  if (WIFSIGNALED(status)) {
    std::fprintf(stderr, "the compiler was killed by signal %d (%s)\n", WTERMSIG(status),
                 ::strsignal(WTERMSIG(status)));
    return 128 + WTERMSIG(status);
  }
  if (WEXITSTATUS(status) == 0) {
    forkbox::sandbox::SendAnswer(channel, forkbox::sandbox::CollectArtefacts(job.artefacts));
  }
  return WEXITSTATUS(status);
}

}  // namespace

int main() {
  const int channel = forkbox::sandbox::ServeForks({});
  const ChildJob job = forkbox::sandbox::ReceiveJob(channel);
  if (job.entry == ChildJob::Entry::kSession) ::fcntl(channel, F_SETFD, 0);
  return job.entry == ChildJob::Entry::kCompile ? Compile(job, channel) : Become(job);
}
