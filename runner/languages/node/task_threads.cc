#include "runner/languages/node/task_threads.h"

#include <pthread.h>
#include <signal.h>

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>

namespace forkbox::javascript {

TaskThreads::TaskThreads(std::size_t max_threads)
    : max_threads_(std::max<std::size_t>(max_threads, 1)) {}

void TaskThreads::Post(v8::TaskPriority priority, std::unique_ptr<v8::Task> task) {
  const std::lock_guard lock(mutex_);
  Enqueue(priority, std::move(task));
  EnsureThread();
  work_.notify_one();
}

void TaskThreads::PostDelayed(v8::TaskPriority priority, std::unique_ptr<v8::Task> task,
                              std::chrono::duration<double> delay) {
  const std::lock_guard lock(mutex_);
  delayed_.push_back({Clock::now() + std::chrono::duration_cast<Clock::duration>(delay), priority,
                      std::move(task)});
  EnsureThread();
  work_.notify_one();
}

void TaskThreads::Drain() {
  std::unique_lock lock(mutex_);
  while (blocking_ != 0) {
    if (threads_ == 0 && !Empty()) {
      RunFirst(lock);
    } else {
      done_.wait(lock);
    }
  }
}

bool TaskThreads::Busy() {
  const std::lock_guard lock(mutex_);
  return blocking_ != 0;
}

void TaskThreads::Enqueue(v8::TaskPriority priority, std::unique_ptr<v8::Task> task) {
  queues_[static_cast<std::size_t>(priority)].push_back(std::move(task));
  if (priority == v8::TaskPriority::kUserBlocking) ++blocking_;
}

void TaskThreads::EnqueueDue() {
  const Clock::time_point now = Clock::now();
  const auto due =
      std::stable_partition(delayed_.begin(), delayed_.end(),
                            [now](const Delayed& delayed) { return delayed.due > now; });
  for (auto it = due; it != delayed_.end(); ++it) Enqueue(it->priority, std::move(it->task));
  delayed_.erase(due, delayed_.end());
}

bool TaskThreads::Empty() const {
  return std::all_of(queues_.begin(), queues_.end(),
                     [](const auto& queue) { return queue.empty(); });
}

void TaskThreads::RunFirst(std::unique_lock<std::mutex>& lock) {
  const auto queue = std::find_if(queues_.rbegin(), queues_.rend(),
                                  [](const auto& candidate) { return !candidate.empty(); });
  const bool blocking =
      queue == queues_.rbegin() +
                   (queues_.size() - 1 - static_cast<std::size_t>(v8::TaskPriority::kUserBlocking));
  std::unique_ptr<v8::Task> task = std::move(queue->front());
  queue->pop_front();
  lock.unlock();
  task->Run();
  task.reset();  // V8's tasks have work to do in their destructors
  lock.lock();
  if (blocking && --blocking_ == 0) done_.notify_all();
}

void TaskThreads::EnsureThread() {
  if (idle_ != 0 || threads_ >= max_threads_) return;
  // Signals are the main thread's business; the new thread inherits this mask.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    std::thread([this] { ThreadMain(); }).detach();
    ++threads_;
  } catch (const std::system_error&) {
    // At the limit of processes. Drain() runs the tasks if no thread ever starts.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void TaskThreads::ThreadMain() {
  std::unique_lock lock(mutex_);
  for (;;) {
    EnqueueDue();
    if (!Empty()) {
      RunFirst(lock);
      continue;
    }
    ++idle_;
    if (delayed_.empty()) {
      work_.wait(lock);
    } else {
      const auto next =
          std::min_element(delayed_.begin(), delayed_.end(),
                           [](const Delayed& a, const Delayed& b) { return a.due < b.due; });
      const Clock::time_point due = next->due;  // `next` may move while we wait
      work_.wait_until(lock, due);
    }
    --idle_;
  }
}

}  // namespace forkbox::javascript
