#include "api/auth/new_key.h"

#include <algorithm>
#include <utility>

#include "api/auth/stored_key.h"
#include "base/uuid.h"

namespace forkbox::api {

Result<NewKey> MakeNewKey(std::int64_t now_unix_ms) {
  Result<std::string> text = NewStoredKey();
  if (!text) return Fail(text.error());
  NewKey made;
  made.digest = KeyDigest::Of(*text);
  // Sorts by age, like the ids of executions.
  std::string id = "key_" + NewUuidV7();
  std::erase(id, '-');
  made.key.id = schema::KeyId(std::move(id));
  made.key.prefix = PrefixOfKey(*text);
  made.key.created_unix_ms = now_unix_ms;
  made.text = *std::move(text);
  return made;
}

}  // namespace forkbox::api
