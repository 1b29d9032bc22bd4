// The contracts on PostgreSQL, and what is its own: migrations by many at once, query plans, the
// wire, and what it says when it refuses.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <pqxx/pqxx>
#include <string>
#include <thread>
#include <vector>

#include "schema/json.h"
#include "store/acceptance_sql.h"
#include "store/audit_sql.h"
#include "store/delivery_sql.h"
#include "store/execution_sql.h"
#include "store/history_sql.h"
#include "store/key_sql.h"
#include "store/migrations.h"
#include "store/postgres_database.h"
#include "store/sql_store.h"
#include "store/store_contract.h"
#include "store/usage_sql.h"
#include "tests/servers/postgres/private_postgres.h"

namespace forkbox::store {
namespace {

using testing::HasSubstr;
using testing::Not;
using tests::PrivatePostgres;

// One for all tests.
PrivatePostgres& Server() {
  static PrivatePostgres server;
  return server;
}

std::unique_ptr<Store> Open(const std::string& url) {
  auto opened = OpenStore(url, Log::Null());
  EXPECT_TRUE(opened.has_value()) << opened.error().message;
  FORKBOX_CHECK(opened.has_value());
  return std::move(*opened);
}

Error OpenError(const std::string& url) {
  const auto opened = OpenStore(url, Log::Null());
  return opened ? Error{ErrorCode::kInternal, "opened"} : opened.error();
}

// With another library than the store's. OPEN stands for `open`.
pqxx::result Query(const std::string& url, std::string sql, const std::string& open = "") {
  for (std::size_t at; (at = sql.find("OPEN")) != std::string::npos;) sql.replace(at, 4, open);
  pqxx::connection connection(url);
  return pqxx::nontransaction(connection).exec(sql);
}

class PostgresUnderTest final : public StoreUnderTest {
 public:
  PostgresUnderTest() { Reopen(); }
  Store& store() override { return *store_; }
  void Reopen() override {
    store_.reset();
    store_ = OpenAnother();
  }
  std::unique_ptr<Store> OpenAnother() override { return Open(url_); }

