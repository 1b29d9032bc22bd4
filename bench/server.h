// Server: a long-running command in a folder of its own, ended with its object.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace forkbox::bench {

// Free a moment ago; nobody else picks ports on a machine that is being measured.
std::uint16_t FreePort();

// A temporary folder that any user may enter.
class Folder {
 public:
  Folder();
  ~Folder();
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

class Server {
 public:
  // What it prints goes to the file `output`.
  Server(std::vector<std::string> command, std::string output);
  ~Server();  // SIGTERM, and waits
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Waits until it has printed that. False when it has not within a minute, or ended.
  bool WaitFor(const std::string& text);

  // For a command that ends by itself: true when it did, with 0.
  bool WaitForEnd();

  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  std::string output_;
  pid_t pid_ = -1;
};

}  // namespace forkbox::bench
