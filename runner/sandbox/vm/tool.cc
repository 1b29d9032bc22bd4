#include "runner/sandbox/vm/tool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>

#include "base/clock.h"
#include "base/unique_fd.h"

namespace forkbox::sandbox::vm {
namespace {

constexpr const char* kPath = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
constexpr std::chrono::milliseconds kTick{100};
constexpr std::size_t kMaxLine = 4096;
constexpr int kNotFound = 127;

// Bytes in, whole lines out; what is longer than a line may be loses its end.
class Lines {
 public:
  void Add(std::string_view bytes, const std::function<void(std::string_view)>& take) {
    for (const char c : bytes) {
      if (c != '\n') {
        if (line_.size() < kMaxLine) line_ += c;
        continue;
      }
      if (!line_.empty()) take(line_);
      line_.clear();
    }
  }

 private:
  std::string line_;
};

struct Pipe {
  UniqueFd read;
  UniqueFd write;
};

Result<Pipe> MakePipe() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return FailErrno("pipe2");
  return Pipe{UniqueFd(fds[0]), UniqueFd(fds[1])};
}

// In the child: only what is safe after a fork.
[[noreturn]] void Become(const std::vector<char*>& argv, const std::vector<char*>& environment,
                         int output, int errors, pid_t parent) {
  ::setpgid(0, 0);  // to be ended with all that it starts
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(1);
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (nothing < 0 || ::dup2(nothing, 0) < 0 || ::dup2(output, 1) < 0 || ::dup2(errors, 2) < 0) {
    ::_exit(1);
  }
  ::signal(SIGPIPE, SIG_DFL);
  ::execvpe(argv[0], argv.data(), environment.data());
  ::_exit(kNotFound);
}

std::vector<char*> Pointers(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// What these programs may need to know of ours, and no more: their result must not depend on it.
std::vector<std::string> Environment() {
  std::vector<std::string> environment = {kPath, "LC_ALL=C", "TZ=UTC0", "HOME=/root"};
  for (const char* name : {"FORKBOX_VM_MIRROR", "http_proxy", "https_proxy", "no_proxy"}) {
    if (const char* value = ::getenv(name)) environment.push_back(std::string(name) + "=" + value);
  }
  return environment;
}

}  // namespace

Result<void> RunTool(const Tool& tool) {
  auto output = MakePipe();
  auto errors = MakePipe();
  if (!output) return Fail(output.error());
  if (!errors) return Fail(errors.error());
  const std::vector<std::string> environment = Environment();
  const auto argv = Pointers(tool.command);
  const auto envp = Pointers(environment);
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return FailErrno("fork");
  if (child == 0) Become(argv, envp, output->write.get(), errors->write.get(), parent);
  ::setpgid(child, child);  // whichever of us comes first
  output->write.Reset();
  errors->write.Reset();

  const Deadline deadline = std::chrono::steady_clock::now() + tool.at_most;
  std::string last_error;
  std::array<Lines, 2> lines;
  std::array<UniqueFd, 2> ends = {std::move(output->read), std::move(errors->read)};
  bool stopped = false;
  bool late = false;
  while (ends[0] || ends[1]) {
    std::array<pollfd, 2> polled = {pollfd{ends[0].get(), POLLIN, 0},
                                    pollfd{ends[1].get(), POLLIN, 0}};
    ::poll(polled.data(), polled.size(), static_cast<int>(kTick.count()));
    for (std::size_t i = 0; i < ends.size(); ++i) {
      if (polled[i].fd < 0 || polled[i].revents == 0) continue;
      char piece[4096];
      const ssize_t n = ::read(ends[i].get(), piece, sizeof piece);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        ends[i].Reset();
        continue;
      }
      const std::string_view bytes(piece, static_cast<std::size_t>(n));
      lines[i].Add(bytes, [&](std::string_view line) {
        if (i == 0) {
          tool.on_line(line);
        } else {
          last_error = line;
        }
      });
    }
    stopped = stopped || tool.stopped();
    late = std::chrono::steady_clock::now() >= deadline;
    if (stopped || late) break;
  }
  if (stopped || late) ::kill(-child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const std::string& name = tool.command.front();
  if (stopped) return Fail(ErrorCode::kConflict, "stopped");
  if (late) return Fail(ErrorCode::kDeadlineExceeded, name + " took too long");
  if (status == 0) return {};
  if (WIFEXITED(status) && WEXITSTATUS(status) == kNotFound && last_error.empty()) {
    return Fail(ErrorCode::kUnavailable, name + " is not installed");
  }
  if (!last_error.empty()) return Fail(ErrorCode::kUnavailable, last_error);
  return Fail(ErrorCode::kUnavailable, name + " failed");
}

}  // namespace forkbox::sandbox::vm
