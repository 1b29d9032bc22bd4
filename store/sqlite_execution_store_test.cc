// The contract on SQLite, and what is SQLite's own: crashes, damage, full disks, query plans, and
// how many commits the writes take.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <fstream>
#include <future>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "base/uuid.h"
#include "store/execution_sql.h"
#include "store/execution_store_contract.h"
#include "store/migrations.h"
#include "store/open_execution_store.h"
#include "store/sql_execution_store.h"
#include "store/sqlite_database.h"
#include "store/testing_directory.h"

namespace forkbox::store {
namespace {

using schema::Execution;
using schema::ExecutionId;
using testing::HasSubstr;
using testing::Not;

std::string Url(const TestDirectory& directory) {
  return "sqlite:" + directory.File("forkbox.db").string();
}

class SqliteUnderTest final : public StoreUnderTest {
 public:
  SqliteUnderTest() { Reopen(); }
  ExecutionStore& store() override { return *store_; }
  void Reopen() override {
    store_.reset();
    auto opened = OpenExecutionStore(Url(directory_), Log::Null());
    FORKBOX_CHECK(opened.has_value());
    store_ = std::move(*opened);
  }

 private:
  const TestDirectory directory_;
  std::unique_ptr<ExecutionStore> store_;
};

INSTANTIATE_TEST_SUITE_P(Sqlite, ExecutionStoreContract,
                         testing::Values(StoreFactory{
                             "File", [] { return std::make_unique<SqliteUnderTest>(); }}),
                         StoreFactory::Name);

// A Database that counts commits, and can hold the writer or fail a statement.
class Watched {
 public:
  std::atomic<int> commits = 0;
  std::atomic<int> durable_commits = 0;
  std::atomic<bool> fail_begin = false;
  std::string poison;  // a statement with this text as a parameter fails

  void Hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void LetGo() {
    {
      const std::lock_guard lock(mutex_);
      held_ = false;
    }
    changed_.notify_all();
  }
  void WaitUntilWriterWaits() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_; });
  }
  void Pass() {
    std::unique_lock lock(mutex_);
    waiting_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !held_; });
    waiting_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool held_ = false;
  bool waiting_ = false;
};

class WatchedConnection final : public Connection {
 public:
  WatchedConnection(std::unique_ptr<Connection> inner, Watched& watched)
      : inner_(std::move(inner)), watched_(watched) {}

  Result<Rows> Execute(std::string_view sql, std::span<const Param> params) override {
    for (const Param& param : params) {
      const auto* text = std::get_if<std::string_view>(&param);
      if (text != nullptr && !watched_.poison.empty() && *text == watched_.poison) {
        return Fail(ErrorCode::kInternal, "poisoned");
      }
    }
    return inner_->Execute(sql, params);
  }
  Result<void> Begin(Durability durability) override {
    durability_ = durability;
    watched_.Pass();
    if (watched_.fail_begin) return Fail(ErrorCode::kUnavailable, "away");
    return inner_->Begin(durability);
  }
  Result<void> BeginMigration() override { return inner_->BeginMigration(); }
  Result<void> Commit() override {
    ++watched_.commits;
    if (durability_ == Durability::kPowerCut) ++watched_.durable_commits;
    return inner_->Commit();
  }
  void Rollback() override { inner_->Rollback(); }

 private:
  const std::unique_ptr<Connection> inner_;
  Watched& watched_;
  Durability durability_ = Durability::kPowerCut;
};

class WatchedDatabase final : public Database {
 public:
  WatchedDatabase(std::unique_ptr<Database> inner, Watched& watched)
      : inner_(std::move(inner)), watched_(watched) {}
  Result<std::unique_ptr<Connection>> Connect(Access access) override {
    Result<std::unique_ptr<Connection>> connection = inner_->Connect(access);
    if (!connection) return connection;
    return std::unique_ptr<Connection>(
        std::make_unique<WatchedConnection>(std::move(*connection), watched_));
  }

 private:
  const std::unique_ptr<Database> inner_;
  Watched& watched_;
};

class WatchedStoreTest : public testing::Test {
 protected:
  WatchedStoreTest() {
    auto database = SqliteDatabase::Open(directory_.File("forkbox.db"));
    FORKBOX_CHECK(database.has_value());
    auto store = SqlExecutionStore::Open(
        std::make_unique<WatchedDatabase>(std::move(*database), watched_), Log::Null());
    FORKBOX_CHECK(store.has_value());
    store_ = std::move(*store);
    watched_.commits = 0;
    watched_.durable_commits = 0;
  }

