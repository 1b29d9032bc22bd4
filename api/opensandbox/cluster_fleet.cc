#include "api/opensandbox/cluster_fleet.h"

#include <algorithm>
#include <condition_variable>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/opensandbox/control_client.h"
#include "api/opensandbox/execd_face.h"
#include "api/opensandbox/lifecycle_problem.h"
#include "api/opensandbox/sandbox_wire.h"
#include "base/uuid.h"
#include "runner/sandboxes/lost_runners.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using std::chrono::milliseconds;
using store::SandboxRecord;
using store::SandboxState;

constexpr milliseconds kWatchInterval{1'000};
// Runners that are tried for a new sandbox.
constexpr std::size_t kMaxTries = 4;

}  // namespace

ClusterFleet::ClusterFleet(Options options, store::Store& store, const Clock& clock, Log log)
    : options_(options),
      store_(store),
      clock_(clock),
      log_(std::move(log)),
      threads_(std::make_unique<ExecdThreads>(options_.max_proxied)),
      watcher_([this](const std::stop_token& stop) { Watch(stop); }) {}

void ClusterFleet::Close() {
  GiveUp();
  threads_.reset();
  watcher_ = {};
}

void ClusterFleet::Watch(const std::stop_token& stop) {
  sandboxes::LostRunners lost(options_.runner_lost_after, store_.sandboxes(), clock_);
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  while (!never.wait_for(lock, stop, kWatchInterval, [&] { return stop.stop_requested(); })) {
    const auto failed = lost.Look();
    if (failed && *failed != 0) log_.Warn("sandbox.runner_lost", {{"sandboxes", *failed}});
  }
}

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
  for (std::size_t i = 0; i < std::min(kMaxTries, runners->size()); ++i) {
    // The one before may have left a row with its own.
    if (i > 0) spec.id = NewUuidV7();
    const auto& service = (*runners)[i].service;
    auto made =
        Made(service, spec.id, Ask(service, "POST", "", SpecToJson(spec), options_.call_timeout));
    if (made) return made;
    last = made.error();
    log_.Warn("sandbox.create_failed",
              {{"sandbox_id", spec.id}, {"runner_id", (*runners)[i].id}, {"error", last.message}});
    if (given_up_) break;
    if (last.code != ErrorCode::kQueueFull && last.code != ErrorCode::kUnavailable) break;
  }
  return Fail(std::move(last));
}

Result<SandboxRecord> ClusterFleet::Fork(const SandboxRecord& source, sandboxes::SandboxSpec spec) {
  const auto service = ServiceOf(source);
  if (!service) return Fail(service.error());
  return Made(
      *service, spec.id,
      Ask(*service, "POST", "/" + source.id + "/fork", SpecToJson(spec), options_.fork_timeout));
}

Result<SandboxRecord> ClusterFleet::Made(const runner::SandboxService& service,
                                         const std::string& id, const Result<std::string>& answer) {
  Error why{ErrorCode::kUnavailable, "the runner does not say what it made"};
  if (answer) {
    if (auto record = RecordFromJson(*answer)) return *std::move(record);
    // A neighbouring version.
    auto record = Read(id);
    if (record) return record;
    why = record.error();
  } else {
    why = answer.error();
    if (why.code != ErrorCode::kDeadlineExceeded) return Fail(std::move(why));
  }
  // Nobody would ever know of it. This must get through when all else is given up.
  const std::atomic<bool> never = false;
  (void)AskRunner(service.address, service.control_token, "DELETE", kControlRoot + ("/" + id), "",
                  options_.delete_timeout, never);
  return Fail(std::move(why));
}

Result<std::string> ClusterFleet::Ask(const runner::SandboxService& service, const char* method,
                                      const std::string& path, const std::string& body,
                                      milliseconds timeout) {
  return AskRunner(service.address, service.control_token, method, kControlRoot + path, body,
                   timeout, given_up_);
}

Result<void> ClusterFleet::AskOf(const SandboxRecord& record, const char* method,
                                 const std::string& path, const std::string& body) {
  const auto service = ServiceOf(record);
  if (!service) return Fail(service.error());
  const auto answer = Ask(*service, method, "/" + record.id + path, body, options_.call_timeout);
  if (!answer) return Fail(answer.error());
  return {};
}

Result<void> ClusterFleet::Delete(const SandboxRecord& record) {
  return AskOf(record, "DELETE", "", "");
}
Result<void> ClusterFleet::Pause(const SandboxRecord& record) {
  return AskOf(record, "POST", "/pause", "{}");
}
Result<void> ClusterFleet::Resume(const SandboxRecord& record) {
  return AskOf(record, "POST", "/resume", "{}");
}
Result<void> ClusterFleet::Renew(const SandboxRecord& record, std::int64_t expires_unix_ms) {
  return AskOf(record, "POST", "/renew", schema::DumpJson({{"expires_unix_ms", expires_unix_ms}}));
}

void ClusterFleet::Proxy(http::Call& call) {
  auto moved = std::make_shared<http::Call>(std::move(call));
  if (threads_->Run([this, moved] { Serve(*moved); })) return;
  const LifecycleProblem busy{.status = 503,
                              .code = "SANDBOX::UNKNOWN_ERROR",
                              .message = "too many connections are handed on to sandboxes at once",
                              .headers = {{"Retry-After", "1"}}};
  moved->Answer(busy.status, "application/json", LifecycleBody(busy), busy.headers);
}

}  // namespace forkbox::api
