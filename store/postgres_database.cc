#include "store/postgres_database.h"

#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <functional>
#include <optional>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "base/clock.h"

namespace forkbox::store {
namespace {

// Of the types that portable SQL has (server: catalog/pg_type.dat).
constexpr Oid kInt8 = 20;
constexpr Oid kInt2 = 21;
constexpr Oid kInt4 = 23;
constexpr Oid kText = 25;

// Ours among the advisory locks of the database: "forkbox" in ASCII.
constexpr std::string_view kLockMigrations = "SELECT pg_advisory_xact_lock(28832984843054968)";

// Named by a hash; two names that share one merely wait for each other needlessly.
constexpr std::string_view kExcludeOthers =
    "SELECT pg_advisory_xact_lock(hashtextextended($1, 28832984843054968))";

// Between two tries to reach a server that could not be reached.
constexpr std::chrono::milliseconds kHoldOff{100};

// A migration may have to rewrite a large table, or wait for another process that does.
constexpr std::chrono::minutes kMigrationTimeout{30};

struct CloseSession {
  void operator()(PGconn* session) const { ::PQfinish(session); }
};
struct ClearAnswer {
  void operator()(PGresult* answer) const { ::PQclear(answer); }
};
struct FreeOptions {
  void operator()(PQconninfoOption* options) const { ::PQconninfoFree(options); }
};
using Session = std::unique_ptr<PGconn, CloseSession>;
using Answer = std::unique_ptr<PGresult, ClearAnswer>;

// Of the first line only: the others repeat it for each address, or give hints.
std::string OneLine(std::string_view text) { return std::string(text.substr(0, text.find('\n'))); }

// PostgreSQL 15, appendix A.
ErrorCode CodeOf(std::string_view sqlstate) {
  const std::string_view group = sqlstate.substr(0, 2);
  if (group == "23") return ErrorCode::kConflict;  // integrity constraint violation
  for (const std::string_view away : {
           "08",  // connection exception
           "40",  // deadlock: whoever asks again gets through
           "53",  // disk full, out of memory, too many connections
           "57",  // statement timeout, shutting down, starting up
           "58",  // I/O error
       }) {
    if (group == away) return ErrorCode::kUnavailable;
  }
  for (const std::string_view away : {
           "25006",  // a standby, or read-only
           "25P03",  // we were slow between two statements
           "55P03",  // lock timeout
       }) {
    if (sqlstate == away) return ErrorCode::kUnavailable;
  }
  return ErrorCode::kInternal;
}

// The session is at an end, and what it was doing may or may not have been done.
bool EndsSession(std::string_view sqlstate) {
  return sqlstate.starts_with("08") || sqlstate.starts_with("57P") || sqlstate == "25P03";
}

std::string_view Field(const PGresult* answer, int field) {
  const char* const text = ::PQresultErrorField(answer, field);
  return text == nullptr ? std::string_view() : std::string_view(text);
}

Cell ReadCell(const PGresult* answer, int row, int column) {
  if (::PQgetisnull(answer, row, column) != 0) return Cell();
  const std::string_view text(::PQgetvalue(answer, row, column),
                              static_cast<std::size_t>(::PQgetlength(answer, row, column)));
  const Oid type = ::PQftype(answer, column);
  if (type != kInt8 && type != kInt4 && type != kInt2) return Cell(std::string(text));
  std::int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return Cell(number);
}

Rows ReadRows(const PGresult* answer) {
  Rows result;
  const int rows = ::PQntuples(answer);
  const int columns = ::PQnfields(answer);
  result.rows.reserve(static_cast<std::size_t>(rows));
  for (int i = 0; i < rows; ++i) {
    std::vector<Cell>& row = result.rows.emplace_back();
    row.reserve(static_cast<std::size_t>(columns));
    for (int j = 0; j < columns; ++j) row.push_back(ReadCell(answer, i, j));
  }
  if (columns == 0) {
    const std::string_view affected = ::PQcmdTuples(const_cast<PGresult*>(answer));
    std::from_chars(affected.data(), affected.data() + affected.size(), result.affected);
  }
  return result;
}

struct HashText {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

class PostgresConnection final : public Connection {
 public:
  PostgresConnection(const PostgresDatabase::Target& target, Access access)
      : target_(target), access_(access) {}

