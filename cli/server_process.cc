#include "cli/server_process.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "api/api_server.h"
#include "api/auth/authenticator.h"
#include "api/auth/key_file.h"
#include "api/execution_service.h"
#include "api/metrics.h"
#include "api/opensandbox/cluster_fleet.h"
#include "api/opensandbox/local_fleet.h"
#include "api/result_document.h"
#include "cli/data_dir.h"
#include "cli/docs_bundle.h"
#include "cli/engine.h"
#include "cli/key_file_path.h"
#include "cli/privileges.h"
#include "cli/relative_sqlite_paths.h"
#include "cli/sandbox_files.h"
#include "cli/sandbox_service.h"
#include "cli/virtual_machines.h"
#include "queue/open_broker.h"
#include "runner/presence.h"
#include "runner/recovery.h"
#include "runner/retention.h"
#include "runner/worker.h"
#include "store/store.h"
#include "webhook/dispatcher.h"

namespace forkbox::cli {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

std::string HostName() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) return "unknown";
  return host.data();
}

// Two descriptors a connection, about eight a fork, a dozen a virtual machine, one a webhook, and
// some for the house.
constexpr std::size_t kHouseFiles = 200;

}  // namespace

// In the order in which they come up.
struct ServerProcess::Parts {
  SystemClock clock;
  std::optional<DataDir> data_dir;
  std::unique_ptr<api::Authenticator> authenticator;
  std::unique_ptr<sandbox::CompilingDriver> driver;
  std::unique_ptr<VirtualMachines> machines;  // null when there are none here
  std::unique_ptr<store::Store> store;
  api::Metrics metrics;
  std::unique_ptr<queue::Broker> broker;
  std::unique_ptr<webhook::Dispatcher> dispatcher;
  std::unique_ptr<runner::Recovery> recovery;
  std::unique_ptr<runner::Worker> worker;
  std::unique_ptr<SandboxService> sandboxes;  // null when there are none here
  std::unique_ptr<runner::Presence> presence;
  std::unique_ptr<runner::Retention> retention;
  std::unique_ptr<api::ExecutionService> service;
  std::shared_ptr<const api::DocsBundle> docs;
  std::unique_ptr<api::SandboxFleet> fleet;
  std::unique_ptr<api::ApiServer> api;
  std::size_t forks = 0;          // at most, at once
  std::size_t machine_files = 0;  // descriptors of virtual machines, at most
  std::size_t max_sandboxes = 0;  // long-lived ones
  std::size_t files = 0;          // descriptors we may have open
};

ServerProcess::ServerProcess(const ServerConfig& config, const Roles& roles, Log log)
    : config_(config), roles_(roles), log_(std::move(log)), parts_(std::make_unique<Parts>()) {}

ServerProcess::~ServerProcess() = default;

bool ServerProcess::Alive() const {
  if (parts_->driver != nullptr && !parts_->driver->Alive()) return false;
  // Where they are merely welcome, health says that they are gone, and all else goes on.
  return parts_->machines == nullptr || config_.vm != "on" || parts_->machines->Alive();
}
std::uint16_t ServerProcess::port() const { return parts_->api->port(); }
bool ServerProcess::keys() const { return parts_->api->authenticates(); }

std::vector<sandbox::LanguageStatus> ServerProcess::languages() const {
  if (parts_->driver == nullptr) return {};
  return parts_->driver->Languages();
}

std::vector<std::string> ServerProcess::missing_protections() const {
  if (parts_->driver == nullptr) return {};
  std::vector<std::string> missing = parts_->driver->MissingProtections();
  if (parts_->machines != nullptr) {
    for (std::string& one : parts_->machines->MissingProtections()) {
      if (std::ranges::find(missing, one) == missing.end()) missing.push_back(std::move(one));
    }
  }
  return missing;
}

