// Metadata of sandboxes: labels by the rules of Kubernetes (reference 14.3).
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>
#include <vector>

#include "api/opensandbox/lifecycle_problem.h"

namespace forkbox::api {

using Labels = std::vector<std::pair<std::string, std::string>>;

inline constexpr std::size_t kMaxLabels = 64;

// What is wrong with it, naming the key; null: nothing.
std::optional<std::string> LabelProblem(std::string_view key, std::string_view value);

// `labels`, in order, with what a JSON object of texts and nulls changes. The problem names the
// key.
tl::expected<Labels, LifecycleProblem> MergedLabels(const Labels& labels,
                                                    const nlohmann::json& changes);

// "k=v&k2=v2", each of them percent-encoded. Null when it is not that.
std::optional<Labels> ParseLabelFilter(std::string_view text);

}  // namespace forkbox::api
