// ServerProcess: the parts of the service that this process runs, from the first check to the last
// drain.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "cli/server_config.h"
#include "cli/virtual_machines.h"
#include "runner/sandbox/driver.h"

namespace forkbox::cli {

// One thread. Goes down in the reverse order of its coming up.
class ServerProcess {
 public:
  // `config` is resolved, and outlives it.
  ServerProcess(const ServerConfig& config, const Roles& roles, Log log);
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  // Drops root on the way. True from `stop` gives up waiting for servers that are not up yet.
  // kInvalidArgument: the settings do not fit this machine; else something failed.
  Result<void> Start(const std::function<bool()>& stop);

  // Nothing new is taken; what was begun may end until the deadline, the rest is put back. True
  // from `hurry` makes the deadline now.
  void Drain(Deadline deadline, const std::function<bool()>& hurry);

  // False when this process can never do its work again and had better be started anew.
  [[nodiscard]] bool Alive() const;

  [[nodiscard]] std::uint16_t port() const;  // of the API
  [[nodiscard]] bool keys() const;           // the API asks for them
  [[nodiscard]] std::vector<sandbox::LanguageStatus> languages() const;
  [[nodiscard]] std::vector<std::string> missing_protections() const;
  // One line on the virtual machines here; "" where there are none.
  [[nodiscard]] std::string virtual_machines() const;

 private:
  struct Parts;

  [[nodiscard]] VirtualMachinesOptions MachinesWanted() const;
  Result<void> LoadKeys();
  Result<void> StartVirtualMachines();
  Result<void> OpenServers(const std::function<bool()>& stop);
  Result<void> StartRunner();
  Result<void> StartApi();
  void StartWebhooks();

  const ServerConfig& config_;
  const Roles roles_;
  const Log log_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace forkbox::cli
