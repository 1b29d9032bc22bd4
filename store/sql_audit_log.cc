#include "store/sql_audit_log.h"

#include <algorithm>
#include <limits>
#include <string>

#include "base/uuid.h"
#include "store/audit_sql.h"
#include "store/sql_text.h"

namespace forkbox::store {
namespace {

using Ran = GroupCommit::Ran;

// Some milliseconds of the writer.
constexpr std::int64_t kForgottenAtOnce = 1'000;

}  // namespace

Result<void> SqlAuditLog::Append(const AuditEntry& entry) {
  if (!IsSqlText(entry.owner.str())) return Fail(ErrorCode::kInvalidArgument, "owner: not text");
  return writer_.Run<void>(
      Durability::kPowerCut,
      {sql::kAppendAudit,
       GroupCommit::Values(entry.time_unix_ms, NewUuidV7(), entry.owner.str(),
                           ToSqlText(entry.key_id.str()), ToSqlText(entry.action),
                           ToSqlText(entry.target), ToSqlText(entry.client_address),
                           ToSqlText(entry.request_id)),
       // Not affected: it was written the first time.
       [](Connection&, const Ran&) { return Result<void>(); }});
}

Result<std::vector<AuditEntry>> SqlAuditLog::List(const schema::OwnerId& owner,
                                                  std::int64_t before_unix_ms, std::size_t limit) {
  std::vector<AuditEntry> entries;
  if (!IsSqlText(owner.str())) return entries;
  const Result<Rows> found = readers_.Execute(
      sql::kListAudit,
      {owner.str(), before_unix_ms == 0 ? std::numeric_limits<std::int64_t>::max() : before_unix_ms,
       static_cast<std::int64_t>(std::min<std::size_t>(limit, 100'000))});
  if (!found) return Fail(found.error());
  entries.reserve(found->rows.size());
  for (const auto& row : found->rows) {
    AuditEntry& entry = entries.emplace_back();
    entry.time_unix_ms = row[0].number();
    entry.owner = owner;
    entry.key_id = schema::KeyId(std::string(row[1].text()));
    entry.action = row[2].text();
    entry.target = row[3].text();
    entry.client_address = row[4].text();
    entry.request_id = row[5].text();
  }
  return entries;
}

Result<std::size_t> SqlAuditLog::Prune(std::int64_t before_unix_ms) {
  return writer_.Run<std::size_t>(
      Durability::kProcessCrash,
      {sql::kForgetAudit,
       {before_unix_ms, kForgottenAtOnce},
       [](Connection&, const Ran& ran) -> Result<Result<std::size_t>> {
         return Result<std::size_t>(static_cast<std::size_t>(ran.rows.affected));
       }});
}

}  // namespace forkbox::store
