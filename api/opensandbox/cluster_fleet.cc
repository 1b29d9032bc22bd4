#include "api/opensandbox/cluster_fleet.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/opensandbox/control_client.h"
#include "api/opensandbox/execd_face.h"
#include "api/opensandbox/lifecycle_problem.h"
#include "api/opensandbox/sandbox_wire.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using std::chrono::milliseconds;
using store::SandboxRecord;
using store::SandboxState;

constexpr milliseconds kRefreshInterval{1'000};
// Runners that are tried for a new sandbox.
constexpr std::size_t kMaxTries = 4;

}  // namespace

ClusterFleet::ClusterFleet(Options options, store::Store& store, const Clock& clock, Log log)
    : options_(options),
      store_(store),
      clock_(clock),
      log_(std::move(log)),
      // Runners that beat while we were away get the time to show up.
      refresh_at_(clock_.Now() + options_.runner_lost_after),
      threads_(std::make_unique<ExecdThreads>(options_.max_proxied)) {}

void ClusterFleet::Close() { threads_.reset(); }

Result<std::vector<ClusterFleet::Runner>> ClusterFleet::Runners() {
  const auto alive =
      store_.runners().AliveRunners(clock_.UnixMillis() - options_.runner_alive_for.count());
  if (!alive) return Fail(alive.error());
  std::vector<Runner> runners;
  for (const store::RunnerInfo& info : *alive) {
    auto details = runner::RunnerDetailsFromJson(info.details_json);
    if (!details || !details->sandboxes || details->sandboxes->address.empty()) continue;
    runners.push_back({info.id, *std::move(details->sandboxes)});
  }
  return runners;
}

Result<runner::SandboxService> ClusterFleet::ServiceOf(const SandboxRecord& record) {
  auto runners = Runners();
  if (!runners) return Fail(runners.error());
  for (Runner& runner : *runners) {
    if (runner.id == record.runner_id) return std::move(runner.service);
  }
  return Fail(ErrorCode::kUnavailable, "the runner that has this sandbox was not seen lately");
}

Result<SandboxRecord> ClusterFleet::Read(const std::string& id) {
  auto row = store_.sandboxes().Get(id);
  if (!row) return Fail(row.error());
  if (!*row) return Fail(ErrorCode::kUnavailable, "the sandbox has no row");
  return **std::move(row);
}

Result<SandboxRecord> ClusterFleet::Create(sandboxes::SandboxSpec spec) {
  auto runners = Runners();
  if (!runners) return Fail(runners.error());
  if (runners->empty()) {
    return Fail(ErrorCode::kUnavailable,
                "no runner offers sandboxes now (forkbox runner --sandbox-listen)");
  }
  std::erase_if(*runners, [&](const Runner& runner) {
    return runner.service.room == 0 ||
           runner.service.memory_room.value_or(spec.limits.memory_bytes) < spec.limits.memory_bytes;
  });
  std::ranges::stable_sort(
      *runners, [](const Runner& a, const Runner& b) { return a.service.room > b.service.room; });
  Error last{ErrorCode::kQueueFull, "no runner has room for one more sandbox of that size"};
  const std::string body = SpecToJson(spec);
  for (std::size_t i = 0; i < std::min(kMaxTries, runners->size()); ++i) {
    const auto& service = (*runners)[i].service;
    const Result<void> made = AskRunner(service.address, service.control_token, "POST",
                                        kControlRoot, body, options_.call_timeout);
    if (made) return Read(spec.id);
    last = made.error();
    log_.Warn("sandbox.create_failed",
              {{"sandbox_id", spec.id}, {"runner_id", (*runners)[i].id}, {"error", last.message}});
    if (last.code == ErrorCode::kDeadlineExceeded) {
      // Nobody would ever know of it.
      (void)AskRunner(service.address, service.control_token, "DELETE",
                      kControlRoot + ("/" + spec.id), "", options_.call_timeout);
      break;
    }
    if (last.code != ErrorCode::kQueueFull && last.code != ErrorCode::kUnavailable) break;
  }
  return Fail(std::move(last));
}

Result<SandboxRecord> ClusterFleet::Fork(const SandboxRecord& source, sandboxes::SandboxSpec spec) {
  if (auto forked = Ask(source, "POST", "/fork", SpecToJson(spec), options_.fork_timeout);
      !forked) {
    return Fail(forked.error());
  }
  return Read(spec.id);
}

Result<void> ClusterFleet::Ask(const SandboxRecord& record, const char* method,
                               const std::string& path, const std::string& body,
                               milliseconds timeout) {
  const auto service = ServiceOf(record);
  if (!service) return Fail(service.error());
  return AskRunner(service->address, service->control_token, method,
                   kControlRoot + ("/" + record.id) + path, body, timeout);
}

Result<void> ClusterFleet::Delete(const SandboxRecord& record) {
  return Ask(record, "DELETE", "", "", options_.call_timeout);
}
Result<void> ClusterFleet::Pause(const SandboxRecord& record) {
  return Ask(record, "POST", "/pause", "{}", options_.call_timeout);
}
Result<void> ClusterFleet::Resume(const SandboxRecord& record) {
  return Ask(record, "POST", "/resume", "{}", options_.call_timeout);
}
Result<void> ClusterFleet::Renew(const SandboxRecord& record, std::int64_t expires_unix_ms) {
  return Ask(record, "POST", "/renew", schema::DumpJson({{"expires_unix_ms", expires_unix_ms}}),
             options_.call_timeout);
}

void ClusterFleet::Refresh() {
  {
    const std::lock_guard lock(mutex_);
    if (clock_.Now() < refresh_at_) return;
    refresh_at_ = clock_.Now() + kRefreshInterval;
  }
  const std::int64_t now = clock_.UnixMillis();
  const auto failed =
      store_.sandboxes().FailOfLostRunners(now - options_.runner_lost_after.count(), now);
  if (!failed) {
    // While a store is away nobody is seen; afterwards everybody gets the time to show up.
    const std::lock_guard lock(mutex_);
    refresh_at_ = clock_.Now() + options_.runner_lost_after;
  } else if (*failed != 0) {
    log_.Warn("sandbox.runner_lost", {{"sandboxes", *failed}});
  }
}

void ClusterFleet::Proxy(http::Call& call) {
  auto moved = std::make_shared<http::Call>(std::move(call));
  // When all threads are busy the connection ends with the last copy.
  (void)threads_->Run([this, moved] { Serve(*moved); });
}

}  // namespace forkbox::api
