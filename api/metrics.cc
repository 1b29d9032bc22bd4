#include "api/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <unordered_map>

namespace forkbox::api {
namespace {

using prometheus::ClientMetric;
using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using prometheus::MetricFamily;
using prometheus::MetricType;

const Histogram::BucketBoundaries& MillisecondBuckets() {  // upstream's
  static const Histogram::BucketBoundaries buckets{0.1, 0.25, 0.5, 1,   2.5, 5,   10,
                                                   25,  50,   100, 250, 500, 1000};
  return buckets;
}

// The same steps in seconds, and on to the longest run that is allowed.
const Histogram::BucketBoundaries& SecondBuckets() {
  static const Histogram::BucketBoundaries buckets{
      0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
      0.25,   0.5,     1,      2.5,   5,      10,    30,   60,    120,  300};
  return buckets;
}

double Milliseconds(std::chrono::microseconds time) {
  return static_cast<double>(time.count()) / 1000.0;
}
double Seconds(std::chrono::microseconds time) { return static_cast<double>(time.count()) / 1e6; }

double ResidentBytes() {
  std::ifstream statm("/proc/self/statm");
  std::uint64_t size = 0;
  std::uint64_t resident = 0;
  statm >> size >> resident;
  return static_cast<double>(resident) * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

MetricFamily Reading(std::string name, std::string help, MetricType type, double value) {
  ClientMetric metric;
  if (type == MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return {std::move(name), std::move(help), type, {std::move(metric)}};
}

void AppendQueue(const Metrics::Readings& readings, std::vector<MetricFamily>& all) {
  using Lane = Metrics::Readings::Lane;
  const struct {
    const char* name;
    const char* help;
    double (*value)(const Lane&);
  } gauges[] = {
      {"forkbox_queue_depth", "Executions waiting for a runner",
       [](const Lane& lane) { return static_cast<double>(lane.waiting); }},
      {"forkbox_queue_running", "Executions that a runner has taken",
       [](const Lane& lane) { return static_cast<double>(lane.running); }},
      {"forkbox_queue_limit", "Executions that may wait; 0 is no limit",
       [](const Lane& lane) { return static_cast<double>(lane.limit); }},
      {"forkbox_queue_oldest_seconds", "How long the oldest waiting execution has waited",
       [](const Lane& lane) { return Seconds(lane.oldest_waiting); }},
  };
  for (const auto& gauge : gauges) {
    MetricFamily family{gauge.name, gauge.help, MetricType::Gauge, {}};
    for (const Lane& lane : readings.lanes) {
      ClientMetric metric;
      metric.label = {{"lane", lane.name}};
      metric.gauge.value = gauge.value(lane);
      family.metric.push_back(std::move(metric));
    }
    all.push_back(std::move(family));
  }
  const auto gauge = [&all](const char* name, const char* help, std::uint64_t value) {
    all.push_back(Reading(name, help, MetricType::Gauge, static_cast<double>(value)));
  };
  gauge("forkbox_runners", "Runners seen lately", readings.runners);
  gauge("forkbox_runner_slots", "Programs these may run at once", readings.runner_slots);
  gauge("forkbox_sandboxes", "Long-lived sandboxes these have", readings.sandboxes);
  gauge("forkbox_webhooks_pending", "Webhooks that are owed", readings.webhooks_pending);
  gauge("forkbox_webhooks_dead", "Webhooks that were given up", readings.webhooks_dead);
}

void AppendVm(const Metrics::Readings& readings, std::vector<MetricFamily>& all) {
  MetricFamily state{
      "forkbox_vm_state", "1 for the state that virtual machines are in", MetricType::Gauge, {}};
  for (const char* word : {"starting", "ready", "rebuilding", "failed"}) {
    ClientMetric metric;
    metric.label = {{"state", word}};
    metric.gauge.value = readings.vm_state == word ? 1 : 0;
    state.metric.push_back(std::move(metric));
  }
  all.push_back(std::move(state));
  all.push_back(Reading("forkbox_vm_machines_ready", "Virtual machines that wait for a program",
                        MetricType::Gauge, static_cast<double>(readings.vm_machines_ready)));
}

}  // namespace

// The order of the members is the order of the output.
struct Metrics::Families {
  prometheus::Registry registry;
  std::vector<std::string> order;

  Family<Counter>& total_executions =
      AddCounter("zeroboot_total_executions", "Total number of executions");
  Family<Gauge>& concurrent_forks =
      AddGauge("zeroboot_concurrent_forks", "Current number of concurrent forks");
  Family<Counter>& fork_microseconds =
      AddCounter("zeroboot_fork_time_microseconds_total", "Sum of fork times");
  Family<Counter>& exec_microseconds =
      AddCounter("zeroboot_exec_time_microseconds_total", "Sum of exec times");
  Family<Gauge>& memory_usage = AddGauge("zeroboot_memory_usage_bytes", "RSS memory usage");
  Family<Histogram>& fork_milliseconds =
      AddHistogram("zeroboot_fork_time_milliseconds", "Histogram of VM fork times in milliseconds");
  Family<Histogram>& exec_milliseconds = AddHistogram(
      "zeroboot_exec_time_milliseconds", "Histogram of code execution times in milliseconds");
  Family<Histogram>& total_milliseconds = AddHistogram(
      "zeroboot_total_time_milliseconds", "Histogram of total request times in milliseconds");
  Family<Counter>& entropy_reseeds =
      AddCounter("zeroboot_entropy_reseed_total",
                 "Forks whose random state was renewed before the program ran");

  Family<Counter>& http_requests =
      AddCounter("forkbox_http_requests_total", "HTTP requests answered");
  Family<Counter>& accepted =
      AddCounter("forkbox_executions_accepted_total", "Executions accepted that nobody waits for");
  Family<Counter>& executions = AddCounter("forkbox_executions_total", "Executions finished");
  Family<Counter>& isolated =
      AddCounter("forkbox_executions_isolated_total", "Executions that ran, by what they ran in");
  Family<Histogram>& queue_seconds =
      AddHistogram("forkbox_queue_time_seconds", "From acceptance to a free runner slot");
  Family<Histogram>& fork_seconds =
      AddHistogram("forkbox_fork_time_seconds", "To get a forked sandbox");
  Family<Histogram>& exec_seconds =
      AddHistogram("forkbox_exec_time_seconds", "From the start of the program to its end");
  Family<Histogram>& total_seconds =
      AddHistogram("forkbox_total_time_seconds", "From acceptance to the outcome");
  Family<Gauge>& in_flight =
      AddGauge("forkbox_executions_in_flight", "Executions accepted and not yet finished");

  // Those without labels, or with few: looked up once.
  Counter& success = total_executions.Add({{"status", "success"}});
  Counter& error = total_executions.Add({{"status", "error"}});
  Counter& timeout = total_executions.Add({{"status", "timeout"}});
  Gauge& forks_now = concurrent_forks.Add({});
  Counter& fork_sum = fork_microseconds.Add({});
  Counter& exec_sum = exec_microseconds.Add({});
  Gauge& memory_now = memory_usage.Add({});
  Histogram& fork_ms = fork_milliseconds.Add({}, MillisecondBuckets());
  Histogram& exec_ms = exec_milliseconds.Add({}, MillisecondBuckets());
  Histogram& total_ms = total_milliseconds.Add({}, MillisecondBuckets());
  Counter& reseed_ok = entropy_reseeds.Add({{"result", "ok"}});
  Counter& reseed_failure = entropy_reseeds.Add({{"result", "failure"}});
  Gauge& in_flight_now = in_flight.Add({});

 private:
  Family<Counter>& AddCounter(const std::string& name, const std::string& help) {
    order.push_back(name);
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  }
  Family<Gauge>& AddGauge(const std::string& name, const std::string& help) {
    order.push_back(name);
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
  }
  Family<Histogram>& AddHistogram(const std::string& name, const std::string& help) {
    order.push_back(name);
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
  }
};

Metrics::Metrics() : families_(std::make_unique<Families>()) {}
Metrics::~Metrics() = default;

void Metrics::ExecutionStarted() {
  families_->forks_now.Increment();
  families_->in_flight_now.Increment();
}

void Metrics::ExecutionAccepted(std::string_view delivery) {
  families_->accepted.Add({{"delivery", std::string(delivery)}}).Increment();
}

void Metrics::ExecutionFailed() {
  families_->forks_now.Decrement();
  families_->in_flight_now.Decrement();
  families_->error.Increment();
}

void Metrics::ExecutionFinished(const std::string& language, const schema::Outcome& outcome) {
  Families& f = *families_;
  f.forks_now.Decrement();
  f.in_flight_now.Decrement();
  const std::string_view status = ZerobootStatus(outcome.reason);
  (status == "success" ? f.success : status == "timeout" ? f.timeout : f.error).Increment();
  f.executions
      .Add({{"language", language},
            {"reason", std::string(ToString(outcome.reason))},
            {"state", std::string(ToString(outcome.state))}})
      .Increment();

  const schema::Timings& t = outcome.timings;
  if (t.fork.count() == 0 && t.exec.count() == 0) return;  // there was no sandbox to time
  f.isolated
      .Add({{"isolation", std::string(ToString(outcome.isolation))},
            {"accelerator", outcome.accelerator.empty() ? "none" : outcome.accelerator}})
      .Increment();
  f.fork_sum.Increment(static_cast<double>(t.fork.count()));
  f.exec_sum.Increment(static_cast<double>(t.exec.count()));
  f.fork_ms.Observe(Milliseconds(t.fork));
  f.exec_ms.Observe(Milliseconds(t.exec));
  f.total_ms.Observe(Milliseconds(t.total));
  // The template renews all random state before it runs a program, or the fork has failed.
  if (outcome.reason != schema::Reason::kSandboxFailed) f.reseed_ok.Increment();
  const prometheus::Labels labels{{"language", language}};
  f.queue_seconds.Add(labels, SecondBuckets()).Observe(Seconds(t.queue));
  f.fork_seconds.Add(labels, SecondBuckets()).Observe(Seconds(t.fork));
  f.exec_seconds.Add(labels, SecondBuckets()).Observe(Seconds(t.exec));
  f.total_seconds.Add(labels, SecondBuckets()).Observe(Seconds(t.total));
}

void Metrics::HttpRequest(std::string_view method, std::string_view route, int status) {
  families_->http_requests
      .Add({{"route", route.empty() ? "none" : std::string(route)},
            {"method", method.empty() ? "none" : std::string(method)},
            {"status", std::to_string(status)}})
      .Increment();
}

std::string Metrics::Render(const Readings& readings) const {
  const Families& f = *families_;
  families_->memory_now.Set(ResidentBytes());
  std::vector<MetricFamily> all = f.registry.Collect();

  // The registry hands out families by type and series by hash; a reader wants the same order at
  // every scrape, and Zeroboot's is given.
  std::unordered_map<std::string_view, std::size_t> place;
  for (std::size_t i = 0; i < f.order.size(); ++i) place[f.order[i]] = i;
  std::sort(all.begin(), all.end(), [&](const MetricFamily& a, const MetricFamily& b) {
    return place.at(a.name) < place.at(b.name);
  });
  for (MetricFamily& family : all) {
    std::sort(family.metric.begin(), family.metric.end(),
              [](const ClientMetric& a, const ClientMetric& b) { return a.label < b.label; });
    if (family.name == "zeroboot_total_executions") {  // success, error, timeout
      std::rotate(family.metric.begin(), family.metric.begin() + 1, family.metric.end() - 1);
    } else if (family.name == "zeroboot_entropy_reseed_total") {  // ok, failure
      std::reverse(family.metric.begin(), family.metric.end());
    }
  }
  // A family that has no series yet would be two lines that say nothing.
  std::erase_if(all, [](const MetricFamily& family) { return family.metric.empty(); });

  all.push_back(Reading("forkbox_pool_hits_total", "Forks that were ready when asked for",
                        MetricType::Counter, static_cast<double>(readings.pool_hits)));
  all.push_back(Reading("forkbox_pool_misses_total", "Forks that had to be made when asked for",
                        MetricType::Counter, static_cast<double>(readings.pool_misses)));
  all.push_back(Reading("forkbox_pool_ready", "Forks that are ready now", MetricType::Gauge,
                        static_cast<double>(readings.pool_ready)));
  if (!readings.vm_state.empty()) AppendVm(readings, all);
  if (readings.queue_known) AppendQueue(readings, all);
  all.push_back(Reading("forkbox_http_connections", "Open client connections", MetricType::Gauge,
                        static_cast<double>(readings.http_connections)));
  all.push_back(Reading("forkbox_uptime_seconds", "Since the server started", MetricType::Gauge,
                        static_cast<double>(readings.uptime.count()) / 1000.0));

  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, all);
  return text.str();
}

std::string_view ZerobootStatus(schema::Reason reason) {
  switch (reason) {
    case schema::Reason::kExited:
    case schema::Reason::kCompileFailed:
      return "success";
    case schema::Reason::kWallTimeout:
    case schema::Reason::kCpuTimeout:
    case schema::Reason::kQueueDeadline:
      return "timeout";
    case schema::Reason::kSignalled:
    case schema::Reason::kOutOfMemory:
    case schema::Reason::kCancelled:
    case schema::Reason::kSandboxFailed:
    case schema::Reason::kRunnerLost:
      break;
  }
  return "error";
}

}  // namespace forkbox::api
