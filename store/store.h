// Store: one database, and what is kept in it. All parts share one writer and a few readers.
#pragma once

#include <memory>
#include <string>

#include "base/log.h"
#include "base/result.h"
#include "store/audit_log.h"
#include "store/delivery_store.h"
#include "store/execution_store.h"
#include "store/key_store.h"
#include "store/runner_registry.h"
#include "store/sandbox_store.h"
#include "store/usage_store.h"
#include "store/webhook_secret_store.h"

namespace forkbox::store {

class Store {
 public:
  // Returns once everything asked of it is written and answered.
  virtual ~Store() = default;

  // Live as long as the Store.
  virtual ExecutionStore& executions() = 0;
  virtual DeliveryStore& deliveries() = 0;
  virtual WebhookSecretStore& webhook_secrets() = 0;
  virtual RunnerRegistry& runners() = 0;
  virtual KeyStore& keys() = 0;
  virtual UsageStore& usage() = 0;
  virtual AuditLog& audit() = 0;
  virtual SandboxStore& sandboxes() = 0;
};

// Opens, and migrates where needed: "sqlite:PATH" or "postgres://…" (libpq's connection URI; also
// "postgresql://…"). kInvalidArgument for a URL that is neither; messages never hold a password.
Result<std::unique_ptr<Store>> OpenStore(const std::string& url, Log log);

}  // namespace forkbox::store