  // Makes sure that there is a session.
  Result<void> Connect() {
    // Nobody asked it anything, so what it says is that it ends.
    if (session_ != nullptr && transaction_ == Transaction::kNone) {
      pollfd readable = {::PQsocket(session_.get()), POLLIN, 0};
      if (::poll(&readable, 1, 0) != 0) Close();
    }
    if (session_ != nullptr) return {};
    if (std::chrono::steady_clock::now() < next_try_) return Fail(last_failure_);
    Result<void> opened = OpenSession();
    if (!opened) {
      Close();
      last_failure_ = opened.error();
      next_try_ = std::chrono::steady_clock::now() + kHoldOff;
    }
    return opened;
  }

  [[nodiscard]] Product product() const override { return Product::kPostgres; }
  [[nodiscard]] std::string_view exclude_others() const override { return kExcludeOthers; }

  using Connection::Execute;
  Result<Rows> Execute(std::string_view sql, std::span<const Param> params) override {
    const Statement statement = {sql, params};
    Result<std::vector<Rows>> answers = ExecuteAll(std::span(&statement, 1));
    if (!answers) return Fail(std::move(answers).error());
    return std::move(answers->front());
  }

  Result<std::vector<Rows>> ExecuteAll(std::span<const Statement> statements) override {
    return RoundTrip(statements, /*commit=*/false);
  }

  Result<std::vector<Rows>> ExecuteAllAndCommit(std::span<const Statement> statements) override {
    Result<std::vector<Rows>> answers = RoundTrip(statements, /*commit=*/!statements.empty());
    if (answers) EndTransaction();
    return answers;
  }

  // Is sent with the first statement.
  Result<void> Begin(Durability durability) override {
    Result<void> connected = Connect();
    if (!connected) return connected;
    transaction_ = Transaction::kAsked;
    durability_ = durability;
    return {};
  }

  Result<void> BeginMigration() override {
    Result<void> begun = Begin(Durability::kPowerCut);
    if (!begun) return begun;
    patience_ = kMigrationTimeout;
    for (const std::string_view text :
         {std::string_view("SET LOCAL statement_timeout = 0"),
          std::string_view("SET LOCAL lock_timeout = 0"), kLockMigrations}) {
      const Result<Rows> done = Execute(text);
      if (!done) {
        Rollback();
        return Fail(done.error());
      }
    }
    return {};
  }

  Result<void> Commit() override {
    if (transaction_ == Transaction::kOpen) {
      if (session_ == nullptr) return Lost("the connection was lost");
      // COMMIT would succeed, and do the opposite.
      if (::PQtransactionStatus(session_.get()) != PQTRANS_INTRANS) {
        return Failure(ErrorCode::kInternal, "the transaction had failed");
      }
      transaction_ = Transaction::kEnding;
      if (!Send("COMMIT")) return Lost(::PQerrorMessage(session_.get()));
      const Result<std::vector<Rows>> done = Receive(1);
      if (!done) return Fail(done.error());
    }
    EndTransaction();
    return {};
  }

  void Rollback() override {
    const bool open = transaction_ == Transaction::kOpen || transaction_ == Transaction::kEnding;
    if (open && session_ != nullptr && ::PQtransactionStatus(session_.get()) != PQTRANS_IDLE) {
      if (!Send("ROLLBACK") || !Receive(1)) Close();
    }
    EndTransaction();
  }

 private:
  enum class Transaction {
    kNone,
    kAsked,  // BEGIN was not sent yet
    kOpen,
    kEnding,  // COMMIT was sent
  };

  void EndTransaction() {
    transaction_ = Transaction::kNone;
    patience_ = target_.settings.answer_timeout;
  }

  void Close() {
    session_.reset();
    prepared_.clear();
  }

  [[nodiscard]] tl::unexpected<Error> Failure(ErrorCode code, std::string_view why) const {
    return Fail(code, target_.name + ": " + OneLine(why));
  }

  // Gives the session up. `why` may be its own words.
  tl::unexpected<Error> Lost(std::string_view why) {
    const bool in_doubt = transaction_ == Transaction::kEnding ||
                          (transaction_ == Transaction::kNone && access_ == Access::kWrite);
    tl::unexpected<Error> failure =
        Failure(in_doubt ? ErrorCode::kDeadlineExceeded : ErrorCode::kUnavailable, why);
    Close();
    return failure;
  }

