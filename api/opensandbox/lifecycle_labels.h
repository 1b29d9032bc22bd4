// Metadata of sandboxes: labels by the rules of Kubernetes (reference 14.3).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace forkbox::api {

using Labels = std::vector<std::pair<std::string, std::string>>;

inline constexpr std::size_t kMaxLabels = 64;

// What is wrong with it, naming the key; null: nothing.
std::optional<std::string> LabelProblem(std::string_view key, std::string_view value);

// "k=v&k2=v2", each of them percent-encoded. Null when it is not that.
std::optional<Labels> ParseLabelFilter(std::string_view text);

}  // namespace forkbox::api
