#include "runner/sandbox/process_service.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runner/sandbox/template/job_wire.h"

namespace forkbox::sandbox {

Result<std::unique_ptr<ProcessService>> ProcessService::Start(ReadyFork fork, const RunPlan& plan,
                                                              const schema::Source& source) {
  ChildJob job;
  job.file_name = plan.file_name;
  job.code = source.code;
  job.args = source.args;
  job.command = plan.command;
  for (std::string& word : job.command) {
    if (word == "{file}") word = plan.file_name;
  }
  std::map<std::string, std::string> env = plan.env;
  for (const auto& [name, value] : source.env) env[name] = value;
  job.env.assign(env.begin(), env.end());
  const std::string frame = EncodeJob(job, {});
  std::string_view rest = frame;
  while (!rest.empty()) {
    const ssize_t n = ::write(fork.channel.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Fail(ErrorCode::kUnavailable, "the fork did not take its job");
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  fork.channel.Reset();
  fork.stderr_pipe.Reset();  // nobody would read it, and a full one would stop the program
  for (const int fd : {fork.stdin_pipe.get(), fork.stdout_pipe.get()}) {
    ::fcntl(fd, F_SETFL, O_NONBLOCK);
  }
  return std::unique_ptr<ProcessService>(new ProcessService(std::move(fork)));
}

}  // namespace forkbox::sandbox
