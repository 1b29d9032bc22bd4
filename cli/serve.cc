// forkbox serve: everything in one process on the embedded default.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/api_server.h"
#include "api/auth/authenticator.h"
#include "api/auth/key_file.h"
#include "api/execution_service.h"
#include "api/metrics.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/data_dir.h"
#include "cli/engine.h"
#include "cli/exit_code.h"
#include "cli/key_file_path.h"
#include "cli/privileges.h"
#include "cli/relative_sqlite_paths.h"
#include "cli/serve_config.h"
#include "cli/settings.h"
#include "cli/stop_signals.h"
#include "queue/embedded_broker.h"
#include "runner/recovery.h"
#include "runner/worker.h"
#include "store/open_execution_store.h"

namespace forkbox::cli {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// The one runner of this store: after a crash, its claims are known to be void.
constexpr const char* kRunnerId = "embedded";

void PrintBanner(const ServeConfig& config, std::uint16_t port, bool keys,
                 const std::vector<sandbox::LanguageStatus>& languages,
                 const std::vector<std::string>& missing) {
  const std::string url = "http://" + config.address.UrlHost() + ":" + std::to_string(port);
  std::printf("forkbox %s listens on %s\n", FORKBOX_VERSION, url.c_str());
  for (const auto& language : languages) {
    if (language.ready) {
      std::printf("  %-11s %s%s%s\n", language.id.c_str(), language.version.c_str(),
                  language.reason.empty() ? "" : "  ", language.reason.c_str());
    } else {
      std::printf("  %-11s not available: %s\n", language.id.c_str(), language.reason.c_str());
    }
  }
  for (const std::string& protection : missing) {
    std::printf("  missing protection: %s\n", protection.c_str());
  }
  const char* language = "python";
  const char* code = "print(1 + 1)";
  const bool python = std::any_of(languages.begin(), languages.end(),
                                  [](const auto& one) { return one.ready && one.id == "python"; });
  if (!python) {
    language = "bash";
    code = "echo $((1 + 1))";
  }
  std::printf(
      "Try it:\n  curl -s %s/v1/exec %s-H 'Content-Type: application/json' \\\n"
      "    -d '{\"language\":\"%s\",\"code\":\"%s\"}'\n",
      url.c_str(), keys ? "-H \"Authorization: Bearer $FORKBOX_KEY\" " : "", language, code);
  if (keys) {
    std::printf("with one of your keys in FORKBOX_KEY (forkbox keys create makes one).\n");
  }
  std::fflush(stdout);
}

// Owns everything that serves, in the order in which it comes up; goes down in reverse.
class EmbeddedServer {
 public:
  EmbeddedServer(const ServeConfig& config, Log log) : config_(config), log_(std::move(log)) {}

  Result<void> Start();
  std::uint16_t port() const { return api_->port(); }
  bool keys() const { return authenticator_->enabled(); }
  sandbox::ProcessDriver& driver() { return *driver_; }

  // Nothing new is taken; what runs may end until the deadline, the rest is queued again. True
  // from `hurry` makes the deadline now.
  void Drain(Deadline deadline, const std::function<bool()>& hurry);

 private:
  Result<void> LoadKeys();

