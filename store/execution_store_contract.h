// What every ExecutionStore must do, as a test suite. An implementation compiles
// execution_store_contract.cc into its own test and instantiates the suite with a factory:
//
//   INSTANTIATE_TEST_SUITE_P(Sqlite, ExecutionStoreContract,
//                            testing::Values(StoreFactory{"File", [] { … }}), StoreFactory::Name);
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "store/execution_store.h"

namespace forkbox::store {

// An empty store of its own, gone with this object.
class StoreUnderTest {
 public:
  virtual ~StoreUnderTest() = default;
  virtual ExecutionStore& store() = 0;
  // Closes the store and opens the same data again.
  virtual void Reopen() = 0;
};

struct StoreFactory {
  std::string name;
  std::function<std::unique_ptr<StoreUnderTest>()> make;

  static std::string Name(const testing::TestParamInfo<StoreFactory>& info) {
    return info.param.name;
  }
};

class ExecutionStoreContract : public testing::TestWithParam<StoreFactory> {
 protected:
  void SetUp() override { under_test_ = GetParam().make(); }
  ExecutionStore& store() { return under_test_->store(); }
  void Reopen() { under_test_->Reopen(); }

 private:
  std::unique_ptr<StoreUnderTest> under_test_;
};

// An execution with a fresh id.
schema::Execution NewExecution(std::string code = "print(1)", std::int64_t created_unix_ms = 1'000);
schema::Outcome CompletedWith(std::string stdout_text);

}  // namespace forkbox::store
