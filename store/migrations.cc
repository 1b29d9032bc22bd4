#include "store/migrations.h"

#include <string>
#include <utility>

#include "base/check.h"

namespace forkbox::store {
namespace {

constexpr std::string_view kVersion1[] = {
    // `request` and `outcome` are the JSON of schema/json.h; beside them only what queries need.
    // They come last: SQLite reads a row from the front, and these may be megabytes.
    // TEXT and not jsonb: a program's output may hold \u0000, which jsonb refuses.
    R"(CREATE TABLE executions (
         id TEXT NOT NULL PRIMARY KEY,
         owner TEXT NOT NULL,
         state TEXT NOT NULL,
         attempts BIGINT NOT NULL,
         runner TEXT NOT NULL,
         claim_expires_unix_ms BIGINT NOT NULL,
         created_unix_ms BIGINT NOT NULL,
         started_unix_ms BIGINT,
         finished_unix_ms BIGINT,
         request TEXT NOT NULL,
         outcome TEXT))",
    // Holds only what is still to be done, so it stays small whatever the history. The last column
    // is always NULL here; with it the index alone answers the queries that say so.
    R"(CREATE INDEX executions_unfinished
         ON executions (state, created_unix_ms, id, finished_unix_ms)
         WHERE finished_unix_ms IS NULL)",
    "CREATE INDEX executions_by_owner ON executions (owner, id)",
};

constexpr Migration kMigrations[] = {
    {1, kVersion1},
};

Result<void> Apply(Connection& connection, std::span<const Migration> migrations,
                   std::int64_t now_unix_ms) {
  const Result<Rows> created = connection.Execute(
      "CREATE TABLE IF NOT EXISTS schema_migrations ("
      "version BIGINT NOT NULL PRIMARY KEY, applied_unix_ms BIGINT NOT NULL)");
  if (!created) return Fail(created.error());
  const Result<Rows> found = connection.Execute("SELECT MAX(version) FROM schema_migrations");
  if (!found) return Fail(found.error());
  const std::int64_t version = found->rows.empty() ? 0 : found->rows[0][0].number();
  const std::int64_t known = migrations.empty() ? 0 : migrations.back().version;
  if (version > known) {
    return Fail(ErrorCode::kInternal, "the database has schema version " + std::to_string(version) +
                                          ", this program knows " + std::to_string(known) +
                                          ": use a newer program");
  }
  for (const Migration& migration : migrations) {
    if (migration.version <= version) continue;
    for (const std::string_view statement : migration.statements) {
      const Result<Rows> applied = connection.Execute(statement);
      if (!applied) {
        return Fail(applied.error().code, "migration " + std::to_string(migration.version) + ": " +
                                              applied.error().message);
      }
    }
    const Result<Rows> noted = connection.Execute(
        "INSERT INTO schema_migrations (version, applied_unix_ms) VALUES ($1, $2)",
        {migration.version, now_unix_ms});
    if (!noted) return Fail(noted.error());
  }
  return {};
}

}  // namespace

std::span<const Migration> Migrations() { return kMigrations; }

Result<void> Migrate(Connection& connection, std::span<const Migration> migrations,
                     std::int64_t now_unix_ms) {
  for (std::size_t i = 0; i < migrations.size(); ++i) {
    FORKBOX_CHECK(migrations[i].version == static_cast<std::int64_t>(i) + 1);
  }
  Result<void> begun = connection.BeginMigration();
  if (!begun) return begun;
  Result<void> result = Apply(connection, migrations, now_unix_ms);
  if (result) result = connection.Commit();
  if (!result) connection.Rollback();
  return result;
}

}  // namespace forkbox::store
