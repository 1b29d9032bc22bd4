// A store whose PostgreSQL is killed, hangs, cuts connections and holds locks: every call is
// answered, and what the answers say is true.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <future>
#include <map>
#include <mutex>
#include <pqxx/pqxx>
#include <string>
#include <thread>
#include <vector>

#include "store/postgres_database.h"
#include "store/sql_store.h"
#include "store/testing_executions.h"
#include "tests/servers/postgres/private_postgres.h"

namespace forkbox::store {
namespace {

using namespace std::chrono_literals;  // NOLINT: durations read better
using schema::Execution;
using schema::ExecutionId;
using std::chrono::steady_clock;
using testing::AnyOf;
using testing::HasSubstr;
using tests::PrivatePostgres;

PrivatePostgres& Server() {
  static PrivatePostgres server;
  return server;
}

std::unique_ptr<Store> Open(const std::string& url, PostgresOptions options = {}) {
  auto database = PostgresDatabase::Open(url, options);
  FORKBOX_CHECK(database.has_value());
  auto store = SqlStore::Open(std::move(*database), Log::Null());
  EXPECT_TRUE(store.has_value()) << store.error().message;
  FORKBOX_CHECK(store.has_value());
  return std::move(*store);
}

pqxx::result Query(const std::string& url, const std::string& sql) {
  pqxx::connection connection(url);
  return pqxx::nontransaction(connection).exec(sql);
}

bool IsPassing(const Error& error) {
  return error.code == ErrorCode::kUnavailable || error.code == ErrorCode::kDeadlineExceeded;
}

// Asks until there is another answer than that the database is away.
template <class Call>
auto Insist(Call call) {
  for (;;) {
    auto answer = call();
    if (answer || !IsPassing(answer.error())) return answer;
    std::this_thread::sleep_for(5ms);
  }
}

TEST(PostgresFaultsTest, WhatWasAcknowledgedSurvivesKillsOfTheServer) {
  const std::string url = Server().NewDatabase();
  const std::unique_ptr<Store> store = Open(url);
  ExecutionStore& executions = store->executions();
  std::mutex mutex;
  std::map<std::string, std::string> finished;  // guarded by mutex: to the output that won
  std::atomic<bool> stop = false;
  std::atomic<int> away = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; !stop; ++n) {
        const Execution execution = n % 2 == 0 ? NewExecution() : NewExecutionWithWebhook();
        const Result<void> inserted = executions.Insert(execution);
        if (!inserted) {
          // Perhaps it is there, but nobody was told so.
          EXPECT_TRUE(IsPassing(inserted.error())) << inserted.error().message;
          ++away;
          std::this_thread::sleep_for(1ms);
          continue;
        }
        const std::string output = execution.id.str();
        const Result<bool> won =
            Insist([&] { return executions.Finish(execution.id, CompletedWith(output), 5); });
        ASSERT_TRUE(won.has_value()) << won.error().message;
        // Not won: an earlier try, of which nobody knew, has.
        const std::lock_guard lock(mutex);
        finished[execution.id.str()] = output;
      }
    });
  }
  for (int i = 0; i < 4; ++i) {
    std::this_thread::sleep_for(300ms);
    Server().Kill();
    std::this_thread::sleep_for(100ms);
    Server().Restart();
  }
  std::this_thread::sleep_for(300ms);
  stop = true;
  for (auto& thread : threads) thread.join();
  EXPECT_GT(away, 0);
  EXPECT_GT(finished.size(), 100U);
  for (const auto& [id, output] : finished) {
    const Result<ExecutionRecord> record = executions.Get(ExecutionId(id), std::nullopt);
    ASSERT_TRUE(record.has_value()) << record.error().message;
    ASSERT_TRUE(record->outcome.has_value()) << id;
    EXPECT_EQ(record->outcome->stdout_text, output);
  }
  // The outbox: one delivery for each that ended and has a webhook, none for others.
  const pqxx::result wrong = Query(
      url,
      "SELECT COUNT(*) FROM (SELECT e.id FROM executions e LEFT JOIN deliveries d"
      " ON d.execution_id = e.id GROUP BY e.id HAVING COUNT(d.id) <>"
      " CASE WHEN e.finished_unix_ms IS NOT NULL AND e.webhook_url <> '' THEN 1 ELSE 0 END) AS x");
  EXPECT_EQ(wrong[0][0].as<int>(), 0);
}

TEST(PostgresFaultsTest, AConnectionThatWasCutWhileIdleIsNotNoticed) {
  const std::string url = Server().NewDatabase();
  const std::unique_ptr<Store> store = Open(url);
  const Execution execution = NewExecution();
  ASSERT_TRUE(store->executions().Insert(execution).has_value());
  for (int i = 0; i < 3; ++i) {
    Query(url,
          "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
          " WHERE datname = current_database() AND pid <> pg_backend_pid()");
    EXPECT_TRUE(store->executions().Insert(NewExecution()).has_value());
    EXPECT_TRUE(store->executions().Get(execution.id, std::nullopt).has_value());
    EXPECT_TRUE(store->executions().Ping().has_value());
  }
}

