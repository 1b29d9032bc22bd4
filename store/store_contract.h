// What every Store must do, as test suites. A test compiles the *_contract.cc files into itself
// and instantiates the suites with a factory:
//
//   INSTANTIATE_STORE_CONTRACTS(Sqlite, [] { return std::make_unique<SqliteUnderTest>(); });
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "store/store.h"
#include "store/testing_executions.h"

namespace forkbox::store {

// An empty store of its own, gone with this object.
class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual Store& store() = 0;
  // Closes the store and opens the same data again.
  virtual void Reopen() = 0;
  // Another process's view of the same data, as it were.
  virtual std::unique_ptr<Store> OpenAnother() = 0;
};

using StoreFactory = std::function<std::unique_ptr<StoreUnderTest>()>;

class StoreContract : public testing::TestWithParam<StoreFactory> {
 protected:
  void SetUp() override { under_test_ = GetParam()(); }
  ExecutionStore& executions() { return under_test_->store().executions(); }
  DeliveryStore& deliveries() { return under_test_->store().deliveries(); }
  WebhookSecretStore& webhook_secrets() { return under_test_->store().webhook_secrets(); }
  RunnerRegistry& runners() { return under_test_->store().runners(); }
  KeyStore& keys() { return under_test_->store().keys(); }
  UsageStore& usage() { return under_test_->store().usage(); }
  AuditLog& audit() { return under_test_->store().audit(); }
  SandboxStore& sandboxes() { return under_test_->store().sandboxes(); }
  void Reopen() { under_test_->Reopen(); }
  std::unique_ptr<Store> OpenAnother() { return under_test_->OpenAnother(); }

 private:
  std::unique_ptr<StoreUnderTest> under_test_;
};

class ExecutionStoreContract : public StoreContract {};
class DeliveryStoreContract : public StoreContract {};
class WebhookSecretStoreContract : public StoreContract {};
class RunnerRegistryContract : public StoreContract {};
class AcceptanceContract : public StoreContract {};
class HistoryContract : public StoreContract {};
class RetentionContract : public StoreContract {};
class KeyStoreContract : public StoreContract {};
class UsageStoreContract : public StoreContract {};
class AuditLogContract : public StoreContract {};
class SandboxStoreContract : public StoreContract {};

#define INSTANTIATE_STORE_CONTRACTS(name, ...)                                                    \
  INSTANTIATE_TEST_SUITE_P(name, ExecutionStoreContract,                                          \
                           testing::Values(StoreFactory(__VA_ARGS__)));                           \
  INSTANTIATE_TEST_SUITE_P(name, DeliveryStoreContract,                                           \
                           testing::Values(StoreFactory(__VA_ARGS__)));                           \
  INSTANTIATE_TEST_SUITE_P(name, WebhookSecretStoreContract,                                      \
                           testing::Values(StoreFactory(__VA_ARGS__)));                           \
  INSTANTIATE_TEST_SUITE_P(name, RunnerRegistryContract,                                          \
                           testing::Values(StoreFactory(__VA_ARGS__)));                           \
  INSTANTIATE_TEST_SUITE_P(name, AcceptanceContract, testing::Values(StoreFactory(__VA_ARGS__))); \
  INSTANTIATE_TEST_SUITE_P(name, HistoryContract, testing::Values(StoreFactory(__VA_ARGS__)));    \
  INSTANTIATE_TEST_SUITE_P(name, RetentionContract, testing::Values(StoreFactory(__VA_ARGS__)));  \
  INSTANTIATE_TEST_SUITE_P(name, KeyStoreContract, testing::Values(StoreFactory(__VA_ARGS__)));   \
  INSTANTIATE_TEST_SUITE_P(name, UsageStoreContract, testing::Values(StoreFactory(__VA_ARGS__))); \
  INSTANTIATE_TEST_SUITE_P(name, AuditLogContract, testing::Values(StoreFactory(__VA_ARGS__)));   \
  INSTANTIATE_TEST_SUITE_P(name, SandboxStoreContract, testing::Values(StoreFactory(__VA_ARGS__)))

}  // namespace forkbox::store
