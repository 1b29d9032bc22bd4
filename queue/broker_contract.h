// What every Broker must do, as a test suite. An implementation compiles broker_contract.cc into
// its own test and instantiates the suite with a factory:
//
//   INSTANTIATE_TEST_SUITE_P(Embedded, BrokerContract,
//                            testing::Values(BrokerFactory{"InProcess", [](BrokerLimits) { … }}),
//                            BrokerFactory::Name);
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "queue/broker.h"

namespace forkbox::queue {

struct BrokerLimits {
  std::uint64_t max_waiting_interactive = 100;
  std::uint64_t max_waiting_background = 100;
};

struct BrokerFactory {
  std::string name;
  // An empty one, for up to four threads in Next(), one of them for interactive messages alone.
  std::function<std::unique_ptr<Broker>(BrokerLimits)> make;
  // How many messages may be on their way to a lease: they wait, but do not count for the limit.
  std::uint64_t underway = 0;

  static std::string Name(const testing::TestParamInfo<BrokerFactory>& info) {
    return info.param.name;
  }
};

class BrokerContract : public testing::TestWithParam<BrokerFactory> {
 protected:
  // Made at the first use, whichever thread's that is.
  Broker& broker(BrokerLimits limits = {}) {
    const std::lock_guard lock(mutex_);
    if (broker_ == nullptr) broker_ = GetParam().make(limits);
    return *broker_;
  }

 private:
  std::mutex mutex_;
  std::unique_ptr<Broker> broker_;  // guarded by mutex_
};

// For what must come: a deadline no test should reach. For what must not: now.
Deadline Soon();
Deadline Now();
bool Eventually(const std::function<bool()>& holds);

// FreshDepth(), waited for. What was published before has by then come as far as it can without a
// lease, so this also parts what is not there from what is not there yet.
Result<Depth> DepthNow(Broker& broker, schema::Priority lane);

Message NewMessage(std::string id, std::string owner = "o",
                   schema::Priority lane = schema::Priority::kInteractive);
// The id of the next message, acknowledged; "" when there is none.
std::string TakeNext(Broker& broker, Deadline deadline, bool interactive_only = false);

}  // namespace forkbox::queue
