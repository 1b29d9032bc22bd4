// ConnectionPool: a few connections for reading that threads take one statement at a time.
#pragma once

#include <chrono>
#include <condition_variable>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "store/database.h"

namespace forkbox::store {

// Thread-safe.
class ConnectionPool {
 public:
  // Opens all of them.
  static Result<std::unique_ptr<ConnectionPool>> Open(Database& database, std::size_t size) {
    auto pool = std::make_unique<ConnectionPool>();
    for (std::size_t i = 0; i < size; ++i) {
      Result<std::unique_ptr<Connection>> connection = database.Connect(Access::kRead);
      if (!connection) return Fail(std::move(connection).error());
      pool->idle_.push_back(std::move(*connection));
    }
    return pool;
  }

  // On whichever is idle, as Connection::Execute. kUnavailable when none is for a long time.
  Result<Rows> Execute(std::string_view sql, std::initializer_list<Param> params = {}) {
    return Execute(sql, std::span<const Param>(params.begin(), params.size()));
  }
  Result<Rows> Execute(std::string_view sql, std::span<const Param> params) {
    std::unique_ptr<Connection> connection;
    {
      std::unique_lock lock(mutex_);
      if (!returned_.wait_for(lock, kLongestWait, [this] { return !idle_.empty(); })) {
        return Fail(ErrorCode::kUnavailable, "database: too many reads wait for it");
      }
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
    Result<Rows> rows = connection->Execute(sql, params);
    {
      const std::lock_guard lock(mutex_);
      idle_.push_back(std::move(connection));
    }
    returned_.notify_one();
    return rows;
  }

 private:
  static constexpr std::chrono::seconds kLongestWait{10};

  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Connection>> idle_;  // guarded by mutex_
};

}  // namespace forkbox::store
