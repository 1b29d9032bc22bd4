#include "store/sqlite_database.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>

#include "base/check.h"
#include "base/unique_fd.h"

namespace forkbox::store {
namespace {

// Checking costs about 1 ms per MiB, and that at every start.
constexpr std::uintmax_t kCheckedWholeBytes = 32U << 20;

struct CloseDatabase {
  void operator()(sqlite3* database) const { ::sqlite3_close_v2(database); }
};
struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { ::sqlite3_finalize(statement); }
};
using DatabaseHandle = std::unique_ptr<sqlite3, CloseDatabase>;
using PreparedStatement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

ErrorCode CodeOf(int code) {
  switch (code & 0xFF) {
    case SQLITE_CONSTRAINT:
      return ErrorCode::kConflict;
    case SQLITE_FULL:
    case SQLITE_IOERR:  // what a full or failing disk looks like to mmap and fsync
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
    case SQLITE_NOMEM:
      return ErrorCode::kUnavailable;
    default:
      return ErrorCode::kInternal;
  }
}

struct HashText {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

class SqliteConnection final : public Connection {
 public:
  SqliteConnection(DatabaseHandle database, std::string path)
      : path_(std::move(path)), database_(std::move(database)) {}
  ~SqliteConnection() override { Rollback(); }

  [[nodiscard]] Product product() const override { return Product::kSqlite; }

  using Connection::Execute;
  Result<Rows> Execute(std::string_view sql, std::span<const Param> params) override {
    Result<sqlite3_stmt*> prepared = Prepare(sql);
    if (!prepared) return Fail(std::move(prepared).error());
    sqlite3_stmt* const statement = *prepared;
    Result<Rows> result = Bind(statement, params) ? Step(statement) : Failure();
    // The text of the parameters is the caller's: nothing of it may stay behind.
    ::sqlite3_reset(statement);
    ::sqlite3_clear_bindings(statement);
    return result;
  }

  Result<void> Begin(Durability durability) override {
    // In WAL mode NORMAL leaves out the fsync of each commit; the next FULL one makes up for it,
    // since the log is one file. It can only be changed between transactions.
    if (!durability_ || *durability_ != durability) {
      const bool full = durability == Durability::kPowerCut;
      Result<Rows> set =
          Execute(full ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL");
      if (!set) return Fail(std::move(set).error());
      durability_ = durability;
    }
    // IMMEDIATE: takes the write lock now, where waiting for it works, not at the first write.
    return Void(Execute("BEGIN IMMEDIATE"));
  }

  Result<void> BeginMigration() override { return Begin(Durability::kPowerCut); }
  Result<void> Commit() override { return Void(Execute("COMMIT")); }

  void Rollback() override {
    // SQLite itself has rolled back already after some errors, a full disk among them.
    if (::sqlite3_get_autocommit(database_.get()) == 0) (void)Execute("ROLLBACK");
  }

 private:
  static Result<void> Void(Result<Rows> rows) {
    if (!rows) return Fail(std::move(rows).error());
    return {};
  }

  [[nodiscard]] tl::unexpected<Error> Failure() const {
    const int code = ::sqlite3_extended_errcode(database_.get());
    return Fail(CodeOf(code), "database " + path_ + ": " + ::sqlite3_errmsg(database_.get()) +
                                  " (" + std::to_string(code) + ")");
  }

  Result<sqlite3_stmt*> Prepare(std::string_view sql) {
    if (const auto known = statements_.find(sql); known != statements_.end()) {
      return known->second.get();
    }
    sqlite3_stmt* statement = nullptr;
    const int code = ::sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                                          SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) return Failure();
    FORKBOX_CHECK(statement != nullptr);  // an empty text
    statements_.emplace(std::string(sql), PreparedStatement(statement));
    return statement;
  }

