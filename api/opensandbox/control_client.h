// One request of an API process to a runner's server (sandbox_wire.h).
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"

namespace forkbox::api {

// `path` begins with a slash. kUnavailable: the runner did not get it. kDeadlineExceeded: it may
// have. Else what the runner says is wrong. Blocks; thread-safe.
Result<void> AskRunner(const std::string& address, const std::string& control_token,
                       const char* method, const std::string& path, const std::string& body,
                       std::chrono::milliseconds timeout);

}  // namespace forkbox::api