TEST(PostgresFaultsTest, WhileItIsAwayCallsFailAtOnceAndThenItIsBack) {
  const std::string url = Server().NewDatabase();
  const std::unique_ptr<Store> store = Open(url);
  Server().Stop();
  std::atomic<int> answered = 0;
  constexpr int kCalls = 5'000;
  for (int i = 0; i < kCalls; ++i) {
    store->executions().InsertAsync(NewExecution(), [&](Result<void> inserted) {
      EXPECT_FALSE(inserted.has_value());
      ++answered;
    });
  }
  const Result<void> last = store->executions().Insert(NewExecution());
  ASSERT_FALSE(last.has_value());
  EXPECT_EQ(last.error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(answered, kCalls);
  EXPECT_EQ(store->executions().Ping().error().code, ErrorCode::kUnavailable);
  EXPECT_EQ(store->executions().Get(NewExecution().id, {}).error().code, ErrorCode::kUnavailable);

  Server().Restart();
  EXPECT_TRUE(Insist([&] { return store->executions().Insert(NewExecution()); }).has_value());
  EXPECT_TRUE(Insist([&] { return store->executions().Ping(); }).has_value());
  EXPECT_EQ(Query(url, "SELECT COUNT(*) FROM executions")[0][0].as<int>(), 1);
}

// The kernel still takes what is sent, so that only a deadline of ours can tell.
TEST(PostgresFaultsTest, AServerThatHangsIsGivenUp) {
  const std::string url = Server().NewDatabase();
  const std::unique_ptr<Store> store = Open(url, {.connect_timeout = 2s, .answer_timeout = 1s});
  const Execution execution = NewExecution();
  ASSERT_TRUE(store->executions().Insert(execution).has_value());
  Server().Freeze();
  std::vector<std::thread> callers;
  for (int i = 0; i < 40; ++i) {
    callers.emplace_back([&, i] {
      const auto error = [&](auto answer) {
        return answer ? ErrorCode::kInternal : answer.error().code;
      };
      switch (i % 4) {
        case 0:
          EXPECT_THAT(error(store->executions().Insert(NewExecution())),
                      AnyOf(ErrorCode::kUnavailable, ErrorCode::kDeadlineExceeded));
          break;
        case 1:
          EXPECT_THAT(error(store->executions().Finish(execution.id, CompletedWith(""), 5)),
                      AnyOf(ErrorCode::kUnavailable, ErrorCode::kDeadlineExceeded));
          break;
        case 2:
          EXPECT_EQ(error(store->executions().Get(execution.id, std::nullopt)),
                    ErrorCode::kUnavailable);
          break;
        default:
          EXPECT_EQ(error(store->executions().Ping()), ErrorCode::kUnavailable);
      }
    });
  }
  for (auto& caller : callers) caller.join();
  Server().Thaw();
  EXPECT_TRUE(Insist([&] { return store->executions().Insert(NewExecution()); }).has_value());
  EXPECT_TRUE(
      Insist([&] { return store->executions().Get(execution.id, std::nullopt); }).has_value());
}

TEST(PostgresFaultsTest, ALockedRowDelaysItsOwnWriteAndIsGivenUp) {
  const std::string url = Server().NewDatabase();
  const std::unique_ptr<Store> store = Open(url, {.lock_timeout = 300ms});
  const Execution locked = NewExecution();
  const Execution free = NewExecution();
  ASSERT_TRUE(store->executions().Insert(locked).has_value());
  ASSERT_TRUE(store->executions().Insert(free).has_value());
  pqxx::connection connection(url);
  pqxx::work holder(connection);
  holder.exec("SELECT 1 FROM executions WHERE id = '" + locked.id.str() + "' FOR UPDATE");
  std::promise<Result<bool>> first;
  std::promise<Result<bool>> second;
  store->executions().FinishAsync(locked.id, CompletedWith(""), 5,
                                  [&](Result<bool> won) { first.set_value(std::move(won)); });
  store->executions().FinishAsync(free.id, CompletedWith(""), 5,
                                  [&](Result<bool> won) { second.set_value(std::move(won)); });
  const Result<bool> given_up = first.get_future().get();
  ASSERT_FALSE(given_up.has_value());
  EXPECT_EQ(given_up.error().code, ErrorCode::kUnavailable);
  EXPECT_THAT(given_up.error().message, HasSubstr("(55P03)"));
  EXPECT_EQ(second.get_future().get(), true);
  holder.abort();
  EXPECT_EQ(store->executions().Finish(locked.id, CompletedWith(""), 5), true);
}

// Two machines whose batches meet in the other order.
TEST(PostgresFaultsTest, ADeadlockIsBrokenAndEverybodyGetsThrough) {
  const std::string url = Server().NewDatabase();
  const std::unique_ptr<Store> stores[] = {Open(url), Open(url)};
  constexpr std::size_t kRows = 50;
  std::vector<Execution> rows;
  for (std::size_t i = 0; i < kRows; ++i) {
    rows.push_back(NewExecution());
    ASSERT_TRUE(stores[0]->executions().Insert(rows.back()).has_value());
  }
  for (int round = 0; round < 10; ++round) {
    std::atomic<std::size_t> claimed = 0;
    std::atomic<std::size_t> held = 0;
    std::atomic<std::size_t> answered = 0;
    const std::int64_t now = 1'000 * round;
    const auto count = [&](Result<ClaimVerdict> verdict) {
      claimed += verdict == ClaimVerdict::kClaimed ? 1 : 0;
      held += verdict == ClaimVerdict::kHeld ? 1 : 0;
      if (!verdict) ADD_FAILURE() << verdict.error().message;
      ++answered;
    };
    for (std::size_t i = 0; i < kRows; ++i) {
      stores[0]->executions().ClaimAsync({rows[i].id, "a", now, now + 1'000, 99}, count);
      stores[1]->executions().ClaimAsync({rows[kRows - 1 - i].id, "b", now, now + 1'000, 99},
                                         count);
    }
    while (answered < 2 * kRows) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(claimed, kRows);
    EXPECT_EQ(held, kRows);
  }
}

}  // namespace
}  // namespace forkbox::store