 private:
  const std::string url_ = Server().NewDatabase();
  std::unique_ptr<Store> store_;
};

INSTANTIATE_STORE_CONTRACTS(Postgres, [] { return std::make_unique<PostgresUnderTest>(); });

TEST(PostgresMigrateTest, ManyMayStartAtOnceOnAnEmptyDatabase) {
  const std::string url = Server().NewDatabase();
  std::atomic<int> inserted = 0;
  std::vector<std::thread> processes;
  for (int i = 0; i < 8; ++i) {
    processes.emplace_back([&] {
      const std::unique_ptr<Store> store = Open(url);
      inserted += store->executions().Insert(NewExecution()).has_value() ? 1 : 0;
    });
  }
  for (auto& process : processes) process.join();
  EXPECT_EQ(inserted, 8);
  EXPECT_EQ(Query(url, "SELECT COUNT(*) FROM executions")[0][0].as<int>(), 8);
  EXPECT_EQ(Query(url, "SELECT COUNT(*) FROM schema_migrations")[0][0].as<std::size_t>(),
            Migrations().size());
}

TEST(PostgresMigrateTest, RefusesALaterSchema) {
  const std::string url = Server().NewDatabase();
  Open(url);
  Query(url, "INSERT INTO schema_migrations VALUES (999, 0)");
  EXPECT_THAT(OpenError(url).message, HasSubstr("schema version 999, this program knows"));
  EXPECT_THAT(OpenError(url).message, HasSubstr("database 127.0.0.1:"));
}

// Rows of the version before lists are in them, whatever their requests hold.
TEST(PostgresMigrateTest, RowsOfTheSecondVersionAreListed) {
  const std::string url = Server().NewDatabase();
  const schema::Execution done = NewExecution(std::string("a\0\"language\":\"go\"", 18), 7'000);
  const schema::Execution waiting = NewExecution("b", 8'000);
  {
    auto database = PostgresDatabase::Open(url);
    auto connection = (*database)->Connect(Access::kWrite);
    ASSERT_TRUE(Migrate(**connection, Migrations().first(2), 1).has_value());
    const auto insert = [&](const schema::Execution& execution, std::string_view state,
                            Param finished, Param outcome) {
      const Result<Rows> inserted =
          (*connection)
              ->Execute(
                  "INSERT INTO executions (id, owner, state, attempts, runner, "
                  "claim_expires_unix_ms,"
                  " created_unix_ms, finished_unix_ms, request, outcome)"
                  " VALUES ($1, $2, $3, 0, '', 0, $4, $5, $6, $7)",
                  {execution.id.str(), execution.owner.str(), state, execution.created_unix_ms,
                   finished, schema::DumpJson(schema::ToJson(execution)), outcome});
      ASSERT_TRUE(inserted.has_value()) << inserted.error().message;
    };
    insert(waiting, "queued", std::monostate(), std::monostate());
    insert(done, "completed", std::int64_t{9'000},
           schema::DumpJson(schema::ToJson(CompletedWith(""))));
  }
  const std::unique_ptr<Store> store = Open(url);
  const HistoryQuery of_python = {.owner = done.owner, .language = "python"};
  const auto listed = store->executions().ListHistory(of_python);
  ASSERT_TRUE(listed.has_value()) << listed.error().message;
  ASSERT_EQ(listed->records.size(), 2U);
  EXPECT_EQ(listed->records[0].execution.id, waiting.id);
  EXPECT_EQ(listed->records[1].execution.id, done.id);
}

TEST(PostgresMigrateTest, WhatIsDeadIsSweptBeforeItPilesUp) {
  const std::string url = Server().NewDatabase();
  Open(url);
  const pqxx::result tuned =
      Query(url,
            "SELECT COUNT(*) FROM pg_class WHERE relname IN ('executions', 'deliveries')"
            " AND 'autovacuum_vacuum_scale_factor=0.02' = ANY (reloptions)");
  EXPECT_EQ(tuned[0][0].as<int>(), 2);
}

TEST(PostgresMigrateTest, EverythingIsInTheSchemaThatTheUrlNames) {
  const std::string url = Server().NewDatabase();
  const std::string ours = url + "?options=-csearch_path%3Dours";
  EXPECT_THAT(OpenError(ours).message, HasSubstr("no schema has been selected"));
  Query(url, "CREATE SCHEMA ours");
  EXPECT_TRUE(Open(ours)->executions().Insert(NewExecution()).has_value());
  EXPECT_EQ(Query(url, "SELECT COUNT(*) FROM ours.executions")[0][0].as<int>(), 1);
  EXPECT_EQ(
      Query(url, "SELECT COUNT(*) FROM pg_tables WHERE schemaname = 'public'")[0][0].as<int>(), 0);
}

// The plan that a session keeps: made without regard to the parameters.
std::string GenericPlan(Connection& connection, std::string_view sql,
                        const std::vector<Param>& params) {
  std::string types;
  std::string values;
  for (const Param& param : params) {
    const auto* number = std::get_if<std::int64_t>(&param);
    types += std::string(types.empty() ? "(" : ", ") + (number != nullptr ? "bigint" : "text");
    values += values.empty() ? "(" : ", ";
    values += number != nullptr ? std::to_string(*number)
                                : "'" + std::string(std::get<std::string_view>(param)) + "'";
  }
  const std::string close = params.empty() ? "" : ")";
  std::string plan;
  for (const std::string& statement :
       {std::string("SET plan_cache_mode = force_generic_plan"),
        "PREPARE planned " + types + close + " AS " + std::string(sql),
        "EXPLAIN EXECUTE planned " + values + close, std::string("DEALLOCATE planned")}) {
    const Result<Rows> rows = connection.Execute(statement);
    if (!rows) return "failed: " + rows.error().message;
    for (const auto& row : rows->rows) plan += std::string(row[0].text()) + "\n";
  }
  return plan;
}

// PostgreSQL plans by what it last knew of the tables, and may be wrong by a whole backlog.
class PostgresPlanTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    Open(url_);
    const std::string moment = GetParam();
    if (moment == "Fresh") return;
    // 50,000 executions, of which 1,000 wait and 10 run; 40,000 deliveries, of which 100 are
    // pending. When idle, none.
    const std::string open = moment == "Idle" ? "0" : "1";
    Query(url_, R"(
      INSERT INTO executions (id, owner, state, attempts, runner, claim_expires_unix_ms,
          created_unix_ms, finished_unix_ms, request, lane, dispatched_unix_ms, language,
          open_owner, ended_owner, ended_language)
        SELECT 'id-' || i, 'owner-' || i % 100,
          CASE WHEN i > 1000 * OPEN THEN 'completed' WHEN i > 10 THEN 'queued' ELSE 'running' END,
          1, 'r', i, i, CASE WHEN i > 1000 * OPEN THEN i END, '{}', 'interactive', i, 'python',
          CASE WHEN i <= 1000 * OPEN THEN 'owner-' || i % 100 END,
          CASE WHEN i > 1000 * OPEN THEN 'owner-' || i % 100 END,
          CASE WHEN i > 1000 * OPEN THEN 'python owner-' || i % 100 END
        FROM generate_series(1, 50000) AS i)",
          open);
    Query(url_, R"(
      INSERT INTO deliveries
        SELECT 'id-' || i, 'id-' || i, 'owner', 'https://x',
          CASE WHEN i > 100 * OPEN THEN 'delivered' ELSE 'pending' END, 1, '', 0, i, i, i, ''
        FROM generate_series(1, 40000) AS i)",
          open);
    Query(url_, "VACUUM ANALYZE");
  }