std::string ServerProcess::virtual_machines() const {
  if (parts_->machines == nullptr) return "";
  const sandbox::vm::VmStatus status = parts_->machines->Service().status;
  std::string line(sandbox::vm::ToString(status.state));
  if (!status.accelerator.empty()) line += " (" + status.accelerator + ")";
  if (!status.reason.empty()) line += ": " + status.reason;
  return line;
}

VirtualMachinesOptions ServerProcess::MachinesWanted() const {
  using Wanted = VirtualMachinesOptions::Wanted;
  VirtualMachinesOptions options;
  options.wanted = config_.vm == "on"    ? Wanted::kOn
                   : config_.vm == "off" ? Wanted::kOff
                                         : Wanted::kAuto;
  options.image_dir = config_.vm_image;
  options.ram_bytes = std::uint64_t{config_.vm_memory_mb} << 20;
  options.pool_size = config_.vm_pool_size;
  options.max_machines = config_.vm_max;
  options.log = log_;
  return options;
}

Result<void> ServerProcess::StartVirtualMachines() {
  auto started = VirtualMachines::Start(MachinesWanted());
  if (!started) return Fail(started.error().code, "--vm: " + started.error().message);
  parts_->machines = std::move(*started);
  if (parts_->machines == nullptr || parts_->machines->driver() == nullptr) {
    parts_->machine_files = 0;
  }
  if (roles_.api && config_.isolation == "vm" &&
      (parts_->machines == nullptr || parts_->machines->driver() == nullptr)) {
    return Fail(ErrorCode::kInvalidArgument,
                "--isolation: vm, but there are no virtual machines here: " +
                    (parts_->machines == nullptr ? "there is no image, `forkbox vm build` makes one"
                                                 : parts_->machines->Service().status.reason));
  }
  return {};
}

Result<void> ServerProcess::LoadKeys() {
  std::vector<api::KeyEntry> keys;
  if (const auto path = FindKeyFilePath(config_.keys_file, config_.data_dir)) {
    auto loaded = api::LoadKeyFile(*path);
    if (!loaded) return Fail(loaded.error().code, "--keys-file: " + loaded.error().message);
    keys = std::move(*loaded);
  }
  parts_->authenticator = std::make_unique<api::Authenticator>(std::move(keys));
  return {};
}

Result<void> ServerProcess::Start(const std::function<bool()>& stop) {
  Parts& p = *parts_;
  // What people get wrong comes first, before anything expensive and before anything is changed.
  if (roles_.api) {
    if (auto free = CheckCanListen(config_.address); !free) return free;
  }
  std::optional<FileOwner> user;
  if (IsRoot()) {
    auto made = EnsureServiceUser();
    if (!made) return Fail(made.error());
    user = *made;
  }
  if (config_.embedded) {
    auto data_dir = DataDir::Open(config_.data_dir, user);
    if (!data_dir) return Fail(data_dir.error());
    p.data_dir.emplace(std::move(*data_dir));
  }
  if (roles_.api) {
    if (auto loaded = LoadKeys(); !loaded) return loaded;
    p.docs = FindDocsBundle(log_);
  }

  std::size_t wanted = kHouseFiles;
  if (roles_.api) wanted += 2 * config_.max_connections;
  if (roles_.webhook) wanted += 2 * config_.webhook_concurrency;
  if (roles_.runner) {
    p.forks = config_.slots + 8 * (config_.pool_size + 4);
    wanted += 10 * p.forks;
    if (VirtualMachines::AreToBe(MachinesWanted())) {
      p.machine_files =
          kFilesOfMachine * std::min(config_.vm_max, config_.slots + config_.vm_pool_size);
      wanted += p.machine_files;
    }
    if (config_.sandboxes) wanted += kFilesPlanned * config_.sandbox_max;
  }
  p.files = RaiseFileLimit(wanted);
  if (config_.sandboxes) {
    p.max_sandboxes = config_.sandbox_max;
    if (p.files < wanted) {
      // Clients get at most a quarter then.
      const std::size_t clients =
          roles_.api ? std::min(2 * config_.max_connections, p.files / 4) : 0;
      p.max_sandboxes = SandboxesWithin(
          p.files, kHouseFiles + 10 * p.forks + p.machine_files + clients, config_.sandbox_max);
    }
    if (p.max_sandboxes < config_.sandbox_max) {
      log_.Warn("sandboxes.few_files", {{"files", p.files},
                                        {"wanted_files", wanted},
                                        {"max_sandboxes", p.max_sandboxes},
                                        {"configured", config_.sandbox_max}});
    }
  }

  if (roles_.runner) {
    auto driver = StartEngine({.pool_size = config_.pool_size,
                               .max_sandboxes = std::max<std::size_t>(256, 2 * p.forks),
                               .max_boxes = p.max_sandboxes,
                               .log = log_});
    if (!driver) return Fail(driver.error());
    p.driver = std::move(*driver);
    if (auto started = StartVirtualMachines(); !started) return started;
  }
  if (user) {
    if (auto dropped = DropPrivileges(*user); !dropped) return dropped;
  }
  if (p.data_dir) {
    if (auto entered = p.data_dir->Enter(); !entered) return entered;
    if (auto relative = UseRelativeSqlitePaths(); !relative) return relative;
  }

  if (auto opened = OpenServers(stop); !opened) return opened;
  // Before the runner, whose results it is told of.
  if (roles_.webhook) StartWebhooks();
  if (roles_.runner) {
    if (auto started = StartRunner(); !started) return started;
  }
  if (roles_.api) {
    if (auto started = StartApi(); !started) return started;
  }
  return {};
}

