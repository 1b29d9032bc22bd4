#include "api/auth/authenticator.h"

#include "api/auth/permission.h"

namespace forkbox::api {
namespace {

constexpr std::string_view kDemoPrefix = "zb_demo_";

}  // namespace

KeyIdentity Nobody() {
  KeyIdentity nobody;
  nobody.permissions = kFullAccess;
  nobody.limits = {.executions_per_minute = 0, .concurrency = 0, .monthly_quota = 0};
  return nobody;
}

std::string LabelOfKey(std::string_view key) {
  if (key.size() <= 8) return "***";
  return std::string(key.substr(0, 4)) + "…" + std::string(key.substr(key.size() - 4));
}

Authenticator::Authenticator(std::vector<KeyEntry> keys) {
  digests_.reserve(keys.size());
  for (const KeyEntry& key : keys) digests_.push_back(key.digest);
}

std::optional<schema::OwnerId> Authenticator::OwnerOf(const KeyDigest& digest) const {
  bool known = false;
  for (const KeyDigest& one : digests_) known |= one.Equals(digest);  // no early end
  if (!known) return std::nullopt;
  return schema::OwnerId(digest.ShortId());
}

std::optional<KeyIdentity> Authenticator::Find(const KeyDigest& digest,
                                               std::string_view key) const {
  const std::optional<schema::OwnerId> owner = OwnerOf(digest);
  if (!owner) return std::nullopt;
  KeyIdentity identity;
  identity.owner = *owner;
  identity.key_id = schema::KeyId(owner->str());
  identity.is_demo = key.starts_with(kDemoPrefix);
  identity.permissions = identity.is_demo ? kExecuteOnly : kFullAccess;
  identity.label = LabelOfKey(key);
  return identity;
}

}  // namespace forkbox::api
