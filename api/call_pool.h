// CallPool: makes calls that may block on threads of its own, because no HTTP handler may.
//
// A call that throws has ended; whatever it held is destroyed, and the thread goes on. So a Reply
// it was to answer is a 500.
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
  using Call = std::function<void()>;

  CallPool(std::size_t threads, std::size_t max_waiting) : max_waiting_(max_waiting) {
    try {
      for (std::size_t i = 0; i < threads; ++i) {
        threads_.emplace_back([this] { Loop(); });
      }
    } catch (...) {  // no more threads
      Close();
      throw;
    }
  }
  ~CallPool() { Close(); }
  CallPool(const CallPool&) = delete;
  CallPool& operator=(const CallPool&) = delete;

  // False, and the call is dropped, when too many wait already or the pool is closed. `dropped` is
  // called instead of `call`, by Close(), when that came first; it must not block. A call whose end
  // somebody counts on needs one.
  [[nodiscard]] bool Post(Call call, Call dropped = nullptr) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || waiting_.size() >= max_waiting_) return false;
      waiting_.push_back({std::move(call), std::move(dropped)});
    }
    arrived_.notify_one();
    return true;
  }

  // Drops the calls that have not begun, then waits for those that have. Not from a call, and by
  // one thread at a time.
  void Close() {
    std::deque<Waiting> left;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      left.swap(waiting_);
    }
    arrived_.notify_all();
    for (Waiting& waiting : left) {
      if (waiting.dropped) Make(std::move(waiting.dropped));
    }
    left.clear();
    threads_.clear();
  }

 private:
  struct Waiting {
    Call call;
    Call dropped;
  };

  static void Make(Call call) {
    try {
      call();
    } catch (...) {  // nobody is behind it who could say more than what it held does by its end
    }
  }

  void Loop() {
    std::unique_lock lock(mutex_);
    for (;;) {
      arrived_.wait(lock, [this] { return closed_ || !waiting_.empty(); });
      if (waiting_.empty()) return;
      Waiting next = std::move(waiting_.front());
      waiting_.pop_front();
      lock.unlock();
      next.dropped = nullptr;
      Make(std::move(next.call));
      next = {};
      lock.lock();
    }
  }

  const std::size_t max_waiting_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Waiting> waiting_;        // guarded by mutex_
  bool closed_ = false;                // guarded by mutex_
  std::vector<std::jthread> threads_;  // last: they use all of the above
};

}  // namespace forkbox::api
