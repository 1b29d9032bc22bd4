// The worker between the real store and the real queue, with only the sandbox faked: servers come
// and go in the middle of everything, and every accepted execution ends with one result.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "base/uuid.h"
#include "queue/embedded_broker.h"
#include "runner/recovery.h"
#include "runner/testing_fakes.h"
#include "runner/worker.h"
#include "store/store.h"

namespace forkbox::runner {
namespace {

using namespace std::chrono_literals;
using schema::Delivery;
using schema::State;

class WorkerRestartTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/forkbox-worker-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    directory_ = name;
    store_ = *store::OpenStore("sqlite:" + (directory_ / "forkbox.db").string(), Log::Null());
  }
  void TearDown() override {
    Stop();
    store_.reset();
    std::filesystem::remove_all(directory_);
  }

  // A new process's parts over the same rows.
  void Start() {
    driver_ = std::make_unique<testing::FakeDriver>();
    machines_ = std::make_unique<testing::FakeDriver>();
    machines_->fork_failures = readiness_ == sandbox::Readiness::kReady ? 0 : 1'000'000;
    broker_ = std::make_unique<queue::EmbeddedBroker>(queue::EmbeddedBroker::Options{});
    Recovery recovery({.runner_id = "embedded"}, store_->executions(), *broker_, clock_,
                      Log::Null());
    const auto recovered = recovery.AtStart();
    ASSERT_TRUE(recovered) << recovered.error().message;
    WorkerOptions options;
    options.slots = 4;
    options.runner_id = "embedded";
    options.poll = 20ms;
    sandbox::DriverSet drivers(*driver_);
    drivers.Add(schema::Isolation::kVm, *machines_,
                [this](const std::string&) { return readiness_.load(); });
    worker_ = std::make_unique<Worker>(options, store_->executions(), *broker_, drivers, clock_,
                                       Log::Null(), [this](const auto& execution, const auto&) {
                                         const std::lock_guard lock(mu_);
                                         ++counted_[execution.id];
                                       });
  }
  // As SIGTERM with no patience.
  void Stop() {
    worker_.reset();
    broker_.reset();
    driver_.reset();
    machines_.reset();
  }

  schema::Execution Submit(int i) {
    schema::Execution execution;
    execution.id = schema::ExecutionId(NewUuidV7());
    execution.language = "python";
    if (i % 4 == 1) execution.isolation = schema::Isolation::kVm;
    execution.source.code = i % 9 == 0 ? "block" : i % 5 == 0 ? "exit 1" : "hello";
    execution.delivery = i % 2 == 0 ? Delivery::kWait : Delivery::kPoll;
    execution.priority =
        i % 3 == 0 ? schema::Priority::kBackground : schema::Priority::kInteractive;
    execution.created_unix_ms = clock_.UnixMillis();
    queue::Message message{.id = execution.id,
                           .owner = execution.owner,
                           .lane = execution.priority,
                           .enqueued_unix_ms = clock_.UnixMillis(),
                           .dispatched_unix_ms = clock_.UnixMillis(),
                           .execution = std::make_shared<const schema::Execution>(execution)};
    if (execution.delivery == Delivery::kWait) {
      store_->executions().InsertAsync(execution, [](Result<void>) {});
    } else {
      EXPECT_TRUE(store_->executions().Insert(execution));
    }
    EXPECT_TRUE(broker_->Publish(std::move(message)));
    return execution;
  }

  std::filesystem::path directory_;
  SystemClock clock_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<testing::FakeDriver> driver_;
  std::unique_ptr<testing::FakeDriver> machines_;
  std::atomic<sandbox::Readiness> readiness_{sandbox::Readiness::kComing};  // of machines_
  std::unique_ptr<queue::EmbeddedBroker> broker_;
  std::unique_ptr<Worker> worker_;
  std::mutex mu_;
  std::map<schema::ExecutionId, int> counted_;
};

TEST_F(WorkerRestartTest, EveryAcceptedExecutionEndsOnceThroughFiveServers) {
  std::vector<schema::Execution> all;
  std::set<schema::ExecutionId> cancelled;
  for (int round = 0; round < 5; ++round) {
    Start();
    for (int i = 0; i < 60; ++i) {
      all.push_back(Submit(i));
      // What a sweep that was too eager would do.
      if (i % 7 == 0) {
        EXPECT_TRUE(broker_->Publish({.id = all.back().id,
                                      .owner = all.back().owner,
                                      .lane = all.back().priority,
                                      .enqueued_unix_ms = clock_.UnixMillis(),
                                      .dispatched_unix_ms = clock_.UnixMillis(),
                                      .execution = nullptr}));
      }
      if (i % 13 == 0) {
        cancelled.insert(all.back().id);
        EXPECT_TRUE(broker_->Cancel(all.back().id));
      }
    }
    Stop();
  }
  Start();  // still without machines: what needs one waits
  driver_->Unblock();
  machines_->Unblock();
  // A second delivery that met a claim which was then given back is dropped; the sweep finds it.
  Recovery sweeper({.runner_id = "embedded", .margin = 0ms}, store_->executions(), *broker_, clock_,
                   Log::Null());
  const auto until = std::chrono::steady_clock::now() + 60s;
  const auto machines_come = std::chrono::steady_clock::now() + 1s;
  while (true) {
    if (readiness_ == sandbox::Readiness::kComing &&
        std::chrono::steady_clock::now() > machines_come) {
      EXPECT_EQ(machines_->forks, 0);
      machines_->fork_failures = 0;
      readiness_ = sandbox::Readiness::kReady;
    }
    const auto counts = store_->executions().CountUnfinished();
    ASSERT_TRUE(counts);
    const std::uint64_t queued = counts->interactive.queued + counts->background.queued;
    const std::uint64_t running = counts->interactive.running + counts->background.running;
    if (queued + running == 0) break;
    ASSERT_LT(std::chrono::steady_clock::now(), until)
        << queued << " queued, " << running << " running";
    ASSERT_TRUE(sweeper.Sweep());
    std::this_thread::sleep_for(20ms);
  }
  Stop();

  for (const auto& execution : all) {
    const auto record = store_->executions().Get(execution.id, std::nullopt);
    ASSERT_TRUE(record);
    ASSERT_TRUE(record->outcome);
    EXPECT_EQ(counted_[execution.id], 1) << "counted once";
    if (record->state == State::kCancelled) {
      EXPECT_TRUE(cancelled.contains(execution.id));
    } else {
      EXPECT_EQ(record->state,
                execution.source.code == "exit 1" ? State::kError : State::kCompleted);
    }
  }
}

}  // namespace
}  // namespace forkbox::runner
