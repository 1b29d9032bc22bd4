#include "cli/server_config.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include "base/uuid.h"

namespace forkbox::cli {
namespace {

tl::unexpected<Error> Invalid(std::string text) {
  return Fail(ErrorCode::kInvalidArgument, std::move(text));
}

std::string MakeProcessName() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  std::string name(host.data());
  std::erase_if(name, [](char c) { return c <= 0x20 || c >= 0x7F; });
  return name.substr(0, 64) + "-" + std::to_string(::getpid()) + "-" + NewUuidV7().substr(28);
}

}  // namespace

void ServerConfig::AddTo(Settings& settings, const Roles& roles) {
  using CLI::Range;
  const bool embeddable = roles.all();
  if (roles.api) {
    settings.Add("--listen", listen, "Address and port; port 0 takes any free one");
  }
  if (embeddable) {
    settings.Add("--data-dir", data_dir, "Where the database and the keys live; made if missing");
  }
  settings.Add("--database", database,
               embeddable ? "sqlite:PATH, by default forkbox.db in the data directory; or "
                            "postgres://USER:PASSWORD@HOST/NAME"
                          : "postgres://USER:PASSWORD@HOST/NAME",
               Settings::Secrecy::kUrlPassword);
  settings.Add("--broker", broker,
               embeddable ? "embedded:, the queue inside this process; or "
                            "amqp://USER:PASSWORD@HOST/VHOST"
                          : "amqp://USER:PASSWORD@HOST/VHOST",
               Settings::Secrecy::kUrlPassword);
  settings.Add("--queue-prefix", queue_prefix,
               "In RabbitMQ, what the names of our queues begin with: clusters that share a vhost "
               "need different ones");
  settings
      .Add("--startup-wait-seconds", startup_wait_seconds,
           "How long to wait for PostgreSQL and RabbitMQ to come up")
      ->check(Range(0, 86'400));
  settings
      .Add("--queue-limit", queue_limit,
           "Calls that may wait for a slot while a client waits; more is a 429")
      ->check(Range(1, 1'000'000));
  settings
      .Add("--background-queue-limit", background_queue_limit,
           "Executions that may wait for a slot while nobody waits")
      ->check(Range(1, 10'000'000));
  if (roles.api) {
    settings.Add("--keys-file", keys_file,
                 "API keys, see `forkbox keys`; by default api_keys.json in the working or the "
                 "data directory, and without one no key is needed");
    settings
        .Add("--nca-max-queue-length", nca_max_queue_length,
             "NCA: refuse a queued call when that many wait; 0: only the queue's own limit")
        ->check(Range(0, 10'000'000));
    settings.Add("--nca-stderr-is-success", nca_stderr_is_success,
                 "NCA: a program that ends well is a success even if it wrote to stderr");
    settings.Add("--threads", threads, "HTTP threads; 0: 2")->check(Range(0, 64));
    settings.Add("--max-connections", max_connections, "Client connections at once")
        ->check(Range(1, 100'000));
    settings.Add("--max-body-bytes", max_body_bytes, "Largest request body; more is a 413")
        ->check(Range(1'024, 1 << 28));
    settings.Add("--max-batch-items", max_batch_items, "Executions in one batch call")
        ->check(Range(1, 10'000));
    settings
        .Add("--max-output-bytes", max_output_bytes,
             "Kept of each of stdout and stderr; more is cut, with a flag")
        ->check(Range(1'024, 1 << 28));
    settings.Add("--insecure-no-auth", insecure_no_auth,
                 "Serve beyond this machine without any key: anybody may run programs");
  }
  if (roles.runner) {
    settings.Add("--slots", slots, "Programs that run at once; 0: twice the cores, at least 4")
        ->check(Range(0, 1'024));
    settings
        .Add("--interactive-slots", interactive_slots,
             "Of these, kept for calls that somebody waits for; 0: a quarter")
        ->check(Range(0, 1'024));
    settings.Add("--pool-size", pool_size, "Forks kept ready for each language")
        ->check(Range(0, 256));
    settings
        .Add("--retention-days", retention_days,
             "Finished executions are forgotten after so many days; 0: never")
        ->check(Range(0, 36'500));
    settings
        .Add("--retention-per-account", retention_per_account,
             "Of each account only the last so many finished executions are kept; 0: all")
        ->check(Range(0, 1'000'000));
    settings.Add("--runner-id", runner_id,
                 "Name of this runner, no other's; by default made up at each start");
  }
  if (roles.api) {
    settings
        .Add("--sandbox-max-memory-mb", sandbox_max_memory_mb,
             "The most memory a long-lived sandbox may ask for: a limit, nothing is set aside")
        ->check(Range(16, 1 << 22));
    settings
        .Add("--sandbox-max-timeout-seconds", sandbox_max_timeout_seconds,
             "The longest time a sandbox may ask for")
        ->check(Range(60, 4'000'000));
    settings
        .Add("--sandbox-max-per-account", sandbox_max_per_account,
             "Sandboxes an account may have at once; 0: as many as there is room for")
        ->check(Range(0, 100'000));
    settings.Add("--sandbox-endpoint", sandbox_endpoint,
                 "HOST:PORT at which clients reach this server, for the endpoints it gives out; by "
                 "default what their requests call it");
    settings.Add("--sandbox-server-proxy", sandbox_server_proxy,
                 "Endpoints of sandboxes on other machines are at this server, too, which hands "
                 "on what comes");
  }
  if (roles.runner) {
    settings.Add("--sandbox-max", sandbox_max, "Long-lived sandboxes at once; 0: none")
        ->check(Range(0, 4'096));
    settings
        .Add("--sandbox-total-memory-mb", sandbox_total_memory_mb,
             "What the memory limits of all sandboxes together may come to; 0: not bounded")
        ->check(Range(0, 1 << 24));
    settings.Add("--sandbox-listen", sandbox_listen,
                 "With RabbitMQ: address and port where this runner serves its sandboxes; without "
                 "it has none");
    settings.Add("--sandbox-advertise", sandbox_advertise,
                 "HOST:PORT at which APIs and clients reach that; by default what it listens on");
  }
  if (roles.api) {
    settings
        .Add("--isolation", isolation,
             "What programs run in unless their request says: process, vm, or auto, which is vm "
             "where KVM is usable; Zeroboot's and NCA's requests cannot say")
        ->check(CLI::IsMember({"process", "vm", "auto"}));
    settings
        .Add(
            "--isolation-floor", isolation_floor,
            "The least that programs may run in, whatever a request says: process, or vm, which "
            "makes --isolation vm, too, and leaves no long-lived sandboxes, for they are processes")
        ->check(CLI::IsMember({"process", "vm"}));
  }
  if (roles.runner) {
    settings
        .Add("--vm", vm,
             "Virtual machines: on, off, or auto, which is on where there is an image (`forkbox vm "
             "build` makes one)")
        ->check(CLI::IsMember({"on", "off", "auto"}));
    settings.Add("--vm-image", vm_image, "The folder of the image; by default the installation's");
    settings
        .Add("--vm-memory-mb", vm_memory_mb,
             "Memory of a virtual machine: of it only what is touched is taken")
        ->check(Range(1'024, 1 << 16));
    settings.Add("--vm-pool-size", vm_pool_size, "Virtual machines kept ready")
        ->check(Range(0, 256));
    settings.Add("--vm-max", vm_max, "Virtual machines at once, those kept ready included")
        ->check(Range(1, 1'024));
  }
  if (roles.api || roles.webhook) {
    settings.Add("--webhook-allow", webhook_allow,
                 "Addresses webhooks may go to although they are private: CIDRs, comma-separated");
  }
  if (roles.webhook) {
    settings.Add("--webhook-concurrency", webhook_concurrency, "Webhooks sent at once")
        ->check(Range(1, 10'000));
  }
  settings
      .Add("--drain-seconds", drain_seconds,
           "After SIGTERM, how long what was begun may go on before it is put back")
      ->check(Range(0, 86'400));
  settings.Add("--log-level", log_level, "debug, info, warn, error or off")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}));
}

Result<void> ServerConfig::ResolveServers(const Roles& roles) {
  if (roles.all()) {
    if (broker.empty()) broker = database.starts_with("postgres") ? "" : "embedded:";
    if (broker == "embedded") broker = "embedded:";
    if (database.empty() && broker == "embedded:") {
      database = "sqlite:" + data_dir + (data_dir.ends_with('/') ? "" : "/") + "forkbox.db";
      database_path = "forkbox.db";
    } else if (database.starts_with("sqlite:") && database.size() > 7) {
      database_path = database.substr(7);
    }
  }
  const bool embedded_broker = broker == "embedded:";
  const bool sqlite = !database_path.empty();
  const bool postgres =
      database.starts_with("postgres://") || database.starts_with("postgresql://");
  const bool amqp = broker.starts_with("amqp://");
  const char* embedded_too = roles.all() ? ", or embedded:" : "; `forkbox serve` needs none";
  if (!embedded_broker && !amqp) {
    return Invalid(std::string("--broker: must be amqp://USER:PASSWORD@HOST/VHOST") + embedded_too);
  }
  if (!sqlite && !postgres) {
    return Invalid(std::string("--database: must be postgres://USER:PASSWORD@HOST/NAME") +
                   (roles.all() ? ", or sqlite:PATH" : "; `forkbox serve` needs none"));
  }
  // A queue in one process knows nothing of the others that a shared database invites; and a file
  // is no meeting place for machines.
  if (embedded_broker != sqlite) {
    return Invalid(embedded_broker ? "--broker: embedded: goes with a sqlite: database"
                                   : "--database: sqlite: goes with the embedded: broker");
  }
  embedded = embedded_broker;
  return {};
}

Result<void> ServerConfig::Resolve(const Roles& roles) {
  const auto parsed = ListenAddress::Parse(listen);
  if (!parsed) return Invalid("--listen: " + parsed.error().message);
  address = *parsed;

  if (data_dir.empty()) return Invalid("--data-dir: must not be empty");
  if (auto servers = ResolveServers(roles); !servers) return servers;

  auto guard = webhook::AddressGuard::Parse(webhook_allow);
  if (!guard) return Invalid("--webhook-allow: " + guard.error().message);
  address_guard = *std::move(guard);

  if (slots == 0) slots = std::max<std::size_t>(4, 2 * std::thread::hardware_concurrency());
  if (interactive_slots == 0) interactive_slots = std::max<std::size_t>(1, slots / 4);
  if (interactive_slots >= slots && slots > 1) {
    return Invalid("--interactive-slots: must be less than --slots, which is " +
                   std::to_string(slots));
  }
  for (const auto& [flag, text] : {std::pair{"--sandbox-endpoint", &sandbox_endpoint},
                                   std::pair{"--sandbox-advertise", &sandbox_advertise}}) {
    const auto host = [](char c) {
      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
             c == '.' || c == '-' || c == '_' || c == ':' || c == '[' || c == ']';
    };
    if (text->size() > 255 || !std::ranges::all_of(*text, host)) {
      return Invalid(std::string(flag) + ": must be HOST:PORT");
    }
  }
  if (!sandbox_listen.empty()) {
    const auto listened = ListenAddress::Parse(sandbox_listen);
    if (!listened) return Invalid("--sandbox-listen: " + listened.error().message);
    sandbox_address = *listened;
    const bool everywhere = sandbox_address.host == "0.0.0.0" || sandbox_address.host == "::";
    if (!embedded && everywhere && sandbox_advertise.empty()) {
      return Invalid("--sandbox-advertise: say at which HOST:PORT others reach " + sandbox_listen);
    }
  }
  if (isolation_floor == "vm") isolation = "vm";
  if (roles.runner && isolation == "vm" && vm == "off") {
    return Invalid("--isolation: vm needs virtual machines, and --vm is off");
  }
  sandboxes = roles.runner && isolation_floor != "vm" && sandbox_max != 0 &&
              (embedded || !sandbox_listen.empty());

  // The one runner of its store: after a crash, its claims are known to be void.
  process_name = MakeProcessName();
  runner_name = !runner_id.empty() ? runner_id : embedded ? "embedded" : process_name;
  const auto printable = [](char c) { return c > 0x20 && c < 0x7F; };
  if (runner_id.size() > 128 || !std::ranges::all_of(runner_id, printable)) {
    return Invalid("--runner-id: must be at most 128 printable characters without blanks");
  }
  if (queue_prefix.empty() || queue_prefix.size() > 64 ||
      !std::ranges::all_of(queue_prefix, printable)) {
    return Invalid("--queue-prefix: must be 1 to 64 printable characters without blanks");
  }
  // As the NCA toolkit has it.
  if (const char* most = std::getenv("MAX_QUEUE_LENGTH");
      roles.api && nca_max_queue_length == 0 && most != nullptr && *most != '\0') {
    const std::string_view text = most;
    const auto [end, error] =
        std::from_chars(text.data(), text.data() + text.size(), nca_max_queue_length);
    if (error != std::errc() || end != text.data() + text.size()) {
      return Invalid("MAX_QUEUE_LENGTH: must be a whole number");
    }
  }
  if (threads == 0) threads = 2;

  level = log_level == "debug"   ? LogLevel::kDebug
          : log_level == "warn"  ? LogLevel::kWarn
          : log_level == "error" ? LogLevel::kError
          : log_level == "off"   ? LogLevel::kOff
                                 : LogLevel::kInfo;
  return {};
}

}  // namespace forkbox::cli
