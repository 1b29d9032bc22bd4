// SandboxStore: the rows of long-lived sandboxes. The runner that has a sandbox writes its row; any
// API process reads it.
//
// Thread-safe, blocking. Errors: kUnavailable when the database is away; others where named.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace forkbox::store {

// OpenSandbox's words for it (reference 14.4).
enum class SandboxState {
  kPending,
  kRunning,
  kPausing,
  kPaused,
  kResuming,
  kStopping,
  kTerminated,
  kFailed
};
std::string_view ToString(SandboxState state);                      // "Running"
std::optional<SandboxState> SandboxStateOf(std::string_view text);  // in any case
bool IsFinal(SandboxState state);                                   // kTerminated, kFailed

struct SandboxRecord {
  std::string id;         // UUID
  std::string owner;      // the account; "" without keys
  std::string runner_id;  // that has it
  std::string address;    // "host:port" at which that runner serves its sandboxes
  std::string token;      // X-EXECD-ACCESS-TOKEN
  SandboxState state = SandboxState::kPending;
  std::string reason;   // "runner_lost"
  std::string message;  // the same in a sentence
  std::string
      request;  // what was asked for, as JSON: image, entrypoint, resourceLimits, platform …
  std::vector<std::pair<std::string, std::string>> metadata;
  std::int64_t created_unix_ms = 0;
  std::int64_t changed_unix_ms = 0;  // of the state
  std::optional<std::int64_t> expires_unix_ms;
};

struct SandboxQuery {
  std::optional<std::string> owner = {};                           // null: of all
  std::vector<SandboxState> states = {};                           // none: all
  std::vector<std::pair<std::string, std::string>> metadata = {};  // all of them, at most 16
  std::uint32_t page = 1;
  std::uint32_t page_size = 20;
};
struct SandboxPage {
  std::vector<SandboxRecord> items;  // the newest first
  std::uint64_t total = 0;
};

class SandboxStore {
 public:
  virtual ~SandboxStore() = default;

  virtual Result<void> Insert(const SandboxRecord& record) = 0;
  virtual Result<std::optional<SandboxRecord>> Get(const std::string& id) = 0;
  virtual Result<SandboxPage> List(const SandboxQuery& query) = 0;

  // False when the row is not there or final: a final state stays.
  virtual Result<bool> SetState(const std::string& id, SandboxState state,
                                const std::string& reason, const std::string& message,
                                std::int64_t now_unix_ms) = 0;
  // For its owner, who has seen that it failed: kTerminated. False when the row is not kFailed.
  virtual Result<bool> DeleteFailed(const std::string& id, std::int64_t now_unix_ms) = 0;
  virtual Result<bool> SetExpiry(const std::string& id, std::int64_t expires_unix_ms) = 0;
  // The whole new metadata in the place of `was`, as Get() had it. False when it has changed since.
  virtual Result<bool> SetMetadata(
      const std::string& id, const std::vector<std::pair<std::string, std::string>>& was,
      const std::vector<std::pair<std::string, std::string>>& metadata) = 0;

  // Makes every row of that runner that is not final kFailed. For a runner that starts anew.
  virtual Result<std::uint64_t> FailOfRunner(const std::string& runner_id,
                                             const std::string& reason,
                                             std::int64_t now_unix_ms) = 0;
  // The same for rows whose runner has no heartbeat since `before_unix_ms` (RunnerRegistry).
  virtual Result<std::uint64_t> FailOfLostRunners(std::int64_t before_unix_ms,
                                                  std::int64_t now_unix_ms) = 0;
  // Removes final rows that ended before. Deleted sandboxes answer 404 at once all the same.
  virtual Result<std::uint64_t> Prune(std::int64_t before_unix_ms) = 0;
};

}  // namespace forkbox::store
