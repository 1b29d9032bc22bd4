// Queries of the lifecycle API.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/http/call.h"

namespace forkbox::api {

// A number of a query from 1 to `most`; null when it is not that.
std::optional<std::uint32_t> PageNumber(const http::Call& call, const char* name,
                                        std::uint32_t otherwise, std::uint32_t most);

// All values of a query parameter.
std::vector<std::string> Queries(const http::Call& call, std::string_view name);

}  // namespace forkbox::api
