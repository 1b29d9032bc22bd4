// FileInfo as execd shows it, and paths as its file operations take them (reference 7).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "api/opensandbox/execd_call.h"
#include "runner/execd/files.h"

namespace forkbox::api {

nlohmann::ordered_json ToJson(const execd::FileInfo& info);
nlohmann::ordered_json ToJson(const std::vector<execd::FileInfo>& infos);

// 0644 → 644
std::uint32_t OctalDigits(std::uint32_t mode);

// "2026-06-15T09:46:00.123456789Z"
std::string Rfc3339Nanos(std::int64_t unix_ns);

// Expands it; where that fails the call is refused with a 400, and false.
bool ReadPath(ExecdCall& call, std::string_view text, std::string* path);

}  // namespace forkbox::api
