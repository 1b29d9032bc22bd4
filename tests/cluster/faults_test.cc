// A cluster that is broken in every place, on real servers with real processes. Each story ends the
// same way: everything that was accepted has exactly one result.

#include <gtest/gtest.h>
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <future>
#include <mutex>
#include <set>
#include <thread>

#include "tests/cluster/cluster.h"

namespace forkbox::tests {
namespace {

using namespace std::chrono_literals;
using schema::ExecutionId;
using schema::State;

constexpr const char* kSleepThenPrint = "import time; time.sleep(2); print('done')";

class FaultsTest : public ::testing::Test {
 protected:
  static std::string IdOf(const Answer& accepted) {
    EXPECT_EQ(accepted.status, 202) << accepted.raw.body;
    return accepted.status == 202 ? accepted.body["job_id"].get<std::string>() : "";
  }
  // As any client may look at it.
  static std::string StateOf(std::uint16_t port, const std::string& id) {
    const Answer answer = GetFrom(port, "/executions/" + id);
    return answer.status == 200 ? answer.body["state"].get<std::string>() : "";
  }
  static bool Reaches(std::uint16_t port, const std::string& id, const std::string& state) {
    return Eventually([&] { return StateOf(port, id) == state; });
  }
  store::ExecutionRecord Row(const std::string& id) {
    auto row = cluster_.store().executions().Get(ExecutionId(id), std::nullopt);
    EXPECT_TRUE(row) << id;
    return row ? *row : store::ExecutionRecord{};
  }
  void ExpectDone(const std::string& id, int attempts) {
    const store::ExecutionRecord row = Row(id);
    EXPECT_EQ(row.state, State::kCompleted);
    ASSERT_TRUE(row.outcome);
    EXPECT_EQ(row.outcome->stdout_text, "done\n");
    EXPECT_EQ(row.attempts, attempts);
  }
  bool NothingIsLeft() {
    return Eventually([&] {
      const auto counts = cluster_.store().executions().CountUnfinished();
      return counts && counts->interactive.queued + counts->interactive.running +
                               counts->background.queued + counts->background.running ==
                           0;
    });
  }
  static void KillNow(Cluster::Process& process) {
    process->Signal(SIGKILL);
    EXPECT_EQ(process->Wait(), 128 + SIGKILL);
  }

