// PostgresDatabase: a Database in a PostgreSQL server, through libpq. All of it is in the one
// schema that the session's search_path names first.
//
// Several statements at once (Connection::ExecuteAll) travel together in libpq's pipeline mode, and
// BEGIN with them, so that a batch costs two round trips however large it is.
//
// Whatever happens to the server or on the way to it, calls return within some seconds: statements
// have a timeout there, waiting for answers has one here, and a server that cannot be reached is
// asked again at most every 100 ms, calls in between being told at once.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "base/result.h"
#include "store/database.h"

namespace forkbox::store {

struct PostgresOptions {
  std::chrono::seconds connect_timeout{3};  // of one address; at least 2, says libpq
  std::chrono::milliseconds statement_timeout{10'000};
  std::chrono::milliseconds lock_timeout{5'000};
  // Of silence, after which a server that does not even say that a statement took too long is given
  // up.
  std::chrono::milliseconds answer_timeout{12'000};
};

class PostgresDatabase final : public Database {
 public:
  // `url` is libpq's connection URI: "postgres://…" or "postgresql://…". Does not connect.
  // kInvalidArgument when it is none, or a character of user or password that means something in a
  // URL is not percent-encoded. No message ever holds a part of it but host, port and database.
  static Result<std::unique_ptr<PostgresDatabase>> Open(const std::string& url,
                                                        PostgresOptions options = {});

  [[nodiscard]] std::string name() const override;
  Result<std::unique_ptr<Connection>> Connect(Access access) override;

  // What every session begins with.
  struct Target {
    std::string url;
    std::string name;     // "database HOST:PORT/DATABASE", for messages
    std::string options;  // "-c name=value …"
    PostgresOptions settings;
  };

 private:
  explicit PostgresDatabase(Target target);

  const Target target_;
};

}  // namespace forkbox::store
