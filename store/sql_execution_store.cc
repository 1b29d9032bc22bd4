#include "store/sql_execution_store.h"

#include <algorithm>
#include <limits>
#include <string_view>
#include <utility>

#include "base/uuid.h"
#include "schema/json.h"
#include "store/delivery_sql.h"
#include "store/execution_sql.h"
#include "store/sql_text.h"

namespace forkbox::store {
namespace {

using Ran = GroupCommit::Ran;
template <class T>
using Write = GroupCommit::Write<T>;

constexpr std::string_view kUnknownExecution = "no such execution";

// A write that has its answer already, and keeps its turn.
template <class T>
Write<T> Answered(Result<T> answer) {
  return {"", {}, [answer = std::move(answer)](Connection&, const Ran&) { return answer; }};
}

Result<Result<void>> AfterInsert(Connection& to, const Ran& ran) {
  if (ran.rows.affected > 0) return Result<void>();
  if (ran.again) {
    const Result<Rows> found = to.Execute(sql::kRequest, {ran.params[0]});
    if (!found) return Fail(found.error());
    const auto* request = std::get_if<std::string_view>(&ran.params[3]);
    if (!found->rows.empty() && found->rows[0][0].text() == *request) return Result<void>();
  }
  return Result<void>(Fail(ErrorCode::kConflict, "the execution exists already"));
}

Write<void> WriteInsert(const schema::Execution& execution) {
  const auto refused = [](std::string message) {
    return Answered<void>(Fail(ErrorCode::kInvalidArgument, std::move(message)));
  };
  if (!IsPlausibleId(execution.id.str())) return refused("id: not an id");
  if (!IsSqlText(execution.owner.str())) return refused("owner: not text");
  if (!IsSqlText(execution.dialect)) return refused("dialect: not text");
  if (!IsSqlText(execution.webhook_url)) return refused("webhook_url: not text");
  return {sql::kInsert,
          GroupCommit::Values(execution.id.str(), execution.owner.str(), execution.created_unix_ms,
                              schema::DumpJson(schema::ToJson(execution)),
                              std::string(schema::ToString(execution.priority)), execution.dialect,
                              execution.webhook_url),
          AfterInsert};
}

// `ended`: the owner and the webhook of an execution that this transaction made terminal.
Result<void> Owe(Connection& to, Param execution, const std::vector<Cell>& ended,
                 std::int64_t now_unix_ms) {
  if (ended[1].text().empty()) return {};
  const Result<Rows> owed = to.Execute(
      sql::kOwe, {NewUuidV7(), execution, ended[0].text(), ended[1].text(), now_unix_ms});
  if (!owed) return Fail(owed.error());
  return {};
}

Result<Result<bool>> AfterEnd(Connection& to, std::string_view statement, const Ran& ran) {
  const Param& id = ran.params[0];
  const Param& now = ran.params[2];
  const Param& outcome = ran.params[3];
  Rows ended = ran.rows;
  if (ended.rows.empty()) {
    const Result<Rows> found = to.Execute(sql::kEnd, {id});
    if (!found) return Fail(found.error());
    if (found->rows.empty()) {
      return Result<bool>(Fail(ErrorCode::kNotFound, std::string(kUnknownExecution)));
    }
    const std::vector<Cell>& row = found->rows[0];
    if (!row[0].null()) {
      return Result<bool>(ran.again && row[0].number() == std::get<std::int64_t>(now) &&
                          row[1].text() == std::get<std::string_view>(outcome));
    }
    // Not ended: its row was committed by another process while we looked.
    Result<Rows> second = to.Execute(statement, ran.params);
    if (!second) return Fail(std::move(second).error());
    if (second->rows.empty()) return Result<bool>(false);
    ended = std::move(*second);
  }
  Result<void> owed = Owe(to, id, ended.rows[0], std::get<std::int64_t>(now));
  if (!owed) return Fail(std::move(owed).error());
  return Result<bool>(true);
}

Write<bool> WriteEnd(std::string_view statement, const schema::ExecutionId& id,
                     const schema::Outcome& outcome, std::int64_t now_unix_ms) {
  if (!IsPlausibleId(id.str())) {
    return Answered<bool>(Fail(ErrorCode::kNotFound, std::string(kUnknownExecution)));
  }
  if (!schema::IsTerminal(outcome.state)) {
    return Answered<bool>(Fail(ErrorCode::kInvalidArgument, "outcome: its state is not terminal"));
  }
  return {statement,
          GroupCommit::Values(id.str(), std::string(schema::ToString(outcome.state)), now_unix_ms,
                              schema::DumpJson(schema::ToJson(outcome))),
          [statement](Connection& to, const Ran& ran) { return AfterEnd(to, statement, ran); },
          /*answer_writes=*/true};
}

std::string LostOutcome(std::int64_t attempts) {
  schema::Outcome outcome;
  outcome.state = schema::State::kLost;
  outcome.reason = schema::Reason::kRunnerLost;
  outcome.message = "given up after " + std::to_string(attempts) + " attempts";
  return schema::DumpJson(schema::ToJson(outcome));
}

Result<Result<ClaimVerdict>> AfterClaim(Connection& to, const Ran& ran) {
  if (ran.rows.affected > 0) return Result<ClaimVerdict>(ClaimVerdict::kClaimed);
  const Param& id = ran.params[0];
  const auto runner = std::get<std::string_view>(ran.params[1]);
  const auto now = std::get<std::int64_t>(ran.params[2]);
  const auto expires = std::get<std::int64_t>(ran.params[3]);
  const auto most = std::get<std::int64_t>(ran.params[4]);

  const Result<Rows> given_up = to.Execute(sql::kGiveUp, {id, now, most, LostOutcome(most)});
  if (!given_up) return Fail(given_up.error());
  if (!given_up->rows.empty()) {
    Result<void> owed = Owe(to, id, given_up->rows[0], now);
    if (!owed) return Fail(std::move(owed).error());
    return Result<ClaimVerdict>(ClaimVerdict::kExhausted);
  }
  const Result<Rows> found = to.Execute(sql::kHolder, {id});
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return Result<ClaimVerdict>(ClaimVerdict::kUnknown);
  const std::vector<Cell>& row = found->rows[0];
  if (!row[0].null()) return Result<ClaimVerdict>(ClaimVerdict::kFinished);
  if (row[1].text().empty()) {
    // Nobody holds it: its row was committed by another process while we looked.
    const Result<Rows> claimed = to.Execute(sql::kClaim, ran.params);
    if (!claimed) return Fail(claimed.error());
    if (claimed->affected > 0) return Result<ClaimVerdict>(ClaimVerdict::kClaimed);
  }
  const bool own = ran.again && row[1].text() == runner && row[2].number() == expires;
  return Result<ClaimVerdict>(own ? ClaimVerdict::kClaimed : ClaimVerdict::kHeld);
}

Write<ClaimVerdict> WriteClaim(const ClaimRequest& request) {
  if (!IsPlausibleId(request.id.str())) return Answered<ClaimVerdict>(ClaimVerdict::kUnknown);
  if (!IsSqlText(request.runner)) {
    return Answered<ClaimVerdict>(Fail(ErrorCode::kInvalidArgument, "runner: not text"));
  }
  return {sql::kClaim,
          {request.id.str(), request.runner, request.now_unix_ms, request.expires_unix_ms,
           std::int64_t{request.max_attempts}},
          AfterClaim,
          /*answer_writes=*/true};
}

Result<Result<std::size_t>> CountAffected(Connection&, const Ran& ran) {
  return Result<std::size_t>(static_cast<std::size_t>(ran.rows.affected));
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

std::int64_t Bounded(std::size_t limit) {
  return static_cast<std::int64_t>(std::min<std::size_t>(limit, 1'000'000));
}

// No UUIDv7 made a day before `unix_ms` or later sorts before it.
std::string FirstIdADayBefore(std::int64_t unix_ms) {
  static constexpr char kHex[] = "0123456789abcdef";
  constexpr std::int64_t kDayMs = 24 * 60 * 60 * 1000;
  const auto ms =
      static_cast<std::uint64_t>(std::clamp<std::int64_t>(unix_ms, kDayMs, 1LL << 47) - kDayMs);
  std::string id;
  for (int shift = 44; shift >= 0; shift -= 4) {
    id += kHex[(ms >> shift) & 15];
    if (shift == 16) id += '-';
  }
  return id;
}

}  // namespace

Result<void> SqlExecutionStore::Insert(const schema::Execution& execution) {
  return writer_.Run<void>(Durability::kPowerCut, WriteInsert(execution));
}

void SqlExecutionStore::InsertAsync(schema::Execution execution, Done done) {
  writer_.Submit<void>(Durability::kPowerCut, WriteInsert(execution), std::move(done));
}

// TODO: the terms.
void SqlExecutionStore::AcceptAsync(schema::Execution execution, AcceptTerms /*terms*/,
                                    std::function<void(Result<Acceptance>)> done) {
  Acceptance acceptance;
  acceptance.id = execution.id;
  InsertAsync(std::move(execution), [acceptance = std::move(acceptance),
                                     done = std::move(done)](const Result<void>& inserted) {
    if (!inserted) return done(Fail(inserted.error()));
    done(acceptance);
  });
}

Result<ClaimVerdict> SqlExecutionStore::Claim(const ClaimRequest& request) {
  return writer_.Run<ClaimVerdict>(Durability::kProcessCrash, WriteClaim(request));
}

void SqlExecutionStore::ClaimAsync(ClaimRequest request,
                                   std::function<void(Result<ClaimVerdict>)> done) {
  writer_.Submit<ClaimVerdict>(Durability::kProcessCrash, WriteClaim(request), std::move(done));
}

Result<std::size_t> SqlExecutionStore::RenewClaims(const std::string& runner,
                                                   std::int64_t expires_unix_ms) {
  if (!IsSqlText(runner)) return 0;
  return writer_.Run<std::size_t>(Durability::kProcessCrash,
                                  {sql::kRenewClaims, {runner, expires_unix_ms}, CountAffected});
}

Result<void> SqlExecutionStore::Release(const schema::ExecutionId& id, const std::string& runner) {
  const auto not_held = [] { return Fail(ErrorCode::kNotFound, "no claim of this runner"); };
  if (!IsPlausibleId(id.str()) || !IsSqlText(runner)) return not_held();
  return writer_.Run<void>(
      Durability::kProcessCrash,
      {sql::kRelease, {id.str(), runner}, [&](Connection&, const Ran& ran) -> Result<Result<void>> {
         // Again: what was wanted is the case, whoever did it.
         if (ran.rows.affected > 0 || ran.again) return Result<void>();
         return Result<void>(not_held());
       }});
}

Result<bool> SqlExecutionStore::Finish(const schema::ExecutionId& id,
                                       const schema::Outcome& outcome, std::int64_t now_unix_ms) {
  return writer_.Run<bool>(Durability::kPowerCut, WriteEnd(sql::kFinish, id, outcome, now_unix_ms));
}

void SqlExecutionStore::FinishAsync(schema::ExecutionId id, schema::Outcome outcome,
                                    std::int64_t now_unix_ms,
                                    std::function<void(Result<bool>)> done) {
  writer_.Submit<bool>(Durability::kPowerCut, WriteEnd(sql::kFinish, id, outcome, now_unix_ms),
                       std::move(done));
}

void SqlExecutionStore::WithdrawAsync(schema::ExecutionId id, schema::Outcome outcome,
                                      std::int64_t now_unix_ms,
                                      std::function<void(Result<bool>)> done) {
  writer_.Submit<bool>(Durability::kPowerCut, WriteEnd(sql::kWithdraw, id, outcome, now_unix_ms),
                       std::move(done));
}

Result<ExecutionRecord> SqlExecutionStore::Get(const schema::ExecutionId& id,
                                               const std::optional<schema::OwnerId>& owner) {
  if (!IsPlausibleId(id.str()) || (owner && !IsSqlText(owner->str()))) {
    return Fail(ErrorCode::kNotFound, std::string(kUnknownExecution));
  }
  const Result<Rows> found = owner ? readers_.Execute(sql::kGetOwned, {id.str(), owner->str()})
                                   : readers_.Execute(sql::kGet, {id.str()});
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return Fail(ErrorCode::kNotFound, std::string(kUnknownExecution));
  return ReadRecord(id, found->rows[0]);
}

Result<std::vector<Undispatched>> SqlExecutionStore::FindUndispatched(
    schema::Priority lane, std::int64_t now_unix_ms, std::int64_t dispatched_before_unix_ms,
    std::size_t limit) {
  const Result<Rows> found = readers_.Execute(
      sql::kUndispatched,
      {schema::ToString(lane), now_unix_ms, dispatched_before_unix_ms, Bounded(limit)});
  if (!found) return Fail(found.error());
  std::vector<Undispatched> undispatched;
  undispatched.reserve(found->rows.size());
  for (const auto& row : found->rows) {
    undispatched.push_back({schema::ExecutionId(std::string(row[0].text())), row[1].number()});
  }
  return undispatched;
}

Result<bool> SqlExecutionStore::NoteDispatch(const Undispatched& seen, std::int64_t now_unix_ms) {
  if (!IsPlausibleId(seen.id.str())) return false;
  // Always a change, or two could both make it within a millisecond.
  const std::int64_t now = std::max(now_unix_ms, seen.dispatched_unix_ms + 1);
  return writer_.Run<bool>(
      Durability::kProcessCrash,
      {sql::kNoteDispatch,
       {seen.id.str(), seen.dispatched_unix_ms, now},
       [](Connection&, const Ran& ran) { return Result<bool>(ran.rows.affected > 0); }});
}

Result<std::size_t> SqlExecutionStore::VoidClaims(const std::string& runner) {
  if (!IsSqlText(runner)) return 0;
  return writer_.Run<std::size_t>(Durability::kProcessCrash,
                                  {sql::kVoidClaims, {runner}, CountAffected});
}

Result<ExecutionStore::Counts> SqlExecutionStore::CountUnfinished() {
  const Result<Rows> found = readers_.Execute(sql::kCountUnfinished);
  if (!found) return Fail(found.error());
  Counts counts;
  for (const auto& row : found->rows) {
    const bool background = row[0].text() == schema::ToString(schema::Priority::kBackground);
    LaneCounts& lane = background ? counts.background : counts.interactive;
    const auto count = static_cast<std::uint64_t>(row[2].number());
    if (row[1].text() == schema::ToString(schema::State::kRunning)) {
      lane.running = count;
    } else {
      lane.queued = count;
      lane.oldest_queued_unix_ms = row[3].number();
    }
  }
  return counts;
}

Result<std::vector<ExecutionSummary>> SqlExecutionStore::ListChangedSince(
    const schema::OwnerId& owner, const std::string& dialect, std::int64_t since_unix_ms,
    std::size_t limit) {
  std::vector<ExecutionSummary> summaries;
  if (!IsSqlText(owner.str()) || !IsSqlText(dialect)) return summaries;
  const Result<Rows> found = readers_.Execute(
      sql::kChangedSince,
      {owner.str(), dialect, FirstIdADayBefore(since_unix_ms), since_unix_ms, Bounded(limit)});
  if (!found) return Fail(found.error());
  summaries.reserve(found->rows.size());
  for (const auto& row : found->rows) {
    ExecutionSummary& summary = summaries.emplace_back();
    summary.id = schema::ExecutionId(std::string(row[0].text()));
    summary.state = schema::ParseState(row[1].text()).value_or(schema::State::kQueued);
    summary.changed_unix_ms = row[2].number();
  }
  return summaries;
}

// TODO
Result<HistoryPage> SqlExecutionStore::ListHistory(const HistoryQuery&) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::uint64_t> SqlExecutionStore::CountHistory(const HistoryQuery&, std::uint64_t) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::size_t> SqlExecutionStore::Prune(const RetentionRule&, std::size_t) {
  return std::size_t{0};
}

Result<void> SqlExecutionStore::Ping() {
  const Result<Rows> found = readers_.Execute(sql::kPing);
  if (!found) return Fail(found.error());
  return {};
}

}  // namespace forkbox::store
