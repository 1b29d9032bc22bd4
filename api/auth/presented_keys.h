// Where the key of a request stands.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "api/http/fields.h"

namespace forkbox::api {

// By Exec0's rules (admission.h); null when there is none. Points into `fields`.
std::optional<std::string_view> Exec0Key(const http::Fields& fields);

// By Zeroboot's; null when the request has no Authorization that is `Bearer <key>`.
std::optional<std::string_view> ZerobootKey(const http::Fields& fields);

// Everything that any dialect might take for the key.
std::vector<std::string_view> PresentedKeys(const http::Fields& fields);

}  // namespace forkbox::api
