// NewKey: a key that is about to be kept in the store.
#pragma once

#include <cstdint>
#include <string>

#include "api/auth/key_digest.h"
#include "base/result.h"
#include "store/key_store.h"

namespace forkbox::api {

struct NewKey {
  std::string text;  // to be shown once
  KeyDigest digest;
  store::ApiKey key;  // id, prefix and created_unix_ms are set
};

Result<NewKey> MakeNewKey(std::int64_t now_unix_ms);

}  // namespace forkbox::api
