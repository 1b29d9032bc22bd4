#include "cli/sandbox_service.h"

#include <utility>

#include "cli/session_contexts.h"
#include "runner/sandboxes/sandbox_token.h"

namespace forkbox::cli {
SandboxService::SandboxService(const ServerConfig& config, std::size_t max_sandboxes,
                               sandbox::CompilingDriver& driver, store::Store& store,
                               const Clock& clock, Log log)
    : config_(config),
      driver_(driver),
      clock_(clock),
      log_(std::move(log)),
      control_token_(sandboxes::NewToken()) {
  sandboxes::SandboxHost::Options options;
  options.runner_id = config_.runner_name;
  options.max_sandboxes = max_sandboxes;
  options.max_memory_bytes = std::uint64_t{config_.sandbox_total_memory_mb} << 20;
  options.contexts = SessionContexts(driver_);
  if (!config_.embedded) options.runner_lost_after = std::chrono::seconds(15);
  host_ = std::make_unique<sandboxes::SandboxHost>(
      std::move(options),
      [this](const sandbox::BoxLimits& limits) { return driver_.process().OpenBox(limits); },
      store.sandboxes(), clock_, log_);
}

SandboxService::~SandboxService() { Close(); }

Result<void> SandboxService::Start() {
  if (!config_.embedded) {
    api::SandboxServer::Options options;
    options.address = config_.sandbox_address.host;
    options.port = config_.sandbox_address.port;
    options.max_connections = config_.max_connections;
    options.control_token = control_token_;
    server_ = std::make_unique<api::SandboxServer>(std::move(options), *host_, clock_, log_);
    if (auto started = server_->Start(); !started) {
      return Fail(started.error().code, "--sandbox-listen: " + started.error().message);
    }
    address_ = config_.sandbox_advertise;
    if (address_.empty()) {
      address_ = config_.sandbox_address.UrlHost() + ":" + std::to_string(server_->port());
    }
    host_->SetAddress(address_);
  }
  return host_->Start();
}

runner::SandboxService SandboxService::Details() const {
  const sandboxes::SandboxHost::Room room = host_->room();
  return {.address = address_,
          .control_token = address_.empty() ? std::string() : control_token_,
          .live = host_->size(),
          .room = room.sandboxes,
          .memory_room = room.memory_bytes};
}

void SandboxService::Close() {
  if (server_) server_->Drain(std::chrono::milliseconds(100));
  // What runs ends with its sandbox, and what waits for that with this.
  host_->Close("server_stopped");
  if (server_) server_->Stop();
}

}  // namespace forkbox::cli
