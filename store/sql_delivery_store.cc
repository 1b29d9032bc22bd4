#include "store/sql_delivery_store.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "base/uuid.h"
#include "store/delivery_sql.h"
#include "store/sql_text.h"

namespace forkbox::store {
namespace {

using Ran = GroupCommit::Ran;

// Of those there are more only when somebody keeps asking for another delivery.
constexpr std::int64_t kListed = 100;

tl::unexpected<Error> NoSuchDelivery() { return Fail(ErrorCode::kNotFound, "no such delivery"); }
tl::unexpected<Error> NotHeld() {
  return Fail(ErrorCode::kNotFound, "no claim of this sender on the delivery");
}

Delivery ReadDelivery(const std::vector<Cell>& row) {
  Delivery delivery;
  delivery.id = DeliveryId(std::string(row[0].text()));
  delivery.execution_id = schema::ExecutionId(std::string(row[1].text()));
  delivery.owner = schema::OwnerId(std::string(row[2].text()));
  delivery.url = row[3].text();
  // What no version of ours wrote is not sent again and again.
  delivery.state = ParseDeliveryState(row[4].text()).value_or(DeliveryState::kDead);
  delivery.attempts = static_cast<int>(row[5].number());
  delivery.created_unix_ms = row[6].number();
  delivery.next_attempt_unix_ms = delivery.state == DeliveryState::kPending ? row[7].number() : 0;
  delivery.finished_unix_ms = row[8].number();
  delivery.body = row[9].text();
  return delivery;
}

}  // namespace

Result<std::vector<Delivery>> SqlDeliveryStore::ClaimDue(const std::string& sender,
                                                         std::int64_t now_unix_ms,
                                                         std::int64_t expires_unix_ms,
                                                         std::size_t limit) {
  if (sender.empty() || !IsSqlText(sender)) {
    return Fail(ErrorCode::kInvalidArgument, "sender: not a name");
  }
  const auto most = static_cast<std::int64_t>(std::min<std::size_t>(limit, 1'000));
  return writer_.Run<std::vector<Delivery>>(
      Durability::kProcessCrash,
      {sql::kClaimDue,
       {sender, now_unix_ms, expires_unix_ms, most},
       [](Connection&, const Ran& ran) -> Result<Result<std::vector<Delivery>>> {
         std::vector<Delivery> due;
         due.reserve(ran.rows.rows.size());
         for (const auto& row : ran.rows.rows) due.push_back(ReadDelivery(row));
         std::sort(due.begin(), due.end(), [](const Delivery& a, const Delivery& b) {
           return std::tie(a.created_unix_ms, a.id) < std::tie(b.created_unix_ms, b.id);
         });
         return Result<std::vector<Delivery>>(std::move(due));
       }});
}

Result<std::string> SqlDeliveryStore::FixBody(const DeliveryId& id, const std::string& body) {
  if (!IsPlausibleId(id.str())) return NoSuchDelivery();
  if (!IsSqlText(body)) return Fail(ErrorCode::kInvalidArgument, "body: not text");
  return writer_.Run<std::string>(Durability::kPowerCut,
                                  {sql::kFixBody,
                                   {id.str(), body},
                                   [](Connection&, const Ran& ran) -> Result<Result<std::string>> {
                                     if (ran.rows.rows.empty())
                                       return Result<std::string>(NoSuchDelivery());
                                     return Result<std::string>(ran.rows.rows[0][0].text());
                                   }});
}

Result<void> SqlDeliveryStore::RecordAttempt(const DeliveryId& id, const std::string& sender,
                                             const AttemptResult& result) {
  if (!IsPlausibleId(id.str()) || sender.empty() || !IsSqlText(sender)) return NotHeld();
  const DeliveryAttempt& attempt = result.attempt;
  const bool pending = result.state == DeliveryState::kPending;
  const std::int64_t finished =
      pending ? 0 : std::max<std::int64_t>(attempt.started_unix_ms + attempt.duration_ms, 1);
  return writer_.Run<void>(
      Durability::kPowerCut,
      {sql::kEndClaim,
       {id.str(), sender, std::int64_t{attempt.number}, std::string(ToString(result.state)),
        pending ? result.next_attempt_unix_ms : 0, finished},
       [&](Connection& to, const Ran& ran) -> Result<Result<void>> {
         if (ran.rows.affected == 0) return Result<void>(NotHeld());
         const Result<Rows> inserted = to.Execute(
             sql::kInsertAttempt,
             {id.str(), std::int64_t{attempt.number}, attempt.started_unix_ms, attempt.duration_ms,
              std::int64_t{attempt.status}, ToSqlText(attempt.error)});
         if (!inserted) return Fail(inserted.error());
         return Result<void>();
       },
       /*answer_writes=*/true});
}

Result<void> SqlDeliveryStore::ReleaseDelivery(const DeliveryId& id, const std::string& sender) {
  if (!IsPlausibleId(id.str()) || sender.empty() || !IsSqlText(sender)) return NotHeld();
  return writer_.Run<void>(Durability::kProcessCrash,
                           {sql::kReleaseDelivery,
                            {id.str(), sender},
                            [](Connection&, const Ran& ran) -> Result<Result<void>> {
                              if (ran.rows.affected > 0 || ran.again) return Result<void>();
                              return Result<void>(NotHeld());
                            }});
}

Result<void> SqlDeliveryStore::CheckOwner(const schema::ExecutionId& execution,
                                          const std::optional<schema::OwnerId>& owner) {
  const auto not_found = [] { return Fail(ErrorCode::kNotFound, "no such execution"); };
  if (!IsPlausibleId(execution.str())) return not_found();
  const Result<Rows> found = readers_.Execute(sql::kOwnerOfExecution, {execution.str()});
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return not_found();
  if (owner && found->rows[0][0].text() != owner->str()) return not_found();
  return {};
}

Result<std::vector<DeliveryHistory>> SqlDeliveryStore::ListDeliveries(
    const schema::ExecutionId& execution, const std::optional<schema::OwnerId>& owner) {
  Result<void> allowed = CheckOwner(execution, owner);
  if (!allowed) return Fail(std::move(allowed).error());
  const Result<Rows> found = readers_.Execute(sql::kDeliveriesOf, {execution.str(), kListed});
  if (!found) return Fail(found.error());
  std::vector<DeliveryHistory> histories;
  for (auto row = found->rows.rbegin(); row != found->rows.rend(); ++row) {
    DeliveryHistory& history = histories.emplace_back();
    history.delivery = ReadDelivery(*row);
    const Result<Rows> attempts = readers_.Execute(sql::kAttemptsOf, {history.delivery.id.str()});
    if (!attempts) return Fail(attempts.error());
    for (const auto& cells : attempts->rows) {
      history.attempts.push_back({static_cast<int>(cells[0].number()), cells[1].number(),
                                  cells[2].number(), static_cast<int>(cells[3].number()),
                                  std::string(cells[4].text())});
    }
  }
  return histories;
}

Result<DeliveryId> SqlDeliveryStore::Redeliver(const schema::ExecutionId& execution,
                                               const std::optional<schema::OwnerId>& owner,
                                               std::int64_t now_unix_ms) {
  Result<void> allowed = CheckOwner(execution, owner);
  if (!allowed) return Fail(std::move(allowed).error());
  const DeliveryId id(NewUuidV7());
  return writer_.Run<DeliveryId>(
      Durability::kPowerCut,
      {sql::kRedeliver,
       {id.str(), execution.str(), now_unix_ms},
       [&](Connection& to, const Ran& ran) -> Result<Result<DeliveryId>> {
         if (ran.rows.affected > 0) return Result<DeliveryId>(id);
         if (ran.again) {
           const Result<Rows> own = to.Execute(sql::kDeliveryState, {id.str()});
           if (!own) return Fail(own.error());
           if (!own->rows.empty()) return Result<DeliveryId>(id);
         }
         return Result<DeliveryId>(
             Fail(ErrorCode::kConflict,
                  "the execution is not finished, has no webhook, or its delivery is pending"));
       }});
}

Result<DeliveryCounts> SqlDeliveryStore::CountDeliveries() {
  const Result<Rows> found = readers_.Execute(sql::kCountDeliveries);
  if (!found) return Fail(found.error());
  DeliveryCounts counts;
  for (const auto& row : found->rows) {
    const auto count = static_cast<std::uint64_t>(row[1].number());
    if (row[0].text() == ToString(DeliveryState::kPending)) {
      counts.pending = count;
      counts.oldest_due_unix_ms = row[2].number();
    } else {
      counts.dead = count;
    }
  }
  return counts;
}

}  // namespace forkbox::store