  Watched watched_;
  TestDirectory directory_;
  std::unique_ptr<SqlExecutionStore> store_;
};

// Whatever arrives while one commit is in flight shares the next.
TEST_F(WatchedStoreTest, WritesThatArriveTogetherShareOneCommit) {
  watched_.Hold();
  std::atomic<int> inserted = 0;
  const auto count = [&](Result<void> result) { inserted += result ? 1 : 0; };
  store_->InsertAsync(NewExecution(), count);
  watched_.WaitUntilWriterWaits();
  for (int i = 0; i < 200; ++i) store_->InsertAsync(NewExecution(), count);
  watched_.LetGo();
  store_.reset();
  EXPECT_EQ(inserted, 201);
  EXPECT_EQ(watched_.commits, 2);
}

TEST_F(WatchedStoreTest, ARefusedWriteDoesNotUndoItsBatch) {
  const Execution taken = NewExecution();
  ASSERT_TRUE(store_->Insert(taken).has_value());
  watched_.commits = 0;
  watched_.Hold();
  std::atomic<int> inserted = 0;
  std::atomic<int> refused = 0;
  store_->InsertAsync(NewExecution(), [&](Result<void>) {});
  watched_.WaitUntilWriterWaits();
  for (int i = 0; i < 50; ++i) {
    store_->InsertAsync(i % 2 == 0 ? taken : NewExecution(),
                        [&](Result<void> result) { result ? ++inserted : ++refused; });
    store_->FinishAsync(ExecutionId("unknown"), CompletedWith(""), 5, [&](Result<bool> result) {
      refused += !result && result.error().code == ErrorCode::kNotFound ? 1 : 0;
    });
  }
  watched_.LetGo();
  store_.reset();
  EXPECT_EQ(inserted, 25);
  EXPECT_EQ(refused, 75);
  EXPECT_EQ(watched_.commits, 2);
}

TEST_F(WatchedStoreTest, AFailingStatementFailsAlone) {
  const Execution bad = NewExecution();
  watched_.poison = bad.id.str();
  watched_.Hold();
  std::atomic<int> inserted = 0;
  std::promise<Result<void>> failed;
  store_->InsertAsync(NewExecution(), [&](Result<void> result) { inserted += result ? 1 : 0; });
  watched_.WaitUntilWriterWaits();
  std::vector<Execution> good;
  for (int i = 0; i < 20; ++i) {
    if (i == 10) store_->InsertAsync(bad, [&](Result<void> r) { failed.set_value(std::move(r)); });
    good.push_back(NewExecution());
    store_->InsertAsync(good.back(), [&](Result<void> result) { inserted += result ? 1 : 0; });
  }
  watched_.LetGo();
  const Result<void> result = failed.get_future().get();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().message, "poisoned");
  while (inserted < 21) std::this_thread::yield();
  watched_.poison.clear();
  for (const Execution& execution : good) {
    EXPECT_TRUE(store_->Get(execution.id, std::nullopt).has_value());
  }
  EXPECT_EQ(store_->Get(bad.id, std::nullopt).error().code, ErrorCode::kNotFound);
}

TEST_F(WatchedStoreTest, ADatabaseThatIsAwayIsUnavailableAndComesBack) {
  watched_.fail_begin = true;
  const Execution execution = NewExecution();
  EXPECT_EQ(store_->Insert(execution).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(store_->Claim({execution.id, "r", 1, 2, 3}).error().code, ErrorCode::kUnavailable);
  watched_.fail_begin = false;
  EXPECT_EQ(store_->Get(execution.id, std::nullopt).error().code, ErrorCode::kNotFound);
  EXPECT_TRUE(store_->Insert(execution).has_value());
}

TEST_F(WatchedStoreTest, AClaimAloneWaitsForNoDisk) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store_->Insert(execution).has_value());
  EXPECT_EQ(watched_.durable_commits, 1);
  ASSERT_EQ(store_->Claim({execution.id, "r", 1, 2, 3}), ClaimVerdict::kClaimed);
  EXPECT_EQ(watched_.commits, 2);
  EXPECT_EQ(watched_.durable_commits, 1);
  ASSERT_EQ(store_->Finish(execution.id, CompletedWith(""), 5), true);
  EXPECT_EQ(watched_.durable_commits, 2);
}

