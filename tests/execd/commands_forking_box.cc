// The box that only forks: the same descriptors, no walls.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <mutex>
#include <thread>
#include <vector>

#include "runner/sandbox/protocol.h"
#include "tests/execd/commands_box_under_test.h"

namespace forkbox::execd {

class Files::Impl {};
Files::Files(sandbox::Box&) {}
Files::~Files() = default;
Result<void> Files::Signal(pid_t pid, int number, bool whole_group) {
  if (::kill(whole_group ? -pid : pid, number) == 0) return {};
  return Fail(errno == ESRCH ? ErrorCode::kNotFound : ErrorCode::kInternal, "kill");
}
Result<void> Files::MakeDirectory(const std::string& path, const Permission&) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) return Fail(ErrorCode::kInternal, error.message());
  return {};
}

namespace testing {
namespace {

class ForkingBox : public sandbox::Box {
 public:
  ~ForkingBox() override { End(); }

  Result<sandbox::BoxProcess> Start(const sandbox::BoxProgram& program) override {
    if (!alive_) return Fail(ErrorCode::kUnavailable, "ended");
    int in[2];
    int out[2];
    int err[2];
    int channel[2];
    int status[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0 ||
        ::pipe2(err, O_CLOEXEC) != 0 ||
        ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) != 0 ||
        ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, status) != 0) {
      return FailErrno("pipes");
    }
    std::vector<std::string> env{"PATH=/usr/local/bin:/usr/bin:/bin", "HOME=" + work_,
                                 "LANG=C.UTF-8", "BOX=forking"};
    for (const auto& [name, value] : program.env) env.push_back(name + "=" + value);
    // What the runtime folder holds is found where it was built.
    std::vector<std::string> command = program.command;
    for (std::string& word : command) {
      constexpr std::string_view kInside = "/opt/forkbox/";
      if (word.starts_with(kInside)) word.replace(0, kInside.size(), FORKBOX_RUNTIME "/");
    }
    std::vector<char*> argv;
    for (std::string& word : command) argv.push_back(word.data());
    argv.push_back(nullptr);
    std::vector<char*> envp;
    for (std::string& entry : env) envp.push_back(entry.data());
    envp.push_back(nullptr);
    const std::string cwd = program.cwd.empty() ? work_ : program.cwd;
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setsid();
      ::signal(SIGPIPE, SIG_DFL);
      ::dup2(in[0], 0);
      ::dup2(out[1], 1);
      ::dup2(err[1], 2);
      const int moved = ::fcntl(channel[1], F_DUPFD_CLOEXEC, 100);
      ::close(3);
      if (program.channel) ::dup2(moved, 3);
      if (::chdir(cwd.c_str()) != 0) ::_exit(126);
      ::execve(argv[0], argv.data(), envp.data());
      ::_exit(127);
    }
    ::close(in[0]);
    ::close(out[1]);
    ::close(err[1]);
    ::close(channel[1]);
    {
      const std::lock_guard lock(mutex_);
      pids_.push_back(pid);
      reapers_.emplace_back([pid, told = status[1]] {
        sandbox::StatusMessage message;
        message.kind = sandbox::StatusKind::kExited;
        ::waitpid(pid, &message.wait_status, 0);
        (void)!::send(told, &message, sizeof message, MSG_NOSIGNAL);
        ::close(told);
      });
    }
    sandbox::BoxProcess process;
    process.status.Reset(status[0]);
    process.channel.Reset(channel[0]);
    if (!program.channel) process.channel.Reset();
    process.stdin_pipe.Reset(in[1]);
    process.stdout_pipe.Reset(out[0]);
    process.stderr_pipe.Reset(err[0]);
    process.pid = pid;
    return process;
  }

  Result<void> Freeze() override { return {}; }
  Result<void> Thaw() override { return {}; }
  void End() override {
    alive_ = false;
    const std::lock_guard lock(mutex_);
    for (const pid_t pid : pids_) ::kill(-pid, SIGKILL);
    for (std::thread& reaper : reapers_) reaper.join();
    reapers_.clear();
    pids_.clear();
    std::error_code error;
    std::filesystem::remove_all(work_, error);
  }
  [[nodiscard]] sandbox::BoxUsage Usage() const override { return {}; }
  [[nodiscard]] bool Alive() const override { return alive_; }

 private:
  static std::string MakeWork() {
    std::string path = "/tmp/forking-box-XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) std::abort();
    return path;
  }
  const std::string work_ = MakeWork();
  std::atomic<bool> alive_ = true;
  std::mutex mutex_;
  std::vector<pid_t> pids_;
  std::vector<std::thread> reapers_;
};

class Forking : public BoxUnderTest {
 public:
  sandbox::Box& box() override { return box_; }
  Files& files() override { return files_; }

 private:
  ForkingBox box_;
  Files files_{box_};
};

}  // namespace

std::unique_ptr<BoxUnderTest> OpenBoxUnderTest(const sandbox::BoxLimits&) {
  return std::make_unique<Forking>();
}
bool IsRealBox() { return false; }

}  // namespace testing
}  // namespace forkbox::execd
