// ServerScript: one of scripts/private-*.sh as a child process, with a directory of its own under
// /tmp. The script runs one server until SIGTERM and prints "ready PID" when it can be used.
//
// One thread, and one that lives as long as this: the server ends when it does. Whatever does not
// do its part ends the test process; the reason is on standard error.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <string>

namespace forkbox::tests {

class ServerScript {
 public:
  // Starts nothing yet. `path` is the script's.
  ServerScript(std::string path, std::uint16_t port);
  // Kills the server, if it runs, and removes the directory.
  ~ServerScript();
  ServerScript(const ServerScript&) = delete;
  ServerScript& operator=(const ServerScript&) = delete;

  // Returns once the server can be used; on whatever an earlier one left in the directory.
  void Start();
  void Stop();  // in order
  void Kill();  // kill -9 of the server's main process
  void AwaitExit();

  [[nodiscard]] const std::filesystem::path& directory() const { return directory_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] pid_t server() const { return server_; }

  // The first of `count` ports in a row on which nothing listens.
  static std::uint16_t FreePorts(int count);

 private:
  const std::string path_;
  const std::uint16_t port_;
  std::filesystem::path directory_;
  pid_t script_ = -1;  // -1: not running
  pid_t server_ = -1;
};

}  // namespace forkbox::tests
