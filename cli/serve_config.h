// What `forkbox serve` can be told, and its defaults.
#pragma once

#include <cstddef>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "cli/listen_address.h"
#include "cli/settings.h"

namespace forkbox::cli {

struct ServeConfig {
  std::string listen = "127.0.0.1:8080";
  std::string data_dir = "./var";
  std::string database;  // "" is sqlite:<data-dir>/forkbox.db
  std::string broker = "embedded:";
  std::string keys_file;
  std::size_t slots = 0;              // 0 is twice the cores, at least 4
  std::size_t interactive_slots = 0;  // 0 is a quarter of the slots
  std::size_t pool_size = 4;          // ready forks a language
  std::size_t queue_limit = 1'000;    // waiting executions with somebody behind each
  std::size_t background_queue_limit = 10'000;
  std::size_t threads = 0;  // of HTTP; 0 is 2
  std::size_t max_connections = 4'000;
  std::size_t max_body_bytes = 1 << 20;
  std::size_t max_batch_items = 100;
  std::size_t max_output_bytes = 1 << 20;
  std::size_t drain_seconds = 30;
  std::string log_level = "info";
  bool insecure_no_auth = false;

  void AddTo(Settings& settings);

  // After Complete(): fills in what is 0 or "" for "decide", and checks what no flag can check for
  // itself. kInvalidArgument names the flag.
  Result<void> Resolve();

  ListenAddress address;             // set by Resolve()
  LogLevel level = LogLevel::kInfo;  // likewise
  std::string database_path;         // likewise: absolute, or relative to the data directory
};

}  // namespace forkbox::cli
