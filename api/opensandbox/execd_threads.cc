#include "api/opensandbox/execd_threads.h"

#include <system_error>
#include <thread>
#include <utility>

namespace forkbox::api {

ExecdThreads::ExecdThreads(std::size_t max_threads, std::chrono::milliseconds idle)
    : max_threads_(max_threads), idle_time_(idle) {}

ExecdThreads::~ExecdThreads() {
  std::unique_lock lock(mutex_);
  closed_ = true;
  arrived_.notify_all();
  left_.wait(lock, [this] { return threads_ == 0; });
}

bool ExecdThreads::Run(std::function<void()> job) {
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  if (idle_ <= waiting_.size()) {
    if (threads_ >= max_threads_) return false;
    try {
      std::thread([this] { Loop(); }).detach();  // counted: the destructor waits for it
    } catch (const std::system_error&) {         // no more threads for this process
      return false;
    }
    ++threads_;
    ++idle_;  // in the name of the new one, which finds the job
  }
  waiting_.push_back(std::move(job));
  arrived_.notify_one();
  return true;
}

std::size_t ExecdThreads::size() const {
  const std::lock_guard lock(mutex_);
  return threads_;
}

void ExecdThreads::Loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    arrived_.wait_for(lock, idle_time_, [this] { return closed_ || !waiting_.empty(); });
    if (waiting_.empty()) break;
    std::function<void()> job = std::move(waiting_.front());
    waiting_.pop_front();
    --idle_;
    lock.unlock();
    job();
    job = nullptr;  // what it holds goes now, not when the next one comes
    lock.lock();
    ++idle_;
  }
  --idle_;
  --threads_;
  left_.notify_all();  // under the lock: the destructor may free it right after
}

}  // namespace forkbox::api