TEST_F(WatchedStoreTest, AReadDoesNotWaitForTheWriter) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store_->Insert(execution).has_value());
  watched_.Hold();
  store_->InsertAsync(NewExecution(), [](Result<void>) {});
  watched_.WaitUntilWriterWaits();
  EXPECT_TRUE(store_->Get(execution.id, std::nullopt).has_value());
  EXPECT_TRUE(store_->Ping().has_value());
  EXPECT_EQ(store_->Unfinished(0, 10)->size(), 1U);
  watched_.LetGo();
}

// The process that writes is killed at any moment; every answer it gave must still be true.
TEST(SqliteCrashTest, WhatWasAcknowledgedSurvivesKill9) {
  for (int round = 0; round < 5; ++round) {
    const TestDirectory directory;
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    UniqueFd in(ends[0]);
    UniqueFd out(ends[1]);
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      auto opened = OpenExecutionStore(Url(directory), Log::Null());
      if (!opened) ::_exit(1);
      ExecutionStore& store = **opened;
      std::vector<std::thread> threads;
      for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&store, fd = out.get()] {
          for (;;) {
            // 'i', 'c' or 'f' and the id, written whole (less than PIPE_BUF) once it was answered.
            const Execution execution = NewExecution();
            const auto tell = [&](char what) {
              const std::string line = what + execution.id.str() + "\n";
              if (::write(fd, line.data(), line.size()) < 0) ::_exit(2);
            };
            if (!store.Insert(execution)) ::_exit(3);
            tell('i');
            if (store.Claim({execution.id, "r", 1, 9, 3}) != ClaimVerdict::kClaimed) ::_exit(4);
            tell('c');
            if (store.Finish(execution.id, CompletedWith("2\n"), 5) != true) ::_exit(5);
            tell('f');
          }
        });
      }
      for (auto& thread : threads) thread.join();
      ::_exit(6);
    }
    out.Reset();
    const auto wanted = static_cast<std::size_t>(300 + 137 * round);
    std::string said;
    std::size_t lines = 0;
    char buffer[4096];
    bool killed = false;
    for (ssize_t n = 0; (n = ::read(in.get(), buffer, sizeof buffer)) > 0;) {
      said.append(buffer, static_cast<std::size_t>(n));
      lines += static_cast<std::size_t>(std::count(buffer, buffer + n, '\n'));
      if (lines >= wanted && !killed) {
        ASSERT_EQ(::kill(child, SIGKILL), 0);
        killed = true;
      }
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "exit " << WEXITSTATUS(status);

    auto store = OpenExecutionStore(Url(directory), Log::Null());
    ASSERT_TRUE(store.has_value()) << store.error().message;
    std::size_t checked = 0;
    for (std::size_t at = 0; at + 38 <= said.size(); at += 38, ++checked) {
      const ExecutionId id(said.substr(at + 1, 36));
      const Result<ExecutionRecord> record = (*store)->Get(id, std::nullopt);
      ASSERT_TRUE(record.has_value()) << record.error().message;
      if (said[at] != 'i') {
        EXPECT_EQ(record->attempts, 1);
      }
      if (said[at] == 'f') {
        EXPECT_EQ(record->state, schema::State::kCompleted);
      }
    }
    EXPECT_GE(checked, wanted);
    // Nothing is stuck: the dead runner's claims are voided and everything unfinished is found.
    const auto counts = (*store)->CountUnfinished();
    EXPECT_EQ((*store)->VoidClaims("r"), counts->running);
    EXPECT_EQ((*store)->Unfinished(0, 1'000)->size(), counts->queued + counts->running);
  }
}

std::string Plan(Connection& connection, std::string_view sql, std::vector<Param> params) {
  const std::string explain = "EXPLAIN QUERY PLAN " + std::string(sql);
  const Result<Rows> rows = connection.Execute(explain, params);
  if (!rows) return "failed: " + rows.error().message;
  std::string plan;
  for (const auto& row : rows->rows) plan += std::string(row[3].text()) + "\n";
  return plan;
}

TEST(SqlitePlanTest, NothingGrowsWithHistoryOrBacklog) {
  const TestDirectory directory;
  auto database = SqliteDatabase::Open(directory.File("forkbox.db"));
  ASSERT_TRUE(database.has_value());
  auto connection = (*database)->Connect(Access::kWrite);
  ASSERT_TRUE(connection.has_value());
  ASSERT_TRUE(Migrate(**connection, Migrations(), 1).has_value());
  ASSERT_TRUE((*connection)->Begin(Durability::kProcessCrash).has_value());
  constexpr int kRows = 100'000;
  for (int i = 0; i < kRows; ++i) {
    const std::string id = "id-" + std::to_string(i);
    ASSERT_TRUE((*connection)
                    ->Execute(sql::kInsert, {id, "owner", std::int64_t{i}, R"({"id":"x"})"})
                    .has_value());
    if (i % 2 == 0) {
      ASSERT_TRUE((*connection)
                      ->Execute(sql::kFinish, {id, "completed", std::int64_t{9}, "{}"})
                      .has_value());
    }
  }
  ASSERT_TRUE((*connection)->Commit().has_value());

  const std::int64_t n = 1;
  const std::pair<std::string_view, std::vector<Param>> statements[] = {
      {sql::kClaim, {"id-1", "r", n, n, n}},
      {sql::kGiveUp, {"id-1", n, n, "{}"}},
      {sql::kFinishedAt, {"id-1"}},
      {sql::kRelease, {"id-1", "r"}},
      {sql::kFinish, {"id-1", "error", n, "{}"}},
      {sql::kGet, {"id-1"}},
      {sql::kGetOwned, {"id-1", "owner"}}};
  for (const auto& [text, params] : statements) {
    const std::string plan = Plan(**connection, text, params);
    EXPECT_THAT(plan, HasSubstr("(id=?)")) << text;
    EXPECT_THAT(plan, Not(HasSubstr("SCAN"))) << text << "\n" << plan;
  }
  const std::string unfinished = Plan(**connection, sql::kUnfinished, {n, n});
  EXPECT_THAT(unfinished, HasSubstr("INDEX executions_unfinished (state=?)"));
  EXPECT_THAT(unfinished, Not(HasSubstr("SCAN executions"))) << unfinished;
  EXPECT_THAT(Plan(**connection, sql::kVoidClaims, {"r"}),
              HasSubstr("INDEX executions_unfinished (state=?)"));
  EXPECT_THAT(Plan(**connection, sql::kCountUnfinished, {}),
              HasSubstr("COVERING INDEX executions_unfinished"));
  EXPECT_THAT(
      Plan(**connection, "SELECT id FROM executions WHERE owner = $1 ORDER BY id DESC", {"owner"}),
      HasSubstr("COVERING INDEX executions_by_owner (owner=?)"));
}

TEST(SqliteOpenTest, TheFileIsPrivate) {
  const TestDirectory directory;
  const std::filesystem::path file = directory.File("forkbox.db");
  const auto mode = [](const std::filesystem::path& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 0777 : 0U;
  };
  {
    auto store = OpenExecutionStore(Url(directory), Log::Null());
    ASSERT_TRUE(store.has_value()) << store.error().message;
    ASSERT_TRUE((*store)->Insert(NewExecution()).has_value());
    for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
      EXPECT_EQ(mode(entry.path()), 0600U) << entry.path();
    }
  }
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  auto store = OpenExecutionStore(Url(directory), Log::Null());
  ASSERT_TRUE(store.has_value());
  EXPECT_EQ(mode(file), 0600U);
}

