// The built program as a child process, for tests. Nobody else's FORKBOX_* variables reach it.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

namespace forkbox::tests {

// A directory that goes away with its owner.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

class ForkboxProcess {
 public:
  // Starts `forkbox <args>` in `directory`, with `input` as its standard input.
  ForkboxProcess(const std::filesystem::path& directory, std::vector<std::string> args,
                 const std::string& input = "", std::vector<std::string> environment = {});
  // SIGKILL, if it still runs.
  ~ForkboxProcess();
  ForkboxProcess(const ForkboxProcess&) = delete;
  ForkboxProcess& operator=(const ForkboxProcess&) = delete;

  void Signal(int signal) const;
  // The exit code, 128 + n for signal n, or -1 when it still runs at the deadline.
  int Wait(std::chrono::seconds timeout = std::chrono::seconds(120));
  // For `serve`: the URL it prints, or "" when it ended or did not get so far in time.
  std::string WaitForUrl(std::chrono::seconds timeout = std::chrono::seconds(120));

  // Waits until `text` stands in what it printed. False when it ended or did not get so far in time.
  bool WaitForOutput(const std::string& text,
                     std::chrono::seconds timeout = std::chrono::seconds(120));

  [[nodiscard]] pid_t pid() const { return pid_; }
  [[nodiscard]] std::string Stdout() const;
  [[nodiscard]] std::string Stderr() const;

 private:
  bool Reap(bool block);

  TemporaryDirectory files_;
  pid_t pid_ = -1;
  int exit_ = -1;
  bool ended_ = false;
};

}  // namespace forkbox::tests
