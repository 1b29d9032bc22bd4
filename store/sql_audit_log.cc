#include "store/sql_audit_log.h"

namespace forkbox::store {

// TODO
Result<void> SqlAuditLog::Append(const AuditEntry& /*entry*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::vector<AuditEntry>> SqlAuditLog::List(const schema::OwnerId& /*owner*/,
                                                  std::int64_t /*before_unix_ms*/,
                                                  std::size_t /*limit*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}
Result<std::size_t> SqlAuditLog::Prune(std::int64_t /*before_unix_ms*/) {
  return Fail(ErrorCode::kInternal, "not built yet");
}

}  // namespace forkbox::store
