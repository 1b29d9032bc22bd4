// The sandbox engine of this process: finds the installation and starts the process driver.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "cli/data_dir.h"
#include "runner/sandbox/compiling_driver.h"

namespace forkbox::cli {

struct EngineOptions {
  std::size_t pool_size = 4;
  std::size_t max_sandboxes = 256;
  std::size_t max_boxes = 0;                          // see ProcessDriverOptions
  std::uint64_t artefact_cache_bytes = 256ULL << 20;  // of programs compiled before
  std::string only_language = {};                     // an id or alias; see ProcessDriverOptions
  bool only_sessions = false;                         // likewise
  Log log = Log::Null();
};

// First half, with the caller's privileges and one thread: starts the privileged part.
// kUnavailable when the installation is incomplete; the message names the missing file.
// kInvalidArgument when there is no `only_language`.
Result<std::unique_ptr<sandbox::CompilingDriver>> StartEngine(const EngineOptions& options);

// Second half, when privileges are gone: templates warm up and prove themselves.
Result<void> OpenEngine(sandbox::CompilingDriver& driver);

// Both halves with the drop of privileges between them, for the commands that do nothing else with
// root: the process is the service user's afterwards.
Result<std::unique_ptr<sandbox::CompilingDriver>> OpenLocalEngine(const EngineOptions& options);

}  // namespace forkbox::cli
