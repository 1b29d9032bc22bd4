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

// Of an execution's owner there are three copies, each for one index and NULL while the row is not
// to be in it. PostgreSQL keeps plans that know no values: when one owner, one language or one
// state is all it ever saw, every index that can be used looks as good as the right one. So each
// query names the column that only its own index has.
constexpr std::string_view kVersion3[] = {
    "ALTER TABLE executions ADD COLUMN language TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE executions ADD COLUMN key_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE executions ADD COLUMN idempotency_key TEXT NOT NULL DEFAULT ''",
    // 0 unless the tables of what was accepted count it, see store/acceptance_sql.h.
    "ALTER TABLE executions ADD COLUMN counted BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE executions ADD COLUMN open_owner TEXT",      // until it is finished
    "ALTER TABLE executions ADD COLUMN ended_owner TEXT",     // from then on, if it is listed
    "ALTER TABLE executions ADD COLUMN ended_language TEXT",  // likewise, behind its language
    R"(CREATE TABLE api_keys (
         id TEXT NOT NULL PRIMARY KEY,
         digest TEXT NOT NULL UNIQUE,
         owner TEXT NOT NULL,
         name TEXT NOT NULL,
         description TEXT NOT NULL,
         prefix TEXT NOT NULL,
         full_access BIGINT NOT NULL,
         execute_only BIGINT NOT NULL,
         read_only BIGINT NOT NULL,
         enabled BIGINT NOT NULL,
         created_unix_ms BIGINT NOT NULL,
         expires_unix_ms BIGINT NOT NULL,
         last_used_unix_ms BIGINT NOT NULL,
         revoked_unix_ms BIGINT NOT NULL,
         rotated_to TEXT NOT NULL,
         changed_unix_ms BIGINT NOT NULL))",
    "CREATE INDEX api_keys_by_owner ON api_keys (owner, created_unix_ms, id)",
    "CREATE INDEX api_keys_changed ON api_keys (changed_unix_ms)",
    R"(CREATE TABLE account_limits (
         owner TEXT NOT NULL PRIMARY KEY,
         executions_per_minute BIGINT NOT NULL,
         concurrency BIGINT NOT NULL,
         monthly_quota BIGINT NOT NULL,
         changed_unix_ms BIGINT NOT NULL))",

    // Minutes since 1970, and months since the year 0: first, for they are forgotten in their
    // order.
    R"(CREATE TABLE accepted_by_minute (
         minute BIGINT NOT NULL,
         key_id TEXT NOT NULL,
         n BIGINT NOT NULL,
         PRIMARY KEY (minute, key_id)))",
    R"(CREATE TABLE accepted_by_month (
         month BIGINT NOT NULL,
         owner TEXT NOT NULL,
         n BIGINT NOT NULL,
         PRIMARY KEY (month, owner)))",
    R"(CREATE TABLE idempotency_keys (
         owner TEXT NOT NULL,
         idempotency_key TEXT NOT NULL,
         execution_id TEXT NOT NULL,
         request_digest TEXT NOT NULL,
         PRIMARY KEY (owner, idempotency_key)))",
    "CREATE INDEX idempotency_by_execution ON idempotency_keys (execution_id)",

    R"(CREATE TABLE usage_records (
         execution_id TEXT NOT NULL PRIMARY KEY,
         owner TEXT NOT NULL,
         key_id TEXT NOT NULL,
         language TEXT NOT NULL,
         state TEXT NOT NULL,
         finished_unix_ms BIGINT NOT NULL,
         exec_ms BIGINT NOT NULL))",
    // The last columns are there so that the index alone answers.
    R"(CREATE INDEX usage_by_owner
         ON usage_records (owner, finished_unix_ms, language, state, exec_ms))",
    R"(CREATE TABLE audit_log (
         time_unix_ms BIGINT NOT NULL,
         id TEXT NOT NULL,
         owner TEXT NOT NULL,
         key_id TEXT NOT NULL,
         action TEXT NOT NULL,
         target TEXT NOT NULL,
         client_address TEXT NOT NULL,
         request_id TEXT NOT NULL,
         PRIMARY KEY (time_unix_ms, id)))",
    "CREATE INDEX audit_by_owner ON audit_log (owner, time_unix_ms, id)",
};

