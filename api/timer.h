// Timer: makes calls after a while, on a thread of its own.
//
// Thread-safe. The calls must not block. Time is the steady clock's, not an injected one: these are
// pauses between questions, and no test may hang because its clock stands still.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <stop_token>
#include <thread>
#include <utility>

namespace forkbox::api {

class Timer {
 public:
  Timer() : thread_([this](const std::stop_token& stop) { Run(stop); }) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { Close(); }

  // False, and the call is dropped, after Close().
  [[nodiscard]] bool After(std::chrono::milliseconds pause, std::function<void()> call) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return false;
      calls_.emplace(std::chrono::steady_clock::now() + pause, std::move(call));
    }
    changed_.notify_one();
    return true;
  }

  // Makes every call that waits at once, then joins. Not from a call.
  void Close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    if (thread_.joinable()) {
      thread_.request_stop();
      thread_.join();
    }
    std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> left;
    {
      const std::lock_guard lock(mutex_);
      left.swap(calls_);
    }
    for (const auto& [when, call] : left) call();
  }

 private:
  void Run(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      if (calls_.empty()) {
        changed_.wait(lock, stop, [this] { return !calls_.empty(); });
        continue;
      }
      const auto due = calls_.begin()->first;
      if (std::chrono::steady_clock::now() < due) {
        changed_.wait_until(lock, stop, due, [this, due] { return calls_.begin()->first < due; });
        continue;
      }
      const std::function<void()> call = std::move(calls_.begin()->second);
      calls_.erase(calls_.begin());
      lock.unlock();
      call();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> calls_;  // by mutex_
  bool closed_ = false;                                                                // by mutex_
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace forkbox::api
