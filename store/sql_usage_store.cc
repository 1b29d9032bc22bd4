#include "store/sql_usage_store.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <string>

#include "store/calendar.h"
#include "store/sql_text.h"
#include "store/usage_sql.h"

namespace forkbox::store {
namespace {

using Ran = GroupCommit::Ran;

// Rows of each kind that one call forgets: some milliseconds of the writer.
constexpr std::int64_t kForgottenAtOnce = 1'000;

// Counters of minutes are needed for one; this much later nobody's clock is still in it.
constexpr std::int64_t kMinutesKept = 60;

std::string DayName(std::int64_t day_since_1970) {
  const std::chrono::year_month_day day{std::chrono::sys_days(std::chrono::days(day_since_1970))};
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "%04d-%02u-%02u", static_cast<int>(day.year()),
                static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
  return name.data();
}

Result<Result<std::size_t>> CountAffected(Connection&, const Ran& ran) {
  return Result<std::size_t>(static_cast<std::size_t>(ran.rows.affected));
}

}  // namespace

Result<UsageSummary> SqlUsageStore::Summarize(const schema::OwnerId& owner,
                                              std::int64_t since_unix_ms,
                                              std::int64_t until_unix_ms) {
  UsageSummary summary;
  if (!IsSqlText(owner.str())) return summary;
  const Result<Rows> found =
      readers_.Execute(sql::kSummarizeUsage, {owner.str(), since_unix_ms, until_unix_ms, kDayMs});
  if (!found) return Fail(found.error());
  for (const auto& row : found->rows) {
    const auto count = static_cast<std::uint64_t>(row[3].number());
    summary.total += count;
    summary.total_exec_ms += static_cast<std::uint64_t>(row[4].number());
    summary.by_day[DayName(row[0].number())] += count;
    summary.by_language[std::string(row[1].text())] += count;
    summary.by_state[std::string(row[2].text())] += count;
  }
  return summary;
}

Result<std::vector<UsageRecord>> SqlUsageStore::List(const schema::OwnerId& owner,
                                                     std::int64_t since_unix_ms,
                                                     std::size_t limit) {
  std::vector<UsageRecord> records;
  if (!IsSqlText(owner.str())) return records;
  const auto most = static_cast<std::int64_t>(std::min<std::size_t>(limit, 100'000));
  const Result<Rows> found = readers_.Execute(sql::kListUsage, {owner.str(), since_unix_ms, most});
  if (!found) return Fail(found.error());
  records.reserve(found->rows.size());
  for (const auto& row : found->rows) {
    UsageRecord& record = records.emplace_back();
    record.execution_id = schema::ExecutionId(std::string(row[0].text()));
    record.owner = owner;
    record.key_id = schema::KeyId(std::string(row[1].text()));
    record.language = row[2].text();
    record.state = schema::ParseState(row[3].text()).value_or(schema::State::kLost);
    record.finished_unix_ms = row[4].number();
    record.exec_ms = row[5].number();
  }
  return records;
}

Result<std::uint64_t> SqlUsageStore::AcceptedThisMonth(const schema::OwnerId& owner,
                                                       std::int64_t now_unix_ms) {
  if (!IsSqlText(owner.str())) return std::uint64_t{0};
  const Result<Rows> found =
      readers_.Execute(sql::kAcceptedInMonth, {MonthOf(now_unix_ms), owner.str()});
  if (!found) return Fail(found.error());
  return found->rows.empty() ? 0 : static_cast<std::uint64_t>(found->rows[0][0].number());
}

Result<std::uint64_t> SqlUsageStore::AcceptedThisMinute(const schema::KeyId& key,
                                                        std::int64_t now_unix_ms) {
  if (!IsSqlText(key.str())) return std::uint64_t{0};
  const Result<Rows> found =
      readers_.Execute(sql::kAcceptedInMinute, {MinuteOf(now_unix_ms), key.str()});
  if (!found) return Fail(found.error());
  return found->rows.empty() ? 0 : static_cast<std::uint64_t>(found->rows[0][0].number());
}

Result<std::size_t> SqlUsageStore::Prune(std::int64_t before_unix_ms) {
  const Result<Rows> last = readers_.Execute(sql::kLastMinute);
  if (!last) return Fail(last.error());
  const std::int64_t minute = last->rows.at(0).at(0).number() - kMinutesKept;
  std::size_t forgotten = 0;
  for (GroupCommit::Step& step : std::array<GroupCommit::Step, 3>{{
           {sql::kForgetUsage,
            {before_unix_ms, FirstIdOf(before_unix_ms + 60 * kMinuteMs), kForgottenAtOnce}},
           {sql::kForgetMinutes, {std::max(minute, MinuteOf(before_unix_ms)), kForgottenAtOnce}},
           {sql::kForgetMonths, {MonthOf(before_unix_ms)}},
       }}) {
    const Result<std::size_t> some = writer_.Run<std::size_t>(
        Durability::kProcessCrash, {step.sql, std::move(step.values), CountAffected});
    if (!some) return some;
    forgotten += *some;
  }
  return forgotten;
}

}  // namespace forkbox::store