Result<void> ServerProcess::OpenServers(const std::function<bool()>& stop) {
  Parts& p = *parts_;
  const Deadline deadline =
      steady_clock::now() + seconds(static_cast<std::int64_t>(config_.startup_wait_seconds));
  // Calls `open` until it succeeds, fails for good, or has been away for too long.
  const auto wait_for = [&](const char* flag, auto open) -> decltype(open()) {
    bool told = false;
    while (true) {
      auto opened = open();
      if (opened) return opened;
      const Error& error = opened.error();
      if (config_.embedded || error.code != ErrorCode::kUnavailable ||
          steady_clock::now() >= deadline || stop()) {
        return Fail(error.code, std::string(flag) + ": " + error.message);
      }
      if (!std::exchange(told, true)) {
        log_.Warn("server.waiting", {{"for", flag}, {"error", error.message}});
      }
      std::this_thread::sleep_for(milliseconds(250));
    }
  };

  auto store = wait_for("--database", [&] {
    return store::OpenStore(config_.embedded ? "sqlite:" + config_.database_path : config_.database,
                            log_);
  });
  if (!store) return Fail(store.error());
  p.store = std::move(*store);

  queue::BrokerOptions options;
  options.max_waiting_interactive = config_.queue_limit;
  options.max_waiting_background = config_.background_queue_limit;
  options.prefix = config_.queue_prefix;
  if (roles_.runner) {
    options.slots = config_.slots;
    options.background_slots =
        config_.slots - std::min(config_.interactive_slots, config_.slots - 1);
  }
  auto broker =
      wait_for("--broker", [&] { return queue::OpenBroker(config_.broker, options, log_); });
  if (!broker) return Fail(broker.error());
  p.broker = std::move(*broker);
  return {};
}

