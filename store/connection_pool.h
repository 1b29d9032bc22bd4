// ConnectionPool: a few connections that threads borrow one at a time.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/result.h"
#include "store/database.h"

namespace forkbox::store {

// Thread-safe.
class ConnectionPool {
 public:
  // Opens all of them.
  static Result<std::unique_ptr<ConnectionPool>> Open(Database& database, Access access,
                                                      std::size_t size) {
    auto pool = std::make_unique<ConnectionPool>();
    for (std::size_t i = 0; i < size; ++i) {
      Result<std::unique_ptr<Connection>> connection = database.Connect(access);
      if (!connection) return Fail(std::move(connection).error());
      pool->idle_.push_back(std::move(*connection));
    }
    return pool;
  }

  // A borrowed connection; goes back when it goes out of scope, before the pool does.
  class Borrowed {
   public:
    explicit Borrowed(ConnectionPool& pool) : pool_(pool), connection_(pool.Take()) {}
    ~Borrowed() { pool_.Return(std::move(connection_)); }
    Borrowed(const Borrowed&) = delete;
    Borrowed& operator=(const Borrowed&) = delete;
    Connection* operator->() const { return connection_.get(); }

   private:
    ConnectionPool& pool_;
    std::unique_ptr<Connection> connection_;
  };

  // Waits until one is idle.
  Borrowed Borrow() { return Borrowed(*this); }

 private:
  std::unique_ptr<Connection> Take() {
    std::unique_lock lock(mutex_);
    returned_.wait(lock, [this] { return !idle_.empty(); });
    std::unique_ptr<Connection> connection = std::move(idle_.back());
    idle_.pop_back();
    return connection;
  }

  void Return(std::unique_ptr<Connection> connection) {
    {
      const std::lock_guard lock(mutex_);
      idle_.push_back(std::move(connection));
    }
    returned_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<Connection>> idle_;  // guarded by mutex_
};

}  // namespace forkbox::store
