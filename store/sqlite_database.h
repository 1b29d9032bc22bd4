// SqliteDatabase: a Database in one file, in write-ahead mode, so readers and the writer do not
// wait for each other. Several processes may open the file; writers wait their turn, unfairly.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "base/result.h"
#include "store/database.h"

namespace forkbox::store {

struct SqliteOptions {
  std::chrono::milliseconds busy_timeout{5'000};  // for writers of other processes
  std::uint64_t max_bytes = 0;                    // of the file; 0: whatever the disk has
};

class SqliteDatabase final : public Database {
 public:
  // Creates the file with mode 0600 when there is none and takes other users' access away when
  // there is one; its directory must exist. kUnavailable when it cannot be opened, kInternal when
  // it is no database or a damaged one (a file up to 32 MiB is checked whole).
  static Result<std::unique_ptr<SqliteDatabase>> Open(std::filesystem::path path,
                                                      SqliteOptions options = {});

  [[nodiscard]] std::string name() const override { return "database " + path_.string(); }
  Result<std::unique_ptr<Connection>> Connect(Access access) override;

 private:
  SqliteDatabase(std::filesystem::path path, SqliteOptions options);

  const std::filesystem::path path_;
  const SqliteOptions options_;
};

}  // namespace forkbox::store
