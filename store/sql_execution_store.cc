#include "store/sql_execution_store.h"

#include <algorithm>
#include <future>
#include <limits>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "base/uuid.h"
#include "schema/json.h"
#include "store/acceptance_sql.h"
#include "store/audit_sql.h"
#include "store/calendar.h"
#include "store/delivery_sql.h"
#include "store/execution_sql.h"
#include "store/history_sql.h"
#include "store/sql_text.h"
#include "store/usage_sql.h"

namespace forkbox::store {
namespace {

using Ran = GroupCommit::Ran;
template <class T>
using Write = GroupCommit::Write<T>;

// Requests and outcomes may be megabytes each.
constexpr std::size_t kLongestPage = 100;

// What a request may be that is read whole though its source is not asked for.
constexpr std::size_t kShortRequest = 4'096;

// By how much the clocks of two of our processes may differ.
constexpr std::int64_t kClockSkewMs = 60 * kMinuteMs;

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

// What is wrong with it as a row.
std::optional<Error> Refusal(const schema::Execution& execution) {
  const auto refused = [](std::string message) {
    return Error{ErrorCode::kInvalidArgument, std::move(message)};
  };
  if (!IsPlausibleId(execution.id.str())) return refused("id: not an id");
  if (!IsSqlText(execution.owner.str())) return refused("owner: not text");
  if (!IsSqlText(execution.key_id.str())) return refused("key_id: not text");
  if (!IsSqlText(execution.dialect)) return refused("dialect: not text");
  // A blank ends it in the index that is asked for it.
  if (!IsSqlText(execution.language) || execution.language.find(' ') != std::string::npos) {
    return refused("language: not a name");
  }
  if (!IsSqlText(execution.webhook_url)) return refused("webhook_url: not text");
  if (!IsSqlText(execution.idempotency_key)) return refused("idempotency_key: not text");
  return std::nullopt;
}

std::vector<GroupCommit::Value> RowOf(const schema::Execution& execution) {
  nlohmann::json request = schema::ToJson(execution);
  std::string whole = schema::DumpJson(request);
  std::string head;
  if (whole.size() > kShortRequest) {
    request["source"] = schema::ToJson(schema::Source());
    head = schema::DumpJson(request);
  }
  return GroupCommit::Values(execution.id.str(), execution.owner.str(), execution.created_unix_ms,
                             std::move(whole), std::string(schema::ToString(execution.priority)),
                             execution.dialect, execution.webhook_url, execution.language,
                             execution.key_id.str(), std::move(head));
}

Write<void> WriteInsert(const schema::Execution& execution) {
  if (std::optional<Error> refusal = Refusal(execution)) {
    return Answered<void>(Fail(*std::move(refusal)));
  }
  return {sql::kInsert, RowOf(execution), AfterInsert};
}

// What is counted when `execution` is accepted, and where.
struct Accounting {
  explicit Accounting(const schema::Execution& execution, const AcceptTerms& terms_of_it)
      : id(execution.id.str()),
        owner(execution.owner.str()),
        key_id(execution.key_id.str()),
        idempotency_key(execution.idempotency_key),
        created_unix_ms(execution.created_unix_ms),
        waits(execution.priority == schema::Priority::kBackground),
        terms(terms_of_it) {}

  [[nodiscard]] std::vector<GroupCommit::Value> Standing() const {
    return GroupCommit::Values(MinuteOf(created_unix_ms), key_id, MonthOf(created_unix_ms), owner,
                               std::int64_t{terms.concurrency}, idempotency_key);
  }
  [[nodiscard]] Acceptance Read(const std::vector<Cell>& standing, bool accepted) const;

