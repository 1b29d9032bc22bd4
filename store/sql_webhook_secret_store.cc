#include "store/sql_webhook_secret_store.h"

#include "store/sql_text.h"
#include "store/webhook_secret_sql.h"

namespace forkbox::store {

using Ran = GroupCommit::Ran;

Result<std::vector<WebhookSecret>> SqlWebhookSecretStore::ActiveSecrets(
    const schema::OwnerId& owner, std::int64_t now_unix_ms) {
  std::vector<WebhookSecret> secrets;
  if (!IsSqlText(owner.str())) return secrets;
  const Result<Rows> found = readers_.Execute(sql::kActiveSecrets, {owner.str(), now_unix_ms});
  if (!found) return Fail(found.error());
  for (const auto& row : found->rows) {
    secrets.push_back({std::string(row[0].text()), row[1].number(), row[2].number()});
  }
  return secrets;
}

Result<void> SqlWebhookSecretStore::AddSecret(const schema::OwnerId& owner,
                                              const std::string& secret, std::int64_t now_unix_ms,
                                              std::int64_t previous_expires_unix_ms) {
  if (!IsSqlText(owner.str())) return Fail(ErrorCode::kInvalidArgument, "owner: not text");
  if (!IsSqlText(secret)) return Fail(ErrorCode::kInvalidArgument, "secret: not text");
  return writer_.Run<void>(
      Durability::kPowerCut,
      {sql::kRetireSecrets,
       {owner.str(), secret, previous_expires_unix_ms},
       [&](Connection& to, const Ran&) -> Result<Result<void>> {
         const Result<Rows> forgotten = to.Execute(sql::kForgetOldSecrets, {owner.str(), secret});
         if (!forgotten) return Fail(forgotten.error());
         const Result<Rows> inserted =
             to.Execute(sql::kInsertSecret, {owner.str(), secret, now_unix_ms});
         if (!inserted) return Fail(inserted.error());
         return Result<void>();
       },
       /*answer_writes=*/true});
}

}  // namespace forkbox::store
