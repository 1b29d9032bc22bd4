#include "tests/servers/server_script.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <utility>

#include "base/check.h"
#include "base/unique_fd.h"

namespace forkbox::tests {
namespace {

using std::chrono::steady_clock;

// Generous: the machine may be busy with many other tests.
constexpr std::chrono::seconds kStartTimeout{120};

bool IsFree(int port) {
  const UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return ::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

}  // namespace

std::uint16_t ServerScript::FreePorts(int count) {
  // Below the range from which the kernel gives ports to clients: one that is free stays so.
  std::uniform_int_distribution<int> any(20'000, 32'000);
  std::random_device random;
  for (;;) {
    const int first = any(random);
    bool free = true;
    for (int port = first; free && port < first + count; ++port) free = IsFree(port);
    if (free) return static_cast<std::uint16_t>(first);
  }
}

ServerScript::ServerScript(std::string path, std::uint16_t port)
    : path_(std::move(path)), port_(port) {
  char name[] = "/tmp/forkbox-server-XXXXXX";
  FORKBOX_CHECK(::mkdtemp(name) != nullptr);
  directory_ = name;
}

ServerScript::~ServerScript() {
  if (script_ > 0) Kill();
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

void ServerScript::Start() {
  FORKBOX_CHECK(script_ < 0);
  int ends[2];
  FORKBOX_CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  const UniqueFd out(ends[0]);
  UniqueFd in(ends[1]);
  const std::string port = std::to_string(port_);
  const pid_t parent = ::getpid();
  script_ = ::fork();
  FORKBOX_CHECK(script_ >= 0);
  if (script_ == 0) {
    // Between the two the parent may have gone.
    if (::prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || ::getppid() != parent) ::_exit(126);
    if (::dup2(in.get(), STDOUT_FILENO) < 0) ::_exit(126);
    ::execl(path_.c_str(), path_.c_str(), directory_.c_str(), port.c_str(), nullptr);
    ::_exit(127);
  }
  in.Reset();
  std::string said;
  const auto deadline = steady_clock::now() + kStartTimeout;
  while (said.find('\n') == std::string::npos) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
    pollfd readable = {out.get(), POLLIN, 0};
    FORKBOX_CHECK(left.count() > 0 && ::poll(&readable, 1, static_cast<int>(left.count())) > 0);
    char buffer[64];
    const ssize_t size = ::read(out.get(), buffer, sizeof buffer);
    FORKBOX_CHECK(size > 0);
    said.append(buffer, static_cast<std::size_t>(size));
  }
  FORKBOX_CHECK(std::sscanf(said.c_str(), "ready %d", &server_) == 1);
}

void ServerScript::AwaitExit() {
  FORKBOX_CHECK(::waitpid(script_, nullptr, 0) == script_);
  script_ = -1;
  server_ = -1;
}

void ServerScript::Kill() {
  FORKBOX_CHECK(::kill(server_, SIGKILL) == 0);
  AwaitExit();
}

void ServerScript::Stop() {
  FORKBOX_CHECK(::kill(script_, SIGTERM) == 0);
  AwaitExit();
}

}  // namespace forkbox::tests
