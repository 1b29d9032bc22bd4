// ProgressDesk: who hears how far which execution is. The part of a Broker behind ExpectProgress(),
// ForgetProgress() and the arrival of progress.
//
// Thread-safe. Calls nobody with its lock held.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "queue/progress.h"

namespace forkbox::queue {

class ProgressDesk {
 public:
  using OnProgress = std::function<void(Progress)>;

  void Expect(const schema::ExecutionId& id, OnProgress on_progress);
  void Forget(const schema::ExecutionId& id);
  // Calls who expects it; drops it when nobody does.
  void Deliver(Progress progress);

 private:
  std::mutex mutex_;
  // Shared with the calls under way.
  std::unordered_map<schema::ExecutionId, std::shared_ptr<const OnProgress>> expected_;
};

}  // namespace forkbox::queue