  Cluster cluster_;
};

TEST_F(FaultsTest, ARunnerDiesAfterTheLeaseBeforeItsClaimIsWritten) {
  const auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  auto first = cluster_.StartRunner();
  Cluster::postgres().Freeze();  // the message goes out beside the row, and is leased at once
  auto waiting = std::async(std::launch::async, [&] { return RunPython(port, kSleepThenPrint); });
  std::this_thread::sleep_for(1s);
  KillNow(first);
  Cluster::postgres().Thaw();
  const auto second = cluster_.StartRunner();
  const Answer answer = waiting.get();
  EXPECT_EQ(answer.status, 200) << answer.raw.body;
  EXPECT_EQ(answer.body.value("stdout", ""), "done\n");
  EXPECT_TRUE(NothingIsLeft());
}

TEST_F(FaultsTest, ARunnerDiesInTheMiddleOfARun) {
  const auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  auto first = cluster_.StartRunner();
  const std::string id = IdOf(QueuePython(port, kSleepThenPrint, ""));
  ASSERT_TRUE(Reaches(port, id, "running"));
  KillNow(first);
  const auto second = cluster_.StartRunner();
  ASSERT_TRUE(Reaches(port, id, "completed"));
  ExpectDone(id, 2);
}

TEST_F(FaultsTest, ARunnerDiesWithItsResultUnwritten) {
  const auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  auto first = cluster_.StartRunner();
  const std::string id = IdOf(QueuePython(port, kSleepThenPrint, ""));
  ASSERT_TRUE(Reaches(port, id, "running"));
  Cluster::postgres().Freeze();
  std::this_thread::sleep_for(4s);  // it ends, and cannot be written
  KillNow(first);
  Cluster::postgres().Thaw();
  const auto second = cluster_.StartRunner();
  ASSERT_TRUE(Reaches(port, id, "completed"));
  // 1 when the frozen server read the write after all: then it counts.
  ExpectDone(id, Row(id).attempts);
  EXPECT_LE(Row(id).attempts, 2);
}

TEST_F(FaultsTest, ARunnerDiesBetweenTheResultAndItsAcknowledgement) {
  const auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  Wire wire(Cluster::BrokerPort());
  auto first = cluster_.StartRunner({}, &wire);
  const std::string id = IdOf(QueuePython(port, kSleepThenPrint, ""));
  ASSERT_TRUE(Reaches(port, id, "running"));
  wire.Silence();
  ASSERT_TRUE(Reaches(port, id, "completed"));
  KillNow(first);
  // The message comes again, to somebody who finds the work done.
  const auto second = cluster_.StartRunner();
  const std::string after = IdOf(QueuePython(port, "print('done')", ""));
  ASSERT_TRUE(Reaches(port, after, "completed"));
  ExpectDone(id, 1);
  ASSERT_TRUE(Eventually([&] {
    const Answer queue = GetFrom(port, "/api/v1/queue");
    return queue.status == 200 && queue.body["lanes"]["background"]["inBroker"] == 0;
  }));
}

TEST_F(FaultsTest, AJobWhoseRunnersAllDieIsLostAndNoLoop) {
  const auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  std::string id;
  for (int attempt = 1; attempt <= 3; ++attempt) {
    auto runner = cluster_.StartRunner({"--runner-id", "doomed"});
    if (attempt == 1) id = IdOf(QueuePython(port, "import time; time.sleep(50)", ""));
    ASSERT_TRUE(Eventually([&] {
      const auto row = cluster_.store().executions().Get(ExecutionId(id), std::nullopt);
      return row && row->attempts == attempt && row->state == State::kRunning;
    })) << attempt;
    KillNow(runner);
  }
  const auto last = cluster_.StartRunner({"--runner-id", "doomed"});
  ASSERT_TRUE(Reaches(port, id, "lost"));
  const store::ExecutionRecord row = Row(id);
  EXPECT_EQ(row.outcome->reason, schema::Reason::kRunnerLost);
  EXPECT_EQ(row.attempts, 3);
  EXPECT_EQ(RunPython(port, "print(1)").status, 200) << "the runner lives on";
}

pid_t ChildOf(pid_t parent) {
  std::ifstream children("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) +
                         "/children");
  pid_t child = 0;
  children >> child;
  return child;
}

TEST_F(FaultsTest, ARunnerThatCanForkNoMoreGoesAwayAndFailsNothing) {
  const auto api = cluster_.StartApi();
  const std::uint16_t port = PortOf(*api);
  auto broken = cluster_.StartRunner();
  const std::string id = IdOf(QueuePython(port, kSleepThenPrint, ""));
  ASSERT_TRUE(Reaches(port, id, "running"));
  const pid_t forkserver = ChildOf(broken->pid());
  ASSERT_GT(forkserver, 0);
  ASSERT_EQ(::kill(forkserver, SIGKILL), 0);
  EXPECT_NE(broken->Wait(), 0) << "a service manager starts it again";
  const std::string after = IdOf(QueuePython(port, "print('done')", ""));
  const auto healthy = cluster_.StartRunner();
  ASSERT_TRUE(Reaches(port, after, "completed"));
  ExpectDone(after, 1);
}

TEST_F(FaultsTest, AnApiDiesWhileClientsWait) {
  auto doomed = cluster_.StartApi();
  const auto other = cluster_.StartApi();
  const auto runner = cluster_.StartRunner();
  const std::uint16_t port = PortOf(*doomed);
  std::vector<std::future<Answer>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(
        std::async(std::launch::async, [&] { return RunPython(port, kSleepThenPrint); }));
  }
  const auto accepted = [&] {
    return *cluster_.store().executions().ListChangedSince(schema::OwnerId(), "zeroboot", 0, 100);
  };
  ASSERT_TRUE(Eventually([&] { return accepted().size() == 4; }));
  KillNow(doomed);
  for (auto& client : clients) EXPECT_EQ(client.get().status, 0) << "the connection broke";
  ASSERT_TRUE(NothingIsLeft());
  for (const auto& row : accepted()) {
    const Answer found = GetFrom(PortOf(*other), "/api/v1/executions/" + row.id.str());
    EXPECT_EQ(found.status, 200);
    EXPECT_EQ(found.body["status"], "completed") << found.raw.body;
    EXPECT_EQ(found.body["result"]["stdout"], "done\n");
  }
}

// Clients of both kinds, for as long as it lives.
class Load {
 public:
  explicit Load(std::uint16_t port) {
    threads_.emplace_back([this, port](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        const Answer answer = RunPython(port, "print('done')", 30);
        const std::lock_guard lock(mutex_);
        ++sync_[answer.status];
        if (answer.status == 200) wrong_ += answer.body.value("stdout", "") != "done\n";
      }
    });
    threads_.emplace_back([this, port](const std::stop_token& stop) {
      while (!stop.stop_requested()) {
        const Answer answer = QueuePython(port, "print('done')", "", 30);
        {
          const std::lock_guard lock(mutex_);
          ++queued_[answer.status];
          if (answer.status == 202) ids_.push_back(answer.body["job_id"]);
        }
        std::this_thread::sleep_for(20ms);
      }
    });
  }
  int served() {
    const std::lock_guard lock(mutex_);
    return std::min(sync_[200], queued_[202]);
  }
  std::vector<std::string> Stop() {
    threads_.clear();
    return ids_;
  }
  // By status; after Stop().
  std::map<int, int> sync_, queued_;
  int wrong_ = 0;