Result<void> ServerProcess::StartRunner() {
  Parts& p = *parts_;
  store::ExecutionStore& executions = p.store->executions();
  if (auto opened = OpenEngine(*p.driver); !opened) return opened;
  // Boots beside all that follows; whatever comes for it before waits in the queue.
  if (p.machines != nullptr) p.machines->Open();

  p.recovery =
      std::make_unique<runner::Recovery>(runner::RecoveryOptions{.runner_id = config_.runner_name},
                                         executions, *p.broker, p.clock, log_);
  if (config_.embedded) {
    if (auto recovered = p.recovery->AtStart(); !recovered) return Fail(recovered.error());
  } else if (auto voided = executions.VoidClaims(config_.runner_name); !voided) {
    return Fail(voided.error());
  }
  p.recovery->StartSweeping();

  runner::WorkerOptions worker;
  worker.slots = config_.slots;
  worker.interactive_reserved = config_.interactive_slots;
  worker.runner_id = config_.runner_name;
  worker.only_runner = config_.embedded;
  sandbox::DriverSet drivers(*p.driver);
  if (p.machines != nullptr && p.machines->driver() != nullptr) {
    drivers.Add(schema::Isolation::kVm, *p.machines->driver(),
                [machines = p.machines.get()](const std::string& language) {
                  return machines->ReadinessOf(language);
                });
  }
  p.worker = std::make_unique<runner::Worker>(
      worker, executions, *p.broker, std::move(drivers), p.clock, log_,
      [dispatcher = p.dispatcher.get()](const schema::Execution& execution,
                                        const schema::Outcome&) {
        if (dispatcher != nullptr && !execution.webhook_url.empty()) dispatcher->Wake();
      });

  if (config_.sandboxes) {
    p.sandboxes = std::make_unique<SandboxService>(config_, p.max_sandboxes, *p.driver, *p.store,
                                                   p.clock, log_);
    if (auto started = p.sandboxes->Start(); !started) return started;
  }

  p.presence = std::make_unique<runner::Presence>(
      runner::PresenceOptions{
          .runner_id = config_.runner_name, .host = HostName(), .slots = config_.slots},
      executions, p.store->runners(),
      [this] {
        const Parts& parts = *parts_;
        const std::size_t running = parts.worker->Running();
        std::optional<runner::SandboxService> sandboxes;
        if (parts.sandboxes) sandboxes = parts.sandboxes->Details();
        std::optional<runner::VmService> vm;
        if (parts.machines) vm = parts.machines->Service();
        return runner::Presence::Now{.busy = running,
                                     .holds_claims = running + parts.worker->Settling() != 0,
                                     .details = {.languages = parts.driver->Languages(),
                                                 .missing_protections = missing_protections(),
                                                 .sandboxes = std::move(sandboxes),
                                                 .vm = std::move(vm)}};
      },
      p.clock, log_);

  runner::RetentionOptions retention;
  retention.keep_executions = std::chrono::days(config_.retention_days);
  retention.keep_per_owner = config_.retention_per_account;
  p.retention =
      std::make_unique<runner::Retention>(retention, executions, p.store->usage(), p.store->audit(),
                                          p.clock, log_, &p.store->sandboxes());
  p.retention->Start();
  return {};
}