TEST(SqliteOpenTest, RefusesWhatItCannotOpen) {
  const TestDirectory directory;
  const auto error = [](const std::string& url) {
    auto store = OpenExecutionStore(url, Log::Null());
    return store ? Error{ErrorCode::kInternal, "opened"} : store.error();
  };
  EXPECT_EQ(error("postgres://user:secret@host/db").code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(error("postgres://user:secret@host/db").message, Not(HasSubstr("secret")));
  EXPECT_EQ(error("sqlite:").code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(error("sqlite:/nonexistent/forkbox.db").message,
              HasSubstr("/nonexistent/forkbox.db: No such file or directory"));
  EXPECT_THAT(error("sqlite:" + directory.path().string()).message,
              HasSubstr("not a regular file"));
}

TEST(SqliteOpenTest, RefusesADamagedFile) {
  const TestDirectory directory;
  const std::filesystem::path file = directory.File("forkbox.db");
  const auto open_error = [&] {
    auto store = OpenExecutionStore(Url(directory), Log::Null());
    return store ? Error{ErrorCode::kUnavailable, "opened"} : store.error();
  };
  {
    std::ofstream(file) << std::string(10'000, 'x');
    EXPECT_EQ(open_error().code, ErrorCode::kInternal);
    EXPECT_THAT(open_error().message, HasSubstr(file.string() + ": file is not a database"));
    std::filesystem::remove(file);
  }
  {
    auto store = OpenExecutionStore(Url(directory), Log::Null());
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE((*store)->Insert(NewExecution(std::string(2'000, 'x'))).has_value());
    }
  }
  const auto size = std::filesystem::file_size(file);
  {
    const TestDirectory copy;
    std::filesystem::copy_file(file, copy.File("forkbox.db"));
    std::filesystem::resize_file(copy.File("forkbox.db"), size / 2);
    auto store = OpenExecutionStore(Url(copy), Log::Null());
    ASSERT_FALSE(store.has_value());
    EXPECT_THAT(store.error().message, HasSubstr("malformed"));
  }
  {
    std::fstream damage(file, std::ios::in | std::ios::out | std::ios::binary);
    damage.seekp(8192);
    for (std::uintmax_t i = 8192; i < size - 8192; ++i) damage.put(static_cast<char>(i * 31));
  }
  EXPECT_EQ(open_error().code, ErrorCode::kInternal);
  EXPECT_THAT(open_error().message, HasSubstr(file.string()));
}

TEST(SqliteOpenTest, SeveralMayOpenANewFileAtOnce) {
  const TestDirectory directory;
  std::vector<std::thread> threads;
  std::atomic<int> opened = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      auto store = OpenExecutionStore(Url(directory), Log::Null());
      ASSERT_TRUE(store.has_value()) << store.error().message;
      opened += (*store)->Insert(NewExecution()) ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(opened, 4);
  EXPECT_EQ((*OpenExecutionStore(Url(directory), Log::Null()))->CountUnfinished()->queued, 4U);
}

TEST(SqliteOpenTest, RefusesALaterSchema) {
  const TestDirectory directory;
  {
    auto database = SqliteDatabase::Open(directory.File("forkbox.db"));
    auto connection = (*database)->Connect(Access::kWrite);
    ASSERT_TRUE(Migrate(**connection, Migrations(), 1).has_value());
    ASSERT_TRUE(
        (*connection)->Execute("INSERT INTO schema_migrations VALUES (999, 0)").has_value());
  }
  auto store = OpenExecutionStore(Url(directory), Log::Null());
  ASSERT_FALSE(store.has_value());
  EXPECT_THAT(store.error().message, HasSubstr("schema version 999, this program knows"));
  EXPECT_THAT(store.error().message, HasSubstr("forkbox.db"));
}

TEST(MigrateTest, GoesForwardWholeOrNotAtAll) {
  const TestDirectory directory;
  auto database = SqliteDatabase::Open(directory.File("forkbox.db"));
  auto connection = (*database)->Connect(Access::kWrite);
  constexpr std::string_view kFirst[] = {"CREATE TABLE a (x BIGINT)"};
  constexpr std::string_view kSecond[] = {"ALTER TABLE a ADD COLUMN y BIGINT",
                                          "CREATE TABLE b (z BIGINT)"};
  constexpr std::string_view kBroken[] = {"CREATE TABLE c (x BIGINT)", "CREATE TABLE a (x BIGINT)"};
  const Migration one[] = {{1, kFirst}};
  const Migration two[] = {{1, kFirst}, {2, kSecond}};
  const Migration broken[] = {{1, kFirst}, {2, kSecond}, {3, kBroken}};
  ASSERT_TRUE(Migrate(**connection, one, 1).has_value());
  ASSERT_TRUE((*connection)->Execute("INSERT INTO a VALUES (7)").has_value());
  ASSERT_TRUE(Migrate(**connection, two, 2).has_value());
  ASSERT_TRUE(Migrate(**connection, two, 3).has_value());
  EXPECT_EQ((*connection)->Execute("SELECT x FROM a")->rows.at(0).at(0).number(), 7);

  const Result<void> failed = Migrate(**connection, broken, 4);
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().message, HasSubstr("migration 3: "));
  EXPECT_FALSE((*connection)->Execute("SELECT * FROM c").has_value());
  EXPECT_EQ(
      (*connection)->Execute("SELECT MAX(version) FROM schema_migrations")->rows[0][0].number(), 2);
  EXPECT_THAT(Migrate(**connection, one, 5).error().message, HasSubstr("use a newer program"));
}

// A full disk is a reason to wait, not to lose what is there.
TEST(SqliteFullTest, AFullDatabaseIsUnavailableAndWhatFitsStillGoesIn) {
  const TestDirectory directory;
  auto database = SqliteDatabase::Open(directory.File("forkbox.db"), {.max_bytes = 1U << 20});
  ASSERT_TRUE(database.has_value());
  auto store = SqlExecutionStore::Open(std::move(*database), Log::Null());
  ASSERT_TRUE(store.has_value()) << store.error().message;
  const Execution kept = NewExecution("kept");
  ASSERT_TRUE((*store)->Insert(kept).has_value());
  const Result<void> large = (*store)->Insert(NewExecution(std::string(2U << 20, 'x')));
  ASSERT_FALSE(large.has_value());
  EXPECT_EQ(large.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(large.error().message, HasSubstr("full"));
  EXPECT_THAT(large.error().message, Not(HasSubstr("xxx")));
  EXPECT_EQ((*store)->Claim({kept.id, "r", 1, 2, 3}), ClaimVerdict::kClaimed);
  EXPECT_EQ((*store)->Finish(kept.id, CompletedWith("2"), 5), true);
  EXPECT_EQ((*store)->Get(kept.id, std::nullopt)->outcome->stdout_text, "2");
}

TEST(SqliteDatabaseTest, AConnectionForReadingDoesNotWrite) {
  const TestDirectory directory;
  auto database = SqliteDatabase::Open(directory.File("forkbox.db"));
  auto reader = (*database)->Connect(Access::kRead);
  ASSERT_TRUE(reader.has_value());
  const Result<Rows> written = (*reader)->Execute("CREATE TABLE a (x BIGINT)");
  ASSERT_FALSE(written.has_value());
  EXPECT_EQ(written.error().code, ErrorCode::kUnavailable);
}

TEST(SqliteDatabaseTest, ParametersKeepTheirNumbers) {
  const TestDirectory directory;
  auto database = SqliteDatabase::Open(directory.File("forkbox.db"));
  auto connection = (*database)->Connect(Access::kWrite);
  const Result<Rows> rows =
      (*connection)
          ->Execute("SELECT $2, $1, $2, $3, $4",
                    {std::int64_t{1}, "two", std::monostate(), std::string_view()});
  ASSERT_TRUE(rows.has_value()) << rows.error().message;
  const std::vector<Cell>& row = rows->rows.at(0);
  EXPECT_EQ(row[0].text(), "two");
  EXPECT_EQ(row[1].number(), 1);
  EXPECT_EQ(row[2].text(), "two");
  EXPECT_TRUE(row[3].null());
  EXPECT_FALSE(row[4].null());
  EXPECT_EQ(row[4].text(), "");
}

TEST(SqliteDatabaseTest, AViolatedConstraintIsAConflict) {
  const TestDirectory directory;
  auto database = SqliteDatabase::Open(directory.File("forkbox.db"));
  auto connection = (*database)->Connect(Access::kWrite);
  ASSERT_TRUE((*connection)->Execute("CREATE TABLE a (x BIGINT PRIMARY KEY)").has_value());
  ASSERT_TRUE((*connection)->Execute("INSERT INTO a VALUES (1)").has_value());
  EXPECT_EQ((*connection)->Execute("INSERT INTO a VALUES (1)").error().code, ErrorCode::kConflict);
}

// Rows that no version of ours wrote: an Error that names the row, never a crash.
TEST(SqliteDamagedRowTest, IsReportedByItsId) {
  const TestDirectory directory;
  auto database = SqliteDatabase::Open(directory.File("forkbox.db"));
  auto connection = (*database)->Connect(Access::kWrite);
  auto store = SqlExecutionStore::Open(std::move(*database), Log::Null());
  ASSERT_TRUE(store.has_value());
  const auto insert = [&](std::string_view id, std::string_view state, std::string_view request) {
    ASSERT_TRUE(
        (*connection)
            ->Execute("INSERT INTO executions VALUES ($1, '', $2, 0, '', 0, 0, 0, 0, $3, '{')",
                      {id, state, request})
            .has_value());
  };
  insert("a", "queued", "{");
  insert("b", "queued", "[]");
  insert("c", "dancing", R"({"id":"c"})");
  insert("d", "completed", R"({"id":"d"})");
  const std::pair<const char*, const char*> cases[] = {
      {"a", "execution a: stored request: unexpected end of input"},
      {"b", "execution b: stored request: must be an object"},
      {"c", "execution c: stored state: unknown"},
      {"d", "execution d: stored outcome: unexpected end of input"}};
  for (const auto& [id, message] : cases) {
    const Result<ExecutionRecord> record = (*store)->Get(ExecutionId(id), std::nullopt);
    ASSERT_FALSE(record.has_value());
    EXPECT_EQ(record.error().code, ErrorCode::kInternal);
    EXPECT_THAT(record.error().message, HasSubstr(message));
  }
}

}  // namespace
}  // namespace forkbox::store
