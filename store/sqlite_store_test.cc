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
#include "schema/json.h"
#include "store/acceptance_sql.h"
#include "store/audit_sql.h"
#include "store/delivery_sql.h"
#include "store/execution_sql.h"
#include "store/history_sql.h"
#include "store/key_sql.h"
#include "store/migrations.h"
#include "store/runner_sql.h"
#include "store/sql_store.h"
#include "store/sqlite_database.h"
#include "store/store.h"
#include "store/store_contract.h"
#include "store/testing_directory.h"
#include "store/usage_sql.h"

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
  Store& store() override { return *store_; }
  void Reopen() override {
    store_.reset();
    store_ = OpenAnother();
  }
  std::unique_ptr<Store> OpenAnother() override {
    auto opened = OpenStore(Url(directory_), Log::Null());
    FORKBOX_CHECK(opened.has_value());
    return std::move(*opened);
  }

 private:
  const TestDirectory directory_;
  std::unique_ptr<Store> store_;
};

INSTANTIATE_STORE_CONTRACTS(Sqlite, [] { return std::make_unique<SqliteUnderTest>(); });

// A Database that counts commits, and can hold the writer or fail a statement.
class Watched {
 public:
  std::atomic<int> commits = 0;
  std::atomic<int> durable_commits = 0;
  std::atomic<bool> fail_begin = false;
  std::string poison;  // a statement with this text as a parameter fails
  // Happens once, after a claim or an outcome met no row and before it is looked for.
  std::function<void(Connection&)> meanwhile;
  // The connection is lost during the next commit; its transaction was kept or was not.
  enum class Loss { kNone, kKept, kUndone };
  std::atomic<Loss> lose_commit = Loss::kNone;
  std::atomic<bool> away_after_loss = false;

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

