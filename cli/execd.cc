// forkbox execd: one long-lived sandbox behind OpenSandbox's execd API.

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/auth/client_address.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/execd_process.h"
#include "cli/exit_code.h"
#include "cli/listen_address.h"
#include "cli/settings.h"
#include "cli/stop_signals.h"

namespace forkbox::cli {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLifeCheck{100};
constexpr std::uint16_t kDefaultPort = 44772;

using CLI::Range;

// A variable of upstream's, which images and scripts set.
std::string UpstreamVariable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// "1s", "1.5s", "2m", "500ms", "1m30s": as Go writes durations. False for anything else.
bool ReadDuration(std::string_view text, milliseconds* duration) {
  double total = 0;
  if (text.empty()) return false;
  while (!text.empty()) {
    const std::size_t digits = text.find_first_not_of("0123456789.");
    if (digits == 0 || digits == text.npos) return false;
    const std::string number(text.substr(0, digits));
    char* stop = nullptr;
    const double value = std::strtod(number.c_str(), &stop);
    if (*stop != '\0') return false;
    text.remove_prefix(digits);
    const auto take = [&](std::string_view unit) {
      if (!text.starts_with(unit)) return false;
      text.remove_prefix(unit.size());
      return true;
    };
    if (take("ms")) {
      total += value;
    } else if (take("s")) {
      total += value * 1e3;
    } else if (take("m")) {
      total += value * 6e4;
    } else if (take("h")) {
      total += value * 36e5;
    } else {
      return false;
    }
    if (total > 864e5) return false;
  }
  *duration = milliseconds(static_cast<std::int64_t>(total));
  return true;
}

class ExecdCommand final : public Command {
 public:
  explicit ExecdCommand(CLI::App& program)
      : app_(program.add_subcommand("execd",
                                    "Serve one long-lived sandbox by OpenSandbox's execd API")),
        settings_(*app_, "execd") {
    settings_.Add("--listen", listen_,
                  "HOST:PORT; by default 0.0.0.0 with an access token, 127.0.0.1 without");
    settings_.Add("--port", port_, "The port, where --listen does not say")
        ->check(Range(0, 65'535));
    settings_.Add("--access-token", token_,
                  "What clients send as X-EXECD-ACCESS-TOKEN; also EXECD_ACCESS_TOKEN");
    settings_.Add("--insecure-no-auth", insecure_no_auth_,
                  "Serve beyond this machine without a token: anybody may run programs");
    settings_.Add("--graceful-shutdown-timeout", grace_,
                  "After SIGTERM, how long requests may go on: 1s, 500ms; also "
                  "EXECD_API_GRACE_SHUTDOWN");
    settings_.Add("--memory-mb", memory_mb_, "Of all in the sandbox together, its disk included")
        ->check(Range(16, 1 << 20));
    settings_.Add("--disk-mb", disk_mb_, "What its files may take")->check(Range(1, 1 << 20));
    settings_.Add("--pids", pids_, "Processes in it")->check(Range(8, 1 << 15));
    settings_.Add("--cpus", cpus_, "Cores it may use, like 0.5; 0: no more than a fair share");
    app_->add_option("--env", env_, "NAME=VALUE for all programs in it; again for another")
        ->allow_extra_args(false);
    settings_.Add("--envs-file", envs_file_,
                  "A file in the sandbox with NAME=VALUE lines, read for each command; also "
                  "EXECD_ENVS");
    settings_.Add("--max-connections", max_connections_, "Client connections at once")
        ->check(Range(1, 100'000));
    settings_.Add("--log-level", log_level_, "debug, info, warn, error or off")
        ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}));
    app_->footer(
        "\nExamples:\n"
        "  forkbox execd\n"
        "  EXECD_ACCESS_TOKEN=$(openssl rand -hex 16) forkbox execd --memory-mb 2048\n"
        "\nLogs are JSON lines on stderr. SIGTERM or SIGINT: requests may end, then all in the "
        "sandbox is killed;\na second signal does not wait. When the sandbox dies the process "
        "ends with 1, for a service manager to\nstart it again.\n");
  }

  CLI::App* app() const override { return app_; }

  int Run() override {
    if (auto complete = settings_.Complete(); !complete) {
      return Complain(kExitUsage, complete.error().message);
    }
    ExecdConfig config;
    if (auto resolved = Resolve(&config); !resolved) {
      return Complain(kExitUsage, resolved.error().message);
    }
    auto signals = StopSignals::Install();
    if (!signals) return Complain(kExitFailure, signals.error().message);
    const Log log(STDERR_FILENO, config.level);
    ExecdProcess server(config, log);
    if (auto started = server.Start(); !started) {
      const bool usage = started.error().code == ErrorCode::kInvalidArgument;
      return Complain(usage ? kExitUsage : kExitFailure, started.error().message);
    }
    Announce(config, server, log);

    while (!signals->Wait(kLifeCheck)) {
      if (server.Alive()) continue;
      log.Error("execd.sandbox_lost");
      server.Drain(milliseconds(0), [] { return true; });
      return Complain(kExitFailure, "the sandbox ended; start me again");
    }
    log.Info("execd.draining", {{"milliseconds", config.grace.count()}});
    server.Drain(config.grace, [&] { return signals->Wait(milliseconds(0)); });
    log.Info("execd.stopped");
    return kExitOk;
  }

 private:
  static auto Invalid(std::string message) {
    return Fail(ErrorCode::kInvalidArgument, std::move(message));
  }

  Result<void> Resolve(ExecdConfig* config) {
    if (token_.empty()) token_ = UpstreamVariable("EXECD_ACCESS_TOKEN");
    if (envs_file_.empty()) envs_file_ = UpstreamVariable("EXECD_ENVS");
    if (grace_.empty()) grace_ = UpstreamVariable("EXECD_API_GRACE_SHUTDOWN");
    if (grace_.empty()) grace_ = "1s";
    config->token = token_;
    if (!ReadDuration(grace_, &config->grace)) {
      return Invalid("--graceful-shutdown-timeout: must be a duration of at most a day, like 1s");
    }
    config->address = {.host = token_.empty() ? "127.0.0.1" : "0.0.0.0",
                       .port = static_cast<std::uint16_t>(port_)};
    if (!listen_.empty()) {
      const auto parsed = ListenAddress::Parse(listen_);
      if (!parsed) return Invalid("--listen: " + parsed.error().message);
      config->address = *parsed;
    }
    if (token_.empty() && !insecure_no_auth_ && !api::IsLoopback(config->address.host)) {
      return Invalid("without a token anybody who reaches " + config->address.host +
                     " could run code here: give --access-token or EXECD_ACCESS_TOKEN, or listen "
                     "on 127.0.0.1, or say --insecure-no-auth");
    }
    const bool token_fits = std::ranges::all_of(token_, [](char c) { return c > ' ' && c < 0x7F; });
    if (!token_fits) {
      return Invalid("--access-token: must be printable characters without blanks");
    }
    config->limits.memory_bytes = std::uint64_t{memory_mb_} << 20;
    config->limits.disk_bytes = std::uint64_t{disk_mb_} << 20;
    config->limits.pids = static_cast<std::uint32_t>(pids_);
    char* stop = nullptr;
    const double cpus = std::strtod(cpus_.c_str(), &stop);
    if (cpus_.empty() || *stop != '\0' || !(cpus >= 0 && cpus <= 1024)) {
      return Invalid("--cpus: must be a number from 0 to 1024");
    }
    config->limits.cpu_millis = static_cast<std::uint32_t>(cpus * 1000);
    for (const std::string& one : env_) {
      const std::size_t equals = one.find('=');
      if (equals == std::string::npos || equals == 0) {
        return Invalid("--env: must be NAME=VALUE");
      }
      config->env[one.substr(0, equals)] = one.substr(equals + 1);
    }
    if (!envs_file_.empty()) config->env["EXECD_ENVS"] = envs_file_;
    config->max_connections = max_connections_;
    config->level = log_level_ == "debug"   ? LogLevel::kDebug
                    : log_level_ == "warn"  ? LogLevel::kWarn
                    : log_level_ == "error" ? LogLevel::kError
                    : log_level_ == "off"   ? LogLevel::kOff
                                            : LogLevel::kInfo;
    return {};
  }

  static void Announce(const ExecdConfig& config, const ExecdProcess& server, const Log& log) {
    const std::string url =
        "http://" + config.address.UrlHost() + ":" + std::to_string(server.port());
    const bool token = !config.token.empty();
    log.Info("execd.started", {{"version", FORKBOX_VERSION},
                               {"address", config.address.host},
                               {"port", int{server.port()}},
                               {"token", token}});
    std::printf("forkbox %s execd listens on %s\n", FORKBOX_VERSION, url.c_str());
    std::string languages;
    for (const std::string& language : server.languages()) languages += " " + language;
    std::printf("  code:%s; commands: bash\n", languages.empty() ? " none" : languages.c_str());
    for (const std::string& protection : server.missing_protections()) {
      std::printf("  missing protection: %s\n", protection.c_str());
    }
    std::printf("Try it:\n  curl -sN %s/command %s-d '{\"command\":\"echo $((1 + 1))\"}'\n",
                url.c_str(), token ? "-H \"X-EXECD-ACCESS-TOKEN: $EXECD_ACCESS_TOKEN\" " : "");
    std::fflush(stdout);
  }

  CLI::App* const app_;
  Settings settings_;
  std::string listen_;
  std::size_t port_ = kDefaultPort;
  std::string token_;
  bool insecure_no_auth_ = false;
  std::string grace_;
  std::size_t memory_mb_ = 1024;
  std::size_t disk_mb_ = 512;
  std::size_t pids_ = 512;
  std::string cpus_ = "0";
  std::vector<std::string> env_;
  std::string envs_file_;
  std::size_t max_connections_ = 1024;
  std::string log_level_ = "info";
};

}  // namespace

std::unique_ptr<Command> MakeExecdCommand(CLI::App& program) {
  return std::make_unique<ExecdCommand>(program);
}

}  // namespace forkbox::cli
