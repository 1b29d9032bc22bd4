#include "bench/server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "base/check.h"
#include "base/unique_fd.h"

namespace forkbox::bench {

std::uint16_t FreePort() {
  const UniqueFd probe(::socket(AF_INET, SOCK_STREAM, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  (void)::bind(probe.get(), reinterpret_cast<sockaddr*>(&address), size);
  (void)::getsockname(probe.get(), reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.sin_port);
}

Folder::Folder() {
  char name[] = "/tmp/forkbox-bench-XXXXXX";
  FORKBOX_CHECK(::mkdtemp(name) != nullptr);
  path_ = name;
  (void)::chmod(name, 0755);
}

Folder::~Folder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

Server::Server(std::vector<std::string> command, std::string output) : output_(std::move(output)) {
  std::vector<char*> argv;
  for (auto& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, 1, output_.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0600);
  char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  char* envp[] = {path, nullptr};
  if (::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), envp) != 0) pid_ = -1;
  ::posix_spawn_file_actions_destroy(&actions);
}

Server::~Server() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGTERM);
  ::waitpid(pid_, nullptr, 0);
}

bool Server::WaitForEnd() {
  int status = -1;
  const bool ended = pid_ > 0 && ::waitpid(pid_, &status, 0) == pid_;
  pid_ = -1;
  return ended && status == 0;
}

bool Server::WaitFor(const std::string& text) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (pid_ > 0 && std::chrono::steady_clock::now() < give_up) {
    std::ifstream file(output_);
    const std::string printed{std::istreambuf_iterator<char>(file), {}};
    if (printed.find(text) != std::string::npos) return true;
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return false;
}

}  // namespace forkbox::bench
