// Database: the little that the stores need of SQL, so that each statement is written once and
// runs on SQLite and PostgreSQL alike.
//
// Portable SQL here means: parameters are $1, $2, …, all of them used; types are TEXT and BIGINT;
// INSERT … ON CONFLICT; UPDATE … RETURNING; partial indexes; no functions of one product.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"

namespace forkbox::store {

// A parameter of a statement: NULL, a number, or text, which must live until the call returns.
// Text is UTF-8 without NUL (store/sql_text.h): PostgreSQL has no other.
using Param = std::variant<std::monostate, std::int64_t, std::string_view>;

// One statement and its parameters, which belong to the caller.
struct Statement {
  std::string_view sql;
  std::span<const Param> params;
};

// One column of a row that came back.
class Cell {
 public:
  Cell() = default;
  explicit Cell(std::int64_t number) : value_(number) {}
  explicit Cell(std::string text) : value_(std::move(text)) {}

  [[nodiscard]] bool null() const { return std::holds_alternative<std::monostate>(value_); }
  // 0 for NULL and for text.
  [[nodiscard]] std::int64_t number() const {
    const auto* number = std::get_if<std::int64_t>(&value_);
    return number == nullptr ? 0 : *number;
  }
  // "" for NULL and for a number.
  [[nodiscard]] std::string_view text() const {
    const auto* text = std::get_if<std::string>(&value_);
    return text == nullptr ? std::string_view() : std::string_view(*text);
  }

 private:
  std::variant<std::monostate, std::int64_t, std::string> value_;
};

struct Rows {
  std::vector<std::vector<Cell>> rows;  // of SELECT and RETURNING; small: say LIMIT
  std::int64_t affected = 0;            // by INSERT, UPDATE or DELETE without RETURNING
};

enum class Durability {
  kProcessCrash,  // survives kill -9 of every process of ours
  kPowerCut,      // survives that of the machine, too
};

// One connection. One thread at a time.
//
// Errors: kConflict for a violated constraint; kUnavailable when the database is away, locked by
// another process for too long, or full, and nothing was written; kInternal for the rest. After an
// error within a transaction only Rollback() makes sense. A connection that was lost is made anew
// by the next Begin(), or Execute() outside a transaction.
class Connection {
 public:
  virtual ~Connection() = default;

  // For migrations, whose storage settings are each product's own. Statements are not.
  enum class Product { kSqlite, kPostgres };
  [[nodiscard]] virtual Product product() const = 0;

  // The statement that makes this transaction wait until no other holds $1, a text, and hold it to
  // its end; "" where transactions that write exclude each other anyway.
  [[nodiscard]] virtual std::string_view exclude_others() const { return {}; }

  // Runs one statement, by itself or within the open transaction. Each distinct text is prepared
  // once and kept for the connection's life, so texts are constants and values are parameters.
  virtual Result<Rows> Execute(std::string_view sql, std::span<const Param> params) = 0;
  Result<Rows> Execute(std::string_view sql, std::initializer_list<Param> params = {}) {
    return Execute(sql, std::span<const Param>(params.begin(), params.size()));
  }

  // Within a transaction: runs several in their order, and sends them together where that saves
  // round trips. The answers are theirs, in their order; the first error is that of them all.
  virtual Result<std::vector<Rows>> ExecuteAll(std::span<const Statement> statements);
  // The same and then Commit(), together too.
  virtual Result<std::vector<Rows>> ExecuteAllAndCommit(std::span<const Statement> statements);

  // Begins a transaction that will write; waits for other writers a bounded time.
  virtual Result<void> Begin(Durability durability) = 0;
  // The same, and no other connection's BeginMigration() runs meanwhile.
  virtual Result<void> BeginMigration() = 0;
  // An error means that nothing of the transaction was kept, except kDeadlineExceeded: unknown.
  virtual Result<void> Commit() = 0;
  virtual void Rollback() = 0;  // no-op without a transaction
};

enum class Access { kRead, kWrite };

// Where connections come from. Thread-safe; outlives its connections.
class Database {
 public:
  virtual ~Database() = default;
  // "database …", for messages; holds no secret.
  [[nodiscard]] virtual std::string name() const = 0;
  virtual Result<std::unique_ptr<Connection>> Connect(Access access) = 0;
};

}  // namespace forkbox::store