  const ServeConfig& config_;
  const Log log_;
  SystemClock clock_;
  std::optional<DataDir> data_dir_;
  std::unique_ptr<api::Authenticator> authenticator_;
  std::unique_ptr<sandbox::ProcessDriver> driver_;
  std::unique_ptr<store::ExecutionStore> store_;
  std::unique_ptr<queue::EmbeddedBroker> broker_;
  api::Metrics metrics_;
  std::unique_ptr<runner::Recovery> recovery_;
  std::unique_ptr<runner::Worker> worker_;
  std::unique_ptr<api::ExecutionService> service_;
  std::unique_ptr<api::ApiServer> api_;
};

Result<void> EmbeddedServer::LoadKeys() {
  std::vector<api::KeyEntry> keys;
  if (const auto path = FindKeyFilePath(config_.keys_file, config_.data_dir)) {
    auto loaded = api::LoadKeyFile(*path);
    if (!loaded) return Fail(loaded.error().code, "--keys-file: " + loaded.error().message);
    keys = std::move(*loaded);
  }
  authenticator_ = std::make_unique<api::Authenticator>(std::move(keys));
  return {};
}

Result<void> EmbeddedServer::Start() {
  // What people get wrong comes first, before anything expensive and before anything is changed.
  if (auto free = CheckCanListen(config_.address); !free) return free;
  std::optional<FileOwner> user;
  if (IsRoot()) {
    auto made = EnsureServiceUser();
    if (!made) return Fail(made.error());
    user = *made;
  }
  auto data_dir = DataDir::Open(config_.data_dir, user);
  if (!data_dir) return Fail(data_dir.error());
  data_dir_.emplace(std::move(*data_dir));
  if (auto loaded = LoadKeys(); !loaded) return loaded;

  // Two descriptors a connection, about eight a sandbox.
  const std::size_t sandboxes = config_.slots + 8 * (config_.pool_size + 4);
  const std::size_t wanted = 2 * config_.max_connections + 10 * sandboxes + 200;
  const std::size_t files = RaiseFileLimit(wanted);

  auto driver = StartEngine({.pool_size = config_.pool_size,
                             .max_sandboxes = std::max<std::size_t>(256, 2 * sandboxes),
                             .log = log_});
  if (!driver) return Fail(driver.error());
  driver_ = std::move(*driver);
  if (user) {
    if (auto dropped = DropPrivileges(*user); !dropped) return dropped;
  }
  if (auto entered = data_dir_->Enter(); !entered) return entered;
  if (auto relative = UseRelativeSqlitePaths(); !relative) return relative;

  auto store = store::OpenExecutionStore("sqlite:" + config_.database_path, log_);
  if (!store) return Fail(store.error().code, "--database: " + store.error().message);
  store_ = std::move(*store);
  if (auto opened = OpenEngine(*driver_); !opened) return opened;

  queue::EmbeddedBroker::Options broker;
  broker.max_waiting_interactive = config_.queue_limit;
  broker.max_waiting_background = config_.background_queue_limit;
  broker_ = std::make_unique<queue::EmbeddedBroker>(broker);
  recovery_ = std::make_unique<runner::Recovery>(runner::RecoveryOptions{.runner_id = kRunnerId},
                                                 *store_, *broker_, clock_, log_);
  if (auto recovered = recovery_->AtStart(); !recovered) return Fail(recovered.error());
  recovery_->StartSweeping();

  runner::WorkerOptions worker;
  worker.slots = config_.slots;
  worker.interactive_reserved = config_.interactive_slots;
  worker.runner_id = kRunnerId;
  worker_ = std::make_unique<runner::Worker>(worker, *store_, *broker_, *driver_, clock_, log_);
  service_ = std::make_unique<api::ExecutionService>(api::ExecutionService::Options{}, *store_,
                                                     *broker_, metrics_, clock_, log_);

  api::ApiServer::Options options;
  options.http.address = config_.address.host;
  options.http.port = config_.address.port;
  options.http.threads = static_cast<int>(config_.threads);
  options.http.limits.max_body_bytes = config_.max_body_bytes;
  const std::size_t room = files > 10 * sandboxes + 200 ? (files - 10 * sandboxes - 200) / 2 : 64;
  options.http.limits.max_connections = std::min(config_.max_connections, room);
  options.insecure_no_auth = config_.insecure_no_auth;
  options.zeroboot.max_batch_items = config_.max_batch_items;
  options.zeroboot.missing_protections = driver_->MissingProtections();
  const auto languages = [this] {
    auto all = driver_->Languages();
    for (auto& language : all) language.default_limits.output_bytes = config_.max_output_bytes;
    return all;
  };
  api_ = std::make_unique<api::ApiServer>(
      std::move(options), api::ApiServer::Parts{.service = *service_,
                                                .store = *store_,
                                                .broker = *broker_,
                                                .authenticator = *authenticator_,
                                                .metrics = metrics_,
                                                .clock = clock_,
                                                .languages = languages,
                                                .pool_stats = [this] { return driver_->Stats(); },
                                                .log = log_});
  return api_->Start();
}

void EmbeddedServer::Drain(Deadline deadline, const std::function<bool()>& hurry) {
  // In slices, so that a second signal is heard.
  constexpr milliseconds kSlice{100};
  while (api_->Drain(kSlice) != 0 && steady_clock::now() < deadline) {
    if (hurry()) deadline = steady_clock::now();
  }
  broker_->Close();
  while (worker_->Running() != 0 && steady_clock::now() < deadline) {
    if (hurry()) deadline = steady_clock::now();
  }
  worker_->Drain(deadline);
  // Whoever still waits is told so: to cut the connection instead would look like a client that
  // gave up, and cancel what was just queued again.
  service_->Close();
  api_->Drain(seconds(1));
  api_->Stop();
}

class ServeCommand final : public Command {
 public:
  explicit ServeCommand(CLI::App& program)
      : app_(program.add_subcommand("serve", "Serve the HTTP API, with everything it needs")),
        settings_(*app_, "serve") {
    config_.AddTo(settings_);
    app_->add_flag("--print-config", print_config_,
                   "Print the effective settings as a config file, secrets masked, and exit");
    app_->footer(
        "\nSettings come from flags, then FORKBOX_* variables, then the config file.\n"
        "\nExamples:\n"
        "  forkbox serve\n"
        "  forkbox serve --listen 127.0.0.1:9000 --data-dir /srv/forkbox\n"
        "  FORKBOX_LOG_LEVEL=warn forkbox serve --config forkbox.toml\n"
        "  forkbox keys create --label ci && forkbox serve --listen 0.0.0.0:8080\n"
        "\nLogs are JSON lines on stderr. SIGTERM or SIGINT: no new calls, running programs may\n"
        "end, the rest is queued again for the next start; a second signal does not wait.\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    if (auto complete = settings_.Complete(); !complete) {
      return Complain(kExitUsage, complete.error().message);
    }
    if (auto resolved = config_.Resolve(); !resolved) {
      return Complain(kExitUsage, resolved.error().message);
    }
    if (print_config_) {
      std::fputs(settings_.Print().c_str(), stdout);
      return kExitOk;
    }

    auto signals = StopSignals::Install();
    if (!signals) return Complain(kExitFailure, signals.error().message);
    const Log log(STDERR_FILENO, config_.level);
    EmbeddedServer server(config_, log);
    if (auto started = server.Start(); !started) {
      const bool usage = started.error().code == ErrorCode::kInvalidArgument;
      return Complain(usage ? kExitUsage : kExitFailure, started.error().message);
    }
    log.Info("server.started", {{"version", FORKBOX_VERSION},
                                {"address", config_.address.host},
                                {"port", int{server.port()}},
                                {"slots", config_.slots},
                                {"keys", server.keys()}});
    PrintBanner(config_, server.port(), server.keys(), server.driver().Languages(),
                server.driver().MissingProtections());

    signals->Wait(milliseconds(-1));
    log.Info("server.draining", {{"seconds", config_.drain_seconds}});
    const Deadline deadline =
        steady_clock::now() + seconds(static_cast<std::int64_t>(config_.drain_seconds));
    server.Drain(deadline, [&] { return signals->Wait(milliseconds(10)); });
    log.Info("server.stopped");
    return kExitOk;
  }

 private:
  CLI::App* const app_;
  Settings settings_;
  ServeConfig config_;
  bool print_config_ = false;
};

}  // namespace

std::unique_ptr<Command> MakeServeCommand(CLI::App& program) {
  return std::make_unique<ServeCommand>(program);
}

}  // namespace forkbox::cli
