// Authenticator: whose key this is.
//
// Immutable, hence thread-safe. Keys are held and compared as hashes only, each check against
// every key in constant time. A key of the file has full access to an account of its own, named
// like the key after its short hash.
#pragma once

#include <string>
#include <vector>

#include "api/auth/key_file.h"
#include "api/auth/key_identity.h"
#include "base/result.h"

namespace forkbox::api {

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
