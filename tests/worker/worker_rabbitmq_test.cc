// Runners of one real RabbitMQ of which not all have machines: what needs one stops no lane, and
// comes to whoever can run it.
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "base/uuid.h"
#include "queue/rabbitmq_broker.h"
#include "runner/testing_fakes.h"
#include "runner/worker.h"
#include "tests/queue/rabbitmq_under_test.h"

namespace forkbox::runner {
namespace {

using queue::RabbitMqBroker;
using schema::State;
using tests::Server;

template <class Condition>
bool Eventually(Condition condition) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

struct Runner {
  Runner(const std::string& prefix, const std::string& name, testing::FakeStore& store,
         Clock& clock, bool has_machines) {
    broker = *RabbitMqBroker::Open(
        {.url = Server().url(), .prefix = prefix, .slots = 4, .background_slots = 3}, Log::Null());
    sandbox::DriverSet drivers(driver);
    if (has_machines) drivers.Add(schema::Isolation::kVm, machines);
    WorkerOptions options;
    options.slots = 4;
    options.interactive_reserved = 1;
    options.runner_id = name;
    worker = std::make_unique<Worker>(options, store, *broker, drivers, clock, Log::Null());
  }
  testing::FakeDriver driver;
  testing::FakeDriver machines;
  std::unique_ptr<RabbitMqBroker> broker;
  std::unique_ptr<Worker> worker;  // first to go
};

TEST(WorkerRabbitMqTest, WhatNeedsAMachineStopsNoLaneAndComesToWhoHasOne) {
  const std::string prefix = Server().NewPrefix();
  testing::FakeStore store;
  SystemClock clock;
  auto api = *RabbitMqBroker::Open({.url = Server().url(), .prefix = prefix}, Log::Null());
  const auto submit = [&](schema::Isolation isolation, schema::Priority lane, bool carried) {
    schema::Execution execution;
    execution.id = schema::ExecutionId(NewUuidV7());
    execution.language = "python";
    execution.source.code = "hello";
    execution.delivery = schema::Delivery::kPoll;
    execution.isolation = isolation;
    execution.priority = lane;
    execution.created_unix_ms = clock.UnixMillis();
    EXPECT_TRUE(store.Insert(execution));
    EXPECT_TRUE(api->Publish(
        {.id = execution.id,
         .owner = execution.owner,
         .lane = lane,
         .enqueued_unix_ms = execution.created_unix_ms,
         .dispatched_unix_ms = execution.created_unix_ms,
         .execution = carried ? std::make_shared<const schema::Execution>(execution) : nullptr}));
    return execution.id;
  };
  const auto state = [&](const schema::ExecutionId& id) {
    return store.Get(id, std::nullopt)->state;
  };
  constexpr schema::Priority kLanes[] = {schema::Priority::kInteractive,
                                         schema::Priority::kBackground};

  Runner first(prefix, "first", store, clock, /*has_machines=*/false);
  Runner second(prefix, "second", store, clock, /*has_machines=*/false);
  std::vector<schema::ExecutionId> waiting;
  for (const schema::Priority lane : kLanes) {
    for (int i = 0; i < 20; ++i) {
      waiting.push_back(submit(schema::Isolation::kVm, lane, /*carried=*/i % 2 == 0));
    }
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(700));  // the second round is on its way
  for (const schema::Priority lane : kLanes) {
    for (int i = 0; i < 5; ++i) {
      const auto process = submit(schema::Isolation::kProcess, lane, /*carried=*/true);
      EXPECT_TRUE(Eventually([&] { return state(process) == State::kCompleted; }));
    }
  }
  EXPECT_EQ(store.claims, 10);
  for (const auto& id : waiting) EXPECT_EQ(state(id), State::kQueued);

  Runner third(prefix, "third", store, clock, /*has_machines=*/true);
  EXPECT_TRUE(Eventually([&] { return store.results == 50; }));
  for (const auto& id : waiting) {
    EXPECT_EQ(state(id), State::kCompleted);
    EXPECT_EQ(store.Get(id, std::nullopt)->runner, "third");
  }
  EXPECT_EQ(third.machines.runs, 40);
  EXPECT_TRUE(Eventually([&] {
    for (const schema::Priority lane : kLanes) {
      const auto depth = api->GetDepth(lane);
      if (!depth || depth->waiting != 0) return false;
    }
    return first.worker->Waiting() + second.worker->Waiting() + third.worker->Waiting() == 0;
  }));
}

}  // namespace
}  // namespace forkbox::runner
