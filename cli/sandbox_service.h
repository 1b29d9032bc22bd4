// SandboxService: the long-lived sandboxes of a server process, from its engine to who offers them:
// this process's own API, or a server beside it for the APIs of a cluster.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "api/opensandbox/sandbox_server.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "cli/server_config.h"
#include "runner/runner_details.h"
#include "runner/sandbox/compiling_driver.h"
#include "runner/sandboxes/sandbox_host.h"
#include "store/store.h"

namespace forkbox::cli {

// One thread, but for Details().
class SandboxService {
 public:
  // All must outlive it. The driver is open. At most `max_sandboxes` at once: what the
  // configuration says, or as many as there are descriptors for.
  SandboxService(const ServerConfig& config, std::size_t max_sandboxes,
                 sandbox::CompilingDriver& driver, store::Store& store, const Clock& clock,
                 Log log);
  ~SandboxService();  // Close()
  SandboxService(const SandboxService&) = delete;
  SandboxService& operator=(const SandboxService&) = delete;

  // With a server of its own where the configuration says so.
  Result<void> Start();

  [[nodiscard]] sandboxes::SandboxHost& host() { return *host_; }
  // For the runner's heartbeat. Thread-safe after Start().
  [[nodiscard]] runner::SandboxService Details() const;

  // Takes no more clients and ends all sandboxes: their rows say why.
  void Close();

 private:
  const ServerConfig& config_;
  sandbox::CompilingDriver& driver_;
  const Clock& clock_;
  const Log log_;
  const std::string control_token_;
  std::string address_;  // set by Start()
  std::unique_ptr<sandboxes::SandboxHost> host_;
  std::unique_ptr<api::SandboxServer> server_;
};

}  // namespace forkbox::cli
