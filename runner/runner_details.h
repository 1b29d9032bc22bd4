// RunnerDetails: what a runner can do, as it tells the rest of the cluster by way of the store
// (store::RunnerInfo::details_json).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "runner/sandbox/driver.h"
#include "runner/sandbox/vm/vm_status.h"

namespace forkbox::runner {

// The long-lived sandboxes that a runner has, and how API processes reach them.
struct SandboxService {
  std::string address;        // "host:port" of its own server; "" when they are only for itself
  std::string control_token;  // for what only API processes may ask there
  std::uint64_t live = 0;
  std::uint64_t room = 0;                         // how many more it takes
  std::optional<std::uint64_t> memory_room = {};  // in bytes of their limits; none: not bounded
};

// The virtual machines that a runner has, or was to have.
struct VmService {
  sandbox::vm::VmStatus status;
  std::vector<sandbox::LanguageStatus> languages;  // of the image: ready once its template is
  std::uint64_t most_memory_bytes = 0;             // that one run may ask for; 0: not known
  std::uint64_t machines_ready = 0;                // that wait for a program now
};

struct RunnerDetails {
  std::vector<sandbox::LanguageStatus> languages;
  std::vector<std::string> missing_protections;
  std::optional<SandboxService> sandboxes = {};  // none: it has none to offer
  std::optional<VmService> vm = {};              // none: it has processes only
};

std::string RunnerDetailsToJson(const RunnerDetails& details);

// kInvalidArgument for what no runner of any version wrote.
Result<RunnerDetails> RunnerDetailsFromJson(std::string_view text);

}  // namespace forkbox::runner
