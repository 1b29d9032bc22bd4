#include "store/sql_key_store.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "store/key_sql.h"
#include "store/sql_text.h"

namespace forkbox::store {
namespace {

using Ran = GroupCommit::Ran;

tl::unexpected<Error> NoSuchKey() { return Fail(ErrorCode::kNotFound, "no such key"); }
tl::unexpected<Error> Revoked() { return Fail(ErrorCode::kConflict, "the key is revoked"); }
tl::unexpected<Error> Taken() { return Fail(ErrorCode::kConflict, "the key exists already"); }

std::int64_t Flag(bool value) { return value ? 1 : 0; }

ApiKey ReadKey(const std::vector<Cell>& row) {
  ApiKey key;
  key.id = schema::KeyId(std::string(row[0].text()));
  key.owner = schema::OwnerId(std::string(row[1].text()));
  key.name = row[2].text();
  key.description = row[3].text();
  key.prefix = row[4].text();
  key.permissions.full_access = row[5].number() != 0;
  key.permissions.execute_only = row[6].number() != 0;
  key.permissions.read_only = row[7].number() != 0;
  key.enabled = row[8].number() != 0;
  key.created_unix_ms = row[9].number();
  key.expires_unix_ms = row[10].number();
  key.last_used_unix_ms = row[11].number();
  key.revoked_unix_ms = row[12].number();
  key.rotated_to = schema::KeyId(std::string(row[13].text()));
  return key;
}

Result<void> Check(const ApiKey& key, const std::string& digest) {
  const auto refused = [](std::string message) {
    return Fail(ErrorCode::kInvalidArgument, std::move(message));
  };
  if (!IsPlausibleId(key.id.str())) return refused("id: not an id");
  if (!IsSqlText(key.owner.str())) return refused("owner: not text");
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (digest.size() != 64 || !std::all_of(digest.begin(), digest.end(), hex)) {
    return refused("digest: not one");
  }
  return {};
}

std::vector<GroupCommit::Value> RowOf(const ApiKey& key, const std::string& digest) {
  return GroupCommit::Values(
      key.id.str(), digest, key.owner.str(), ToSqlText(key.name), ToSqlText(key.description),
      ToSqlText(key.prefix), Flag(key.permissions.full_access), Flag(key.permissions.execute_only),
      Flag(key.permissions.read_only), Flag(key.enabled), key.created_unix_ms, key.expires_unix_ms);
}

std::vector<Param> ParamsOf(const std::vector<GroupCommit::Value>& values) {
  std::vector<Param> params;
  for (const GroupCommit::Value& value : values) {
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      params.emplace_back(*number);
    } else {
      params.emplace_back(std::string_view(std::get<std::string>(value)));
    }
  }
  return params;
}

// Why no live key of that owner was met. Again: whether it was revoked by this very write.
Result<Result<void>> WhyNot(Connection& to, const std::string& owner, const std::string& id,
                            const std::string& successor, std::int64_t now_unix_ms, bool again) {
  const Result<Rows> found = to.Execute(sql::kRevokedKey, {owner, id});
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return Result<void>(NoSuchKey());
  const std::vector<Cell>& row = found->rows[0];
  const bool own = again && row[0].number() == now_unix_ms && row[1].text() == successor;
  if (own) return Result<void>();
  return Result<void>(Revoked());
}

bool CanBeKey(const schema::OwnerId& owner, const schema::KeyId& id) {
  return IsSqlText(owner.str()) && IsPlausibleId(id.str());
}

}  // namespace

Result<void> SqlKeyStore::Create(const ApiKey& key, const std::string& digest) {
  if (auto checked = Check(key, digest); !checked) return checked;
  return writer_.Run<void>(
      Durability::kPowerCut,
      {sql::kInsertKey, RowOf(key, digest),
       [&](Connection& to, const Ran& ran) -> Result<Result<void>> {
         if (ran.rows.affected > 0) return Result<void>();
         if (ran.again) {
           const Result<Rows> own = to.Execute(sql::kOwnKey, {key.id.str(), digest});
           if (!own) return Fail(own.error());
           if (!own->rows.empty()) return Result<void>();
         }
         return Result<void>(Taken());
       }});
}

Result<std::optional<ApiKey>> SqlKeyStore::FindByDigest(const std::string& digest) {
  if (!IsSqlText(digest)) return std::optional<ApiKey>();
  const Result<Rows> found = readers_.Execute(sql::kKeyByDigest, {digest});
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return std::optional<ApiKey>();
  return std::optional<ApiKey>(ReadKey(found->rows[0]));
}