  [[nodiscard]] Product product() const override { return inner_->product(); }
  Result<Rows> Execute(std::string_view sql, std::span<const Param> params) override {
    for (const Param& param : params) {
      const auto* text = std::get_if<std::string_view>(&param);
      if (text != nullptr && !watched_.poison.empty() && *text == watched_.poison) {
        return Fail(ErrorCode::kInternal, "poisoned");
      }
    }
    if (watched_.meanwhile && (sql == sql::kHolder || sql == sql::kEnd)) {
      std::exchange(watched_.meanwhile, nullptr)(*inner_);
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
    const Watched::Loss loss = watched_.lose_commit.exchange(Watched::Loss::kNone);
    if (loss == Watched::Loss::kNone) return inner_->Commit();
    if (loss == Watched::Loss::kKept) {
      EXPECT_TRUE(inner_->Commit().has_value());
    }
    if (watched_.away_after_loss) watched_.fail_begin = true;
    return Fail(ErrorCode::kDeadlineExceeded, "lost");
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
  [[nodiscard]] std::string name() const override { return inner_->name(); }
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
    auto store = SqlStore::Open(std::make_unique<WatchedDatabase>(std::move(*database), watched_),
                                Log::Null());
    FORKBOX_CHECK(store.has_value());
    store_ = std::move(*store);
    watched_.commits = 0;
    watched_.durable_commits = 0;
  }

  Watched watched_;
  TestDirectory directory_;
  std::unique_ptr<SqlStore> store_;
};

// Whatever arrives while one commit is in flight shares the next.
TEST_F(WatchedStoreTest, WritesThatArriveTogetherShareOneCommit) {
  watched_.Hold();
  std::atomic<int> inserted = 0;
  const auto count = [&](Result<void> result) { inserted += result ? 1 : 0; };
  store_->executions().InsertAsync(NewExecution(), count);
  watched_.WaitUntilWriterWaits();
  for (int i = 0; i < 200; ++i) store_->executions().InsertAsync(NewExecution(), count);
  watched_.LetGo();
  store_.reset();
  EXPECT_EQ(inserted, 201);
  EXPECT_EQ(watched_.commits, 2);
}

TEST_F(WatchedStoreTest, ARefusedWriteDoesNotUndoItsBatch) {
  const Execution taken = NewExecution();
  ASSERT_TRUE(store_->executions().Insert(taken).has_value());
  watched_.commits = 0;
  watched_.Hold();
  std::atomic<int> inserted = 0;
  std::atomic<int> refused = 0;
  store_->executions().InsertAsync(NewExecution(), [&](Result<void>) {});
  watched_.WaitUntilWriterWaits();
  for (int i = 0; i < 50; ++i) {
    store_->executions().InsertAsync(i % 2 == 0 ? taken : NewExecution(),
                                     [&](Result<void> result) { result ? ++inserted : ++refused; });
    store_->executions().FinishAsync(
        ExecutionId("unknown"), CompletedWith(""), 5, [&](Result<bool> result) {
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
  store_->executions().InsertAsync(NewExecution(),
                                   [&](Result<void> result) { inserted += result ? 1 : 0; });
  watched_.WaitUntilWriterWaits();
  std::vector<Execution> good;
  for (int i = 0; i < 20; ++i) {
    if (i == 10)
      store_->executions().InsertAsync(bad,
                                       [&](Result<void> r) { failed.set_value(std::move(r)); });
    good.push_back(NewExecution());
    store_->executions().InsertAsync(good.back(),
                                     [&](Result<void> result) { inserted += result ? 1 : 0; });
  }
  watched_.LetGo();
  const Result<void> result = failed.get_future().get();
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().message, "poisoned");
  while (inserted < 21) std::this_thread::yield();
  watched_.poison.clear();
  for (const Execution& execution : good) {
    EXPECT_TRUE(store_->executions().Get(execution.id, std::nullopt).has_value());
  }
  EXPECT_EQ(store_->executions().Get(bad.id, std::nullopt).error().code, ErrorCode::kNotFound);
}

TEST_F(WatchedStoreTest, ADatabaseThatIsAwayIsUnavailableAndComesBack) {
  watched_.fail_begin = true;
  const Execution execution = NewExecution();
  EXPECT_EQ(store_->executions().Insert(execution).error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(store_->executions().Claim({execution.id, "r", 1, 2, 3}).error().code,
            ErrorCode::kUnavailable);
  watched_.fail_begin = false;
  EXPECT_EQ(store_->executions().Get(execution.id, std::nullopt).error().code,
            ErrorCode::kNotFound);
  EXPECT_TRUE(store_->executions().Insert(execution).has_value());
}

TEST_F(WatchedStoreTest, AClaimAloneWaitsForNoDisk) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store_->executions().Insert(execution).has_value());
  EXPECT_EQ(watched_.durable_commits, 1);
  ASSERT_EQ(store_->executions().Claim({execution.id, "r", 1, 2, 3}), ClaimVerdict::kClaimed);
  EXPECT_EQ(watched_.commits, 2);
  EXPECT_EQ(watched_.durable_commits, 1);
  ASSERT_EQ(store_->executions().Finish(execution.id, CompletedWith(""), 5), true);
  EXPECT_EQ(watched_.durable_commits, 2);
}

TEST_F(WatchedStoreTest, AReadDoesNotWaitForTheWriter) {
  const Execution execution = NewExecution();
  ASSERT_TRUE(store_->executions().Insert(execution).has_value());
  watched_.Hold();
  store_->executions().InsertAsync(NewExecution(), [](Result<void>) {});
  watched_.WaitUntilWriterWaits();
  EXPECT_TRUE(store_->executions().Get(execution.id, std::nullopt).has_value());
  EXPECT_TRUE(store_->executions().Ping().has_value());
  EXPECT_EQ(store_->executions().CountUnfinished()->interactive.queued, 1U);
  watched_.LetGo();
}

// Where several processes write, a row may appear between two statements: a runner can be quicker
// than the API's commit.
TEST_F(WatchedStoreTest, ARowThatAppearsMeanwhileIsClaimedAndEnded) {
  const auto appear = [&](const Execution& execution) {
    watched_.meanwhile = [execution](Connection& connection) {
      const std::string request = schema::DumpJson(schema::ToJson(execution));
      EXPECT_TRUE(
          connection
              .Execute(sql::kInsert, {execution.id.str(), "", std::int64_t{1}, request,
                                      "interactive", "", execution.webhook_url, "python", "", ""})
              .has_value());
    };
  };
  const Execution claimed = NewExecution();
  appear(claimed);
  EXPECT_EQ(store_->executions().Claim({claimed.id, "r", 1, 2, 3}), ClaimVerdict::kClaimed);
  const Execution finished = NewExecutionWithWebhook();
  appear(finished);
  EXPECT_EQ(store_->executions().Finish(finished.id, CompletedWith(""), 5), true);
  EXPECT_EQ(store_->deliveries().CountDeliveries()->pending, 1U);
}

// The connection is lost at COMMIT, so nobody knows. Each write is made again and recognises
// itself.
class LostCommitTest : public WatchedStoreTest, public testing::WithParamInterface<Watched::Loss> {
 protected:
  ExecutionStore& Losing() {
    watched_.lose_commit = GetParam();
    return store_->executions();
  }
  DeliveryStore& LosingDeliveries() {
    watched_.lose_commit = GetParam();
    return store_->deliveries();
  }
};

INSTANTIATE_TEST_SUITE_P(Loss, LostCommitTest,
                         testing::Values(Watched::Loss::kKept, Watched::Loss::kUndone),
                         [](const auto& test) {
                           return test.param == Watched::Loss::kKept ? "Kept" : "Undone";
                         });

TEST_P(LostCommitTest, WhatIsAskedIsDoneOnceAndAnsweredSo) {
  const Execution execution = NewExecutionWithWebhook();
  EXPECT_TRUE(Losing().Insert(execution).has_value());
  EXPECT_EQ(Losing().Claim({execution.id, "r", 1, 2, 3}), ClaimVerdict::kClaimed);
  EXPECT_EQ(store_->executions().Get(execution.id, std::nullopt)->attempts, 1);
  EXPECT_TRUE(Losing().Release(execution.id, "r").has_value());
  EXPECT_EQ(Losing().RenewClaims("r", 9), 0U);
  EXPECT_EQ(Losing().Finish(execution.id, CompletedWith("2"), 5), true);
  EXPECT_EQ(Losing().Finish(execution.id, CompletedWith("3"), 5), false);
  EXPECT_EQ(store_->deliveries().CountDeliveries()->pending, 1U);

  const DeliveryId id = store_->deliveries().ClaimDue("s", 5, 9, 10)->at(0).id;
  EXPECT_EQ(LosingDeliveries().FixBody(id, "{}"), "{}");
  EXPECT_TRUE(LosingDeliveries().ReleaseDelivery(id, "s").has_value());
  ASSERT_EQ(store_->deliveries().ClaimDue("s", 5, 9, 10)->size(), 1U);
  // Kept: the claim has ended with the attempt, and that is what the sender is told.
  const Result<void> recorded =
      LosingDeliveries().RecordAttempt(id, "s", {{1, 6, 1, 200, ""}, DeliveryState::kDelivered, 0});
  EXPECT_EQ(recorded.has_value(), GetParam() == Watched::Loss::kUndone);
  EXPECT_TRUE(LosingDeliveries().Redeliver(execution.id, std::nullopt, 7).has_value());
  const auto list = store_->deliveries().ListDeliveries(execution.id, std::nullopt);
  ASSERT_EQ(list->size(), 2U);
  EXPECT_EQ(list->at(0).delivery.state, DeliveryState::kDelivered);
  EXPECT_EQ(list->at(0).attempts.size(), 1U);

  const schema::OwnerId owner("o");
  EXPECT_TRUE(store_->webhook_secrets().AddSecret(owner, "first", 1, 2).has_value());
  watched_.lose_commit = GetParam();
  EXPECT_TRUE(store_->webhook_secrets().AddSecret(owner, "second", 5, 9).has_value());
  EXPECT_EQ(store_->webhook_secrets().ActiveSecrets(owner, 6)->size(), 2U);
}

// Counted once, though it was tried twice.
TEST_P(LostCommitTest, AnAcceptanceRecognisesItself) {
  Execution execution = NewExecution();
  execution.key_id = schema::KeyId("key-1");
  execution.idempotency_key = "k";
  std::promise<Result<Acceptance>> accepted;
  watched_.lose_commit = GetParam();
  store_->executions().AcceptAsync(
      execution, {.per_minute = 1, .concurrency = 1, .monthly_quota = 1},
      [&](Result<Acceptance> got) { accepted.set_value(std::move(got)); });
  const Result<Acceptance> got = accepted.get_future().get();
  ASSERT_TRUE(got.has_value()) << got.error().message;
  EXPECT_EQ(got->verdict, AcceptVerdict::kAccepted);
  EXPECT_EQ(got->id, execution.id);
  EXPECT_EQ(got->used_this_minute, 1U);
  EXPECT_EQ(got->used_this_month, 1U);
  EXPECT_EQ(store_->audit().List(execution.owner, 0, 10)->size(), 1U);
}

TEST_P(LostCommitTest, AnothersRowIsStillAConflict) {
  const Execution taken = NewExecution("first");
  ASSERT_TRUE(store_->executions().Insert(taken).has_value());
  Execution other = taken;
  other.source.code = "second";
  EXPECT_EQ(Losing().Insert(other).error().code, ErrorCode::kConflict);
  ASSERT_EQ(store_->executions().Claim({taken.id, "r1", 1, 9, 3}), ClaimVerdict::kClaimed);
  EXPECT_EQ(Losing().Claim({taken.id, "r2", 2, 9, 3}), ClaimVerdict::kHeld);
}

TEST_P(LostCommitTest, AWholeBatchRecognisesItself) {
  watched_.Hold();
  std::atomic<int> inserted = 0;
  std::atomic<int> won = 0;
  store_->executions().InsertAsync(NewExecution(), [this](Result<void>) {
    watched_.lose_commit = GetParam();  // the next: that of the batch
  });
  watched_.WaitUntilWriterWaits();
  for (int i = 0; i < 20; ++i) {
    const Execution execution = NewExecutionWithWebhook();
    store_->executions().InsertAsync(execution,
                                     [&](Result<void> result) { inserted += result ? 1 : 0; });
    store_->executions().FinishAsync(execution.id, CompletedWith(""), 5,
                                     [&](Result<bool> result) { won += result == true ? 1 : 0; });
  }
  watched_.LetGo();
  // Answers come in the order of the calls.
  ASSERT_TRUE(store_->executions().Insert(NewExecution()).has_value());
  EXPECT_EQ(won, 20);
  EXPECT_EQ(inserted, 20);
  EXPECT_EQ(store_->deliveries().CountDeliveries()->pending, 20U);
}

TEST_P(LostCommitTest, WhenTheDatabaseStaysAwayNobodyKnows) {
  watched_.away_after_loss = true;
  const Execution execution = NewExecution();
  EXPECT_EQ(Losing().Insert(execution).error().code, ErrorCode::kDeadlineExceeded);
  EXPECT_EQ(store_->executions().Insert(NewExecution()).error().code, ErrorCode::kUnavailable);
  watched_.fail_begin = false;
  EXPECT_EQ(store_->executions().Get(execution.id, std::nullopt).has_value(),
            GetParam() == Watched::Loss::kKept);
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
      auto opened = OpenStore(Url(directory), Log::Null());
      if (!opened) ::_exit(1);
      ExecutionStore& store = (*opened)->executions();
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

    auto store = OpenStore(Url(directory), Log::Null());
    ASSERT_TRUE(store.has_value()) << store.error().message;
    std::size_t checked = 0;
    for (std::size_t at = 0; at + 38 <= said.size(); at += 38, ++checked) {
      const ExecutionId id(said.substr(at + 1, 36));
      const Result<ExecutionRecord> record = (*store)->executions().Get(id, std::nullopt);
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
    const LaneCounts counts = (*store)->executions().CountUnfinished()->interactive;
    EXPECT_EQ((*store)->executions().VoidClaims("r"), counts.running);
    const auto left =
        (*store)->executions().FindUndispatched(schema::Priority::kInteractive, 0, 9'999, 1'000);
    EXPECT_EQ(left->size(), counts.queued + counts.running);
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
  const auto run = [&](std::string_view text, std::vector<Param> params) {
    const Result<Rows> rows = (*connection)->Execute(text, params);
    ASSERT_TRUE(rows.has_value()) << rows.error().message;
  };
  ASSERT_TRUE((*connection)->Begin(Durability::kProcessCrash).has_value());
  constexpr int kRows = 20'000;
  for (int i = 0; i < kRows; ++i) {
    const std::string id = "id-" + std::to_string(i);
    run(sql::kInsert, {id, "owner", std::int64_t{i}, R"({"id":"x"})", "interactive", "native",
                       "https://x", "python", "key", ""});
    if (i % 2 == 0) {
      run(sql::kFinish, {id, "completed", std::int64_t{9}, "{}"});
      run(sql::kOwe, {id, id, "owner", "https://x", std::int64_t{i}});
      if (i % 100 != 0) {
        run(sql::kClaimDue, {"s", std::int64_t{i}, std::int64_t{0}, std::int64_t{1}});
        run(sql::kEndClaim,
            {id, "s", std::int64_t{1}, "delivered", std::int64_t{0}, std::int64_t{9}});
      }
    }
  }
  ASSERT_TRUE((*connection)->Commit().has_value());

  const std::int64_t n = 1;
  const std::pair<std::string_view, std::vector<Param>> statements[] = {
      {sql::kRequest, {"id-1"}},
      {sql::kClaim, {"id-1", "r", n, n, n}},
      {sql::kGiveUp, {"id-1", n, n, "{}"}},
      {sql::kHolder, {"id-1"}},
      {sql::kRelease, {"id-1", "r"}},
      {sql::kFinish, {"id-1", "error", n, "{}"}},
      {sql::kWithdraw, {"id-1", "error", n, "{}"}},
      {sql::kEnd, {"id-1"}},
      {sql::kNoteDispatch, {"id-1", n, n}},
      {sql::kGet, {"id-1"}},
      {sql::kGetOwned, {"id-1", "owner"}},
      {sql::kGetHead, {"id-1"}},
      {sql::kGetOwnedHead, {"id-1", "owner"}},
      {sql::kFixBody, {"id-1", "{}"}},
      {sql::kEndClaim, {"id-1", "s", n, "dead", n, n}},
      {sql::kReleaseDelivery, {"id-1", "s"}},
      {sql::kOwnerOfExecution, {"id-1"}},
      {sql::kRedeliver, {"id", "id-1", n}},
      {sql::kDeliveryState, {"id-1"}}};
  for (const auto& [text, params] : statements) {
    const std::string plan = Plan(**connection, text, params);
    EXPECT_THAT(plan, HasSubstr("(id=?)")) << text;
    EXPECT_THAT(plan, Not(HasSubstr("SCAN"))) << text << "\n" << plan;
  }
  const std::string undispatched = Plan(**connection, sql::kUndispatched, {"interactive", n, n, n});
  EXPECT_THAT(
      undispatched,
      HasSubstr("INDEX executions_unfinished (state=? AND lane=? AND dispatched_unix_ms<?)"));
  EXPECT_THAT(undispatched, Not(HasSubstr("SCAN executions"))) << undispatched;
  const std::pair<std::string_view, std::vector<Param>> of_the_running[] = {
      {sql::kVoidClaims, {"r"}}, {sql::kRenewClaims, {"r", n}}};
  for (const auto& [text, params] : of_the_running) {
    EXPECT_THAT(Plan(**connection, text, params),
                HasSubstr("INDEX executions_unfinished (state=?)"));
  }
  EXPECT_THAT(Plan(**connection, sql::kCountUnfinished, {}),
              HasSubstr("COVERING INDEX executions_unfinished"));
  EXPECT_THAT(Plan(**connection, sql::kChangedSince, {"owner", "native", "id", n, n}),
              HasSubstr("INDEX executions_by_owner (owner=? AND id>?)"));

  const std::string due = Plan(**connection, sql::kClaimDue, {"s", n, n, n});
  EXPECT_THAT(due, HasSubstr("INDEX deliveries_open (state=? AND next_attempt_unix_ms<?)")) << due;
  EXPECT_THAT(due, HasSubstr("(id=?)")) << due;
  EXPECT_THAT(due, Not(HasSubstr("TEMP B-TREE"))) << due;
  EXPECT_THAT(Plan(**connection, sql::kCountDeliveries, {}),
              HasSubstr("COVERING INDEX deliveries_open"));
  EXPECT_THAT(Plan(**connection, sql::kDeliveriesOf, {"id-1", n}),
              HasSubstr("INDEX deliveries_by_execution (execution_id=?)"));
  EXPECT_THAT(Plan(**connection, sql::kAttemptsOf, {"id-1"}), HasSubstr("(delivery_id=?)"));
}

// Lists, limits and retention: each by its index, whatever the history holds.
TEST(SqlitePlanTest, WhatIsOldCostsNothing) {
  const TestDirectory directory;
  auto database = SqliteDatabase::Open(directory.File("forkbox.db"));
  ASSERT_TRUE(database.has_value());
  auto connection = (*database)->Connect(Access::kWrite);
  ASSERT_TRUE(connection.has_value());
  ASSERT_TRUE(Migrate(**connection, Migrations(), 1).has_value());
  const std::int64_t n = 1;
  std::vector<Param> list = {"o", n, n, "id", n, "completed", "", "", "", "", "queued", "running"};
  const auto with = [&](std::initializer_list<Param> more) {
    std::vector<Param> params = list;
    params.insert(params.end(), more);
    return params;
  };
  const struct {
    std::string_view sql;
    std::vector<Param> params;
    const char* index;
  } statements[] = {
      {sql::kAccept,
       {"id", "o", n, "{}", "l", "d", "", "python", "k", "", n, n, n, n, n, "idem"},
       "executions_at_once (<expr>=?)"},
      {sql::kAccept,
       {"id", "o", n, "{}", "l", "d", "", "python", "k", "", n, n, n, n, n, "idem"},
       "accepted_by_minute_1 (minute=? AND key_id=?)"},
      {sql::kStanding, {n, "k", n, "o", n, "idem"}, "executions_at_once (<expr>=?)"},
      {sql::kNoteUsage, {"id", "error", n, n}, "(id=?)"},
      {sql::ListHistory(), with({n, n}),
       "COVERING INDEX executions_ended (ended_owner=? AND state=? AND"},
      {sql::ListHistory(), with({n, n}), "executions_open (open_owner=?"},
      {sql::ListHistoryOfLanguage(), with({n, n, "o", "python"}),
       "COVERING INDEX executions_ended_by_language (ended_language=? AND state=? AND"},
      {sql::CountHistory(), with({n}),
       "COVERING INDEX executions_ended (ended_owner=? AND state=?"},
      {sql::GetMany(), std::vector<Param>(sql::kRecordsAtOnce, Param("id")), "(id=?)"},
      {sql::kFinishedBefore, {"a", "b", n, n}, "(id>? AND id<?)"},
      {sql::kNextOwner, {"a"}, "executions_ended (ended_owner>?)"},
      {sql::kForget, {"id"}, "(id=?)"},
      {sql::kForgetAttempts, {"id"}, "deliveries_by_execution (execution_id=?)"},
      {sql::kForgetDeliveries, {"id"}, "deliveries_by_execution (execution_id=?)"},
      {sql::kForgetIdempotencyKey, {"id"}, "idempotency_by_execution (execution_id=?)"},
      {sql::kSummarizeUsage, {"o", n, n, n}, "COVERING INDEX usage_by_owner (owner=? AND"},
      {sql::kListUsage, {"o", n, n}, "usage_by_owner (owner=? AND finished_unix_ms>?)"},
      {sql::kForgetUsage, {n, "id", n}, "(execution_id<?)"},
      {sql::kForgetMinutes, {n, n}, "(minute<?)"},
      {sql::kForgetMonths, {n}, "(month<?)"},
      {sql::kListAudit, {"o", n, n}, "audit_by_owner (owner=? AND time_unix_ms<?)"},
      {sql::kForgetAudit, {n, n}, "(time_unix_ms<?)"},
      {sql::kKeyByDigest, {"d"}, "(digest=?)"},
      {sql::kListKeys, {"o", n}, "api_keys_by_owner (owner=?)"},
      {sql::kKeysChangedSince, {n}, "api_keys_changed (changed_unix_ms>?)"},
  };
  for (const auto& [text, params, index] : statements) {
    const std::string plan = Plan(**connection, text, params);
    EXPECT_THAT(plan, HasSubstr(index)) << text << "\n" << plan;
    EXPECT_THAT(plan, Not(HasSubstr("SCAN executions"))) << text << "\n" << plan;
  }
}

TEST(SqliteOpenTest, TheFileIsPrivate) {
  const TestDirectory directory;
  const std::filesystem::path file = directory.File("forkbox.db");
  const auto mode = [](const std::filesystem::path& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 0777 : 0U;
  };
  {
    auto store = OpenStore(Url(directory), Log::Null());
    ASSERT_TRUE(store.has_value()) << store.error().message;
    ASSERT_TRUE((*store)->executions().Insert(NewExecution()).has_value());
    for (const auto& entry : std::filesystem::directory_iterator(directory.path())) {
      EXPECT_EQ(mode(entry.path()), 0600U) << entry.path();
    }
  }
  ASSERT_EQ(::chmod(file.c_str(), 0644), 0);
  auto store = OpenStore(Url(directory), Log::Null());
  ASSERT_TRUE(store.has_value());
  EXPECT_EQ(mode(file), 0600U);
}

TEST(SqliteOpenTest, RefusesWhatItCannotOpen) {
  const TestDirectory directory;
  const auto error = [](const std::string& url) {
    auto store = OpenStore(url, Log::Null());
    return store ? Error{ErrorCode::kInternal, "opened"} : store.error();
  };
  EXPECT_EQ(error("mysql://user:secret@host/db").code, ErrorCode::kInvalidArgument);
  EXPECT_THAT(error("mysql://user:secret@host/db").message, Not(HasSubstr("secret")));
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
    auto store = OpenStore(Url(directory), Log::Null());
    return store ? Error{ErrorCode::kUnavailable, "opened"} : store.error();
  };
  {
    std::ofstream(file) << std::string(10'000, 'x');
    EXPECT_EQ(open_error().code, ErrorCode::kInternal);
    EXPECT_THAT(open_error().message, HasSubstr(file.string() + ": file is not a database"));
    std::filesystem::remove(file);
  }
  {
    auto store = OpenStore(Url(directory), Log::Null());
    for (int i = 0; i < 200; ++i) {
      ASSERT_TRUE((*store)->executions().Insert(NewExecution(std::string(2'000, 'x'))).has_value());
    }
  }
  const auto size = std::filesystem::file_size(file);
  {
    const TestDirectory copy;
    std::filesystem::copy_file(file, copy.File("forkbox.db"));
    std::filesystem::resize_file(copy.File("forkbox.db"), size / 2);
    auto store = OpenStore(Url(copy), Log::Null());
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
      auto store = OpenStore(Url(directory), Log::Null());
      ASSERT_TRUE(store.has_value()) << store.error().message;
      opened += (*store)->executions().Insert(NewExecution()) ? 1 : 0;
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(opened, 4);
  EXPECT_EQ(
      (*OpenStore(Url(directory), Log::Null()))->executions().CountUnfinished()->interactive.queued,
      4U);
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
  auto store = OpenStore(Url(directory), Log::Null());
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
  const Migration one[] = {{1, kFirst, {}}};
  const Migration two[] = {{1, kFirst, {}}, {2, kSecond, {}}};
  const Migration broken[] = {{1, kFirst, {}}, {2, kSecond, {}}, {3, kBroken, {}}};
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

// What the first version wrote is still there, and what was waiting still runs.
TEST(MigrateTest, RowsOfTheFirstVersionLiveOn) {
  const TestDirectory directory;
  const Execution waiting = NewExecution("waiting", 7'000);
  const Execution done = NewExecution("done", 8'000);
  {
    auto database = SqliteDatabase::Open(directory.File("forkbox.db"));
    auto connection = (*database)->Connect(Access::kWrite);
    ASSERT_TRUE(Migrate(**connection, Migrations().first(1), 1).has_value());
    const auto insert = [&](const Execution& execution, std::string_view state, Param finished,
                            Param outcome) {
      const std::string request = schema::DumpJson(schema::ToJson(execution));
      ASSERT_TRUE((*connection)
                      ->Execute("INSERT INTO executions VALUES ($1, $2, $3, 0, '', 0, $4, NULL,"
                                " $5, $6, $7)",
                                {execution.id.str(), execution.owner.str(), state,
                                 execution.created_unix_ms, finished, request, outcome})
                      .has_value());
    };
    insert(waiting, "queued", std::monostate(), std::monostate());
    insert(done, "completed", std::int64_t{9'000},
           R"({"state":"completed","reason":"exited","exit_code":0})");
  }
  auto store = OpenStore(Url(directory), Log::Null());
  ASSERT_TRUE(store.has_value()) << store.error().message;
  ExecutionStore& executions = (*store)->executions();
  const auto found = executions.FindUndispatched(schema::Priority::kInteractive, 0, 9'999, 10);
  ASSERT_EQ(found->size(), 1U);
  EXPECT_EQ(found->at(0).id, waiting.id);
  EXPECT_EQ(found->at(0).dispatched_unix_ms, 7'000);
  EXPECT_EQ(executions.CountUnfinished()->interactive.queued, 1U);
  EXPECT_EQ(executions.Get(done.id, std::nullopt)->execution.source.code, "done");
  EXPECT_EQ(executions.Finish(waiting.id, CompletedWith(""), 10'000), true);
  EXPECT_EQ((*store)->deliveries().CountDeliveries()->pending, 0U);
  // The lists know them, too.
  const HistoryQuery of_python = {.owner = waiting.owner, .language = "python"};
  const auto listed = executions.ListHistory(of_python);
  ASSERT_TRUE(listed.has_value()) << listed.error().message;
  ASSERT_EQ(listed->records.size(), 2U);
  EXPECT_EQ(listed->records[0].execution.id, done.id);
  EXPECT_EQ(listed->records[1].execution.id, waiting.id);
}

// A full disk is a reason to wait, not to lose what is there.
TEST(SqliteFullTest, AFullDatabaseIsUnavailableAndWhatFitsStillGoesIn) {
  const TestDirectory directory;
  auto database = SqliteDatabase::Open(directory.File("forkbox.db"), {.max_bytes = 1U << 20});
  ASSERT_TRUE(database.has_value());
  auto store = SqlStore::Open(std::move(*database), Log::Null());
  ASSERT_TRUE(store.has_value()) << store.error().message;
  const Execution kept = NewExecution("kept");
  ASSERT_TRUE((*store)->executions().Insert(kept).has_value());
  const Result<void> large =
      (*store)->executions().Insert(NewExecution(std::string(2U << 20, 'x')));
  ASSERT_FALSE(large.has_value());
  EXPECT_EQ(large.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(large.error().message, HasSubstr("full"));
  EXPECT_THAT(large.error().message, Not(HasSubstr("xxx")));
  EXPECT_EQ((*store)->executions().Claim({kept.id, "r", 1, 2, 3}), ClaimVerdict::kClaimed);
  EXPECT_EQ((*store)->executions().Finish(kept.id, CompletedWith("2"), 5), true);
  EXPECT_EQ((*store)->executions().Get(kept.id, std::nullopt)->outcome->stdout_text, "2");
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
  auto store = SqlStore::Open(std::move(*database), Log::Null());
  ASSERT_TRUE(store.has_value());
  const auto insert = [&](std::string_view id, std::string_view state, std::string_view request) {
    ASSERT_TRUE(
        (*connection)
            ->Execute("INSERT INTO executions (id, owner, state, attempts, runner,"
                      " claim_expires_unix_ms, created_unix_ms, started_unix_ms, finished_unix_ms,"
                      " request, outcome) VALUES ($1, '', $2, 0, '', 0, 0, 0, 0, $3, '{')",
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
    const Result<ExecutionRecord> record =
        (*store)->executions().Get(ExecutionId(id), std::nullopt);
    ASSERT_FALSE(record.has_value());
    EXPECT_EQ(record.error().code, ErrorCode::kInternal);
    EXPECT_THAT(record.error().message, HasSubstr(message));
  }
}

}  // namespace
}  // namespace forkbox::store
