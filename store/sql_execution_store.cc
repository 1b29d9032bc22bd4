#include "store/sql_execution_store.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/clock.h"
#include "schema/json.h"
#include "store/execution_sql.h"
#include "store/migrations.h"

namespace forkbox::store {
namespace {

// Enough for many polls at once: a read takes some microseconds.
constexpr std::size_t kReaders = 2;

// What can be an id at all. The rest may come from any URL, and PostgreSQL would call a NUL or
// ill-formed UTF-8 an error where "no such row" is meant.
constexpr std::size_t kLongestId = 128;
bool IsPlausible(const schema::ExecutionId& id) {
  return !id.empty() && id.str().size() <= kLongestId &&
         std::all_of(id.str().begin(), id.str().end(), [](char c) { return c > 0x20 && c < 0x7F; });
}

tl::unexpected<Error> NoSuchExecution() { return Fail(ErrorCode::kNotFound, "no such execution"); }

template <class T>
using Write = GroupCommit::Write<T>;

// A write that has its answer already, and keeps its turn.
template <class T>
Write<T> Refuse(ErrorCode code, std::string message) {
  return [code, message](Connection&) { return Result<T>(Fail(code, message)); };
}

Write<void> WriteInsert(const schema::Execution& execution) {
  if (!IsPlausible(execution.id)) {
    return Refuse<void>(ErrorCode::kInvalidArgument, "id: not an id");
  }
  return
      [id = execution.id.str(), owner = execution.owner.str(), created = execution.created_unix_ms,
       request =
           schema::DumpJson(schema::ToJson(execution))](Connection& to) -> Result<Result<void>> {
        const Result<Rows> inserted = to.Execute(sql::kInsert, {id, owner, created, request});
        if (!inserted) return Fail(inserted.error());
        if (inserted->affected > 0) return Result<void>();
        return Result<void>(Fail(ErrorCode::kConflict, "the execution exists already"));
      };
}

Write<bool> WriteFinish(const schema::ExecutionId& id, const schema::Outcome& outcome,
                        std::int64_t now_unix_ms) {
  if (!IsPlausible(id)) return Refuse<bool>(ErrorCode::kNotFound, "no such execution");
  if (!schema::IsTerminal(outcome.state)) {
    return Refuse<bool>(ErrorCode::kInvalidArgument, "outcome: its state is not terminal");
  }
  return
      [id = id.str(), state = schema::ToString(outcome.state), now_unix_ms,
       text = schema::DumpJson(schema::ToJson(outcome))](Connection& to) -> Result<Result<bool>> {
        const Result<Rows> finished = to.Execute(sql::kFinish, {id, state, now_unix_ms, text});
        if (!finished) return Fail(finished.error());
        if (finished->affected > 0) return Result<bool>(true);
        const Result<Rows> found = to.Execute(sql::kFinishedAt, {id});
        if (!found) return Fail(found.error());
        if (found->rows.empty()) return Result<bool>(NoSuchExecution());
        return Result<bool>(false);
      };
}

std::string LostOutcome(int attempts) {
  schema::Outcome outcome;
  outcome.state = schema::State::kLost;
  outcome.reason = schema::Reason::kRunnerLost;
  outcome.message = "given up after " + std::to_string(attempts) + " attempts";
  return schema::DumpJson(schema::ToJson(outcome));
}

Result<Result<ClaimVerdict>> DoClaim(Connection& to, const ClaimRequest& request) {
  const std::string& id = request.id.str();
  const std::int64_t most = request.max_attempts;
  const Result<Rows> claimed = to.Execute(
      sql::kClaim, {id, request.runner, request.now_unix_ms, request.expires_unix_ms, most});
  if (!claimed) return Fail(claimed.error());
  if (claimed->affected > 0) return Result<ClaimVerdict>(ClaimVerdict::kClaimed);
  const Result<Rows> given_up =
      to.Execute(sql::kGiveUp, {id, request.now_unix_ms, most, LostOutcome(request.max_attempts)});
  if (!given_up) return Fail(given_up.error());
  if (given_up->affected > 0) return Result<ClaimVerdict>(ClaimVerdict::kExhausted);
  const Result<Rows> found = to.Execute(sql::kFinishedAt, {id});
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return Result<ClaimVerdict>(ClaimVerdict::kUnknown);
  return Result<ClaimVerdict>(found->rows[0][0].null() ? ClaimVerdict::kHeld
                                                       : ClaimVerdict::kFinished);
}

Write<ClaimVerdict> WriteClaim(ClaimRequest request) {
  if (!IsPlausible(request.id)) {
    return [](Connection&) { return Result<ClaimVerdict>(ClaimVerdict::kUnknown); };
  }
  return [request = std::move(request)](Connection& to) { return DoClaim(to, request); };
}

Result<ExecutionRecord> ReadRecord(const schema::ExecutionId& id, const std::vector<Cell>& row) {
  const auto damaged = [&](std::string_view what, std::string_view why) {
    return Fail(ErrorCode::kInternal, "execution " + id.str() + ": stored " + std::string(what) +
                                          ": " + std::string(why));
  };
  ExecutionRecord record;
  const std::optional<schema::State> state = schema::ParseState(row[0].text());
  if (!state) return damaged("state", "unknown");
  record.state = *state;
  record.attempts = static_cast<int>(
      std::clamp<std::int64_t>(row[1].number(), 0, std::numeric_limits<int>::max()));
  record.runner = row[2].text();
  record.claim_expires_unix_ms = row[3].number();
  record.started_unix_ms = row[4].number();
  record.finished_unix_ms = row[5].number();

  const Result<nlohmann::json> request = schema::ParseJson(row[6].text(), schema::kRowJsonLimits);
  if (!request) return damaged("request", request.error().message);
  Result<schema::Execution> execution = schema::ExecutionFromJson(*request);
  if (!execution) return damaged("request", execution.error().message);
  record.execution = std::move(*execution);

  if (!schema::IsTerminal(record.state)) return record;
  const Result<nlohmann::json> text = schema::ParseJson(row[7].text(), schema::kRowJsonLimits);
  if (!text) return damaged("outcome", text.error().message);
  Result<schema::Outcome> outcome = schema::OutcomeFromJson(*text);
  if (!outcome) return damaged("outcome", outcome.error().message);
  record.outcome = std::move(*outcome);
  return record;
}

}  // namespace

Result<std::unique_ptr<SqlExecutionStore>> SqlExecutionStore::Open(
    std::unique_ptr<Database> database, Log log) {
  Result<std::unique_ptr<Connection>> writer = database->Connect(Access::kWrite);
  if (!writer) return Fail(std::move(writer).error());
  Result<void> migrated = Migrate(**writer, Migrations(), SystemClock().UnixMillis());
  if (!migrated) return Fail(std::move(migrated).error());
  Result<std::unique_ptr<ConnectionPool>> readers =
      ConnectionPool::Open(*database, Access::kRead, kReaders);
  if (!readers) return Fail(std::move(readers).error());
  return std::unique_ptr<SqlExecutionStore>(new SqlExecutionStore(
      std::move(database), std::move(*readers), std::move(*writer), std::move(log)));
}

SqlExecutionStore::SqlExecutionStore(std::unique_ptr<Database> database,
                                     std::unique_ptr<ConnectionPool> readers,
                                     std::unique_ptr<Connection> writer, Log log)
    : database_(std::move(database)),
      readers_(std::move(readers)),
      writer_(std::move(writer), std::move(log)) {}

Result<void> SqlExecutionStore::Insert(const schema::Execution& execution) {
  return writer_.Run<void>(Durability::kPowerCut, WriteInsert(execution));
}

void SqlExecutionStore::InsertAsync(schema::Execution execution, Done done) {
  writer_.Submit<void>(Durability::kPowerCut, WriteInsert(execution), std::move(done));
}

Result<ClaimVerdict> SqlExecutionStore::Claim(const ClaimRequest& request) {
  return writer_.Run<ClaimVerdict>(Durability::kProcessCrash, WriteClaim(request));
}

void SqlExecutionStore::ClaimAsync(ClaimRequest request,
                                   std::function<void(Result<ClaimVerdict>)> done) {
  writer_.Submit<ClaimVerdict>(Durability::kProcessCrash, WriteClaim(std::move(request)),
                               std::move(done));
}

Result<void> SqlExecutionStore::Release(const schema::ExecutionId& id, const std::string& runner) {
  if (!IsPlausible(id)) return NoSuchExecution();
  return writer_.Run<void>(Durability::kProcessCrash, [&](Connection& to) -> Result<Result<void>> {
    const Result<Rows> released = to.Execute(sql::kRelease, {id.str(), runner});
    if (!released) return Fail(released.error());
    if (released->affected > 0) return Result<void>();
    return Result<void>(Fail(ErrorCode::kNotFound, "no claim of this runner"));
  });
}

Result<bool> SqlExecutionStore::Finish(const schema::ExecutionId& id,
                                       const schema::Outcome& outcome, std::int64_t now_unix_ms) {
  return writer_.Run<bool>(Durability::kPowerCut, WriteFinish(id, outcome, now_unix_ms));
}

void SqlExecutionStore::FinishAsync(schema::ExecutionId id, schema::Outcome outcome,
                                    std::int64_t now_unix_ms,
                                    std::function<void(Result<bool>)> done) {
  writer_.Submit<bool>(Durability::kPowerCut, WriteFinish(id, outcome, now_unix_ms),
                       std::move(done));
}

Result<ExecutionRecord> SqlExecutionStore::Get(const schema::ExecutionId& id,
                                               const std::optional<schema::OwnerId>& owner) {
  if (!IsPlausible(id)) return NoSuchExecution();
  const Result<Rows> found =
      owner ? readers_->Borrow()->Execute(sql::kGetOwned, {id.str(), owner->str()})
            : readers_->Borrow()->Execute(sql::kGet, {id.str()});
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return NoSuchExecution();
  return ReadRecord(id, found->rows[0]);
}

Result<std::vector<schema::ExecutionId>> SqlExecutionStore::Unfinished(std::int64_t now_unix_ms,
                                                                       std::size_t limit) {
  const auto most = static_cast<std::int64_t>(std::min<std::size_t>(limit, 1'000'000));
  const Result<Rows> found = readers_->Borrow()->Execute(sql::kUnfinished, {now_unix_ms, most});
  if (!found) return Fail(found.error());
  std::vector<schema::ExecutionId> ids;
  ids.reserve(found->rows.size());
  for (const auto& row : found->rows) ids.emplace_back(std::string(row[0].text()));
  return ids;
}

Result<std::size_t> SqlExecutionStore::VoidClaims(const std::string& runner) {
  return writer_.Run<std::size_t>(
      Durability::kProcessCrash, [&](Connection& to) -> Result<Result<std::size_t>> {
        const Result<Rows> voided = to.Execute(sql::kVoidClaims, {runner});
        if (!voided) return Fail(voided.error());
        return Result<std::size_t>(static_cast<std::size_t>(voided->affected));
      });
}

Result<ExecutionStore::Counts> SqlExecutionStore::CountUnfinished() {
  const Result<Rows> found = readers_->Borrow()->Execute(sql::kCountUnfinished);
  if (!found) return Fail(found.error());
  Counts counts;
  for (const auto& row : found->rows) {
    const auto count = static_cast<std::uint64_t>(row[1].number());
    if (row[0].text() == schema::ToString(schema::State::kQueued)) counts.queued = count;
    if (row[0].text() == schema::ToString(schema::State::kRunning)) counts.running = count;
  }
  return counts;
}

Result<void> SqlExecutionStore::Ping() {
  const Result<Rows> found = readers_->Borrow()->Execute(sql::kPing);
  if (!found) return Fail(found.error());
  return {};
}

}  // namespace forkbox::store
