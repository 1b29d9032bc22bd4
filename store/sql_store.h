// SqlStore: the Store over any Database. One connection writes, by group commit; a few others
// read, so that no read waits for a write.
#pragma once

#include <memory>

#include "base/log.h"
#include "base/result.h"
#include "store/connection_pool.h"
#include "store/database.h"
#include "store/group_commit.h"
#include "store/sql_audit_log.h"
#include "store/sql_delivery_store.h"
#include "store/sql_execution_store.h"
#include "store/sql_key_store.h"
#include "store/sql_runner_registry.h"
#include "store/sql_sandbox_store.h"
#include "store/sql_usage_store.h"
#include "store/sql_webhook_secret_store.h"
#include "store/store.h"

namespace forkbox::store {

class SqlStore final : public Store {
 public:
  // Migrates the database, then opens its connections.
  static Result<std::unique_ptr<SqlStore>> Open(std::unique_ptr<Database> database, Log log);

  ExecutionStore& executions() override { return executions_; }
  DeliveryStore& deliveries() override { return deliveries_; }
  WebhookSecretStore& webhook_secrets() override { return webhook_secrets_; }
  RunnerRegistry& runners() override { return runners_; }
  KeyStore& keys() override { return keys_; }
  UsageStore& usage() override { return usage_; }
  AuditLog& audit() override { return audit_; }
  SandboxStore& sandboxes() override { return sandboxes_; }

 private:
  SqlStore(std::unique_ptr<Database> database, std::unique_ptr<ConnectionPool> readers,
           std::unique_ptr<Connection> writer, Log log);

  const std::unique_ptr<Database> database_;
  const std::unique_ptr<ConnectionPool> readers_;
  GroupCommit writer_;
  SqlExecutionStore executions_;
  SqlDeliveryStore deliveries_;
  SqlWebhookSecretStore webhook_secrets_;
  SqlRunnerRegistry runners_;
  SqlKeyStore keys_;
  SqlUsageStore usage_;
  SqlAuditLog audit_;
  SqlSandboxStore sandboxes_;
};

}  // namespace forkbox::store