Result<void> ServerProcess::StartApi() {
  Parts& p = *parts_;
  p.service = std::make_unique<api::ExecutionService>(
      api::ExecutionService::Options{}, p.store->executions(), *p.broker, p.metrics, p.clock, log_);
  api::ApiServer::Options options;
  options.http.address = config_.address.host;
  options.http.port = config_.address.port;
  options.http.threads = static_cast<int>(config_.threads);
  options.http.limits.max_body_bytes = config_.max_body_bytes;
  std::size_t taken = 10 * p.forks + p.machine_files + kHouseFiles;
  if (p.sandboxes) taken += kFilesPlanned * p.max_sandboxes;
  const std::size_t room = p.files > taken ? (p.files - taken) / 2 : 64;
  options.http.limits.max_connections = std::min(config_.max_connections, room);
  options.isolation =
      api::ParseIsolationChoice(config_.isolation).value_or(api::IsolationChoice::kProcess);
  options.insecure_no_auth = config_.insecure_no_auth;
  options.max_output_bytes = config_.max_output_bytes;
  options.zeroboot.max_batch_items = config_.max_batch_items;
  options.nca.max_queue_length = config_.nca_max_queue_length;
  options.nca.stderr_is_error = !config_.nca_stderr_is_success;
  options.docs = p.docs;
  options.lifecycle.bounds.max_memory_bytes = std::uint64_t{config_.sandbox_max_memory_mb} << 20;
  options.lifecycle.bounds.max_timeout =
      seconds(static_cast<std::int64_t>(config_.sandbox_max_timeout_seconds));
  options.lifecycle.max_per_account = config_.sandbox_max_per_account;
  options.lifecycle.endpoint = config_.sandbox_endpoint;
  options.lifecycle.server_proxy = config_.sandbox_server_proxy;
  if (config_.isolation_floor == "vm") {
    options.isolation_floor = schema::Isolation::kVm;  // and no sandboxes, which are processes
  } else if (!config_.embedded) {
    p.fleet =
        std::make_unique<api::ClusterFleet>(api::ClusterFleet::Options{}, *p.store, p.clock, log_);
  } else if (p.sandboxes) {
    p.fleet = std::make_unique<api::LocalFleet>(p.sandboxes->host(), p.clock, log_);
  }
  api::LanguageCatalog::Provider languages;
  api::LanguageCatalog::VmProvider vm;
  std::function<sandbox::DriverStats()> pool_stats;
  if (p.driver != nullptr) {
    languages = [this] { return parts_->driver->Languages(); };
    vm = [this]() -> std::optional<runner::VmService> {
      if (parts_->machines == nullptr) return std::nullopt;
      return parts_->machines->Service();
    };
    pool_stats = [this] { return parts_->driver->Stats(); };
  }
  p.api = std::make_unique<api::ApiServer>(
      std::move(options), api::ApiServer::Parts{.service = *p.service,
                                                .store = *p.store,
                                                .broker = *p.broker,
                                                .authenticator = *p.authenticator,
                                                .metrics = p.metrics,
                                                .clock = p.clock,
                                                .address_guard = config_.address_guard,
                                                .languages = std::move(languages),
                                                .pool_stats = std::move(pool_stats),
                                                .log = log_,
                                                .sandboxes = p.fleet.get(),
                                                .vm = std::move(vm)});
  return p.api->Start();
}

void ServerProcess::StartWebhooks() {
  Parts& p = *parts_;
  webhook::DispatcherOptions options;
  options.sender_id = config_.process_name;
  options.max_in_flight = config_.webhook_concurrency;
  p.dispatcher = std::make_unique<webhook::Dispatcher>(
      std::move(options), p.store->deliveries(), p.store->webhook_secrets(), p.store->executions(),
      [this](const store::ExecutionRecord& record) -> Result<std::string> {
        const auto depth = parts_->broker->GetDepth(schema::Priority::kBackground);
        return api::ResultDocument(record, depth ? depth->waiting : 0);
      },
      config_.address_guard, p.clock, log_);
  p.dispatcher->Start();
}

void ServerProcess::Drain(Deadline deadline, const std::function<bool()>& hurry) {
  Parts& p = *parts_;
  // What fails at once for want of a forkserver must be given back before it has failed for good.
  if (p.worker && !Alive()) p.worker->Drain(steady_clock::now());
  // In slices, so that a second signal is heard.
  constexpr milliseconds kSlice{100};
  const auto give_up = [&] {
    if (hurry()) deadline = steady_clock::now();
    return steady_clock::now() >= deadline;
  };
  if (p.api) {
    while (p.api->Drain(kSlice) != 0 && !give_up()) {
    }
  }
  p.broker->Close();
  if (p.worker) {
    while (p.worker->Running() != 0 && !give_up()) {
    }
    p.worker->Drain(deadline);
  }
  // What runs in a sandbox ends with it, and what waits for that with this.
  if (p.sandboxes) p.sandboxes->Close();
  if (p.api) {
    // Whoever still waits is told so: to cut the connection instead would look like a client that
    // gave up, and cancel what was just queued again.
    p.service->Close();
    p.api->Drain(seconds(1));
    p.api->Stop();
    if (p.fleet) p.fleet->Close();
  }
  p.presence.reset();
  p.retention.reset();
  if (p.dispatcher) p.dispatcher->Drain(deadline);
}

}  // namespace forkbox::cli