 private:
  std::mutex mutex_;
  std::vector<std::string> ids_;
  std::vector<std::jthread> threads_;
};

class OutageTest : public FaultsTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(OutageTest, AServerGoesDownUnderLoadAndComesBack) {
  const bool rabbit = std::string(GetParam()).starts_with("RabbitMq");
  const bool killed = std::string(GetParam()).ends_with("Killed");
  const auto api = cluster_.StartApi();
  const auto one = cluster_.StartRunner();
  const auto two = cluster_.StartRunner();
  const std::uint16_t port = PortOf(*api);
  Load load(port);
  ASSERT_TRUE(Eventually([&] { return load.served() >= 20; }));
  if (rabbit) {
    killed ? Cluster::rabbitmq().Kill() : Cluster::rabbitmq().Stop();
  } else {
    killed ? Cluster::postgres().Kill() : Cluster::postgres().Stop();
  }
  // Health names the part; it needs no more than a moment to find out.
  EXPECT_TRUE(Eventually([&] {
    const Answer health = GetFrom(port, "/api/v1/health");
    return health.status == 503 &&
           health.body["components"][rabbit ? "queue" : "store"]["status"] == "unavailable";
  }));
  std::this_thread::sleep_for(2s);
  rabbit ? Cluster::rabbitmq().Restart() : Cluster::postgres().Restart();
  const int before = load.served();
  EXPECT_TRUE(Eventually([&] { return load.served() >= before + 20; })) << "it serves again";
  const std::vector<std::string> accepted = load.Stop();
  ASSERT_TRUE(NothingIsLeft());
  for (const std::string& id : accepted) {
    const store::ExecutionRecord row = Row(id);
    ASSERT_EQ(row.state, State::kCompleted) << id << " " << row.outcome->message;
    EXPECT_EQ(row.outcome->stdout_text, "done\n");
  }
  EXPECT_EQ(load.wrong_, 0);
  for (const auto& statuses : {load.sync_, load.queued_}) {
    for (const auto& [status, count] : statuses) {
      // 504: nobody can know whether the last commit before the end took effect.
      EXPECT_TRUE(status == 200 || status == 202 || status == 503 || status == 504)
          << status << " × " << count;
    }
  }
  // What it says is up to a second old.
  EXPECT_TRUE(Eventually([&] { return GetFrom(port, "/api/v1/health").status == 200; }));
}

INSTANTIATE_TEST_SUITE_P(Servers, OutageTest,
                         ::testing::Values("RabbitMqStopped", "RabbitMqKilled", "PostgresStopped",
                                           "PostgresKilled"),
                         [](const auto& outage) { return outage.param; });

