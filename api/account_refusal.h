// A limit of an account that an execution met: in the terms every dialect can shape.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "api/auth/key_identity.h"
#include "api/http/fields.h"
#include "store/execution_store.h"

namespace forkbox::api {

struct AccountRefusal {
  std::string_view reason;  // "rate", "concurrency" or "quota"
  std::uint64_t limit = 0;
  std::uint64_t used = 0;
  std::int64_t resets_unix_ms = 0;  // when there is room again; 0: as soon as something ends
};

// Null unless the verdict is that of a limit.
std::optional<AccountRefusal> RefusalOf(const store::Acceptance& account,
                                        const store::AcceptTerms& terms);

// Retry-After and X-RateLimit-*, of the limit that was met.
http::Fields HeadersOf(const AccountRefusal& refusal, std::int64_t now_unix_ms);

// What an account may do at most; `per_minute` only where its API counts by the minute.
store::AcceptTerms TermsOf(const KeyIdentity& identity, bool per_minute);

}  // namespace forkbox::api
