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

constexpr std::string_view kVersion2[] = {
    "ALTER TABLE executions ADD COLUMN lane TEXT NOT NULL DEFAULT 'interactive'",
    "ALTER TABLE executions ADD COLUMN dialect TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE executions ADD COLUMN webhook_url TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE executions ADD COLUMN dispatched_unix_ms BIGINT NOT NULL DEFAULT 0",
    // Of finished rows nobody asks.
    "UPDATE executions SET dispatched_unix_ms = created_unix_ms WHERE finished_unix_ms IS NULL",
    // As the one before it: holds only what is still to be done, and its last columns are there so
    // that the index alone answers. Nothing that a runner's heartbeat changes is in it.
    "DROP INDEX executions_unfinished",
    R"(CREATE INDEX executions_unfinished
         ON executions (state, lane, dispatched_unix_ms, id, created_unix_ms, finished_unix_ms)
         WHERE finished_unix_ms IS NULL)",

    R"(CREATE TABLE deliveries (
         id TEXT NOT NULL PRIMARY KEY,
         execution_id TEXT NOT NULL,
         owner TEXT NOT NULL,
         url TEXT NOT NULL,
         state TEXT NOT NULL,
         attempts BIGINT NOT NULL,
         sender TEXT NOT NULL,
         claim_expires_unix_ms BIGINT NOT NULL,
         created_unix_ms BIGINT NOT NULL,
         next_attempt_unix_ms BIGINT NOT NULL,
         finished_unix_ms BIGINT NOT NULL,
         body TEXT NOT NULL))",
    "CREATE INDEX deliveries_by_execution ON deliveries (execution_id, id)",
    // However often it is asked for at once, an execution is owed one delivery at a time.
    R"(CREATE UNIQUE INDEX deliveries_pending_once ON deliveries (execution_id)
         WHERE state = 'pending')",
    R"(CREATE INDEX deliveries_open ON deliveries (state, next_attempt_unix_ms, id)
         WHERE state <> 'delivered')",
    R"(CREATE TABLE delivery_attempts (
         delivery_id TEXT NOT NULL,
         number BIGINT NOT NULL,
         started_unix_ms BIGINT NOT NULL,
         duration_ms BIGINT NOT NULL,
         status BIGINT NOT NULL,
         error TEXT NOT NULL,
         PRIMARY KEY (delivery_id, number)))",

    // `number` counts the secrets that an owner ever made.
    R"(CREATE TABLE webhook_secrets (
         owner TEXT NOT NULL,
         number BIGINT NOT NULL,
         secret TEXT NOT NULL,
         created_unix_ms BIGINT NOT NULL,
         expires_unix_ms BIGINT NOT NULL,
         PRIMARY KEY (owner, number)))",

    R"(CREATE TABLE runners (
         id TEXT NOT NULL PRIMARY KEY,
         host TEXT NOT NULL,
         slots BIGINT NOT NULL,
         busy BIGINT NOT NULL,
         started_unix_ms BIGINT NOT NULL,
         seen_unix_ms BIGINT NOT NULL,
         details TEXT NOT NULL))",
};

// A row is written two or three times, and what it was stays in the indexes until a vacuum. The
// default waits until that is a fifth of the table: the longer the history, the more of the dead
// would the queries on what is unfinished meet.
constexpr std::string_view kVersion2OnPostgres[] = {
    "ALTER TABLE executions SET"
    " (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 10000)",
    "ALTER TABLE deliveries SET"
    " (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 10000)",
};

constexpr Migration kMigrations[] = {
    {1, kVersion1, {}},
    {2, kVersion2, kVersion2OnPostgres},
};

Result<void> Run(Connection& connection, const Migration& migration,
                 std::span<const std::string_view> statements) {
  for (const std::string_view statement : statements) {
    const Result<Rows> applied = connection.Execute(statement);
    if (!applied) {
      return Fail(applied.error().code, "migration " + std::to_string(migration.version) + ": " +
                                            applied.error().message);
    }
  }
  return {};
}

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
    Result<void> run = Run(connection, migration, migration.statements);
    if (run && connection.product() == Connection::Product::kPostgres) {
      run = Run(connection, migration, migration.on_postgres);
    }
    if (!run) return run;
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
