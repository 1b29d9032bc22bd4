// forkbox serve, api, runner, webhook: server processes, of all the parts or of one each.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>

#include "base/log.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/server_config.h"
#include "cli/server_process.h"
#include "cli/settings.h"
#include "cli/stop_signals.h"

namespace forkbox::cli {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;

// Shorter than a worker's patience with forks that fail (WorkerOptions::retry_delay).
constexpr milliseconds kLifeCheck{100};

struct Kind {
  const char* name;
  Roles roles;
  const char* help;
  const char* examples;
};

constexpr Kind kServe{"serve",
                      {.api = true, .runner = true, .webhook = true},
                      "Serve the HTTP API, with everything it needs",
                      "  forkbox serve\n"
                      "  forkbox serve --listen 127.0.0.1:9000 --data-dir /srv/forkbox\n"
                      "  FORKBOX_LOG_LEVEL=warn forkbox serve --config forkbox.toml\n"
                      "  forkbox keys create --label ci && forkbox serve --listen 0.0.0.0:8080\n"};
constexpr Kind kApi{
    "api",
    {.api = true},
    "Serve the HTTP API only; programs run where `forkbox runner` does",
    "  forkbox api --database postgres://forkbox:…@db/forkbox --broker amqp://forkbox:…@mq/\n"};
constexpr Kind kRunner{
    "runner",
    {.runner = true},
    "Run programs for the APIs of the same queue and database",
    "  forkbox runner --database postgres://forkbox:…@db/forkbox --broker amqp://forkbox:…@mq/\n"};
constexpr Kind kWebhook{
    "webhook",
    {.webhook = true},
    "Send the webhooks that are owed",
    "  forkbox webhook --database postgres://forkbox:…@db/forkbox --broker amqp://forkbox:…@mq/\n"};

void PrintLanguages(const ServerProcess& server) {
  for (const auto& language : server.languages()) {
    if (language.ready) {
      std::printf("  %-11s %s%s%s\n", language.id.c_str(), language.version.c_str(),
                  language.reason.empty() ? "" : "  ", language.reason.c_str());
    } else {
      std::printf("  %-11s not available: %s\n", language.id.c_str(), language.reason.c_str());
    }
  }
  if (const std::string machines = server.virtual_machines(); !machines.empty()) {
    std::printf("  virtual machines: %s\n", machines.c_str());
  }
  for (const std::string& protection : server.missing_protections()) {
    std::printf("  missing protection: %s\n", protection.c_str());
  }
}

void PrintTryIt(const ServerProcess& server, const std::string& url) {
  const char* language = "python";
  const char* code = "print(1 + 1)";
  const auto languages = server.languages();
  const bool python = languages.empty() ||
                      std::any_of(languages.begin(), languages.end(),
                                  [](const auto& one) { return one.ready && one.id == "python"; });
  if (!python) {
    language = "bash";
    code = "echo $((1 + 1))";
  }
  std::printf("The API, to read and to try: %s/scalar\n", url.c_str());
  std::printf(
      "Or from here:\n  curl -s %s/api/v1/execute %s-H 'Content-Type: application/json' \\\n"
      "    -d '{\"language\":\"%s\",\"code\":\"%s\"}'\n",
      url.c_str(), server.keys() ? "-H \"Authorization: Bearer $FORKBOX_KEY\" " : "", language,
      code);
  if (server.keys()) {
    std::printf("with one of your keys in FORKBOX_KEY (forkbox keys create makes one).\n");
  }
}

class ServerCommand final : public Command {
 public:
  ServerCommand(CLI::App& program, const Kind& kind)
      : kind_(kind),
        app_(program.add_subcommand(kind.name, kind.help)),
        settings_(*app_, kind.name) {
    config_.AddTo(settings_, kind.roles);
    app_->add_flag("--print-config", print_config_,
                   "Print the effective settings as a config file, secrets masked, and exit");
    app_->footer(std::string("\nSettings come from flags, then FORKBOX_* variables, then the "
                             "config file.\n\nExamples:\n") +
                 kind.examples +
                 "\nLogs are JSON lines on stderr. SIGTERM or SIGINT: nothing new is begun, what "
                 "runs may\nend, the rest is put back for others; a second signal does not "
                 "wait.\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    if (auto complete = settings_.Complete(); !complete) {
      return Complain(kExitUsage, complete.error().message);
    }
    if (auto resolved = config_.Resolve(kind_.roles); !resolved) {
      return Complain(kExitUsage, resolved.error().message);
    }
    if (print_config_) {
      std::fputs(settings_.Print().c_str(), stdout);
      return kExitOk;
    }

    auto signals = StopSignals::Install();
    if (!signals) return Complain(kExitFailure, signals.error().message);
    const Log log(STDERR_FILENO, config_.level);
    ServerProcess server(config_, kind_.roles, log);
    const auto stop = [&] { return signals->Wait(milliseconds(0)); };
    if (auto started = server.Start(stop); !started) {
      const bool usage = started.error().code == ErrorCode::kInvalidArgument;
      return Complain(usage ? kExitUsage : kExitFailure, started.error().message);
    }
    Announce(server, log);

    while (!signals->Wait(kLifeCheck)) {
      if (server.Alive()) continue;
      // It would only take work from those that can do it.
      log.Error("server.forkserver_lost");
      server.Drain(steady_clock::now(), [] { return true; });
      return Complain(kExitFailure, "the forkserver ended; start me again");
    }
    log.Info("server.draining", {{"seconds", config_.drain_seconds}});
    const Deadline deadline =
        steady_clock::now() + seconds(static_cast<std::int64_t>(config_.drain_seconds));
    server.Drain(deadline, [&] { return signals->Wait(milliseconds(10)); });
    log.Info("server.stopped");
    return kExitOk;
  }

 private:
  void Announce(const ServerProcess& server, const Log& log) const {
    if (kind_.roles.api) {
      const std::string url =
          "http://" + config_.address.UrlHost() + ":" + std::to_string(server.port());
      log.Info("server.started", {{"version", FORKBOX_VERSION},
                                  {"role", kind_.name},
                                  {"address", config_.address.host},
                                  {"port", int{server.port()}},
                                  {"keys", server.keys()}});
      std::printf("forkbox %s listens on %s\n", FORKBOX_VERSION, url.c_str());
      PrintLanguages(server);
      PrintTryIt(server, url);
    } else {
      log.Info("server.started", {{"version", FORKBOX_VERSION}, {"role", kind_.name}});
      std::printf("forkbox %s %s is ready\n", FORKBOX_VERSION, kind_.name);
      PrintLanguages(server);
    }
    std::fflush(stdout);
  }

  const Kind kind_;
  CLI::App* const app_;
  Settings settings_;
  ServerConfig config_;
  bool print_config_ = false;
};

}  // namespace

std::vector<std::unique_ptr<Command>> MakeServerCommands(CLI::App& program) {
  std::vector<std::unique_ptr<Command>> commands;
  for (const Kind& kind : {kServe, kApi, kRunner, kWebhook}) {
    commands.push_back(std::make_unique<ServerCommand>(program, kind));
  }
  return commands;
}

}  // namespace forkbox::cli
