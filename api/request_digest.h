// The digest that tells whether a second request under one idempotency key is the first one again.
#pragma once

#include <string>
#include <string_view>

#include "schema/execution.h"

namespace forkbox::api {

// SHA-256, 64 hexadecimal digits, of what was asked for: the canonical JSON of what the request was
// understood as, without what differs from call to call (ids, times, addresses). So the order of
// members, blanks and an alias of a language make no difference. `asked_isolation` is the
// choice ("process", "vm", "auto"), the server's where the request makes none, not what it came to,
// which may differ the next time.
std::string RequestDigest(const schema::Execution& execution, std::string_view asked_isolation);

}  // namespace forkbox::api
