#include "api/auth/presented_keys.h"

#include <algorithm>
#include <string>

namespace forkbox::api {
namespace {

constexpr std::string_view kOwnHeader = "x-api-key";
constexpr std::string_view kSandboxHeader = "OPEN-SANDBOX-API-KEY";

std::optional<std::string_view> KeyOfAuthorization(const http::Fields& fields) {
  const std::string* const value = http::FindField(fields, "Authorization");
  if (value == nullptr) return std::nullopt;
  constexpr std::string_view kScheme = "Bearer";
  std::string_view key = *value;
  if (http::EqualIgnoringCase(key.substr(0, kScheme.size()), kScheme) &&
      (key.size() == kScheme.size() || key[kScheme.size()] == ' ')) {
    key.remove_prefix(kScheme.size());
    key.remove_prefix(std::min(key.size(), key.find_first_not_of(' ')));
  }
  if (key.empty()) return std::nullopt;
  return key;
}

}  // namespace

std::optional<std::string_view> Exec0Key(const http::Fields& fields) {
  if (const std::string* key = http::FindField(fields, kOwnHeader)) return *key;
  return KeyOfAuthorization(fields);
}

std::optional<std::string_view> ZerobootKey(const http::Fields& fields) {
  constexpr std::string_view kScheme = "Bearer ";
  const std::string* const value = http::FindField(fields, "Authorization");
  if (value == nullptr || !value->starts_with(kScheme)) return std::nullopt;
  return std::string_view(*value).substr(kScheme.size());
}

std::vector<std::string_view> PresentedKeys(const http::Fields& fields) {
  std::vector<std::string_view> keys;
  if (const std::string* key = http::FindField(fields, kOwnHeader)) keys.emplace_back(*key);
  if (const std::string* key = http::FindField(fields, kSandboxHeader)) keys.emplace_back(*key);
  if (const auto key = KeyOfAuthorization(fields)) keys.push_back(*key);
  return keys;
}

}  // namespace forkbox::api
