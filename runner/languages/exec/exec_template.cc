// The template of languages that need no warming: forks into a cell, then becomes the command
// that came with the job. Its own footprint is what makes `bash` ready in a fraction of a
// millisecond.

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "runner/sandbox/template/fork_loop.h"

int main() {
  using namespace forkbox::sandbox;
  const int channel = ServeForks({});
  const ChildJob job = ReceiveJob(channel);
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
