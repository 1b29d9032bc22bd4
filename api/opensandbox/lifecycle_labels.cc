#include "api/opensandbox/lifecycle_labels.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "api/http/call.h"

namespace forkbox::api {
namespace {

bool IsAlphanumeric(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Letters and digits at both ends, '-', '_' and '.' between them.
bool IsName(std::string_view text) {
  return !text.empty() && text.size() <= 63 && IsAlphanumeric(text.front()) &&
         IsAlphanumeric(text.back()) && std::ranges::all_of(text, [](char c) {
           return IsAlphanumeric(c) || c == '-' || c == '_' || c == '.';
         });
}

bool IsDnsName(std::string_view text) {
  if (text.empty() || text.size() > 253) return false;
  while (true) {
    const auto dot = text.find('.');
    const std::string_view part = text.substr(0, dot);
    if (!IsName(part) || part.find('_') != std::string_view::npos ||
        std::ranges::any_of(part, [](char c) { return c >= 'A' && c <= 'Z'; })) {
      return false;
    }
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

// For messages: keys come from outside.
std::string Shown(std::string_view key) {
  std::string shown(key.substr(0, 80));
  for (char& c : shown) {
    if (c < 0x20 || c == 0x7F) c = '?';
  }
  return shown;
}

}  // namespace

std::optional<std::string> LabelProblem(std::string_view key, std::string_view value) {
  const std::string field = "metadata." + Shown(key);
  const auto slash = key.find('/');
  const bool prefixed = slash != std::string_view::npos;
  const std::string_view prefix = prefixed ? key.substr(0, slash) : std::string_view();
  if (prefix == "opensandbox.io" || prefix.ends_with(".opensandbox.io")) {
    return field + ": the prefix opensandbox.io/ is reserved";
  }
  if (prefixed && !IsDnsName(prefix)) {
    return field + ": the prefix of a key must be a DNS name of at most 253 characters";
  }
  if (!IsName(prefixed ? key.substr(slash + 1) : key)) {
    return field +
           ": a key must be 1 to 63 letters, digits, '-', '_' and '.', with a letter or a digit at "
           "both ends";
  }
  if (!value.empty() && !IsName(value)) {
    return field +
           ": a value must be at most 63 letters, digits, '-', '_' and '.', with a letter or a "
           "digit at both ends";
  }
  return std::nullopt;
}

tl::expected<Labels, LifecycleProblem> MergedLabels(const Labels& labels,
                                                    const nlohmann::json& changes) {
  const auto bad = [](std::string message) {
    return tl::unexpected(LifecycleProblem{
        .status = 400, .code = "SANDBOX::INVALID_METADATA_LABEL", .message = std::move(message)});
  };
  std::map<std::string, std::string> merged(labels.begin(), labels.end());
  for (const auto& [key, value] : changes.items()) {
    const bool gone = value.is_null();
    const std::string text = gone ? std::string() : value.get<std::string>();
    if (auto problem = LabelProblem(key, text)) return bad(*std::move(problem));
    if (gone) {
      merged.erase(key);
    } else {
      merged[key] = text;
    }
  }
  if (merged.size() > kMaxLabels) {
    return bad("metadata: at most " + std::to_string(kMaxLabels) + " labels");
  }
  return Labels(merged.begin(), merged.end());
}

std::optional<Labels> ParseLabelFilter(std::string_view text) {
  Labels labels;
  if (text.empty()) return labels;
  while (true) {
    const auto end = text.find('&');
    const std::string_view pair = text.substr(0, end);
    const auto equals = pair.find('=');
    if (equals == std::string_view::npos || equals == 0) return std::nullopt;
    std::string key;
    std::string value;
    if (!http::PercentDecode(pair.substr(0, equals), true, &key) ||
        !http::PercentDecode(pair.substr(equals + 1), true, &value)) {
      return std::nullopt;
    }
    labels.emplace_back(std::move(key), std::move(value));
    if (end == std::string_view::npos) return labels;
    text.remove_prefix(end + 1);
  }
}

}  // namespace forkbox::api
