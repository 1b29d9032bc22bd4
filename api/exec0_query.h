// The query parameters of /api/v1, read strictly: what is there but no good is a 400 that names it.
#pragma once

#include <cstdint>
#include <string_view>
#include <tl/expected.hpp>

#include "api/exec0_error.h"
#include "api/http/call.h"

namespace forkbox::api {

// A whole number in digits; `otherwise` when the parameter is not there.
tl::expected<std::uint64_t, Exec0Problem> CountParameter(const http::Call& call,
                                                         std::string_view name, std::uint64_t least,
                                                         std::uint64_t most,
                                                         std::uint64_t otherwise);

// A time as RFC 3339 in UTC with Z, or in milliseconds since the epoch; `otherwise` when the
// parameter is not there.
tl::expected<std::int64_t, Exec0Problem> TimeParameter(const http::Call& call,
                                                       std::string_view name,
                                                       std::int64_t otherwise);

}  // namespace forkbox::api
