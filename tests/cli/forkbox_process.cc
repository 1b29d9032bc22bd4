#include "tests/cli/forkbox_process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "base/check.h"

extern char** environ;

namespace forkbox::tests {

namespace {

std::string ReadFile(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  char name[] = "/tmp/forkbox-cli-XXXXXX";
  FORKBOX_CHECK(::mkdtemp(name) != nullptr);
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

ForkboxProcess::ForkboxProcess(const std::filesystem::path& directory,
                               std::vector<std::string> args, const std::string& input,
                               std::vector<std::string> environment) {
  const std::string in = files_.path() / "in";
  const std::string out = files_.path() / "out";
  const std::string err = files_.path() / "err";
  std::ofstream(in, std::ios::binary) << input;

  args.insert(args.begin(), FORKBOX_BINARY);
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);
  // Where an image lies beside the program, each process would boot one.
  const bool machines = std::ranges::any_of(
      environment, [](const std::string& one) { return one.starts_with("FORKBOX_VM="); });
  if (!machines) environment.emplace_back("FORKBOX_VM=off");
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string text = *variable;
    if (!text.starts_with("FORKBOX_") && !text.starts_with("ZEROBOOT_")) {
      environment.push_back(text);
    }
  }
  std::vector<char*> envp;
  for (std::string& variable : environment) envp.push_back(variable.data());
  envp.push_back(nullptr);

  pid_ = ::fork();
  FORKBOX_CHECK(pid_ >= 0);
  if (pid_ == 0) {
    const int flags = O_WRONLY | O_CREAT | O_TRUNC;
    const bool ready = ::dup2(::open(in.c_str(), O_RDONLY), 0) == 0 &&
                       ::dup2(::open(out.c_str(), flags, 0600), 1) == 1 &&
                       ::dup2(::open(err.c_str(), flags, 0600), 2) == 2 &&
                       ::chdir(directory.c_str()) == 0 && ::close_range(3, ~0U, 0) == 0;
    if (ready) ::execve(argv[0], argv.data(), envp.data());
    ::_exit(126);
  }
}

ForkboxProcess::~ForkboxProcess() {
  if (ended_) return;
  ::kill(pid_, SIGKILL);
  Reap(true);
}

void ForkboxProcess::Signal(int signal) const { ::kill(pid_, signal); }

bool ForkboxProcess::Reap(bool block) {
  int status = 0;
  if (!ended_ && ::waitpid(pid_, &status, block ? 0 : WNOHANG) == pid_) {
    ended_ = true;
    exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  return ended_;
}

int ForkboxProcess::Wait(std::chrono::seconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (!Reap(false)) {
    if (std::chrono::steady_clock::now() > until) return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return exit_;
}

std::string ForkboxProcess::WaitForUrl(std::chrono::seconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  const std::string before = "listens on ";
  while (std::chrono::steady_clock::now() < until) {
    const bool ended = Reap(false);
    const std::string text = Stdout();
    const std::size_t begin = text.find(before);
    const std::size_t end = text.find('\n', begin);
    if (begin != std::string::npos && end != std::string::npos) {
      return text.substr(begin + before.size(), end - begin - before.size());
    }
    if (ended) return "";
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return "";
}

bool ForkboxProcess::WaitForOutput(const std::string& text, std::chrono::seconds timeout) {
  const auto until = std::chrono::steady_clock::now() + timeout;
  while (std::chrono::steady_clock::now() < until) {
    const bool ended = Reap(false);
    if (Stdout().find(text) != std::string::npos) return true;
    if (ended) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

std::string ForkboxProcess::Stdout() const { return ReadFile(files_.path() / "out"); }
std::string ForkboxProcess::Stderr() const { return ReadFile(files_.path() / "err"); }

}  // namespace forkbox::tests