  const std::string url_ = Server().NewDatabase();
};

INSTANTIATE_TEST_SUITE_P(Moments, PostgresPlanTest, testing::Values("Fresh", "Idle", "Busy"),
                         [](const auto& test) { return test.param; });

TEST_P(PostgresPlanTest, NothingGrowsWithHistoryOrBacklog) {
  const std::int64_t n = 1;
  const std::int64_t late = 100'000;
  const struct {
    std::string_view sql;
    std::vector<Param> params;
    const char* index;
  } statements[] = {
      {sql::kClaim, {"id-1", "r", n, n, n}, "executions_pkey"},
      {sql::kGiveUp, {"id-1", n, n, "{}"}, "executions_pkey"},
      {sql::kRelease, {"id-1", "r"}, "executions_pkey"},
      {sql::kFinish, {"id-1", "error", n, "{}"}, "executions_pkey"},
      {sql::kGet, {"id-1"}, "executions_pkey"},
      {sql::kGetHead, {"id-1"}, "executions_pkey"},
      {sql::kNoteDispatch, {"id-1", n, n}, "executions_pkey"},
      {sql::kUndispatched, {"interactive", late, late, n}, "executions_unfinished"},
      {sql::kRenewClaims, {"r", n}, "executions_unfinished"},
      {sql::kVoidClaims, {"r"}, "executions_unfinished"},
      {sql::kCountUnfinished, {}, "executions_unfinished"},
      {sql::kChangedSince, {"owner-1", "native", "id-4", n, n}, "executions_by_owner"},
      {sql::kClaimDue, {"s", late, late, n}, "deliveries_open"},
      {sql::kClaimDue, {"s", late, late, n}, "deliveries_pkey"},
      {sql::kEndClaim, {"id-1", "s", n, "dead", n, n}, "deliveries_pkey"},
      {sql::kReleaseDelivery, {"id-1", "s"}, "deliveries_pkey"},
      {sql::kCountDeliveries, {}, "deliveries_open"},
      {sql::kDeliveriesOf, {"id-1", n}, "deliveries_by_execution"},
      {sql::kAttemptsOf, {"id-1"}, "delivery_attempts_pkey"},
  };
  auto database = PostgresDatabase::Open(url_);
  auto connection = (*database)->Connect(Access::kWrite);
  for (const auto& [text, params, index] : statements) {
    const std::string plan = GenericPlan(**connection, text, params);
    EXPECT_THAT(plan, HasSubstr(index)) << text << "\n" << plan;
    EXPECT_THAT(plan, Not(HasSubstr("Seq Scan"))) << text << "\n" << plan;
  }
}

// Lists, limits and retention: each by its index, whatever the history holds.
TEST_P(PostgresPlanTest, WhatIsOldCostsNothing) {
  const std::int64_t n = 1;
  const std::vector<Param> list = {"o", n,  n,  "id", n,        "completed",
                                   "",  "", "", "",   "queued", "running"};
  const auto with = [&](std::initializer_list<Param> more) {
    std::vector<Param> params = list;
    params.insert(params.end(), more);
    return params;
  };
  const std::vector<Param> accept = {"id", "o", n, "{}", "l", "d", "", "python",
                                     "k",  "",  n, n,    n,   n,   n,  "idem"};
  const struct {
    std::string_view sql;
    std::vector<Param> params;
    std::vector<const char*> conditions;
  } statements[] = {
      {sql::kAccept,
       accept,
       {"executions_at_once", "END = $2)", "(minute = $11)", "(month = $13)"}},
      {sql::kStanding, {n, "k", n, "o", n, "idem"}, {"executions_at_once", "END = $4)"}},
      {sql::kNoteUsage, {"id", "error", n, n}, {"executions_pkey", "(id = $1)"}},
      {sql::kCountMinute, {"id", n, "k"}, {"executions_pkey"}},
      {sql::ListHistory(),
       with({n, n}),
       {"executions_ended ", "executions_open ", "(ended_owner = $1) AND (state = $6)",
        "ROW(created_unix_ms, id) < ROW($3, $4)"}},
      {sql::ListHistoryOfLanguage(),
       with({n, n, "o", "python"}),
       {"executions_ended_by_language ", "(ended_language = $1) AND (state = $6)"}},
      {sql::CountHistory(), with({n}), {"executions_ended ", "(ended_owner = $1)"}},
      {sql::GetMany(), std::vector<Param>(sql::kRecordsAtOnce, Param("id")), {"executions_pkey"}},
      {sql::kFinishedBefore, {"a", "b", n, n}, {"executions_pkey", "(id > $1) AND (id < $2)"}},
      {sql::kNextOwner, {"a"}, {"executions_ended "}},
      {sql::kForget, {"id"}, {"executions_pkey"}},
      {sql::kForgetAttempts,
       {"id"},
       {"deliveries_by_execution", "(execution_id = $1)", "(delivery_id >= "}},
      {sql::kForgetDeliveries, {"id"}, {"deliveries_by_execution", "(execution_id = $1)"}},
      {sql::kForgetIdempotencyKey, {"id"}, {"(execution_id = $1)"}},
      {sql::kSummarizeUsage, {"o", n, n, n}, {"usage_by_owner", "(owner = $1)"}},
      {sql::kListUsage, {"o", n, n}, {"usage_by_owner", "(owner = $1)"}},
      {sql::kForgetUsage, {n, "id", n}, {"(execution_id < $2)"}},
      {sql::kListAudit, {"o", n, n}, {"audit_by_owner", "(owner = $1)"}},
      {sql::kForgetAudit, {n, n}, {"(time_unix_ms < $1)"}},
      {sql::kKeyByDigest, {"d"}, {"(digest = $1)"}},
      {sql::kListKeys, {"o", n}, {"api_keys_by_owner"}},
      {sql::kKeysChangedSince, {n}, {"api_keys_changed"}},
  };
  auto database = PostgresDatabase::Open(url_);
  auto connection = (*database)->Connect(Access::kWrite);
  for (const auto& [text, params, conditions] : statements) {
    std::string plan = GenericPlan(**connection, text, params);
    for (std::size_t at; (at = plan.find("::text")) != std::string::npos;) plan.erase(at, 6);
    for (const char* const condition : conditions) {
      EXPECT_THAT(plan, HasSubstr(condition)) << text << "\n" << plan;
    }
    EXPECT_THAT(plan, Not(HasSubstr("Seq Scan"))) << text << "\n" << plan;
  }
}

class PostgresDatabaseTest : public testing::Test {
 protected:
  PostgresDatabaseTest() {
    auto opened = PostgresDatabase::Open(url_);
    FORKBOX_CHECK(opened.has_value());
    database_ = std::move(*opened);
    connection_ = Connect(Access::kWrite);
  }
  std::unique_ptr<Connection> Connect(Access access) {
    auto connection = database_->Connect(access);
    FORKBOX_CHECK(connection.has_value());
    return std::move(*connection);
  }
  std::string Show(const std::string& setting) {
    const Result<Rows> rows = connection_->Execute("SHOW " + setting);
    return rows ? std::string(rows->rows.at(0).at(0).text()) : rows.error().message;
  }

