#include "api/exec0_account.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "api/exec0_query.h"
#include "base/rfc3339.h"

namespace forkbox::api {
namespace {

using nlohmann::ordered_json;
using std::chrono::milliseconds;

// Exec0's bounds of an execution; schema/requests/exec0_execute.json holds requests to them.
constexpr int kTimeoutSeconds[] = {5, 300};
constexpr int kMemoryMegabytes[] = {64, 2048};
constexpr int kConcurrency[] = {1, 20};

struct Period {
  std::string_view name;
  milliseconds length;
};
constexpr Period kPeriods[] = {{"day", std::chrono::hours(24)},
                               {"week", std::chrono::hours(7 * 24)},
                               {"month", std::chrono::hours(30 * 24)}};
constexpr Period kDefaultPeriod = kPeriods[2];

std::optional<Period> FindPeriod(std::string_view name) {
  for (const Period& period : kPeriods) {
    if (period.name == name) return period;
  }
  return std::nullopt;
}

std::int64_t EndOfMonth(std::int64_t unix_ms) {
  using namespace std::chrono;
  const year_month_day today{floor<days>(sys_time<milliseconds>(milliseconds(unix_ms)))};
  const sys_days next = (today.year() / today.month() + months(1)) / 1;
  return duration_cast<milliseconds>(next.time_since_epoch()).count();
}

std::int64_t EndOfMinute(std::int64_t unix_ms) { return unix_ms - unix_ms % 60'000 + 60'000; }

template <class Number>
ordered_json NullIfNone(Number limit) {
  return limit == 0 ? ordered_json(nullptr) : ordered_json(limit);
}

// What is left of `limit`; null when there is no limit.
ordered_json Remaining(std::uint64_t limit, std::uint64_t used) {
  return limit == 0 ? ordered_json(nullptr) : ordered_json(limit - std::min(limit, used));
}

// The specification has four words for states; the others end as `error`, see StatusOf().
std::string StatusOf(const std::string& state) {
  return state == ToString(schema::State::kCancelled) || state == ToString(schema::State::kLost)
             ? "error"
             : state;
}

}  // namespace

Exec0Account::Exec0Account(Options options, Parts parts)
    : options_(options),
      parts_(parts),
      calls_(options.threads, options.max_waiting_calls),
      summaries_(1, options.max_waiting_summaries) {}

void Exec0Account::Route(http::Server& server, const char* path, Right right, Handler handler) {
  server.Route(http::Method::kGet, path, [this, right, handler](http::Call& call) {
    const auto identity =
        parts_.admission.IdentifyAndMeter(call.fields, call.client_address, right);
    if (!identity) return SendExec0Problem(call.reply, ToExec0Problem(identity.error()));
    (this->*handler)(call, *identity);
  });
}

void Exec0Account::RegisterOn(http::Server& server) {
  Route(server, "/api/v1/usage", Right::kReadUsage, &Exec0Account::Usage);
  Route(server, "/api/v1/usage/summary", Right::kReadUsage, &Exec0Account::Summary);
  Route(server, "/api/v1/usage/details", Right::kReadUsage, &Exec0Account::Details);
  Route(server, "/api/v1/limits", Right::kReadAccount, &Exec0Account::Limits);
  Route(server, "/api/v1/audit", Right::kManageKeys, &Exec0Account::Audit);
}

void Exec0Account::Later(http::Call& call, std::function<void(http::Reply&)> work) {
  const bool posted =
      calls_.Post([reply = call.reply, work = std::move(work)]() mutable { work(reply); });
  if (posted) return;
  SendExec0Problem(call.reply, ToExec0Problem(Error{ErrorCode::kUnavailable,
                                                    "too many questions to the store wait"}));
}

Exec0Account::SummarizedPtr Exec0Account::FindSummary(const SummaryKey& key) {
  const std::lock_guard lock(mutex_);
  const auto found = known_.find(key);
  if (found == known_.end()) return nullptr;
  const milliseconds age(parts_.clock.UnixMillis() - found->second->end_unix_ms);
  return age >= options_.summary_life ? nullptr : found->second;
}

Result<Exec0Account::SummarizedPtr> Exec0Account::Summarize(const SummaryKey& key) {
  // Whoever waited for the same finds it made.
  if (SummarizedPtr known = FindSummary(key)) return known;
  const auto made = std::make_shared<Summarized>();
  made->end_unix_ms = parts_.clock.UnixMillis();
  made->start_unix_ms = made->end_unix_ms - key.second.count();
  auto used = parts_.store.usage().Summarize(key.first, made->start_unix_ms, made->end_unix_ms + 1);
  if (!used) return Fail(used.error());
  made->summary = *std::move(used);
  const std::lock_guard lock(mutex_);
  if (known_.size() >= options_.max_summaries) known_.clear();
  known_[key] = made;
  return SummarizedPtr(made);
}

void Exec0Account::WithSummary(http::Call& call, const schema::OwnerId& owner, milliseconds period,
                               std::function<void(http::Reply&, const Summarized&)> work) {
  const SummaryKey key(owner, period);
  if (const SummarizedPtr known = FindSummary(key)) {
    return Later(call,
                 [known, work = std::move(work)](http::Reply& reply) { work(reply, *known); });
  }
  const bool posted =
      summaries_.Post([this, key, reply = call.reply, work = std::move(work)]() mutable {
        if (!reply.Alive()) return;  // it would take seconds for nobody
        const auto known = Summarize(key);
        if (!known) return SendExec0Problem(reply, ToExec0Problem(known.error()));
        work(reply, **known);
      });
  if (posted) return;
  SendExec0Problem(call.reply, ToExec0Problem(Error{ErrorCode::kUnavailable,
                                                    "too many summaries are being made"}));
}

void Exec0Account::Usage(http::Call& call, const KeyIdentity& identity) {
  Period period = kDefaultPeriod;
  if (std::string name; call.Query("period", &name)) {
    const auto found = FindPeriod(name);
    if (!found) {
      return SendExec0Problem(call.reply, InvalidField("period", "one of: day, week, month",
                                                       Received(nlohmann::json(name))));
    }
    period = *found;
  }
  WithSummary(call, identity.owner, period.length,
              [this, identity, period](http::Reply& reply, const Summarized& known) {
                const std::int64_t now = parts_.clock.UnixMillis();
                const store::UsageSummary* const used = &known.summary;
                const auto month = parts_.store.usage().AcceptedThisMonth(identity.owner, now);
                if (!month) return SendExec0Problem(reply, ToExec0Problem(month.error()));
                std::map<std::string, std::uint64_t> by_status;
                for (const auto& [state, count] : used->by_state)
                  by_status[StatusOf(state)] += count;
                const std::uint64_t quota = identity.limits.monthly_quota;
                SendExec0(reply, 200,
                          {{"total", used->total},
                           {"byDay", ordered_json(used->by_day)},
                           {"byLanguage", ordered_json(used->by_language)},
                           {"byStatus", ordered_json(by_status)},
                           {"period", period.name},
                           {"window",
                            {{"start", Rfc3339Millis(known.start_unix_ms)},
                             {"end", Rfc3339Millis(known.end_unix_ms)}}},
                           {"totalExecutionTime", used->total_exec_ms},
                           {"averageExecutionTime", used->total == 0
                                                        ? 0.0
                                                        : static_cast<double>(used->total_exec_ms) /
                                                              static_cast<double>(used->total)},
                           {"quota",
                            {{"limit", NullIfNone(quota)},
                             {"used", *month},
                             {"remaining", Remaining(quota, *month)},
                             {"resetsAt", Rfc3339Millis(EndOfMonth(now))}}}});
              });
}

// As upstream answers: whatever is no period is a month.
void Exec0Account::Summary(http::Call& call, const KeyIdentity& identity) {
  std::string name;
  call.Query("period", &name);
  const Period period = FindPeriod(name).value_or(kDefaultPeriod);
  WithSummary(call, identity.owner, period.length,
              [period](http::Reply& reply, const Summarized& known) {
                const store::UsageSummary* const used = &known.summary;
                SendExec0(reply, 200,
                          {{"total", used->total},
                           {"byDay", ordered_json(used->by_day)},
                           {"byLanguage", ordered_json(used->by_language)},
                           {"period", period.name}});
              });
}

void Exec0Account::Details(http::Call& call, const KeyIdentity& identity) {
  const auto limit = CountParameter(call, "limit", 1, 1'000, 100);
  if (!limit) return SendExec0Problem(call.reply, limit.error());
  const auto since = TimeParameter(call, "since", 0);
  if (!since) return SendExec0Problem(call.reply, since.error());
  Later(call, [this, owner = identity.owner, limit = *limit, since = *since](http::Reply& reply) {
    const auto records = parts_.store.usage().List(owner, since, limit);
    if (!records) return SendExec0Problem(reply, ToExec0Problem(records.error()));
    ordered_json details = ordered_json::array();
    for (const store::UsageRecord& record : *records) {
      details.push_back({{"executionId", record.execution_id.str()},
                         {"ownerId", record.owner.str()},
                         {"apiKeyId", record.key_id.str()},
                         {"timestamp", record.finished_unix_ms},
                         {"language", record.language},
                         {"status", StatusOf(std::string(ToString(record.state)))},
                         {"deltaTime", record.exec_ms}});
    }
    SendExec0(reply, 200, details);
  });
}

void Exec0Account::Limits(http::Call& call, const KeyIdentity& identity) {
  Later(call, [this, identity](http::Reply& reply) {
    const std::int64_t now = parts_.clock.UnixMillis();
    const auto minute = parts_.store.usage().AcceptedThisMinute(identity.key_id, now);
    if (!minute) return SendExec0Problem(reply, ToExec0Problem(minute.error()));
    const auto month = parts_.store.usage().AcceptedThisMonth(identity.owner, now);
    if (!month) return SendExec0Problem(reply, ToExec0Problem(month.error()));
    const store::AccountLimits& limits = identity.limits;
    const Exec0RequestLimits& request = options_.request;
    const auto bounds = [](const int(&range)[2]) {
      return ordered_json{{"min", range[0]}, {"max", range[1]}};
    };
    ordered_json timeout = bounds(kTimeoutSeconds);
    timeout["unit"] = "seconds";
    ordered_json memory = bounds(kMemoryMegabytes);
    memory["unit"] = "MB";
    ordered_json concurrency = bounds(kConcurrency);
    concurrency["current"] = NullIfNone(limits.concurrency);
    SendExec0(reply, 200,
              {{"execution",
                {{"timeout", std::move(timeout)},
                 {"memory", std::move(memory)},
                 {"outputSize", request.max_output_bytes},
                 {"fileSize", request.max_file_bytes},
                 {"codeSize", request.max_code_bytes},
                 {"concurrency", std::move(concurrency)}}},
               {"rate",
                {{"executionsPerMinute", NullIfNone(limits.executions_per_minute)},
                 {"remaining", Remaining(limits.executions_per_minute, *minute)},
                 {"resetsAt", Rfc3339Millis(EndOfMinute(now))}}},
               {"quota",
                {{"monthly", NullIfNone(limits.monthly_quota)},
                 {"used", *month},
                 {"remaining", Remaining(limits.monthly_quota, *month)},
                 {"resetsAt", Rfc3339Millis(EndOfMonth(now))}}}});
  });
}

void Exec0Account::Audit(http::Call& call, const KeyIdentity& identity) {
  const auto limit = CountParameter(call, "limit", 1, 1'000, 100);
  if (!limit) return SendExec0Problem(call.reply, limit.error());
  const auto before = TimeParameter(call, "before", 0);
  if (!before) return SendExec0Problem(call.reply, before.error());
  Later(call, [this, owner = identity.owner, limit = *limit, before = *before](http::Reply& reply) {
    auto entries = parts_.store.audit().List(owner, before, limit + 1);
    if (!entries) return SendExec0Problem(reply, ToExec0Problem(entries.error()));
    const bool more = entries->size() > limit;
    if (more) {
      // The next page begins before a millisecond, so this one ends with a whole one; unless a
      // single millisecond fills all of it.
      const std::int64_t left_out = entries->back().time_unix_ms;
      std::size_t shown = limit;
      while (shown > 0 && (*entries)[shown - 1].time_unix_ms == left_out) --shown;
      entries->resize(shown > 0 ? shown : limit);
    }
    ordered_json data = ordered_json::array();
    for (const store::AuditEntry& entry : *entries) {
      data.push_back({{"time", Rfc3339Millis(entry.time_unix_ms)},
                      {"action", entry.action},
                      {"target", entry.target},
                      {"keyId", entry.key_id.str()},
                      {"clientAddress", entry.client_address},
                      {"requestId", entry.request_id}});
    }
    ordered_json next = nullptr;
    if (more) next = Rfc3339Millis(entries->back().time_unix_ms);
    SendExec0(reply, 200,
              {{"data", std::move(data)}, {"hasMore", more}, {"before", std::move(next)}});
  });
}

}  // namespace forkbox::api
