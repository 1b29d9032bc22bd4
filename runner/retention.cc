#include "runner/retention.h"

#include <random>
#include <utility>

namespace forkbox::runner {
namespace {

std::int64_t Ago(std::int64_t now_unix_ms, std::chrono::days days) {
  return now_unix_ms - std::chrono::duration_cast<std::chrono::milliseconds>(days).count();
}

}  // namespace

Retention::Retention(RetentionOptions options, store::ExecutionStore& executions,
                     store::UsageStore& usage, store::AuditLog& audit, Clock& clock, Log log,
                     store::SandboxStore* sandboxes)
    : options_(options),
      executions_(executions),
      usage_(usage),
      audit_(audit),
      clock_(clock),
      log_(std::move(log)),
      sandboxes_(sandboxes) {}

Result<Forgotten> Retention::Sweep(const std::function<bool()>& go_on) {
  const std::int64_t now = clock_.UnixMillis();
  store::RetentionRule rule;
  if (options_.keep_executions.count() != 0) {
    rule.finished_before_unix_ms = Ago(now, options_.keep_executions);
  }
  rule.keep_per_owner = options_.keep_per_owner;
  const std::int64_t usage_before = Ago(now, options_.keep_usage);

  Forgotten forgotten;
  const std::pair<std::size_t*, std::function<Result<std::size_t>()>> kinds[] = {
      {&forgotten.executions, [&] { return executions_.Prune(rule, options_.slice); }},
      {&forgotten.usage, [&] { return usage_.Prune(usage_before); }},
      {&forgotten.audit, [&] { return audit_.Prune(usage_before); }},
      {&forgotten.sandboxes,
       [&]() -> Result<std::size_t> {
         if (sandboxes_ == nullptr) return std::size_t{0};
         const auto pruned = sandboxes_->Prune(Ago(now, options_.keep_sandboxes));
         if (!pruned) return Fail(pruned.error());
         return static_cast<std::size_t>(*pruned);
       }},
  };
  for (const auto& [count, prune] : kinds) {
    for (;;) {
      const Result<std::size_t> slice = prune();
      if (!slice) return Fail(slice.error());
      *count += *slice;
      if (*slice == 0) break;
      if (!go_on()) return forgotten;
    }
  }
  return forgotten;
}

void Retention::Start() {
  thread_ = std::jthread([this](const std::stop_token& stop) {
    std::mt19937_64 chance{std::random_device()()};
    std::uniform_int_distribution<std::int64_t> part(0, options_.interval.count());
    // False when it is to stop.
    const auto sleep = [&](std::chrono::milliseconds time) {
      std::unique_lock lock(mu_);
      wake_.wait_for(lock, stop, time, [&] { return stop.stop_requested(); });
      return !stop.stop_requested();
    };
    for (auto wait = std::chrono::milliseconds(part(chance)); sleep(wait);
         wait = options_.interval) {
      const Result<Forgotten> swept = Sweep([&] { return sleep(options_.pause); });
      if (!swept) {
        log_.Warn("retention.failed", {{"error", swept.error().message}});
      } else if (swept->executions + swept->usage + swept->audit + swept->sandboxes != 0) {
        log_.Info("retention.forgot", {{"executions", swept->executions},
                                       {"usage", swept->usage},
                                       {"audit", swept->audit},
                                       {"sandboxes", swept->sandboxes}});
      }
    }
  });
}

}  // namespace forkbox::runner
