#include "store/sql_store.h"

#include <string>
#include <utility>

#include "base/clock.h"
#include "store/migrations.h"

namespace forkbox::store {
namespace {

// Enough for many polls at once: a read takes some microseconds. But a summary of what an account
// used may take seconds, and of these one is made at a time: two are left beside it.
constexpr std::size_t kReaders = 3;

}  // namespace

Result<std::unique_ptr<SqlStore>> SqlStore::Open(std::unique_ptr<Database> database, Log log) {
  Result<std::unique_ptr<Connection>> writer = database->Connect(Access::kWrite);
  if (!writer) return Fail(std::move(writer).error());
  Result<void> migrated = Migrate(**writer, Migrations(), SystemClock().UnixMillis());
  if (!migrated) {
    Error error = std::move(migrated).error();
    if (error.message.find(database->name()) == std::string::npos) {
      error.message.insert(0, database->name() + ": ");
    }
    return Fail(std::move(error));
  }
  Result<std::unique_ptr<ConnectionPool>> readers = ConnectionPool::Open(*database, kReaders);
  if (!readers) return Fail(std::move(readers).error());
  return std::unique_ptr<SqlStore>(
      new SqlStore(std::move(database), std::move(*readers), std::move(*writer), std::move(log)));
}

SqlStore::SqlStore(std::unique_ptr<Database> database, std::unique_ptr<ConnectionPool> readers,
                   std::unique_ptr<Connection> writer, Log log)
    : database_(std::move(database)),
      readers_(std::move(readers)),
      writer_(std::move(writer), std::move(log)),
      executions_(writer_, *readers_),
      deliveries_(writer_, *readers_),
      webhook_secrets_(writer_, *readers_),
      runners_(writer_, *readers_),
      keys_(writer_, *readers_),
      usage_(writer_, *readers_),
      audit_(writer_, *readers_),
      sandboxes_(writer_, *readers_) {}

}  // namespace forkbox::store
