#include "store/sql_key_store.h"

namespace forkbox::store {

// TODO
Result<void> SqlKeyStore::Create(const ApiKey& /*key*/, const std::string& /*digest*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::optional<ApiKey>> SqlKeyStore::FindByDigest(const std::string& /*digest*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::vector<ApiKey>> SqlKeyStore::List(const schema::OwnerId& /*owner*/,
                                              std::size_t /*limit*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::vector<std::pair<std::string, ApiKey>>> SqlKeyStore::ChangedSince(
    std::int64_t /*since_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<ApiKey> SqlKeyStore::Change(const schema::OwnerId& /*owner*/, const schema::KeyId& /*id*/,
                                   const KeyChange& /*change*/, std::int64_t /*now_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<void> SqlKeyStore::Revoke(const schema::OwnerId& /*owner*/, const schema::KeyId& /*id*/,
                                 std::int64_t /*now_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<void> SqlKeyStore::Rotate(const schema::OwnerId& /*owner*/, const schema::KeyId& /*id*/,
                                 const ApiKey& /*successor*/, const std::string& /*digest*/,
                                 std::int64_t /*now_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<void> SqlKeyStore::NoteUse(
    const std::vector<std::pair<schema::KeyId, std::int64_t>>& /*last_used_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<AccountLimits> SqlKeyStore::LimitsOf(const schema::OwnerId& /*owner*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<void> SqlKeyStore::SetLimits(const schema::OwnerId& /*owner*/,
                                    const AccountLimits& /*limits*/, std::int64_t /*now_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}

}  // namespace forkbox::store
