#include "store/sql_usage_store.h"

namespace forkbox::store {

// TODO
Result<UsageSummary> SqlUsageStore::Summarize(const schema::OwnerId& /*owner*/,
                                              std::int64_t /*since_unix_ms*/,
                                              std::int64_t /*until_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::vector<UsageRecord>> SqlUsageStore::List(const schema::OwnerId& /*owner*/,
                                                     std::int64_t /*since_unix_ms*/,
                                                     std::size_t /*limit*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::uint64_t> SqlUsageStore::AcceptedThisMonth(const schema::OwnerId& /*owner*/,
                                                       std::int64_t /*now_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::uint64_t> SqlUsageStore::AcceptedThisMinute(const schema::KeyId& /*key*/,
                                                        std::int64_t /*now_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::size_t> SqlUsageStore::Prune(std::int64_t /*before_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}

}  // namespace forkbox::store
