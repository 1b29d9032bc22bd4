#include "api/store_probe.h"

#include <algorithm>
#include <utility>

#include "api/isolation_choice.h"

namespace forkbox::api {
namespace {

constexpr std::chrono::milliseconds kUntilTheFirstRunner{100};

void Merge(const runner::RunnerDetails& details, StoreSnapshot* snapshot) {
  if (details.vm) MergeVm(*details.vm, &snapshot->vm);
  std::vector<sandbox::LanguageStatus>& all = snapshot->languages;
  for (const sandbox::LanguageStatus& language : details.languages) {
    const auto known = std::ranges::find(all, language.id, &sandbox::LanguageStatus::id);
    if (known == all.end()) {
      all.push_back(language);
    } else if (language.ready && !known->ready) {
      *known = language;
    }
  }
}

}  // namespace

StoreProbe::StoreProbe(Options options, store::Store& store, const Clock& clock)
    : options_(options), store_(store), clock_(clock), answered_at_(clock.Now()) {
  Ask();
  thread_ = std::jthread([this](const std::stop_token& stop) { Run(stop); });
}

Result<void> StoreProbe::Status() const {
  const std::lock_guard lock(mutex_);
  if (!last_) return Fail(ErrorCode::kUnavailable, last_.error().message);
  if (clock_.Now() - answered_at_ > options_.stale_after) {
    return Fail(ErrorCode::kUnavailable, "the store does not answer");
  }
  return {};
}

std::shared_ptr<const StoreSnapshot> StoreProbe::Snapshot() const {
  const std::lock_guard lock(mutex_);
  return snapshot_;
}

std::vector<sandbox::LanguageStatus> StoreProbe::RunnerLanguages() const {
  const auto snapshot = Snapshot();
  return snapshot == nullptr ? std::vector<sandbox::LanguageStatus>() : snapshot->languages;
}

std::optional<runner::VmService> StoreProbe::RunnerVm() const {
  const auto snapshot = Snapshot();
  return snapshot == nullptr ? std::nullopt : snapshot->vm;
}

std::vector<std::string> StoreProbe::MissingProtections() const {
  std::vector<std::string> all;
  const auto snapshot = Snapshot();
  if (snapshot == nullptr) return all;
  for (const StoreSnapshot::Runner& runner : snapshot->runners) {
    for (const std::string& missing : runner.details.missing_protections) {
      if (std::ranges::find(all, missing) == all.end()) all.push_back(missing);
    }
  }
  return all;
}

Result<StoreSnapshot> StoreProbe::Look() const {
  StoreSnapshot snapshot;
  snapshot.taken_unix_ms = clock_.UnixMillis();
  const auto executions = store_.executions().CountUnfinished();
  if (!executions) return Fail(executions.error());
  snapshot.executions = *executions;
  const auto deliveries = store_.deliveries().CountDeliveries();
  if (!deliveries) return Fail(deliveries.error());
  snapshot.deliveries = *deliveries;
  auto runners =
      store_.runners().AliveRunners(snapshot.taken_unix_ms - options_.runner_alive_for.count());
  if (!runners) return Fail(runners.error());
  for (store::RunnerInfo& runner : *runners) {
    // One that another version wrote and we cannot read is alive all the same.
    Result<runner::RunnerDetails> details = runner::RunnerDetailsFromJson(runner.details_json);
    snapshot.runners.push_back(
        {std::move(runner), details ? std::move(*details) : runner::RunnerDetails()});
    Merge(snapshot.runners.back().details, &snapshot);
  }
  if (snapshot.runners.empty()) {
    const auto last = store_.runners().LastRunner();
    if (!last) return Fail(last.error());
    if (*last) {
      const auto details = runner::RunnerDetailsFromJson((*last)->details_json);
      if (details) Merge(*details, &snapshot);
    }
  }
  return snapshot;
}

void StoreProbe::Ask() {
  Result<StoreSnapshot> seen = Look();
  auto snapshot = seen ? std::make_shared<const StoreSnapshot>(std::move(*seen)) : nullptr;
  const std::lock_guard lock(mutex_);
  last_ = seen ? Result<void>() : Fail(seen.error());
  answered_at_ = clock_.Now();
  if (snapshot != nullptr) snapshot_ = std::move(snapshot);
}

void StoreProbe::Run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      const bool nobody = snapshot_ == nullptr || snapshot_->languages.empty();
      wake_.wait_for(lock, stop,
                     nobody ? std::min(options_.interval, kUntilTheFirstRunner) : options_.interval,
                     [] { return false; });
    }
    if (!stop.stop_requested()) Ask();
  }
}

}  // namespace forkbox::api