// The language of the rows that are there stands in their requests, for which each product has its
// own words: PostgreSQL's for JSON refuse a request with \u0000 anywhere in it. Nothing that could
// hold the same words stands before the language in a request. Each row is written once; the
// indexes come after it.
constexpr std::string_view kVersion3OnPostgres[] = {
    "UPDATE executions SET language = COALESCE(substring(request from '\"language\":\"([^\" "
    "]*)\"'), ''),"
    " open_owner = CASE WHEN finished_unix_ms IS NULL THEN owner END,"
    " ended_owner = CASE WHEN finished_unix_ms IS NOT NULL THEN owner END,"
    " ended_language = CASE WHEN finished_unix_ms IS NOT NULL"
    " THEN COALESCE(substring(request from '\"language\":\"([^\" ]*)\"'), '') || ' ' || owner END",
    "CREATE INDEX executions_open ON executions (open_owner, created_unix_ms, id)"
    " WHERE open_owner IS NOT NULL",
    "CREATE INDEX executions_ended ON executions (ended_owner, state, created_unix_ms, id)"
    " WHERE ended_owner IS NOT NULL",
    "CREATE INDEX executions_ended_by_language"
    " ON executions (ended_language, state, created_unix_ms, id) WHERE ended_language IS NOT NULL",
};
constexpr std::string_view kVersion3OnSqlite[] = {
    "UPDATE executions SET language = COALESCE(CASE WHEN json_valid(request) THEN "
    "json_extract(request, '$.language') END, ''),"
    " open_owner = CASE WHEN finished_unix_ms IS NULL THEN owner END,"
    " ended_owner = CASE WHEN finished_unix_ms IS NOT NULL THEN owner END,"
    " ended_language = CASE WHEN finished_unix_ms IS NOT NULL"
    " THEN COALESCE(CASE WHEN json_valid(request) THEN json_extract(request, '$.language') END, "
    "'') || ' ' || owner END",
    kVersion3OnPostgres[1],
    kVersion3OnPostgres[2],
    kVersion3OnPostgres[3],
};

// What counts against an account's concurrency (store/acceptance_sql.h, the same words): an index
// that nothing else can use, and that work which waits in the background is not in.
constexpr std::string_view kVersion4[] = {
    "CREATE INDEX executions_at_once ON executions"
    " ((CASE WHEN lane = 'interactive' OR state = 'running' THEN open_owner END))"
    " WHERE (CASE WHEN lane = 'interactive' OR state = 'running' THEN open_owner END) IS NOT NULL",
};

// A long request again, without its source: what answers need of it. "" is none.
constexpr std::string_view kVersion5[] = {
    "ALTER TABLE executions ADD COLUMN request_head TEXT NOT NULL DEFAULT ''",
};

// A sandbox's expiry is 0 when it never expires. Its labels are its metadata again, one "key=value" a
// row, for lists that filter by them.
constexpr std::string_view kVersion6[] = {
    R"(CREATE TABLE sandboxes (
         id TEXT NOT NULL PRIMARY KEY,
         owner TEXT NOT NULL,
         runner TEXT NOT NULL,
         address TEXT NOT NULL,
         token TEXT NOT NULL,
         state TEXT NOT NULL,
         reason TEXT NOT NULL,
         message TEXT NOT NULL,
         metadata TEXT NOT NULL,
         created_unix_ms BIGINT NOT NULL,
         changed_unix_ms BIGINT NOT NULL,
         expires_unix_ms BIGINT NOT NULL,
         request TEXT NOT NULL))",
    "CREATE INDEX sandboxes_by_owner ON sandboxes (owner, created_unix_ms, id)",
    "CREATE INDEX sandboxes_by_age ON sandboxes (created_unix_ms, id)",
    // Small whatever the history.
    "CREATE INDEX sandboxes_live ON sandboxes (runner)"
    " WHERE state <> 'Terminated' AND state <> 'Failed'",
    "CREATE TABLE sandbox_labels (sandbox_id TEXT NOT NULL, label TEXT NOT NULL,"
    " PRIMARY KEY (sandbox_id, label))",
    "CREATE INDEX sandbox_labels_by_label ON sandbox_labels (label, sandbox_id)",
};

constexpr Migration kMigrations[] = {
    {1, kVersion1, {}},
    {2, kVersion2, kVersion2OnPostgres},
    {3, kVersion3, kVersion3OnPostgres, kVersion3OnSqlite},
    {4, kVersion4, {}},
    {5, kVersion5, {}},
    {6, kVersion6, {}},
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
    if (run) {
      const bool postgres = connection.product() == Connection::Product::kPostgres;
      run = Run(connection, migration, postgres ? migration.on_postgres : migration.on_sqlite);
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
