// Signatures of webhooks as the Standard Webhooks specification has them, with shared secrets (v1):
// a receiver recomputes the HMAC over what it got and knows that we sent it, and when.
//
// Thread-safe. Secrets are "whsec_" and the base64 of 24 to 64 random bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace forkbox::webhook {

std::string NewSecret();
bool IsSecret(std::string_view text);

// "v1,<base64 of HMAC-SHA256>" of the delivery `id` with `body`, sent at `unix_seconds`; one word
// of the header webhook-signature. kInvalidArgument for what is no secret.
Result<std::string> Sign(std::string_view secret, std::string_view id, std::int64_t unix_seconds,
                         std::string_view body);

}  // namespace forkbox::webhook
