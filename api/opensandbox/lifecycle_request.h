// The body of POST /sandboxes: read and checked (reference 14.3).
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>
#include <tl/expected.hpp>

#include "api/opensandbox/lifecycle_problem.h"
#include "runner/sandboxes/sandbox_host.h"
#include "schema/request_schema.h"

namespace forkbox::api {

struct SandboxBounds {
  std::uint64_t max_memory_bytes = 8192ULL << 20;
  std::chrono::seconds max_timeout{86'400};
};

inline constexpr std::size_t kMaxSandboxBody = 256U << 10;

// All but id and owner. What forkbox does not have is refused with 501, not passed over.
tl::expected<sandboxes::SandboxSpec, LifecycleProblem> ParseSandboxRequest(
    std::string_view body, const schema::RequestSchema& schema, const SandboxBounds& bounds);

// "500m", "1", "0.5" of a core, in thousandths; null for anything else.
std::optional<std::uint32_t> ParseCpu(std::string_view text);
// "512Mi", "1Gi", "1G", "1073741824"; null for anything else.
std::optional<std::uint64_t> ParseBytes(std::string_view text);

}  // namespace forkbox::api