  // To SQLite "$2" is a name and numbers follow from the order of appearance.
  static bool Bind(sqlite3_stmt* statement, std::span<const Param> params) {
    FORKBOX_CHECK(static_cast<std::size_t>(::sqlite3_bind_parameter_count(statement)) ==
                  params.size());
    for (std::size_t i = 0; i < params.size(); ++i) {
      char name[8] = "$";
      const std::string number = std::to_string(i + 1);
      FORKBOX_CHECK(number.size() < sizeof name - 1);
      std::memcpy(name + 1, number.data(), number.size());
      const int index = ::sqlite3_bind_parameter_index(statement, name);
      FORKBOX_CHECK(index > 0);
      int code = SQLITE_OK;
      if (const auto* value = std::get_if<std::int64_t>(&params[i])) {
        code = ::sqlite3_bind_int64(statement, index, *value);
      } else if (const auto* text = std::get_if<std::string_view>(&params[i])) {
        // A null pointer would bind NULL.
        const char* const data = text->data() == nullptr ? "" : text->data();
        code =
            ::sqlite3_bind_text64(statement, index, data, text->size(), SQLITE_STATIC, SQLITE_UTF8);
      } else {
        code = ::sqlite3_bind_null(statement, index);
      }
      if (code != SQLITE_OK) return false;
    }
    return true;
  }

  Result<Rows> Step(sqlite3_stmt* statement) {
    Rows result;
    const int columns = ::sqlite3_column_count(statement);
    for (;;) {
      const int code = ::sqlite3_step(statement);
      if (code == SQLITE_DONE) break;
      if (code != SQLITE_ROW) return Failure();
      std::vector<Cell>& row = result.rows.emplace_back();
      row.reserve(static_cast<std::size_t>(columns));
      for (int i = 0; i < columns; ++i) row.push_back(Column(statement, i));
    }
    // Of the last statement that changes rows, so meaningless after any other.
    if (columns == 0) result.affected = ::sqlite3_changes64(database_.get());
    return result;
  }

  static Cell Column(sqlite3_stmt* statement, int i) {
    switch (::sqlite3_column_type(statement, i)) {
      case SQLITE_NULL:
        return Cell();
      case SQLITE_INTEGER:
        return Cell(::sqlite3_column_int64(statement, i));
      default: {
        const auto* const data = ::sqlite3_column_blob(statement, i);
        const int size = ::sqlite3_column_bytes(statement, i);
        return Cell(data == nullptr ? std::string()
                                    : std::string(static_cast<const char*>(data),
                                                  static_cast<std::size_t>(size)));
      }
    }
  }

  const std::string path_;
  const DatabaseHandle database_;
  std::unordered_map<std::string, PreparedStatement, HashText, std::equal_to<>> statements_;
  std::optional<Durability> durability_;  // as last set; unset: the library's default
};

// SQLite gives its log and its index of it the mode of the main file.
Result<void> MakePrivate(const std::filesystem::path& path) {
  const std::string name = "database " + path.string();
  // Never opened when it exists: to close it would drop the locks that a connection of this
  // process may have on it (fcntl(2)).
  const UniqueFd fresh(::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (fresh) return {};
  if (errno != EEXIST) {
    return Fail(ErrorCode::kUnavailable, name + ": " + std::strerror(errno));
  }
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    return Fail(ErrorCode::kUnavailable, name + ": " + std::strerror(errno));
  }
  if (!S_ISREG(status.st_mode)) return Fail(ErrorCode::kUnavailable, name + ": not a regular file");
  if ((status.st_mode & 077) != 0 && ::chmod(path.c_str(), 0600) != 0) {
    return Fail(ErrorCode::kUnavailable,
                name + ": others can read it, and chmod: " + std::strerror(errno));
  }
  return {};
}

Result<void> CheckWhole(Connection& connection, const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::file_size(path, error) > kCheckedWholeBytes || error) return {};
  const Result<Rows> checked = connection.Execute("PRAGMA quick_check(1)");
  if (!checked) return Fail(checked.error());
  if (checked->rows.size() == 1 && checked->rows[0][0].text() == "ok") return {};
  return Fail(ErrorCode::kInternal,
              "database " + path.string() + ": damaged (" +
                  std::string(checked->rows.empty() ? "no verdict" : checked->rows[0][0].text()) +
                  ")");
}

}  // namespace

