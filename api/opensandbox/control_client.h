// One request of an API process to a runner's server (sandbox_wire.h).
#pragma once

#include <atomic>
#include <chrono>
#include <string>

#include "base/result.h"

namespace forkbox::api {

// What it answers. `path` begins with a slash. kUnavailable: the runner did not get it.
// kDeadlineExceeded: it may have; so too, within a second, when `give_up` becomes true. Else what
// the runner says is wrong. Blocks; thread-safe.
Result<std::string> AskRunner(const std::string& address, const std::string& control_token,
                              const char* method, const std::string& path, const std::string& body,
                              std::chrono::milliseconds timeout, const std::atomic<bool>& give_up);

}  // namespace forkbox::api