Result<std::vector<ApiKey>> SqlKeyStore::List(const schema::OwnerId& owner, std::size_t limit) {
  std::vector<ApiKey> keys;
  if (!IsSqlText(owner.str())) return keys;
  const Result<Rows> found = readers_.Execute(
      sql::kListKeys,
      {owner.str(), static_cast<std::int64_t>(std::min<std::size_t>(limit, 100'000))});
  if (!found) return Fail(found.error());
  keys.reserve(found->rows.size());
  for (const auto& row : found->rows) keys.push_back(ReadKey(row));
  return keys;
}

Result<std::vector<std::pair<std::string, ApiKey>>> SqlKeyStore::ChangedSince(
    std::int64_t since_unix_ms) {
  const Result<Rows> found = readers_.Execute(sql::kKeysChangedSince, {since_unix_ms});
  if (!found) return Fail(found.error());
  std::vector<std::pair<std::string, ApiKey>> keys;
  keys.reserve(found->rows.size());
  for (const auto& row : found->rows) keys.emplace_back(row[14].text(), ReadKey(row));
  return keys;
}

Result<ApiKey> SqlKeyStore::Change(const schema::OwnerId& owner, const schema::KeyId& id,
                                   const KeyChange& change, std::int64_t now_unix_ms) {
  if (!CanBeKey(owner, id)) return NoSuchKey();
  const KeyPermissions permissions = change.permissions.value_or(KeyPermissions{});
  return writer_.Run<ApiKey>(
      Durability::kPowerCut,
      {sql::kChangeKey,
       GroupCommit::Values(
           owner.str(), id.str(), now_unix_ms, Flag(change.name.has_value()),
           ToSqlText(change.name.value_or("")), Flag(change.description.has_value()),
           ToSqlText(change.description.value_or("")), Flag(change.permissions.has_value()),
           Flag(permissions.full_access), Flag(permissions.execute_only),
           Flag(permissions.read_only), Flag(change.expires_unix_ms.has_value()),
           change.expires_unix_ms.value_or(0), Flag(change.enabled.has_value()),
           Flag(change.enabled.value_or(false))),
       [&](Connection& to, const Ran& ran) -> Result<Result<ApiKey>> {
         if (!ran.rows.rows.empty()) return Result<ApiKey>(ReadKey(ran.rows.rows[0]));
         const Result<Result<void>> why =
             WhyNot(to, owner.str(), id.str(), "", now_unix_ms, /*again=*/false);
         if (!why) return Fail(why.error());
         return Result<ApiKey>(Fail(why->error()));
       }});
}

Result<void> SqlKeyStore::Revoke(const schema::OwnerId& owner, const schema::KeyId& id,
                                 std::int64_t now_unix_ms) {
  if (!CanBeKey(owner, id)) return NoSuchKey();
  return writer_.Run<void>(
      Durability::kPowerCut,
      {sql::kRevokeKey, GroupCommit::Values(owner.str(), id.str(), now_unix_ms, std::string()),
       [&](Connection& to, const Ran& ran) -> Result<Result<void>> {
         if (ran.rows.affected > 0) return Result<void>();
         return WhyNot(to, owner.str(), id.str(), "", now_unix_ms, ran.again);
       }});
}

Result<void> SqlKeyStore::Rotate(const schema::OwnerId& owner, const schema::KeyId& id,
                                 const ApiKey& successor, const std::string& digest,
                                 std::int64_t now_unix_ms) {
  if (!CanBeKey(owner, id)) return NoSuchKey();
  if (auto checked = Check(successor, digest); !checked) return checked;
  const std::vector<GroupCommit::Value> row = RowOf(successor, digest);
  return writer_.Run<void>(
      Durability::kPowerCut,
      {sql::kRevokeKey, GroupCommit::Values(owner.str(), id.str(), now_unix_ms, successor.id.str()),
       [&](Connection& to, const Ran& ran) -> Result<Result<void>> {
         if (ran.rows.affected == 0) {
           return WhyNot(to, owner.str(), id.str(), successor.id.str(), now_unix_ms, ran.again);
         }
         const Result<Rows> created = to.Execute(sql::kInsertKey, ParamsOf(row));
         if (!created) return Fail(created.error());
         // Undoes the revocation, too.
         if (created->affected == 0) return Taken();
         return Result<void>();
       },
       /*answer_writes=*/true});
}

Result<void> SqlKeyStore::NoteUse(
    const std::vector<std::pair<schema::KeyId, std::int64_t>>& last_used_unix_ms) {
  GroupCommit::Write<void> write;
  write.answer = [](Connection&, const Ran&) { return Result<void>(); };
  for (const auto& [id, used] : last_used_unix_ms) {
    if (!IsPlausibleId(id.str())) continue;
    write.then.push_back({sql::kNoteKeyUse, GroupCommit::Values(id.str(), used)});
  }
  if (write.then.empty()) return {};
  // In one order everywhere, so that no two processes wait for each other.
  std::sort(write.then.begin(), write.then.end(),
            [](const auto& a, const auto& b) { return a.values < b.values; });
  return writer_.Run<void>(Durability::kProcessCrash, std::move(write));
}

Result<AccountLimits> SqlKeyStore::LimitsOf(const schema::OwnerId& owner) {
  if (!IsSqlText(owner.str())) return AccountLimits{};
  const Result<Rows> found = readers_.Execute(sql::kLimitsOf, {owner.str()});
  if (!found) return Fail(found.error());
  if (found->rows.empty()) return AccountLimits{};
  const std::vector<Cell>& row = found->rows[0];
  AccountLimits limits;
  limits.executions_per_minute = static_cast<std::uint32_t>(row[0].number());
  limits.concurrency = static_cast<std::uint32_t>(row[1].number());
  limits.monthly_quota = static_cast<std::uint64_t>(row[2].number());
  return limits;
}

Result<void> SqlKeyStore::SetLimits(const schema::OwnerId& owner, const AccountLimits& limits,
                                    std::int64_t now_unix_ms) {
  if (!IsSqlText(owner.str())) return Fail(ErrorCode::kInvalidArgument, "owner: not text");
  const auto quota = static_cast<std::int64_t>(
      std::min<std::uint64_t>(limits.monthly_quota, std::numeric_limits<std::int64_t>::max()));
  return writer_.Run<void>(
      Durability::kPowerCut,
      {sql::kSetLimits,
       GroupCommit::Values(owner.str(), std::int64_t{limits.executions_per_minute},
                           std::int64_t{limits.concurrency}, quota, now_unix_ms),
       [](Connection&, const Ran&) { return Result<void>(); }});
}

}  // namespace forkbox::store
