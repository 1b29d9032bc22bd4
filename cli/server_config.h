// What a server process can be told, and its defaults.
#pragma once

#include <cstddef>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "cli/listen_address.h"
#include "cli/settings.h"
#include "webhook/address_guard.h"

namespace forkbox::cli {

// Which parts of the service a process runs: `forkbox serve` all of them, the other commands one.
struct Roles {
  bool api = false;
  bool runner = false;
  bool webhook = false;

  [[nodiscard]] bool all() const { return api && runner && webhook; }
};

struct ServerConfig {
  std::string listen = "127.0.0.1:8080";
  std::string data_dir = "./var";
  std::string database;  // "": sqlite:<data-dir>/forkbox.db for `serve`, else required
  std::string broker;    // "": embedded: for `serve`, else required
  std::string queue_prefix = "forkbox.";
  std::string keys_file;
  std::size_t slots = 0;                  // 0 is twice the cores, at least 4
  std::size_t interactive_slots = 0;      // 0 is a quarter of the slots
  std::size_t pool_size = 4;              // ready forks a language
  std::size_t retention_days = 30;        // of finished executions; 0 keeps them for ever
  std::size_t retention_per_account = 0;  // the newest so many; 0: all
  std::string runner_id;                  // "" is made up: host name, process id, chance
  std::size_t queue_limit = 1'000;        // waiting executions with somebody behind each
  std::size_t background_queue_limit = 10'000;
  std::size_t nca_max_queue_length = 0;  // 0: only the lane's limit
  bool nca_stderr_is_success = false;
  std::size_t threads = 0;  // of HTTP; 0 is 2
  std::size_t max_connections = 4'000;
  std::size_t max_body_bytes = 1 << 20;
  std::size_t max_batch_items = 100;
  std::size_t max_output_bytes = 1 << 20;
  std::string webhook_allow;  // CIDRs
  std::size_t webhook_concurrency = 64;
  std::size_t sandbox_max = 128;              // long-lived sandboxes at once; 0: none
  std::size_t sandbox_total_memory_mb = 0;    // of all their limits; 0: not bounded
  std::size_t sandbox_max_memory_mb = 8'192;  // of one
  std::size_t sandbox_max_timeout_seconds = 86'400;
  std::size_t sandbox_max_per_account = 20;  // with keys; 0: not bounded
  std::string sandbox_endpoint;              // "host:port" that is given out; "": as clients say
  bool sandbox_server_proxy = false;
  std::string sandbox_listen;               // of a runner, for its sandboxes; "": it has none
  std::string sandbox_advertise;            // "host:port" at which others reach that
  std::string isolation = "process";        // of requests that do not say: process, vm or auto
  std::string isolation_floor = "process";  // of all: process or vm; vm goes before `isolation`
  std::string vm = "auto";                  // on, off, or auto: on where there is an image
  std::string vm_image;                     // its folder; "": that of the installation
  std::size_t vm_memory_mb = 2'048;         // of a machine
  std::size_t vm_pool_size = 2;             // ready machines
  std::size_t vm_max = 64;                  // machines at once
  std::size_t startup_wait_seconds = 60;
  std::size_t drain_seconds = 30;
  std::string log_level = "info";
  bool insecure_no_auth = false;

  // Only the settings that mean something to these roles.
  void AddTo(Settings& settings, const Roles& roles);

  // After Complete(): fills in what is 0 or "" for "decide", and checks what no flag can check for
  // itself. kInvalidArgument names the flag.
  Result<void> Resolve(const Roles& roles);

  // All set by Resolve():
  std::string process_name;  // unlike any other's, ever: claims are held by name
  std::string runner_name;   // the runner's id: as given, or made up
  ListenAddress address;
  ListenAddress sandbox_address;  // of sandbox_listen
  bool sandboxes = false;         // this process has some itself
  LogLevel level = LogLevel::kInfo;
  bool embedded = false;      // SQLite and a queue in this process
  std::string database_path;  // when embedded: absolute, or relative to the data directory
  webhook::AddressGuard address_guard;

 private:
  Result<void> ResolveServers(const Roles& roles);
};

}  // namespace forkbox::cli