  Result<void> OpenSession() {
    const std::string timeout = std::to_string(target_.settings.connect_timeout.count());
    std::string options = target_.options;
    if (access_ == Access::kRead) options += " -c default_transaction_read_only=on";
    // What stands before the URL it may change, what stands after it may not.
    const std::array<std::pair<const char*, const char*>, 11> settings = {{
        {"application_name", "forkbox"},
        {"connect_timeout", timeout.c_str()},
        // A host that is gone without a word: about 20 s, also while nothing is asked of it.
        {"keepalives_idle", "10"},
        {"keepalives_interval", "3"},
        {"keepalives_count", "3"},
        {"tcp_user_timeout", "15000"},
        {"gssencmode", "disable"},
        {"dbname", target_.url.c_str()},
        {"client_encoding", "UTF8"},
        {"options", options.c_str()},
        {nullptr, nullptr},
    }};
    std::array<const char*, settings.size()> names{};
    std::array<const char*, settings.size()> values{};
    for (std::size_t i = 0; i < settings.size(); ++i) {
      std::tie(names[i], values[i]) = settings[i];
    }
    session_.reset(::PQconnectdbParams(names.data(), values.data(), /*expand_dbname=*/1));
    PGconn* const session = session_.get();
    if (session == nullptr) return Failure(ErrorCode::kUnavailable, "out of memory");
    if (::PQstatus(session) != CONNECTION_OK || ::PQsetnonblocking(session, 1) != 0 ||
        ::PQenterPipelineMode(session) != 1) {
      return Failure(ErrorCode::kUnavailable, ::PQerrorMessage(session));
    }
    ::PQsetNoticeReceiver(
        session, [](void*, const PGresult*) {}, nullptr);
    return {};
  }

  // Sends BEGIN if it is due, the statements, and COMMIT if it is wanted; then reads what came of
  // the statements.
  Result<std::vector<Rows>> RoundTrip(std::span<const Statement> statements, bool commit) {
    if (transaction_ == Transaction::kNone) {
      Result<void> connected = Connect();
      if (!connected) return Fail(std::move(connected).error());
    }
    if (session_ == nullptr) return Lost("the connection was lost");
    if (statements.empty()) return std::vector<Rows>();
    std::vector<std::string_view> names;
    names.reserve(statements.size());
    for (const Statement& statement : statements) {
      Result<std::string_view> name = Prepare(statement);
      if (!name) return Fail(std::move(name).error());
      names.push_back(*name);
    }
    std::size_t before = 0;
    bool sent = true;
    if (transaction_ == Transaction::kAsked) {
      sent = Send("BEGIN");
      ++before;
      if (durability_ == Durability::kProcessCrash) {
        sent = sent && Send("SET LOCAL synchronous_commit = off");
        ++before;
      }
      transaction_ = Transaction::kOpen;
    }
    for (std::size_t i = 0; sent && i < statements.size(); ++i) {
      sent = Send(names[i], statements[i].params);
    }
    if (commit) {
      transaction_ = Transaction::kEnding;
      sent = sent && Send("COMMIT");
    }
    if (!sent) return Lost(::PQerrorMessage(session_.get()));
    Result<std::vector<Rows>> answers = Receive(before + statements.size() + (commit ? 1 : 0));
    if (!answers) return answers;
    const auto first = answers->begin() + static_cast<long>(before);
    return std::vector<Rows>(std::make_move_iterator(first),
                             std::make_move_iterator(first + static_cast<long>(names.size())));
  }

  Result<std::string_view> Prepare(const Statement& statement) {
    if (const auto known = prepared_.find(statement.sql); known != prepared_.end()) {
      return std::string_view(known->second);
    }
    const std::string sql(statement.sql);
    std::string name = "s" + std::to_string(prepared_.size());
    std::vector<Oid> types;
    for (const Param& param : statement.params) {
      types.push_back(std::holds_alternative<std::int64_t>(param)       ? kInt8
                      : std::holds_alternative<std::string_view>(param) ? kText
                                                                        : Oid{0});
    }
    if (::PQsendPrepare(session_.get(), name.c_str(), sql.c_str(), static_cast<int>(types.size()),
                        types.data()) != 1) {
      return Lost(::PQerrorMessage(session_.get()));
    }
    const Result<std::vector<Rows>> prepared = Receive(1);
    if (!prepared) return Fail(prepared.error());
    return std::string_view(prepared_.emplace(sql, std::move(name)).first->second);
  }

