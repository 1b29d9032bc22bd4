#include "store/sql_runner_registry.h"

#include "store/runner_sql.h"
#include "store/sql_text.h"

namespace forkbox::store {
namespace {

using Ran = GroupCommit::Ran;

constexpr std::int64_t kDayMs = 24 * 60 * 60 * 1000;

Result<Result<void>> Done(Connection&, const Ran&) { return Result<void>(); }

RunnerInfo ReadRunner(const std::vector<Cell>& row) {
  return {.id = std::string(row[0].text()),
          .host = std::string(row[1].text()),
          .slots = static_cast<std::uint64_t>(row[2].number()),
          .busy = static_cast<std::uint64_t>(row[3].number()),
          .started_unix_ms = row[4].number(),
          .seen_unix_ms = row[5].number(),
          .details_json = std::string(row[6].text())};
}

}  // namespace

Result<void> SqlRunnerRegistry::Beat(const RunnerInfo& runner) {
  if (runner.id.empty() || !IsSqlText(runner.id)) {
    return Fail(ErrorCode::kInvalidArgument, "runner: not a name");
  }
  if (!forgotten_.exchange(true)) {
    writer_.Submit<void>(Durability::kProcessCrash,
                         {sql::kForgetRunners, {runner.seen_unix_ms - kDayMs}, Done},
                         [](const Result<void>&) {});
  }
  return writer_.Run<void>(
      Durability::kProcessCrash,
      {sql::kBeat,
       {runner.id, ToSqlText(runner.host), static_cast<std::int64_t>(runner.slots),
        static_cast<std::int64_t>(runner.busy), runner.started_unix_ms, runner.seen_unix_ms,
        ToSqlText(runner.details_json)},
       Done});
}

Result<void> SqlRunnerRegistry::Leave(const std::string& runner_id) {
  if (!IsSqlText(runner_id)) return {};
  return writer_.Run<void>(Durability::kProcessCrash, {sql::kLeave, {runner_id}, Done});
}

Result<std::vector<RunnerInfo>> SqlRunnerRegistry::AliveRunners(std::int64_t since_unix_ms) {
  const Result<Rows> found = readers_.Execute(sql::kAliveRunners, {since_unix_ms});
  if (!found) return Fail(found.error());
  std::vector<RunnerInfo> alive;
  for (const auto& row : found->rows) alive.push_back(ReadRunner(row));
  return alive;
}

Result<std::optional<RunnerInfo>> SqlRunnerRegistry::LastRunner() {
  const Result<Rows> found = readers_.Execute(sql::kLastRunner);
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return std::optional<RunnerInfo>();
  return std::optional<RunnerInfo>(ReadRunner(found->rows[0]));
}

}  // namespace forkbox::store
