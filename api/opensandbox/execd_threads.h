// ExecdThreads: a thread for each request that runs. They are started when they are needed, and end
// when nothing came for some seconds: requests here last for milliseconds or for hours, and none of
// them may wait for another.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>

namespace forkbox::api {

class ExecdThreads {
 public:
  explicit ExecdThreads(std::size_t max_threads,
                        std::chrono::milliseconds idle = std::chrono::seconds(10));
  // Waits for what runs.
  ~ExecdThreads();
  ExecdThreads(const ExecdThreads&) = delete;
  ExecdThreads& operator=(const ExecdThreads&) = delete;

  // At once, in a thread of its own. False, and the job is dropped, when all are busy.
  [[nodiscard]] bool Run(std::function<void()> job);

  [[nodiscard]] std::size_t size() const;  // threads there are, busy and idle

 private:
  void Loop();

  const std::size_t max_threads_;
  const std::chrono::milliseconds idle_time_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::condition_variable left_;
  std::deque<std::function<void()>> waiting_;  // by mutex_; never more than there are idle threads
  std::size_t threads_ = 0;                    // by mutex_
  std::size_t idle_ = 0;                       // by mutex_
  bool closed_ = false;                        // by mutex_
};

}  // namespace forkbox::api
