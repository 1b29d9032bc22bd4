#include "bench/cluster_bench.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"
#include "queue/open_broker.h"
#include "store/store.h"

namespace forkbox::bench {
namespace {

using std::chrono::steady_clock;

constexpr const char* kBody = R"json({"code":"print(1+1)"})json";
constexpr const char* kExpected = R"("stdout":"2\n")";
constexpr const char* kQueuedBody = R"json({"code":"print(1+1)","webhook_url":""})json";
constexpr const char* kQueuedExpected = R"("message":"processing")";
constexpr std::size_t kSamples = 500;

// Of Debian's PostgreSQL, whichever version it is; "" when there is none.
std::string PostgresTool(const char* name) {
  std::error_code error;
  for (const auto& version : std::filesystem::directory_iterator("/usr/lib/postgresql", error)) {
    const auto tool = version.path() / "bin" / name;
    if (::access(tool.c_str(), X_OK) == 0) return tool;
  }
  return "";
}

double MedianOf(std::vector<double> times) {
  if (times.empty()) return 0;
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return times[times.size() / 2];
}

template <class Call>
double MedianMillis(const Call& call) {
  std::vector<double> times;
  for (std::size_t i = 0; i < kSamples; ++i) {
    const auto start = steady_clock::now();
    call();
    times.push_back(MillisSince(start));
  }
  return MedianOf(std::move(times));
}

schema::Execution SmallExecution() {
  schema::Execution execution;
  execution.id = schema::ExecutionId(NewUuidV7());
  execution.dialect = "bench";
  execution.language = "python";
  execution.source.code = "print(1+1)";
  execution.created_unix_ms = SystemClock().UnixMillis();
  return execution;
}

schema::Outcome SmallOutcome() {
  schema::Outcome outcome;
  outcome.state = schema::State::kCompleted;
  outcome.reason = schema::Reason::kExited;
  outcome.exit_code = 0;
  outcome.stdout_text = "2\n";
  return outcome;
}

// From the publish to the reply, with a runner that does nothing.
double QueueHopMillis(const std::string& url) {
  queue::BrokerOptions options;
  options.prefix = "bench-hop.";
  auto client = queue::OpenBroker(url, options, Log::Null());
  options.slots = 1;
  options.background_slots = 1;
  auto runner = queue::OpenBroker(url, options, Log::Null());
  if (!client || !runner) return 0;
  std::jthread serving([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      auto lease = (*runner)->Next(steady_clock::now() + std::chrono::milliseconds(50), false);
      if (!lease || *lease == nullptr) continue;
      const auto& execution = (*lease)->message().execution;
      (*runner)->SendReply({execution->id, execution->reply_to, SmallOutcome()});
      (void)(*lease)->Ack();
    }
  });
  return MedianMillis([&] {
    auto execution = std::make_shared<schema::Execution>(SmallExecution());
    execution->reply_to = (*client)->ReplyAddress();
    std::promise<void> replied;
    (*client)->Expect(execution->id, [&](const queue::Reply&) { replied.set_value(); });
    (*client)->PublishAsync({.id = execution->id,
                             .owner = {},
                             .enqueued_unix_ms = execution->created_unix_ms,
                             .dispatched_unix_ms = execution->created_unix_ms,
                             .execution = execution},
                            [](const Result<void>&) {});
    replied.get_future().wait();
  });
}

}  // namespace

std::unique_ptr<ClusterBench> ClusterBench::Start(const std::string& folder) {
  std::unique_ptr<ClusterBench> bench(new ClusterBench(folder));
  if (!bench->StartServers()) return nullptr;
  if (!bench->StartCluster("one", 1) || !bench->StartCluster("two", 2)) return nullptr;
  return bench;
}

ClusterBench::~ClusterBench() {
  while (!servers_.empty()) servers_.pop_back();  // the last started first
}

bool ClusterBench::StartServers() {
  if (::access("/usr/lib/rabbitmq/bin/rabbitmq-server", X_OK) != 0 ||
      PostgresTool("postgres").empty()) {
    return false;
  }
  // Each takes a few ports from the first one on.
  const std::uint16_t rabbit_port = FreePort();
  postgres_port_ = FreePort();
  servers_.push_back(std::make_unique<Server>(
      std::vector<std::string>{FORKBOX_SCRIPTS "/private-rabbitmq.sh", folder_ + "/mq",
                               std::to_string(rabbit_port)},
      folder_ + "/mq.out"));
  servers_.push_back(std::make_unique<Server>(
      std::vector<std::string>{FORKBOX_SCRIPTS "/private-postgres.sh", folder_ + "/pg",
                               std::to_string(postgres_port_)},
      folder_ + "/pg.out"));
  broker_url_ = "amqp://forkbox:forkbox@127.0.0.1:" + std::to_string(rabbit_port) + "/";
  return servers_[0]->WaitFor("ready") && servers_[1]->WaitFor("ready");
}

