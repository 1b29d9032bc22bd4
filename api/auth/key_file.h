// The keys file: a JSON array that says who may use the API.
//
//   ["zb_live_0123456789abcdef",                                   a key as it is
//    {"id":"9f86d081884c7d65","label":"ci","sha256":"9f86…",        one that is stored hashed
//     "created_at":"2026-01-02T03:04:05Z"}]
//
// Read once at start. What cannot be read or understood is an Error and must stop the start: a
// server that lost its keys must not turn into one that needs none. `[]` switches keys off on
// purpose. Messages name the entry by its position, never by the key.
//
// The writers keep every entry they do not concern, replace the file in one step, and exclude each
// other, also between processes. A new file is readable by its owner alone.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/auth/key_digest.h"
#include "base/clock.h"
#include "base/result.h"

namespace forkbox::api {

struct KeyEntry {
  KeyDigest digest;
  std::string id;          // the digest's ShortId()
  std::string label;       // what the operator calls it; may be empty
  std::string created_at;  // RFC 3339; empty when unknown
  bool hashed = false;     // stored as a hash, not as the key itself
};

// Where the keys are: the first of the two settings that is not empty, else `api_keys.json` in the
// working directory if there is one, else nothing. A path that was set but does not exist is
// still returned: loading it then fails, as it should.
std::optional<std::string> FindKeyFile(std::string_view forkbox_keys_file,
                                       std::string_view zeroboot_api_keys_file);

// kInvalidArgument: not a JSON array of keys, an empty or repeated key, or too large.
// kNotFound, kInternal: cannot be read.
Result<std::vector<KeyEntry>> LoadKeyFile(const std::string& path);

struct CreatedKey {
  std::string key;  // to be shown once: it is stored nowhere
  KeyEntry entry;
};

// Adds a new random key to the file, which is made if it does not exist.
Result<CreatedKey> CreateKey(const std::string& path, const std::string& label, const Clock& clock);

// Removes the key of that id. kNotFound when there is none.
Result<void> RevokeKey(const std::string& path, std::string_view id);

}  // namespace forkbox::api
