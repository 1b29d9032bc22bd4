#include <string_view>
#include <utility>

#include "store/postgres_database.h"
#include "store/sql_store.h"
#include "store/sqlite_database.h"
#include "store/store.h"

namespace forkbox::store {
namespace {

constexpr std::string_view kSqlite = "sqlite:";

Result<std::unique_ptr<Database>> OpenDatabase(const std::string& url) {
  if (url.starts_with(kSqlite)) return SqliteDatabase::Open(url.substr(kSqlite.size()));
  if (url.starts_with("postgres://") || url.starts_with("postgresql://")) {
    return PostgresDatabase::Open(url);
  }
  // Not quoted: it may hold a password.
  return Fail(ErrorCode::kInvalidArgument,
              "database: the URL must begin with \"sqlite:\" or \"postgres://\"");
}

}  // namespace

Result<std::unique_ptr<Store>> OpenStore(const std::string& url, Log log) {
  Result<std::unique_ptr<Database>> database = OpenDatabase(url);
  if (!database) return Fail(std::move(database).error());
  Result<std::unique_ptr<SqlStore>> store = SqlStore::Open(std::move(*database), std::move(log));
  if (!store) return Fail(std::move(store).error());
  return std::unique_ptr<Store>(std::move(*store));
}

}  // namespace forkbox::store