  const std::string url_ = Server().NewDatabase();
  std::unique_ptr<PostgresDatabase> database_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(PostgresDatabaseTest, ValuesComeBackAsTheyWent) {
  const std::string text = "'; DROP TABLE a; -- $1 \\ \xF0\x9F\x98\x80";
  const std::int64_t least = std::numeric_limits<std::int64_t>::min();
  const Result<Rows> rows =
      connection_->Execute("SELECT $2::text, $1::bigint, $2::text, $3::text, $4::text",
                           {least, text, std::monostate(), std::string_view()});
  ASSERT_TRUE(rows.has_value()) << rows.error().message;
  const std::vector<Cell>& row = rows->rows.at(0);
  EXPECT_EQ(row[0].text(), text);
  EXPECT_EQ(row[1].number(), least);
  EXPECT_EQ(row[2].text(), text);
  EXPECT_TRUE(row[3].null());
  EXPECT_FALSE(row[4].null());
  EXPECT_EQ(row[4].text(), "");
}

// What no caller should send: an error, and not a text that ends early.
TEST_F(PostgresDatabaseTest, WhatIsNoTextIsRefusedAndNotQuoted) {
  for (const std::string& text : {std::string("secret\0", 7), std::string("secret\xFF")}) {
    const Result<Rows> rows = connection_->Execute("SELECT $1::text", {text});
    ASSERT_FALSE(rows.has_value());
    EXPECT_EQ(rows.error().code, ErrorCode::kInternal);
    EXPECT_THAT(rows.error().message, HasSubstr("(22021)"));
    EXPECT_THAT(rows.error().message, Not(HasSubstr("secret")));
  }
  EXPECT_TRUE(connection_->Execute("SELECT 1").has_value());
}

TEST_F(PostgresDatabaseTest, AViolatedConstraintIsAConflictAndNotQuoted) {
  ASSERT_TRUE(connection_->Execute("CREATE TABLE a (x TEXT PRIMARY KEY)").has_value());
  ASSERT_TRUE(connection_->Execute("INSERT INTO a VALUES ($1)", {"secret"}).has_value());
  const Result<Rows> again = connection_->Execute("INSERT INTO a VALUES ($1)", {"secret"});
  EXPECT_EQ(again.error().code, ErrorCode::kConflict);
  EXPECT_THAT(again.error().message, Not(HasSubstr("secret")));
}

TEST_F(PostgresDatabaseTest, AConnectionForReadingDoesNotWrite) {
  const Result<Rows> written = Connect(Access::kRead)->Execute("CREATE TABLE a (x BIGINT)");
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code, ErrorCode::kUnavailable);
}

TEST_F(PostgresDatabaseTest, TheFirstErrorIsThatOfThemAllAndNothingIsKept) {
  ASSERT_TRUE(connection_->Execute("CREATE TABLE a (x BIGINT PRIMARY KEY)").has_value());
  const Param one[] = {std::int64_t{1}};
  const Param two[] = {std::int64_t{2}};
  constexpr std::string_view kInsert = "INSERT INTO a VALUES ($1)";
  const Statement statements[] = {{kInsert, one}, {kInsert, one}, {kInsert, two}};
  for (const bool commit : {false, true}) {
    ASSERT_TRUE(connection_->Begin(Durability::kPowerCut).has_value());
    const Result<std::vector<Rows>> ran =
        commit ? connection_->ExecuteAllAndCommit(statements) : connection_->ExecuteAll(statements);
    ASSERT_FALSE(ran.has_value());
    EXPECT_EQ(ran.error().code, ErrorCode::kConflict);
    connection_->Rollback();
    EXPECT_EQ(connection_->Execute("SELECT COUNT(*) FROM a")->rows.at(0).at(0).number(), 0);
  }
  ASSERT_TRUE(connection_->Begin(Durability::kPowerCut).has_value());
  ASSERT_TRUE(connection_->ExecuteAll(std::span(statements, 1)).has_value());
  EXPECT_EQ(Query(url_, "SELECT COUNT(*) FROM a")[0][0].as<int>(), 0);
  ASSERT_TRUE(connection_->Commit().has_value());
  EXPECT_EQ(Query(url_, "SELECT COUNT(*) FROM a")[0][0].as<int>(), 1);
}

TEST_F(PostgresDatabaseTest, OnlyWhatNeedNotSurviveAPowerCutSkipsTheDisk) {
  ASSERT_TRUE(connection_->Begin(Durability::kProcessCrash).has_value());
  EXPECT_EQ(Show("synchronous_commit"), "off");
  ASSERT_TRUE(connection_->Commit().has_value());
  ASSERT_TRUE(connection_->Begin(Durability::kPowerCut).has_value());
  EXPECT_EQ(Show("synchronous_commit"), "on");
  connection_->Rollback();
  EXPECT_EQ(Show("statement_timeout"), "10s");
}

// In a snapshot, a claim would fail where another was quicker, and a migration see the old version.
TEST_F(PostgresDatabaseTest, NoSnapshotIsKeptWhateverTheServersDefault) {
  auto strict =
      PostgresDatabase::Open(url_ + "?options=-cdefault_transaction_isolation%3Dserializable");
  database_ = std::move(*strict);
  connection_ = Connect(Access::kWrite);
  EXPECT_EQ(Show("transaction_isolation"), "read committed");
}

// More than any buffer in between holds, in both directions at once.
TEST_F(PostgresDatabaseTest, ALargeBatchDoesNotBlockItself) {
  const std::string megabyte(1U << 20, 'x');
  const Param params[] = {std::string_view(megabyte)};
  const std::vector<Statement> statements(50, Statement{"SELECT $1::text", params});
  ASSERT_TRUE(connection_->Begin(Durability::kPowerCut).has_value());
  const Result<std::vector<Rows>> ran = connection_->ExecuteAllAndCommit(statements);
  ASSERT_TRUE(ran.has_value()) << ran.error().message;
  for (const Rows& rows : *ran) EXPECT_EQ(rows.rows.at(0).at(0).text().size(), megabyte.size());
}

TEST(PostgresRefusalTest, NeverQuotesThePassword) {
  const std::pair<std::string, ErrorCode> cases[] = {
      {"postgres://user:s3cret@127.0.0.1:1/db", ErrorCode::kUnavailable},
      {"postgres://127.0.0.1:1/db?password=s3cret", ErrorCode::kUnavailable},
      {"postgresql://user:s3cret@/db?host=/nonexistent", ErrorCode::kUnavailable},
      {"postgres://user:a@s3cret@127.0.0.1:1/db", ErrorCode::kInvalidArgument},
      {"postgres://user:a/s3cret@127.0.0.1:1/db", ErrorCode::kInvalidArgument},
      {"postgres://user:a?s3cret@127.0.0.1:1/db", ErrorCode::kInvalidArgument},
      {"postgres://127.0.0.1:1/db?s3cret=1", ErrorCode::kInvalidArgument},
      {"postgres://user:%zzs3cret@127.0.0.1:1/db", ErrorCode::kInvalidArgument},
      {"postgres:user=s3cret", ErrorCode::kInvalidArgument},
      {std::string("postgres://user:s3cret@127.0.0.1:1/db\0", 38), ErrorCode::kInvalidArgument}};
  for (const auto& [url, code] : cases) {
    EXPECT_EQ(OpenError(url).code, code) << url << ": " << OpenError(url).message;
    EXPECT_THAT(OpenError(url).message, Not(HasSubstr("s3cret"))) << url;
  }
  EXPECT_THAT(OpenError(cases[0].first).message, HasSubstr("database 127.0.0.1:1/db: "));
}

TEST(PostgresRefusalTest, SaysWhatIsMissing) {
  const std::string url = Server().NewDatabase();
  Query(url, "CREATE ROLE full_up LOGIN CONNECTION LIMIT 0");
  Query(url, "CREATE ROLE stranger LOGIN");
  const auto as = [&](const std::string& role) {
    return std::string(url).replace(url.find("forkbox@"), 7, role);
  };
  EXPECT_EQ(OpenError(as("full_up")).code, ErrorCode::kUnavailable);
  EXPECT_THAT(OpenError(as("full_up")).message, HasSubstr("too many connections"));
  EXPECT_EQ(OpenError(as("stranger")).code, ErrorCode::kInternal);
  EXPECT_THAT(OpenError(as("stranger")).message, HasSubstr("permission denied"));
  EXPECT_THAT(OpenError(url + "x").message, HasSubstr("does not exist"));
}

}  // namespace
}  // namespace forkbox::store
