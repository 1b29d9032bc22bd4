// Authenticator: whose key this is.
//
// Immutable, hence thread-safe. Keys are held and compared as hashes only, each check against
// every key in constant time.
#pragma once

#include <string>
#include <vector>

#include "api/auth/key_file.h"
#include "base/result.h"
#include "schema/execution.h"

namespace forkbox::api {

struct KeyIdentity {
  schema::OwnerId owner;  // the key's short hash; "" when keys are off
  bool is_demo = false;   // the key starts with "zb_demo_"
  std::string label;  // for logs: first 4 … last 4 of the key, *** if that would be most of it
};

class Authenticator {
 public:
  // With no keys, authentication is off and every request is the nameless owner's.
  explicit Authenticator(std::vector<KeyEntry> keys);

  [[nodiscard]] bool enabled() const { return !digests_.empty(); }

  // The value of the Authorization header; null when the request has none.
  // kUnauthenticated: "Missing Authorization header" when it is not `Bearer <key>` (that exact
  // spelling), "Invalid API key" for a key that is not ours.
  [[nodiscard]] Result<KeyIdentity> CheckBearer(const std::string* authorization) const;

  // A key by itself, for dialects with a header of their own.
  [[nodiscard]] Result<KeyIdentity> CheckKey(std::string_view key) const;

 private:
  std::vector<KeyDigest> digests_;
};

}  // namespace forkbox::api