  std::string id;
  std::string owner;
  std::string key_id;
  std::string idempotency_key;
  std::int64_t created_unix_ms;
  bool waits;  // in the background, where the terms let any number wait
  AcceptTerms terms;
};

Acceptance Accounting::Read(const std::vector<Cell>& standing, bool accepted) const {
  Acceptance acceptance;
  acceptance.id = schema::ExecutionId(id);
  acceptance.used_this_minute = static_cast<std::uint64_t>(standing[0].number());
  acceptance.used_this_month = static_cast<std::uint64_t>(standing[1].number());
  acceptance.unfinished = static_cast<std::uint64_t>(standing[2].number());
  acceptance.minute_ends_unix_ms = EndOfMinute(created_unix_ms);
  acceptance.month_ends_unix_ms = EndOfMonth(created_unix_ms);
  if (accepted) return acceptance;
  if (!standing[3].null()) {
    const bool same = standing[4].text() == terms.request_digest;
    acceptance.verdict = same ? AcceptVerdict::kRepeated : AcceptVerdict::kOtherRequest;
    acceptance.id = schema::ExecutionId(std::string(standing[3].text()));
  } else if (terms.per_minute != 0 && acceptance.used_this_minute >= terms.per_minute) {
    acceptance.verdict = AcceptVerdict::kRateLimited;
  } else if (terms.monthly_quota != 0 && acceptance.used_this_month >= terms.monthly_quota) {
    acceptance.verdict = AcceptVerdict::kQuotaSpent;
  } else if (terms.concurrency != 0 && !waits) {
    // Some may have finished since it was refused.
    acceptance.verdict = AcceptVerdict::kTooManyAtOnce;
  } else {
    // One that was counted was withdrawn since.
    acceptance.verdict =
        terms.per_minute != 0 ? AcceptVerdict::kRateLimited : AcceptVerdict::kQuotaSpent;
  }
  return acceptance;
}

Write<Acceptance> WriteAccept(const schema::Execution& execution, const AcceptTerms& terms) {
  if (!IsSqlText(terms.request_digest)) {
    return Answered<Acceptance>(Fail(ErrorCode::kInvalidArgument, "request_digest: not text"));
  }
  const Accounting accounting(execution, terms);
  const std::int64_t now = execution.created_unix_ms;
  Write<Acceptance> write;
  write.sql = sql::kAccept;
  write.values = RowOf(execution);
  for (GroupCommit::Value& value : GroupCommit::Values(
           MinuteOf(now), std::int64_t{terms.per_minute}, MonthOf(now),
           static_cast<std::int64_t>(std::min<std::uint64_t>(
               terms.monthly_quota, std::numeric_limits<std::int64_t>::max())),
           std::int64_t{accounting.waits ? 0 : terms.concurrency}, execution.idempotency_key)) {
    write.values.push_back(std::move(value));
  }
  // Only of those whose rate is limited: others would use up the minute of the same key.
  if (terms.per_minute != 0) {
    write.then.push_back(
        {sql::kCountMinute, GroupCommit::Values(accounting.id, MinuteOf(now), accounting.key_id)});
  }
  write.then.push_back(
      {sql::kCountMonth, GroupCommit::Values(accounting.id, MonthOf(now), accounting.owner)});
  if (!execution.idempotency_key.empty()) {
    write.then.push_back({sql::kKeepIdempotencyKey,
                          GroupCommit::Values(accounting.id, accounting.owner,
                                              execution.idempotency_key, terms.request_digest)});
  }
  if (!execution.key_id.empty()) {
    write.then.push_back(
        {sql::kAuditAccepted,
         GroupCommit::Values(accounting.id, now, accounting.owner, accounting.key_id,
                             ToSqlText(execution.client_address),
                             ToSqlText(execution.request_id))});
  }
  write.then.push_back({sql::kStanding, accounting.Standing()});
  write.answer = [accounting](Connection&, const Ran& ran) -> Result<Result<Acceptance>> {
    return Result<Acceptance>(accounting.Read(ran.then.back().rows.at(0), ran.rows.affected > 0));
  };
  write.recognise = [accounting, request = std::get<std::string>(write.values[3])](
                        Connection& to) -> Result<std::optional<Acceptance>> {
    const Result<Rows> found = to.Execute(sql::kRequest, {accounting.id});
    if (!found) return Fail(found.error());
    if (found->rows.empty() || found->rows[0][0].text() != request) {
      return std::optional<Acceptance>();
    }
    const AcceptTerms& its = accounting.terms;
    const Result<Rows> standing =
        to.Execute(sql::kStanding, {MinuteOf(accounting.created_unix_ms), accounting.key_id,
                                    MonthOf(accounting.created_unix_ms), accounting.owner,
                                    std::int64_t{its.concurrency}, accounting.idempotency_key});
    if (!standing) return Fail(standing.error());
    return std::optional<Acceptance>(accounting.Read(standing->rows.at(0), true));
  };
  // Of whatever the owner's name may be, "" among them.
  write.exclusive = "owner " + accounting.owner;
  return write;
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

// Gives back what a withdrawn execution took. `ended`: what kWithdraw brought.
Result<void> GiveBack(Connection& to, Param execution, const std::vector<Cell>& ended,
                      std::int64_t now_unix_ms) {
  const std::string_view owner = ended[0].text();
  const std::string_view key = ended[2].text();
  const std::int64_t created = ended[3].number();
  const std::string_view idempotency_key = ended[4].text();
  const std::int64_t counted_by = ended[5].number();  // see sql::kAccept
  const bool counted = counted_by != 0;
  std::vector<std::pair<std::string_view, std::vector<Param>>> statements;
  if (counted_by == 1) statements.push_back({sql::kUncountMinute, {MinuteOf(created), key}});
  if (counted) {
    statements.push_back({sql::kUncountMonth, {MonthOf(created), owner}});
  }
  if (!idempotency_key.empty()) {
    statements.push_back({sql::kDropIdempotencyKey, {owner, idempotency_key, execution}});
  }
  const std::string id = NewUuidV7();
  if (counted && !key.empty()) {
    statements.push_back({sql::kAppendAudit,
                          {now_unix_ms, id, owner, key, "execution.withdrawn", execution, "", ""}});
  }
  for (const auto& [statement, params] : statements) {
    const Result<Rows> done = to.Execute(statement, params);
    if (!done) return Fail(done.error());
  }
  return {};
}

Result<Result<bool>> AfterEnd(Connection& to, std::string_view statement, std::int64_t exec_ms,
                              const Ran& ran) {
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
    if (statement != sql::kWithdraw) {
      const Result<Rows> noted = to.Execute(sql::kNoteUsage, {id, ran.params[1], now, exec_ms});
      if (!noted) return Fail(noted.error());
    }
  }
  const auto now_unix_ms = std::get<std::int64_t>(now);
  Result<void> done = statement != sql::kWithdraw ? Owe(to, id, ended.rows[0], now_unix_ms)
                                                  : GiveBack(to, id, ended.rows[0], now_unix_ms);
  if (!done) return Fail(std::move(done).error());
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
  const std::string state(schema::ToString(outcome.state));
  const std::int64_t exec_ms = outcome.usage.wall.count() / 1'000;
  Write<bool> write;
  write.sql = statement;
  write.values =
      GroupCommit::Values(id.str(), state, now_unix_ms, schema::DumpJson(schema::ToJson(outcome)));
  write.answer = [statement, exec_ms](Connection& to, const Ran& ran) {
    return AfterEnd(to, statement, exec_ms, ran);
  };
  write.answer_writes = true;
  if (statement != sql::kWithdraw) {
    write.then.push_back(
        {sql::kNoteUsage, GroupCommit::Values(id.str(), state, now_unix_ms, exec_ms)});
  }
  return write;
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
    const Result<Rows> noted =
        to.Execute(sql::kNoteUsage, {id, schema::ToString(schema::State::kLost), now, 0});
    if (!noted) return Fail(noted.error());
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

enum class Part { kWhole, kHead };

Result<ExecutionRecord> ReadRecord(const schema::ExecutionId& id, const std::vector<Cell>& row,
                                   Part part) {
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
  if (part == Part::kHead) record.execution.source = {};

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

// Where a list goes on.
struct Before {
  std::int64_t created_unix_ms = std::numeric_limits<std::int64_t>::max();
  std::string id;
};

// The parameters of a query on history; `states` must outlive them.
class HistoryParams {
 public:
  HistoryParams(const HistoryQuery& query, Before before)
      : query_(query), before_(std::move(before)) {
    static constexpr schema::State kEnded[] = {schema::State::kCompleted, schema::State::kError,
                                               schema::State::kTimeout, schema::State::kCancelled,
                                               schema::State::kLost};
    static constexpr schema::State kOpen[] = {schema::State::kQueued, schema::State::kRunning};
    if (query.until_unix_ms != 0 && query.until_unix_ms <= before_.created_unix_ms) {
      before_ = {query.until_unix_ms, ""};
    }
    if (of_language()) subject_ = query.language + " " + query.owner.str();
    for (const schema::State state : kEnded) states_.push_back(Wanted(state));
    for (const schema::State state : kOpen) states_.push_back(Wanted(state));
  }
  HistoryParams(const HistoryParams&) = delete;
  HistoryParams& operator=(const HistoryParams&) = delete;

  [[nodiscard]] bool of_language() const { return !query_.language.empty(); }

  // $1 to $12 of the statements of store/history_sql.h, then `more`, then the rest.
  [[nodiscard]] std::vector<Param> With(std::int64_t most_of_a_piece,
                                        std::initializer_list<Param> more) const {
    std::vector<Param> params = {of_language() ? std::string_view(subject_) : query_.owner.str(),
                                 query_.since_unix_ms, before_.created_unix_ms, before_.id,
                                 most_of_a_piece};
    params.insert(params.end(), states_.begin(), states_.end());
    params.insert(params.end(), more);
    if (of_language()) {
      params.emplace_back(query_.owner.str());
      params.emplace_back(query_.language);
    }
    return params;
  }

 private:
  [[nodiscard]] std::string_view Wanted(schema::State state) const {
    const auto& wanted = query_.states;
    const bool any = wanted.empty();
    return any || std::find(wanted.begin(), wanted.end(), state) != wanted.end()
               ? schema::ToString(state)
               : std::string_view("");
  }

  const HistoryQuery& query_;
  Before before_;
  std::string subject_;
  std::vector<Param> states_;
};

// What can have a language: those of manifests have no blank in them.
bool IsHistoryQuery(const HistoryQuery& query) {
  return IsSqlText(query.owner.str()) && IsSqlText(query.language) &&
         query.language.find(' ') == std::string::npos;
}

}  // namespace

Result<void> SqlExecutionStore::Insert(const schema::Execution& execution) {
  return writer_.Run<void>(Durability::kPowerCut, WriteInsert(execution));
}

void SqlExecutionStore::InsertAsync(schema::Execution execution, Done done) {
  writer_.Submit<void>(Durability::kPowerCut, WriteInsert(execution), std::move(done));
}

void SqlExecutionStore::AcceptAsync(schema::Execution execution, AcceptTerms terms,
                                    std::function<void(Result<Acceptance>)> done) {
  if (std::optional<Error> refusal = Refusal(execution)) {
    writer_.Submit<Acceptance>(Durability::kPowerCut,
                               Answered<Acceptance>(Fail(*std::move(refusal))), std::move(done));
    return;
  }
  const bool plain = terms.per_minute == 0 && terms.concurrency == 0 && terms.monthly_quota == 0 &&
                     execution.key_id.empty() && execution.idempotency_key.empty();
  if (!plain) {
    writer_.Submit<Acceptance>(Durability::kPowerCut, WriteAccept(execution, terms),
                               std::move(done));
    return;
  }
  Acceptance acceptance;
  acceptance.id = execution.id;
  acceptance.minute_ends_unix_ms = EndOfMinute(execution.created_unix_ms);
  acceptance.month_ends_unix_ms = EndOfMonth(execution.created_unix_ms);
  writer_.Submit<void>(
      Durability::kPowerCut, WriteInsert(execution),
      [acceptance = std::move(acceptance), done = std::move(done)](const Result<void>& inserted) {
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

void SqlExecutionStore::FinishQueuedAsync(schema::ExecutionId id, schema::Outcome outcome,
                                          std::int64_t now_unix_ms,
                                          std::function<void(Result<bool>)> done) {
  writer_.Submit<bool>(Durability::kPowerCut,
                       WriteEnd(sql::kFinishQueued, id, outcome, now_unix_ms), std::move(done));
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
  return ReadRecord(id, found->rows[0], Part::kWhole);
}

Result<ExecutionRecord> SqlExecutionStore::GetHead(const schema::ExecutionId& id,
                                                   const std::optional<schema::OwnerId>& owner) {
  if (!IsPlausibleId(id.str()) || (owner && !IsSqlText(owner->str()))) {
    return Fail(ErrorCode::kNotFound, std::string(kUnknownExecution));
  }
  const Result<Rows> found = owner ? readers_.Execute(sql::kGetOwnedHead, {id.str(), owner->str()})
                                   : readers_.Execute(sql::kGetHead, {id.str()});
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return Fail(ErrorCode::kNotFound, std::string(kUnknownExecution));
  return ReadRecord(id, found->rows[0], Part::kHead);
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
      {owner.str(), dialect, FirstIdOf(since_unix_ms - kDayMs), since_unix_ms, Bounded(limit)});
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

Result<std::vector<ExecutionRecord>> SqlExecutionStore::GetMany(
    const std::vector<schema::ExecutionId>& ids) {
  std::map<std::string_view, ExecutionRecord> found;
  for (std::size_t at = 0; at < ids.size(); at += sql::kRecordsAtOnce) {
    std::vector<Param> params(sql::kRecordsAtOnce, Param(std::string_view()));
    for (std::size_t i = 0; i < params.size() && at + i < ids.size(); ++i) {
      params[i] = ids[at + i].str();
    }
    const Result<Rows> rows = readers_.Execute(sql::GetMany(), params);
    if (!rows) return Fail(rows.error());
    for (const auto& row : rows->rows) {
      const auto id = std::find_if(ids.begin(), ids.end(),
                                   [&](const auto& one) { return one.str() == row[8].text(); });
      if (id == ids.end()) continue;
      Result<ExecutionRecord> record = ReadRecord(*id, row, Part::kHead);
      if (!record) return Fail(std::move(record).error());
      found.emplace(id->str(), std::move(*record));
    }
  }
  std::vector<ExecutionRecord> records;
  records.reserve(found.size());
  for (const schema::ExecutionId& id : ids) {
    // It may have been forgotten meanwhile.
    if (auto record = found.find(id.str()); record != found.end()) {
      records.push_back(std::move(record->second));
    }
  }
  return records;
}

Result<std::vector<schema::ExecutionId>> SqlExecutionStore::ListIds(const HistoryQuery& query,
                                                                    std::size_t limit) {
  Before before;
  if (!query.before.empty()) {
    if (!IsPlausibleId(query.before.str())) {
      return Fail(ErrorCode::kInvalidArgument, "before: not an id");
    }
    const Result<Rows> row = readers_.Execute(sql::kCreated, {query.before.str()});
    if (!row) return Fail(row.error());
    before.id = query.before.str();
    // One that was forgotten since was accepted when its id says.
    before.created_unix_ms = row->rows.empty() ? TimeOfId(before.id) : row->rows[0][0].number();
  }
  const std::int64_t most = Bounded(limit);
  const std::int64_t offset = Bounded(query.offset);
  const HistoryParams params(query, std::move(before));
  const Result<Rows> found =
      readers_.Execute(params.of_language() ? sql::ListHistoryOfLanguage() : sql::ListHistory(),
                       params.With(offset + most, {most, offset}));
  if (!found) return Fail(found.error());
  std::vector<schema::ExecutionId> ids;
  ids.reserve(found->rows.size());
  for (const auto& row : found->rows) ids.emplace_back(std::string(row[0].text()));
  return ids;
}

Result<HistoryPage> SqlExecutionStore::ListHistory(const HistoryQuery& query) {
  HistoryPage page;
  const std::size_t limit = std::min(query.limit, kLongestPage);
  if (limit == 0 || !IsHistoryQuery(query)) return page;
  Result<std::vector<schema::ExecutionId>> ids = ListIds(query, limit + 1);
  if (!ids) return Fail(std::move(ids).error());
  page.more = ids->size() > limit;
  if (page.more) ids->resize(limit);
  Result<std::vector<ExecutionRecord>> records = GetMany(*ids);
  if (!records) return Fail(std::move(records).error());
  page.records = std::move(*records);
  return page;
}

Result<std::uint64_t> SqlExecutionStore::CountHistory(const HistoryQuery& query,
                                                      std::uint64_t at_most) {
  if (!IsHistoryQuery(query)) return std::uint64_t{0};
  const std::int64_t most = Bounded(at_most);
  const HistoryParams params(query, {});
  const Result<Rows> found =
      readers_.Execute(params.of_language() ? sql::CountHistoryOfLanguage() : sql::CountHistory(),
                       params.With(most, {most}));
  if (!found) return Fail(found.error());
  return static_cast<std::uint64_t>(found->rows.at(0).at(0).number());
}

Result<std::size_t> SqlExecutionStore::Forget(const std::vector<schema::ExecutionId>& ids) {
  std::vector<std::future<Result<std::size_t>>> answers;
  answers.reserve(ids.size());
  for (const schema::ExecutionId& id : ids) {
    auto promise = std::make_shared<std::promise<Result<std::size_t>>>();
    answers.push_back(promise->get_future());
    Write<std::size_t> write;
    write.sql = sql::kForget;
    write.values = GroupCommit::Values(id.str());
    write.answer = CountAffected;
    for (const std::string_view belongings :
         {sql::kForgetAttempts, sql::kForgetDeliveries, sql::kForgetIdempotencyKey}) {
      write.then.push_back({belongings, GroupCommit::Values(id.str())});
    }
    writer_.Submit<std::size_t>(
        Durability::kProcessCrash, std::move(write),
        [promise](Result<std::size_t> answer) { promise->set_value(std::move(answer)); });
  }
  std::size_t forgotten = 0;
  std::optional<Error> failure;
  for (auto& answer : answers) {
    const Result<std::size_t> one = answer.get();
    if (one) {
      forgotten += *one;
    } else {
      failure = one.error();
    }
  }
  if (failure) return Fail(*std::move(failure));
  return forgotten;
}

Result<std::size_t> SqlExecutionStore::PruneByAge(std::int64_t finished_before_unix_ms,
                                                  std::size_t limit) {
  const std::string end = FirstIdOf(finished_before_unix_ms + kClockSkewMs);
  for (;;) {
    const Result<Rows> found = readers_.Execute(
        sql::kFinishedBefore, {pruned_to_, end, finished_before_unix_ms, Bounded(limit)});
    if (!found) return Fail(found.error());
    std::vector<schema::ExecutionId> ids;
    ids.reserve(found->rows.size());
    for (const auto& row : found->rows) ids.emplace_back(std::string(row[0].text()));
    const Result<std::size_t> forgotten = Forget(ids);
    if (!forgotten) return forgotten;
    const bool last = ids.size() < limit;
    // What must not go yet stays behind, and is looked at again in the next round.
    pruned_to_ = last ? "" : ids.back().str();
    if (*forgotten > 0 || last) return forgotten;
  }
}

Result<std::size_t> SqlExecutionStore::PruneByCount(std::uint64_t keep, std::size_t limit) {
  for (;;) {
    const Result<Rows> next = pruned_owner_ ? readers_.Execute(sql::kNextOwner, {*pruned_owner_})
                                            : readers_.Execute(sql::kFirstOwner);
    if (!next) return Fail(next.error());
    if (next->rows.empty() || next->rows[0][0].null()) {
      pruned_owner_.reset();
      return std::size_t{0};
    }
    const std::string owner(next->rows[0][0].text());
    HistoryQuery query;
    query.owner = schema::OwnerId(owner);
    query.states = {schema::State::kCompleted, schema::State::kError, schema::State::kTimeout,
                    schema::State::kCancelled, schema::State::kLost};
    query.offset = keep;
    const Result<std::vector<schema::ExecutionId>> ids = ListIds(query, limit);
    if (!ids) return Fail(ids.error());
    const Result<std::size_t> forgotten = Forget(*ids);
    if (!forgotten) return forgotten;
    // The same owner again, while that helps.
    if (ids->size() < limit || *forgotten == 0) pruned_owner_ = owner;
    if (*forgotten > 0) return forgotten;
  }
}

Result<std::size_t> SqlExecutionStore::Prune(const RetentionRule& rule, std::size_t limit) {
  if (limit == 0) return std::size_t{0};
  const std::lock_guard lock(prune_mutex_);
  if (rule.finished_before_unix_ms > 0) {
    const Result<std::size_t> forgotten = PruneByAge(rule.finished_before_unix_ms, limit);
    if (!forgotten || *forgotten > 0) return forgotten;
  }
  if (rule.keep_per_owner > 0) return PruneByCount(rule.keep_per_owner, limit);
  return std::size_t{0};
}

Result<void> SqlExecutionStore::Ping() {
  const Result<Rows> found = readers_.Execute(sql::kPing);
  if (!found) return Fail(found.error());
  return {};
}

}  // namespace forkbox::store
