// CallPool: makes calls that may block on threads of its own, because no HTTP handler may.
//
// Thread-safe. Bounded: when too many wait, the caller is told so at once.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace forkbox::api {

class CallPool {
 public:
  CallPool(std::size_t threads, std::size_t max_waiting) : max_waiting_(max_waiting) {
    for (std::size_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this] { Loop(); });
    }
  }
  ~CallPool() { Close(); }
  CallPool(const CallPool&) = delete;
  CallPool& operator=(const CallPool&) = delete;

  // False, and the call is dropped, when too many wait already or the pool is closed.
  [[nodiscard]] bool Post(std::function<void()> call) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || waiting_.size() >= max_waiting_) return false;
      waiting_.push_back(std::move(call));
    }
    arrived_.notify_one();
    return true;
  }

  // Makes every call that waits, then joins. Not from a call.
  void Close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    arrived_.notify_all();
    threads_.clear();
  }

 private:
  void Loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      arrived_.wait(lock, [this] { return closed_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      const std::function<void()> call = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      call();
      lock.lock();
    }
  }

  const std::size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<std::function<void()>> waiting_;  // guarded by mutex_
  bool closed_ = false;                        // guarded by mutex_
  std::vector<std::jthread> threads_;          // last: they use all of the above
};

}  // namespace forkbox::api