  // Of what is no secret and has no parameters.
  bool Send(const char* sql) {
    return ::PQsendQueryParams(session_.get(), sql, 0, nullptr, nullptr, nullptr, nullptr, 0) == 1;
  }

  // Parameters go in binary form: text as it is, without a terminator, and numbers in network
  // order.
  bool Send(std::string_view name, std::span<const Param> params) {
    std::vector<std::uint64_t> numbers(params.size());
    std::vector<const char*> values(params.size());
    std::vector<int> lengths(params.size());
    const std::vector<int> binary(params.size(), 1);
    for (std::size_t i = 0; i < params.size(); ++i) {
      if (const auto* number = std::get_if<std::int64_t>(&params[i])) {
        static_assert(std::endian::native == std::endian::little);
        numbers[i] = __builtin_bswap64(static_cast<std::uint64_t>(*number));
        values[i] = reinterpret_cast<const char*>(&numbers[i]);
        lengths[i] = sizeof numbers[i];
      } else if (const auto* text = std::get_if<std::string_view>(&params[i])) {
        // A null pointer would be NULL.
        values[i] = text->data() == nullptr ? "" : text->data();
        lengths[i] = static_cast<int>(text->size());
      }
    }
    return ::PQsendQueryPrepared(session_.get(), std::string(name).c_str(),
                                 static_cast<int>(params.size()), values.data(), lengths.data(),
                                 binary.data(), 0) == 1;
  }

  // The answers to the `count` statements that were sent since the last call, or the first error.
  Result<std::vector<Rows>> Receive(std::size_t count) {
    if (::PQpipelineSync(session_.get()) != 1) return Lost(::PQerrorMessage(session_.get()));
    std::vector<Rows> answers;
    answers.reserve(count);
    std::optional<tl::unexpected<Error>> failure;
    for (;;) {
      Result<Answer> answer = NextAnswer();
      if (!answer) return Fail(std::move(answer).error());
      const PGresult* const result = answer->get();
      if (result == nullptr) continue;  // the end of what one statement answers
      const ExecStatusType status = ::PQresultStatus(result);
      if (status == PGRES_PIPELINE_SYNC) break;
      if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        answers.push_back(ReadRows(result));
      } else if (status == PGRES_FATAL_ERROR && !failure) {
        const std::string_view sqlstate = Field(result, PG_DIAG_SQLSTATE);
        // Without a state these are libpq's words on a lost connection.
        if (sqlstate.empty()) return Lost(::PQresultErrorMessage(result));
        const std::string_view message = Field(result, PG_DIAG_MESSAGE_PRIMARY);
        if (EndsSession(sqlstate)) return Lost(message);
        // Details, and what a data exception (22) says, may quote values.
        std::string what = sqlstate.starts_with("22") ? "a value was refused" : OneLine(message);
        failure = Failure(CodeOf(sqlstate), what + " (" + std::string(sqlstate) + ")");
      }
      // The others are PGRES_PIPELINE_ABORTED: not run, because one before them failed.
    }
    if (failure) return *failure;
    if (answers.size() != count) return Lost("answers are missing");
    return answers;
  }

  // Waits for the server in both directions: it may only read on once we have read its answers.
  Result<Answer> NextAnswer() {
    PGconn* const session = session_.get();
    SteadyTime last_sign = std::chrono::steady_clock::now();
    for (;;) {
      const int unsent = ::PQflush(session);
      if (unsent < 0) return Lost(::PQerrorMessage(session));
      if (::PQisBusy(session) == 0) return Answer(::PQgetResult(session));
      pollfd ready = {::PQsocket(session),
                      static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN), 0};
      const auto silence = std::chrono::duration_cast<std::chrono::milliseconds>(
          std::chrono::steady_clock::now() - last_sign);
      const auto left = std::max(patience_ - silence, std::chrono::milliseconds(0));
      const int events = ::poll(&ready, 1, static_cast<int>(left.count()));
      if (events == 0) return Lost("no answer for too long");
      if (events < 0) continue;  // EINTR
      last_sign = std::chrono::steady_clock::now();
      if (::PQconsumeInput(session) != 1) return Lost(::PQerrorMessage(session));
    }
  }