TEST_F(FaultsTest, AFullQueueRefusesWithTheDepth) {
  const auto api = cluster_.StartApi({"--queue-limit", "2", "--background-queue-limit", "2"});
  const std::uint16_t port = PortOf(*api);
  EXPECT_EQ(RunPython(port, "print(1)").status, 503) << "nobody knows what can run here";
  {
    auto seen = cluster_.StartRunner();
    seen->Signal(SIGTERM);
    EXPECT_EQ(seen->Wait(), 0);
  }
  // Its languages are remembered, so that a queue can fill before runners are started for it.
  const std::string first = IdOf(QueuePython(port, "print('done')", ""));
  const std::string second = IdOf(QueuePython(port, "print('done')", ""));
  const Answer refused = QueuePython(port, "print('done')", "");
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.body.value("queue_length", -1), 2) << refused.raw.body;
  EXPECT_NE(refused.raw.Header("Retry-After"), "");

  std::vector<std::future<Answer>> waiting;
  for (int i = 0; i < 2; ++i) {
    waiting.push_back(
        std::async(std::launch::async, [&] { return RunPython(port, "print('done')"); }));
  }
  ASSERT_TRUE(Eventually(
      [&] { return cluster_.store().executions().CountUnfinished()->interactive.queued == 2; }));
  const Answer sync = RunPython(port, "print('done')");
  EXPECT_EQ(sync.status, 429) << sync.raw.body;
  EXPECT_NE(sync.raw.Header("Retry-After"), "");

  const auto runner = cluster_.StartRunner();
  for (auto& one : waiting) EXPECT_EQ(one.get().status, 200);
  ASSERT_TRUE(NothingIsLeft());
  ExpectDone(first, 1);
  ExpectDone(second, 1);
  EXPECT_EQ(QueuePython(port, "print('done')", "").status, 202);
}

TEST_F(FaultsTest, ABrokerThatIsOutOfMemoryDefersWhatNobodyWaitsFor) {
  const auto api = cluster_.StartApi();
  const auto runner = cluster_.StartRunner();
  const std::uint16_t port = PortOf(*api);
  ASSERT_EQ(RunPython(port, "print('done')").status, 200);
  Cluster::rabbitmq().RaiseMemoryAlarm();
  // Until the first publish the broker has no reason to tell us.
  EXPECT_TRUE(Eventually([&] { return RunPython(port, "print('done')").status == 503; }));
  const std::string id = IdOf(QueuePython(port, "print('done')", ""));
  Cluster::rabbitmq().ClearMemoryAlarm();
  ASSERT_TRUE(Reaches(port, id, "completed"));
  ExpectDone(id, 1);
  EXPECT_TRUE(Eventually([&] { return RunPython(port, "print('done')").status == 200; }));
}

double MedianMillis(std::uint16_t port, int calls) {
  std::vector<double> times;
  for (int i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(RunPython(port, "print(1)").status, 200);
    times.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
            .count());
  }
  std::ranges::nth_element(times, times.begin() + calls / 2);
  return times[static_cast<std::size_t>(calls / 2)];
}

TEST_F(FaultsTest, ABacklogOfAThousandDoesNotDelayWhoWaits) {
  const auto api = cluster_.StartApi();
  const auto runner = cluster_.StartRunner({"--slots", "4"});
  const std::uint16_t port = PortOf(*api);
  MedianMillis(port, 20);  // warm
  const double unloaded = MedianMillis(port, 40);
  for (int i = 0; i < 1'000; ++i) {
    ASSERT_EQ(QueuePython(port, "import time; time.sleep(5)", "").status, 202);
  }
  const double loaded = MedianMillis(port, 40);
  const auto counts = cluster_.store().executions().CountUnfinished();
  EXPECT_GT(counts->background.queued, 900U) << "the backlog was there all the time";
  EXPECT_GT(counts->background.running, 0U) << "and was being worked on";
  // Behind the backlog a call would wait minutes; a few times as long is noise.
  EXPECT_LT(loaded, 10 * unloaded) << loaded << " ms against " << unloaded << " ms";
}

}  // namespace
}  // namespace forkbox::tests
