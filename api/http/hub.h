// Hub: the set of open connections, and one thread that writes what did not fit into a socket at
// once, drops what comes after the last answer of a taken one, and keeps the time.
//
// Thread-safe. Lock order: a connection's mutex may be held when calling Watch; no connection's
// mutex is taken while the hub's own is held.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "api/http/connection.h"
#include "api/http/limits.h"
#include "base/result.h"
#include "base/unique_fd.h"

namespace forkbox::http {

class Hub {
 public:
  struct Callbacks {
    std::function<RequestParser()> new_parser;
    // The output of a paused connection is drained. On the hub thread, no mutex held.
    std::function<void(const std::shared_ptr<Connection>&)> on_resume;
    // Every kTick. On the hub thread, no mutex held.
    std::function<void()> on_tick;
  };
  static constexpr std::chrono::milliseconds kTick{200};

  Hub(std::size_t max_connections, Callbacks callbacks);
  ~Hub();  // Stop()
  Hub(const Hub&) = delete;
  Hub& operator=(const Hub&) = delete;

  Result<void> Start();
  // Joins the thread. Connections stay until they are forgotten.
  void Stop();

  // A new connection that writes to a duplicate of its peer_fd. nullptr at the limit, after
  // RefuseNew(), or without descriptors.
  std::shared_ptr<Connection> Add(Connection::Origin origin);
  // The same, under a number of our half.
  UniqueFd MoveUp(UniqueFd fd) const;
  void Forget(const Connection& connection);
  // Takes no more connections from now on.
  void RefuseNew() { refusing_ = true; }

  [[nodiscard]] std::vector<std::shared_ptr<Connection>> Snapshot() const;
  [[nodiscard]] std::size_t size() const { return size_.load(); }

  // Has Flush() called once the socket takes bytes again, if there is output; and DropInput(), once
  // there is something to read, if it lingers. With the connection's mutex held.
  void Watch(Connection& connection);

 private:
  void Run();
  void OnReady(std::uint64_t id);

  const std::size_t max_connections_;
  const Callbacks callbacks_;
  // Pistache gives a client to worker fd % workers. Our duplicates live in the upper half of the
  // numbers, so that they do not leave it only odd ones, or only even ones.
  int first_duplicate_ = 0;
  UniqueFd epoll_;
  UniqueFd wake_;  // eventfd
  std::atomic<bool> stopping_{false};
  std::atomic<bool> refusing_{false};
  std::atomic<std::size_t> size_{0};
  mutable std::mutex mutex_;
  std::unordered_map<std::uint64_t, std::shared_ptr<Connection>> connections_;  // by mutex_
  std::uint64_t last_id_ = 0;                                                   // by mutex_
  std::thread thread_;
};

}  // namespace forkbox::http
