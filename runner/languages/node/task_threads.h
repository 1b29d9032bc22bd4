// TaskThreads: worker threads for V8's background tasks, in a process that was forked.
//
// fork() copies one thread. The threads of Node's own platform stay behind in the template, and a
// garbage collection or compilation that hands them work would wait for ever. This pool takes
// their place in the child. A thread starts when there is work for it and never before, so a small
// program ends without any.
//
// Thread-safe. Lives until the process ends: a task may run up to the last instruction.
#pragma once

#include <v8-platform.h>

#include <array>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

namespace forkbox::javascript {

class TaskThreads {
 public:
  explicit TaskThreads(std::size_t max_threads);
  TaskThreads(const TaskThreads&) = delete;
  TaskThreads& operator=(const TaskThreads&) = delete;

  void Post(v8::TaskPriority priority, std::unique_ptr<v8::Task> task);
  void PostDelayed(v8::TaskPriority priority, std::unique_ptr<v8::Task> task,
                   std::chrono::duration<double> delay);

  // Returns when no user-blocking task is queued or running, as Node's own platform does; the
  // others never keep a program alive. If no thread could be started (a limit on processes), the
  // queued tasks run here, on the caller's thread.
  void Drain();

  // Whether Drain() would have something to wait for.
  bool Busy();

 private:
  using Clock = std::chrono::steady_clock;
  struct Delayed {
    Clock::time_point due;
    v8::TaskPriority priority;
    std::unique_ptr<v8::Task> task;
  };

  // All with mutex_ held.
  void Enqueue(v8::TaskPriority priority, std::unique_ptr<v8::Task> task);
  void EnqueueDue();
  bool Empty() const;
  void RunFirst(std::unique_lock<std::mutex>& lock);
  void EnsureThread();

  [[noreturn]] void ThreadMain();

  const std::size_t max_threads_;
  std::mutex mutex_;
  std::condition_variable work_;                                 // something was queued
  std::condition_variable done_;                                 // blocking_ fell to zero
  std::array<std::deque<std::unique_ptr<v8::Task>>, 3> queues_;  // by priority, lowest first
  std::vector<Delayed> delayed_;
  std::size_t blocking_ = 0;  // user-blocking tasks queued or running
  std::size_t threads_ = 0;
  std::size_t idle_ = 0;
};

}  // namespace forkbox::javascript
