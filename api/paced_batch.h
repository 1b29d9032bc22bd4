// PacedBatch: gets the items of a batch started, at most so many at a time, so that a batch longer
// than its account may run at once does not refuse its own second half.
//
//   const auto batch = PacedBatch::Run(items, at_once, start, cancel);
//   call.reply.OnGone([batch] { batch->Abandon(); });
//
// Thread-safe; nothing here blocks. Items that end as soon as they are started are started one
// after the other in one thread, without one standing on the other's stack.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "schema/execution.h"

namespace forkbox::api {

class PacedBatch : public std::enable_shared_from_this<PacedBatch> {
 public:
  // Starts the item `index`, in order from 0, and has `ended` called once, from any thread, when
  // the next one may take its place. Returns what to cancel when the client leaves, if anything.
  using Start = std::function<std::optional<schema::ExecutionId>(std::size_t index,
                                                                 std::function<void()> ended)>;
  using Cancel = std::function<void(const schema::ExecutionId&)>;

  // `at_once` 0 is all of them. What is running keeps it alive.
  static std::shared_ptr<PacedBatch> Run(std::size_t items, std::size_t at_once, Start start,
                                         Cancel cancel) {
    const std::shared_ptr<PacedBatch> batch(
        new PacedBatch(items, at_once, std::move(start), std::move(cancel)));
    batch->StartMore();
    return batch;
  }

  // Cancels what runs and starts nothing more.
  void Abandon() {
    std::vector<schema::ExecutionId> running;
    {
      const std::lock_guard lock(mutex_);
      abandoned_ = true;
      for (const auto& [index, id] : running_) {
        if (id) running.push_back(*id);
      }
    }
    for (const auto& id : running) cancel_(id);
  }

 private:
  PacedBatch(std::size_t items, std::size_t at_once, Start start, Cancel cancel)
      : items_(items), at_once_(at_once), start_(std::move(start)), cancel_(std::move(cancel)) {}

  void StartMore() {
    std::unique_lock lock(mutex_);
    if (starting_) return;  // whoever does sees the place that became free
    starting_ = true;
    while (!abandoned_ && next_ < items_ && (at_once_ == 0 || running_.size() < at_once_)) {
      const std::size_t index = next_++;
      running_.emplace(index, std::nullopt);
      lock.unlock();
      const auto id = start_(index, [batch = shared_from_this(), index] { batch->OnEnded(index); });
      lock.lock();
      const auto running = running_.find(index);
      if (running == running_.end() || !id) continue;
      running->second = id;
      if (!abandoned_) continue;
      lock.unlock();  // Abandon() came before there was something to cancel
      cancel_(*id);
      lock.lock();
    }
    starting_ = false;
  }

  void OnEnded(std::size_t index) {
    {
      const std::lock_guard lock(mutex_);
      running_.erase(index);
    }
    StartMore();
  }

  const std::size_t items_;
  const std::size_t at_once_;
  const Start start_;
  const Cancel cancel_;
  std::mutex mutex_;
  std::size_t next_ = 0;                                               // guarded by mutex_
  std::map<std::size_t, std::optional<schema::ExecutionId>> running_;  // guarded by mutex_
  bool starting_ = false;                                              // guarded by mutex_
  bool abandoned_ = false;                                             // guarded by mutex_
};

}  // namespace forkbox::api