SqliteDatabase::SqliteDatabase(std::filesystem::path path, SqliteOptions options)
    : path_(std::move(path)), options_(options) {}

Result<std::unique_ptr<SqliteDatabase>> SqliteDatabase::Open(std::filesystem::path path,
                                                             SqliteOptions options) {
  if (path.empty()) return Fail(ErrorCode::kInvalidArgument, "database: no path given");
  Result<void> is_private = MakePrivate(path);
  if (!is_private) return Fail(std::move(is_private).error());
  std::unique_ptr<SqliteDatabase> database(new SqliteDatabase(std::move(path), options));
  Result<std::unique_ptr<Connection>> connection = database->Connect(Access::kWrite);
  if (!connection) return Fail(std::move(connection).error());
  Result<void> whole = CheckWhole(**connection, database->path_);
  if (!whole) return Fail(std::move(whole).error());
  return database;
}

Result<std::unique_ptr<Connection>> SqliteDatabase::Connect(Access access) {
  sqlite3* opened = nullptr;
  // Absolute, so that nothing in it is taken for a URI or for one of the library's magic names.
  const std::string name = std::filesystem::absolute(path_).string();
  const int code = ::sqlite3_open_v2(name.c_str(), &opened,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  DatabaseHandle handle(opened);
  if (code != SQLITE_OK) {
    return Fail(CodeOf(code), "database " + path_.string() + ": " + ::sqlite3_errstr(code));
  }
  ::sqlite3_extended_result_codes(opened, 1);
  ::sqlite3_busy_timeout(opened, static_cast<int>(options_.busy_timeout.count()));
  // The file may have been tampered with: no SQL that hides in its schema runs.
  ::sqlite3_db_config(opened, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  ::sqlite3_db_config(opened, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  auto connection = std::make_unique<SqliteConnection>(std::move(handle), path_.string());

  // The change of a new file's mode takes a lock that the library does not wait for, as two that
  // hold half of it would wait for each other: so we try again.
  Result<Rows> mode = connection->Execute("PRAGMA journal_mode = WAL");
  const auto patience = std::chrono::steady_clock::now() + options_.busy_timeout;
  while (!mode && mode.error().code == ErrorCode::kUnavailable &&
         std::chrono::steady_clock::now() < patience) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    mode = connection->Execute("PRAGMA journal_mode = WAL");
  }
  if (!mode) return Fail(mode.error());
  if (mode->rows.empty() || mode->rows[0][0].text() != "wal") {
    return Fail(ErrorCode::kUnavailable,
                "database " + path_.string() + ": the file system cannot hold a write-ahead log");
  }
  std::vector<std::string> settings = {
      "PRAGMA journal_size_limit = 67108864",  // what a burst leaves behind shrinks again
      "PRAGMA cache_size = -8192",             // KiB
      "PRAGMA cell_size_check = ON",
  };
  if (options_.max_bytes > 0) {
    const Result<Rows> page = connection->Execute("PRAGMA page_size");
    if (!page) return Fail(page.error());
    const auto bytes = static_cast<std::uint64_t>(
        std::max<std::int64_t>(1, page->rows.empty() ? 0 : page->rows[0][0].number()));
    settings.push_back("PRAGMA max_page_count = " + std::to_string(options_.max_bytes / bytes));
  }
  if (access == Access::kRead) settings.emplace_back("PRAGMA query_only = ON");
  for (const std::string& setting : settings) {
    const Result<Rows> set = connection->Execute(setting);
    if (!set) return Fail(set.error());
  }
  return std::unique_ptr<Connection>(std::move(connection));
}

}  // namespace forkbox::store
