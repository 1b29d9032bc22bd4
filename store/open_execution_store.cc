#include "store/open_execution_store.h"

#include <string_view>
#include <utility>

#include "store/sql_execution_store.h"
#include "store/sqlite_database.h"

namespace forkbox::store {
namespace {

constexpr std::string_view kSqlite = "sqlite:";

}  // namespace

Result<std::unique_ptr<ExecutionStore>> OpenExecutionStore(const std::string& url, Log log) {
  if (!url.starts_with(kSqlite)) {
    // Not quoted: it may hold a password.
    return Fail(ErrorCode::kInvalidArgument, "database: the URL must begin with \"sqlite:\"");
  }
  const std::string path = url.substr(kSqlite.size());
  Result<std::unique_ptr<SqliteDatabase>> database = SqliteDatabase::Open(path);
  if (!database) return Fail(std::move(database).error());
  Result<std::unique_ptr<SqlExecutionStore>> store =
      SqlExecutionStore::Open(std::move(*database), std::move(log));
  if (!store) {
    Error error = std::move(store).error();
    if (error.message.find(path) == std::string::npos) {
      error.message.insert(0, "database " + path + ": ");
    }
    return Fail(std::move(error));
  }
  return std::unique_ptr<ExecutionStore>(std::move(*store));
}

}  // namespace forkbox::store
