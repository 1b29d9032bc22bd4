#include "bench/history_bench.h"

#include <cstdio>
#include <ctime>
#include <utility>

#include "base/uuid.h"
#include "store/sqlite_database.h"

namespace forkbox::bench {
namespace {

using std::chrono::steady_clock;

constexpr std::int64_t kFirstUnixMs = 1'700'000'000'000;
const schema::OwnerId kOwner("owner");

Result<void> AddOne(store::ExecutionStore& executions) {
  schema::Execution execution;
  execution.id = schema::ExecutionId(NewUuidV7());
  execution.owner = kOwner;
  execution.dialect = "exec0";
  execution.language = "python";
  execution.source.code = "print(1 + 1)";
  execution.created_unix_ms = kFirstUnixMs;
  if (auto inserted = executions.Insert(execution); !inserted) return inserted;
  schema::Outcome outcome;
  outcome.state = schema::State::kCompleted;
  outcome.reason = schema::Reason::kExited;
  outcome.exit_code = 0;
  outcome.stdout_text = "2\n";
  const auto finished = executions.Finish(execution.id, outcome, kFirstUnixMs);
  if (!finished) return Fail(finished.error());
  return {};
}

// Repeats the one row there is, each a millisecond after the one before it. Whatever columns the
// table has: they are copied, but for the id and the time.
Result<void> Repeat(const std::string& path, std::int64_t times) {
  auto database = store::SqliteDatabase::Open(path);
  if (!database) return Fail(database.error());
  auto connection = (*database)->Connect(store::Access::kWrite);
  if (!connection) return Fail(connection.error());
  const Result<store::Rows> columns =
      (*connection)->Execute("SELECT name FROM pragma_table_info('executions')");
  if (!columns) return Fail(columns.error());
  std::string names;
  std::string values;
  for (const auto& column : columns->rows) {
    const std::string name(column[0].text());
    if (!names.empty()) {
      names += ", ";
      values += ", ";
    }
    names += name;
    if (name == "id") {
      values += "printf('%08x-%04x-7000-8000-%012x', ($2 + n.i) >> 16, ($2 + n.i) & 65535, n.i)";
    } else {
      values += name == "created_unix_ms" ? "$2 + n.i" : "one." + name;
    }
  }
  if (auto begun = (*connection)->Begin(store::Durability::kProcessCrash); !begun) return begun;
  const Result<store::Rows> copied =
      (*connection)
          ->Execute(
              "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1)"
              " INSERT INTO executions (" +
                  names + ") SELECT " + values +
                  " FROM n, (SELECT * FROM executions LIMIT 1) AS one",
              {times, kFirstUnixMs});
  if (!copied) return Fail(copied.error());
  return (*connection)->Commit();
}

Result<std::unique_ptr<store::Store>> Fill(const std::string& path, std::int64_t times) {
  const std::string url = "sqlite:" + path;
  auto opened = store::OpenStore(url, Log::Null());
  if (!opened) return opened;
  if (auto added = AddOne((*opened)->executions()); !added) return Fail(added.error());
  opened->reset();
  if (auto repeated = Repeat(path, times - 1); !repeated) return Fail(repeated.error());
  return store::OpenStore(url, Log::Null());
}

Row PageRow(std::string name, std::string yardstick, store::ExecutionStore* executions,
            std::int64_t rows, std::size_t runs) {
  Row row{.name = std::move(name), .yardstick = std::move(yardstick), .runs_a_round = runs};
  row.run = [=, turn = std::int64_t{0}](std::size_t n, std::vector<double>* out) mutable {
    std::size_t failed = 0;
    for (std::size_t i = 0; i < n; ++i) {
      store::HistoryQuery query;
      query.owner = kOwner;
      // Anywhere in the newer two thirds.
      query.until_unix_ms = kFirstUnixMs + rows - (++turn * 7919) % (2 * rows / 3);
      const auto start = steady_clock::now();
      const auto page = executions->ListHistory(query);
      out->push_back(MillisSince(start));
      if (!page || page->records.size() != query.limit || !page->more) ++failed;
    }
    return failed;
  };
  row.cpu_ms = [] { return 1000.0 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; };
  return row;
}

}  // namespace

std::unique_ptr<HistoryBench> HistoryBench::Start(const std::string& folder) {
  auto few = Fill(folder + "/history-short.db", 100);
  auto many = few ? Fill(folder + "/history-long.db", 1'000'000) : std::move(few);
  if (!many) {
    std::printf("no history: %s\n\n", many.error().message.c_str());
    return nullptr;
  }
  auto bench = std::unique_ptr<HistoryBench>(new HistoryBench);
  bench->short_ = std::move(*few);
  bench->long_ = std::move(*many);
  return bench;
}

void HistoryBench::AddRows(std::vector<Row>& rows, std::size_t scale) {
  const std::string yardstick = "history, a page of 100 executions";
  rows.push_back(PageRow(yardstick, yardstick, &short_->executions(), 100, scale * 3));
  rows.push_back(PageRow("history, a page of 1,000,000 executions", yardstick, &long_->executions(),
                         1'000'000, scale * 3));
}

}  // namespace forkbox::bench