  const PostgresDatabase::Target& target_;
  const Access access_;
  Session session_;  // in pipeline mode for good; null when lost
  std::unordered_map<std::string, std::string, HashText, std::equal_to<>> prepared_;  // to its name
  Transaction transaction_ = Transaction::kNone;
  Durability durability_ = Durability::kPowerCut;
  std::chrono::milliseconds patience_ = target_.settings.answer_timeout;
  SteadyTime next_try_{};
  Error last_failure_;  // to reach the server; until next_try_
};

// A password with a bare "@", "/" or "?" would be taken for a host, and then named in messages.
bool IsEncoded(std::string_view url) {
  const std::size_t authority = url.find("://") + 3;
  const std::size_t end = url.find_first_of("/?", authority);
  const std::size_t at = url.find('@');
  return at == std::string_view::npos || (at == url.rfind('@') && (at < end));
}

}  // namespace

PostgresDatabase::PostgresDatabase(Target target) : target_(std::move(target)) {}

Result<std::unique_ptr<PostgresDatabase>> PostgresDatabase::Open(const std::string& url,
                                                                 PostgresOptions options) {
  // Not quoted, and libpq's own words not told: they may hold a password.
  const auto refused = [] {
    return Fail(ErrorCode::kInvalidArgument,
                "database: not a connection URI of PostgreSQL (is the password percent-encoded?)");
  };
  const bool known = url.starts_with("postgres://") || url.starts_with("postgresql://");
  if (!known || url.find('\0') != std::string::npos || !IsEncoded(url)) return refused();
  char* message = nullptr;
  const std::unique_ptr<PQconninfoOption, FreeOptions> parsed(
      ::PQconninfoParse(url.c_str(), &message));
  ::PQfreemem(message);
  if (parsed == nullptr) return refused();
  std::unordered_map<std::string_view, std::string_view> given;
  for (const PQconninfoOption* option = parsed.get(); option->keyword != nullptr; ++option) {
    if (option->val != nullptr) given[option->keyword] = option->val;
  }
  Target target;
  target.url = url;
  target.name = "database " + std::string(given["host"]) +
                (given.contains("port") ? ":" + std::string(given["port"]) : "") + "/" +
                std::string(given["dbname"]);
  target.settings = options;
  target.options = given["options"];
  const std::pair<std::string_view, std::string> settings[] = {
      {"standard_conforming_strings", "on"},
      {"statement_timeout", std::to_string(options.statement_timeout.count())},
      {"lock_timeout", std::to_string(options.lock_timeout.count())},
      // When it is us that hang, others do not wait for our locks.
      {"idle_in_transaction_session_timeout", std::to_string(options.answer_timeout.count())},
      // Plans are made once and kept, perhaps since the tables were empty and reading all of them
      // was cheapest. There is an index for everything that we ask of a large one.
      {"enable_seqscan", "off"},
      // It brings all that there is before the first can be had; of a list we want the first few.
      {"enable_bitmapscan", "off"},
      // Nothing of ours takes long enough for it.
      {"jit", "off"},
      // Every conditional write relies on meeting what another has just committed.
      {"default_transaction_isolation", "read\\ committed"},
  };
  // So they hold from the start of every session, without a round trip. Of equal ones the last
  // counts.
  for (const auto& [name, value] : settings) {
    target.options += " -c " + std::string(name) + "=" + value;
  }
  return std::unique_ptr<PostgresDatabase>(new PostgresDatabase(std::move(target)));
}

std::string PostgresDatabase::name() const { return target_.name; }

Result<std::unique_ptr<Connection>> PostgresDatabase::Connect(Access access) {
  auto connection = std::make_unique<PostgresConnection>(target_, access);
  Result<void> connected = connection->Connect();
  if (!connected) return Fail(std::move(connected).error());
  return std::unique_ptr<Connection>(std::move(connection));
}

}  // namespace forkbox::store
