// WebhookSecretStore: what an owner's webhooks are signed with. At most two secrets of an owner are
// active, so that a receiver can change over without a gap.
//
// Thread-safe; calls return once their change is durable. Errors as for ExecutionStore.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "schema/execution.h"

namespace forkbox::store {

struct WebhookSecret {
  std::string secret;  // "whsec_" and base64 of the key, as Standard Webhooks has it
  std::int64_t created_unix_ms = 0;
  std::int64_t expires_unix_ms = 0;  // 0: never
};

class WebhookSecretStore {
 public:
  virtual ~WebhookSecretStore() = default;

  // Newest first; none when the owner has made none.
  virtual Result<std::vector<WebhookSecret>> ActiveSecrets(const schema::OwnerId& owner,
                                                           std::int64_t now_unix_ms) = 0;

  // `secret` becomes the newest. The one before it stays active until `previous_expires_unix_ms`;
  // older ones are gone.
  virtual Result<void> AddSecret(const schema::OwnerId& owner, const std::string& secret,
                                 std::int64_t now_unix_ms,
                                 std::int64_t previous_expires_unix_ms) = 0;
};

}  // namespace forkbox::store
