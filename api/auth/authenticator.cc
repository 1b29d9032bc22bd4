#include "api/auth/authenticator.h"

namespace forkbox::api {
namespace {

constexpr std::string_view kScheme = "Bearer ";
constexpr std::string_view kDemoPrefix = "zb_demo_";

std::string LabelOf(std::string_view key) {
  if (key.size() <= 8) return "***";
  return std::string(key.substr(0, 4)) + "…" + std::string(key.substr(key.size() - 4));
}

}  // namespace

Authenticator::Authenticator(std::vector<KeyEntry> keys) {
  digests_.reserve(keys.size());
  for (const KeyEntry& key : keys) digests_.push_back(key.digest);
}

Result<KeyIdentity> Authenticator::CheckBearer(const std::string* authorization) const {
  if (!enabled()) return KeyIdentity{};
  if (authorization == nullptr || !authorization->starts_with(kScheme)) {
    return Fail(ErrorCode::kUnauthenticated, "Missing Authorization header");
  }
  return CheckKey(std::string_view(*authorization).substr(kScheme.size()));
}

Result<KeyIdentity> Authenticator::CheckKey(std::string_view key) const {
  if (!enabled()) return KeyIdentity{};
  const KeyDigest presented = KeyDigest::Of(key);
  bool known = false;
  for (const KeyDigest& digest : digests_) known |= digest.Equals(presented);  // no early end
  if (!known) return Fail(ErrorCode::kUnauthenticated, "Invalid API key");
  return KeyIdentity{schema::OwnerId(presented.ShortId()), key.starts_with(kDemoPrefix),
                     LabelOf(key)};
}

}  // namespace forkbox::api
