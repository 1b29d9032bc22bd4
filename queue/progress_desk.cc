#include "queue/progress_desk.h"

#include <utility>

namespace forkbox::queue {

void ProgressDesk::Expect(const schema::ExecutionId& id, OnProgress on_progress) {
  auto expected = std::make_shared<const OnProgress>(std::move(on_progress));
  {
    const std::lock_guard lock(mutex_);
    expected_[id].swap(expected);
  }
  // One that was replaced is destroyed here, outside the lock: what it holds may be anything.
}

void ProgressDesk::Forget(const schema::ExecutionId& id) {
  decltype(expected_)::node_type forgotten;  // outlives the lock, as above
  const std::lock_guard lock(mutex_);
  forgotten = expected_.extract(id);
}

void ProgressDesk::Deliver(Progress progress) {
  std::shared_ptr<const OnProgress> expected;
  {
    const std::lock_guard lock(mutex_);
    const auto found = expected_.find(progress.id);
    if (found == expected_.end()) return;
    expected = found->second;
  }
  (*expected)(std::move(progress));
}

}  // namespace forkbox::queue
