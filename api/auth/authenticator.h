// Authenticator: the keys of the keys file.
//
// Immutable, hence thread-safe. Keys are held and compared as hashes only, each check against
// every key in constant time. A key of the file has full access to an account of its own, named
// like the key after its short hash. Demo keys are everybody's, so they may only execute.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "api/auth/key_digest.h"
#include "api/auth/key_file.h"
#include "api/auth/key_identity.h"

namespace forkbox::api {

class Authenticator {
 public:
  explicit Authenticator(std::vector<KeyEntry> keys);

  [[nodiscard]] bool enabled() const { return !digests_.empty(); }  // there is one

  // Whose key this is; null when it is none of these. `digest` is that of `key`.
  [[nodiscard]] std::optional<KeyIdentity> Find(const KeyDigest& digest,
                                                std::string_view key) const;
  [[nodiscard]] std::optional<schema::OwnerId> OwnerOf(const KeyDigest& digest) const;

 private:
  std::vector<KeyDigest> digests_;
};

}  // namespace forkbox::api
