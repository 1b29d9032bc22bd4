// SqlWebhookSecretStore: the WebhookSecretStore over any Database.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "store/connection_pool.h"
#include "store/group_commit.h"
#include "store/webhook_secret_store.h"

namespace forkbox::store {

class SqlWebhookSecretStore final : public WebhookSecretStore {
 public:
  // Both outlive this.
  SqlWebhookSecretStore(GroupCommit& writer, ConnectionPool& readers)
      : writer_(writer), readers_(readers) {}

  Result<std::vector<WebhookSecret>> ActiveSecrets(const schema::OwnerId& owner,
                                                   std::int64_t now_unix_ms) override;
  Result<void> AddSecret(const schema::OwnerId& owner, const std::string& secret,
                         std::int64_t now_unix_ms, std::int64_t previous_expires_unix_ms) override;

 private:
  GroupCommit& writer_;
  ConnectionPool& readers_;
};

}  // namespace forkbox::store
