#include "cli/serve_config.h"

#include <algorithm>
#include <thread>

namespace forkbox::cli {

void ServeConfig::AddTo(Settings& settings) {
  using CLI::Range;
  settings.Add("--listen", listen, "Address and port; port 0 takes any free one");
  settings.Add("--data-dir", data_dir, "Where the database and the keys live; made if missing");
  settings.Add("--database", database, "sqlite:PATH; by default forkbox.db in the data directory",
               Settings::Secrecy::kUrlPassword);
  settings.Add("--broker", broker, "embedded: is the queue inside this process",
               Settings::Secrecy::kUrlPassword);
  settings.Add("--keys-file", keys_file,
               "API keys, see `forkbox keys`; by default api_keys.json in the working or the data "
               "directory, and without one no key is needed");
  settings.Add("--slots", slots, "Programs that run at once; 0: twice the cores, at least 4")
      ->check(Range(0, 1'024));
  settings
      .Add("--interactive-slots", interactive_slots,
           "Of these, kept for calls that somebody waits for; 0: a quarter")
      ->check(Range(0, 1'024));
  settings.Add("--pool-size", pool_size, "Forks kept ready for each language")
      ->check(Range(0, 256));
  settings
      .Add("--queue-limit", queue_limit,
           "Calls that may wait for a slot while a client waits; more is a 429")
      ->check(Range(1, 1'000'000));
  settings
      .Add("--background-queue-limit", background_queue_limit,
           "Executions that may wait for a slot while nobody waits")
      ->check(Range(1, 10'000'000));
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
  settings
      .Add("--drain-seconds", drain_seconds,
           "After SIGTERM, how long running programs may go on before they are requeued")
      ->check(Range(0, 86'400));
  settings.Add("--log-level", log_level, "debug, info, warn, error or off")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}));
  settings.Add("--insecure-no-auth", insecure_no_auth,
               "Serve beyond this machine without any key: anybody may run programs");
}

Result<void> ServeConfig::Resolve() {
  const auto invalid = [](const std::string& text) {
    return Fail(ErrorCode::kInvalidArgument, text);
  };
  const auto parsed = ListenAddress::Parse(listen);
  if (!parsed) return invalid("--listen: " + parsed.error().message);
  address = *parsed;

  if (data_dir.empty()) return invalid("--data-dir: must not be empty");
  if (broker != "embedded:" && broker != "embedded") {
    return invalid(broker.starts_with("amqp") ? "--broker: RabbitMQ is not built yet; use embedded:"
                                              : "--broker: must be embedded:");
  }
  if (database.empty()) {
    database_path = "forkbox.db";
    database = "sqlite:" + data_dir + (data_dir.ends_with('/') ? "" : "/") + database_path;
  } else if (database.starts_with("sqlite:") && database.size() > 7) {
    database_path = database.substr(7);
  } else {
    return invalid(database.starts_with("postgres")
                       ? "--database: PostgreSQL is not built yet; use sqlite:PATH"
                       : "--database: must be sqlite:PATH");
  }

  if (slots == 0) slots = std::max<std::size_t>(4, 2 * std::thread::hardware_concurrency());
  if (interactive_slots == 0) interactive_slots = std::max<std::size_t>(1, slots / 4);
  if (interactive_slots >= slots && slots > 1) {
    return invalid("--interactive-slots: must be less than --slots, which is " +
                   std::to_string(slots));
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
