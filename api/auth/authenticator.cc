#include "api/auth/authenticator.h"

#include "api/auth/permission.h"

namespace forkbox::api {
namespace {

constexpr std::string_view kScheme = "Bearer ";
constexpr std::string_view kDemoPrefix = "zb_demo_";

std::string LabelOf(std::string_view key) {
  if (key.size() <= 8) return "***";
  return std::string(key.substr(0, 4)) + "…" + std::string(key.substr(key.size() - 4));
}

}  // namespace

KeyIdentity Nobody() {
  KeyIdentity nobody;
  nobody.permissions = kFullAccess;
  nobody.limits = {.executions_per_minute = 0, .concurrency = 0, .monthly_quota = 0};
  return nobody;
}

Authenticator::Authenticator(std::vector<KeyEntry> keys) {
  digests_.reserve(keys.size());
  for (const KeyEntry& key : keys) digests_.push_back(key.digest);
}

Result<KeyIdentity> Authenticator::CheckBearer(const std::string* authorization) const {
  if (!enabled()) return Nobody();
  if (authorization == nullptr || !authorization->starts_with(kScheme)) {
    return Fail(ErrorCode::kUnauthenticated, "Missing Authorization header");
  }
  return CheckKey(std::string_view(*authorization).substr(kScheme.size()));
}

Result<KeyIdentity> Authenticator::CheckKey(std::string_view key) const {
  if (!enabled()) return Nobody();
  const KeyDigest presented = KeyDigest::Of(key);
  bool known = false;
  for (const KeyDigest& digest : digests_) known |= digest.Equals(presented);  // no early end
  if (!known) return Fail(ErrorCode::kUnauthenticated, "Invalid API key");
  KeyIdentity identity;
  identity.owner = schema::OwnerId(presented.ShortId());
  identity.key_id = schema::KeyId(presented.ShortId());
  identity.permissions = kFullAccess;
  identity.is_demo = key.starts_with(kDemoPrefix);
  identity.label = LabelOf(key);
  return identity;
}

}  // namespace forkbox::api