bool ClusterBench::StartCluster(const std::string& name, int runners) {
  const std::string port = std::to_string(postgres_port_);
  const std::string out = folder_ + "/" + name;
  {
    Server create({PostgresTool("createdb"), "-h", "127.0.0.1", "-p", port, "-U", "forkbox", name},
                  out + "-createdb.out");
    if (!create.WaitForEnd()) return false;
  }
  Cluster cluster;
  cluster.database_url = "postgres://forkbox@127.0.0.1:" + port + "/" + name;
  cluster.port = FreePort();
  const std::vector<std::string> servers{
      "--database",     cluster.database_url, "--broker",    broker_url_,
      "--queue-prefix", name + ".",           "--log-level", "error"};
  const auto launch = [&](const std::string& role, std::vector<std::string> flags,
                          const char* ready) {
    flags.insert(flags.begin(), {FORKBOX_BINARY, role});
    flags.insert(flags.end(), servers.begin(), servers.end());
    servers_.push_back(std::make_unique<Server>(
        std::move(flags), out + "-" + role + std::to_string(servers_.size())));
    cluster.processes.push_back(servers_.back()->pid());
    return servers_.back()->WaitFor(ready);
  };
  for (int i = 0; i < runners; ++i) {
    if (!launch("runner", {"--vm", "off"}, "is ready")) return false;
  }
  if (!launch("api", {"--listen", "127.0.0.1:" + std::to_string(cluster.port)}, "listens on")) {
    return false;
  }
  // The servers' time counts, too: they work for nobody else in that round.
  for (std::size_t i = 0; i < 2; ++i) cluster.processes.push_back(servers_[i]->pid());
  clusters_.push_back(std::move(cluster));
  return true;
}

void ClusterBench::AddRows(std::vector<Row>& rows, const std::string& single,
                           const std::string& pair, std::size_t scale) {
  const Cluster& one = clusters_[0];
  const Cluster& two = clusters_[1];
  const auto add = [&](const std::string& name, const std::string& yardstick, const Cluster& on,
                       std::size_t clients, std::size_t runs) {
    rows.push_back(HttpRow(name, yardstick, on.port, on.processes, "/v1/exec", kBody, kExpected,
                           clients, runs));
  };
  add("cluster, python, 1 client, 1 runner", single, one, 1, scale * 3);
  add("cluster, python, 8 clients, 1 runner", pair, one, 8, scale * 6);
  add("cluster, python, 8 clients, 2 runners", pair, two, 8, scale * 6);
  call_row_ = rows.size() - 3;
  rows.push_back(HttpRow("cluster, queued: until the 202, 1 client", single, one.port,
                         one.processes, "/v1/code/execute/python", kQueuedBody, kQueuedExpected, 1,
                         scale));
}

void ClusterBench::PrintShares(const std::vector<Row>& rows) const {
  const double call = rows[call_row_].Percentile(0.5);
  auto store = store::OpenStore(clusters_[0].database_url, Log::Null());
  if (!store || call <= 0) return;
  std::vector<schema::ExecutionId> ids;
  const double insert = MedianMillis([&] {
    const schema::Execution execution = SmallExecution();
    (void)(*store)->executions().Insert(execution);
    ids.push_back(execution.id);
  });
  std::size_t next = 0;
  const double finish = MedianMillis([&] {
    (void)(*store)->executions().Finish(ids[next++], SmallOutcome(), SystemClock().UnixMillis());
  });
  const auto engine = std::ranges::find(rows, "engine, python, pooled", &Row::name);
  std::printf(
      "\nOne synchronous call over the cluster takes %.2f ms (p50). By themselves take:\n\n", call);
  std::printf("| part | p50 ms | share | |\n|---|---|---|---|\n");
  const auto line = [call](const char* name, double millis, const char* note) {
    std::printf("| %s | %.2f | %.0f %% | %s |\n", name, millis, 100 * millis / call, note);
  };
  line("engine: fork, run, read", engine == rows.end() ? 0 : engine->Percentile(0.5), "");
  line("queue: publish, lease, reply", QueueHopMillis(broker_url_), "");
  line("store: the row made durable", insert, "beside the queue and the run");
  line("store: the result made durable", finish, "after the answer");
}

}  // namespace forkbox::bench
