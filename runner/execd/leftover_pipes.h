// LeftoverPipes: the output of processes that outlive what started them (`sleep 100 & echo hi`).
// The run they belong to is over, so nobody waits for what they print; but a closed pipe would kill
// them with SIGPIPE. One thread reads all of them to their end.
//
// Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <string_view>
#include <thread>

#include "base/unique_fd.h"

namespace forkbox::execd {

class LeftoverPipes {
 public:
  // Gets what is printed, from that thread.
  using Consumer = std::function<void(std::string_view)>;

  static constexpr std::size_t kDefaultCapacity = 64;
  explicit LeftoverPipes(std::size_t capacity = kDefaultCapacity) : capacity_(capacity) {}
  ~LeftoverPipes();
  LeftoverPipes(const LeftoverPipes&) = delete;
  LeftoverPipes& operator=(const LeftoverPipes&) = delete;

  using Id = std::uint64_t;

  // Null: it is dropped. One more than `capacity` takes the place of the oldest, which is closed.
  // The pipe is non-blocking from here on. 0, and the pipe is closed, where the host has no
  // descriptor or thread for the first one.
  Id Add(UniqueFd pipe, Consumer consumer = nullptr);
  // Gives one back. None when it has ended or made room.
  UniqueFd Take(Id id);

 private:
  struct Entry {
    Id id = 0;
    UniqueFd pipe;
    Consumer consumer;
  };
  void Loop();

  bool Begin();  // the thread, with mutex_

  const std::size_t capacity_;
  std::mutex mutex_;
  std::list<Entry> entries_;  // by mutex_, as all below
  Id last_id_ = 0;
  bool ending_ = false;
  UniqueFd wake_;       // eventfd(2)
  std::thread thread_;  // started by the first pipe
};

}  // namespace forkbox::execd
