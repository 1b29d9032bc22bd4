// ExecdProcess: one sandbox and the server of its execd, from the first check to the last drain.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/result.h"
#include "cli/listen_address.h"
#include "runner/execd/path_expansion.h"
#include "runner/sandbox/box.h"

namespace forkbox::cli {

struct ExecdConfig {
  ListenAddress address;
  std::string token;  // "": open to all who reach it
  sandbox::BoxLimits limits;
  execd::Environment env;  // of all programs in the sandbox
  std::chrono::milliseconds grace{1000};
  std::size_t max_connections = 1024;
  LogLevel level = LogLevel::kInfo;
};

// One thread.
class ExecdProcess {
 public:
  // `config` outlives it.
  ExecdProcess(const ExecdConfig& config, Log log);
  ~ExecdProcess();
  ExecdProcess(const ExecdProcess&) = delete;
  ExecdProcess& operator=(const ExecdProcess&) = delete;

  // Drops root on the way. kInvalidArgument: the settings do not fit this machine; else something
  // failed.
  Result<void> Start();

  // Takes nothing new; what runs may end for so long, or until `hurry`, then the sandbox ends.
  void Drain(std::chrono::milliseconds grace, const std::function<bool()>& hurry);

  // False when the sandbox has ended: it does not come back.
  [[nodiscard]] bool Alive() const;

  [[nodiscard]] std::uint16_t port() const;
  [[nodiscard]] std::vector<std::string> languages() const;  // that code can be in
  [[nodiscard]] std::vector<std::string> missing_protections() const;

 private:
  struct Parts;

  Result<void> StartServer();

  const ExecdConfig& config_;
  const Log log_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace forkbox::cli
