// A connection to a server of the box.
#pragma once

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"

namespace forkbox::execd {

// To 127.0.0.1, else to ::1; non-blocking. kUnavailable when nobody listens, or takes it within a
// few seconds.
Result<UniqueFd> ConnectLocally(std::uint16_t port);

}  // namespace forkbox::execd
