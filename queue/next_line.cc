#include "queue/next_line.h"

#include <algorithm>

namespace forkbox::queue {

using schema::Priority;

bool NextLine::Sleep(std::unique_lock<std::mutex>& lock, Deadline deadline, bool interactive_only) {
  Sleeper self;
  self.interactive_only = interactive_only;
  const auto place = sleepers_.insert(sleepers_.end(), &self);
  self.wake.wait_until(lock, deadline, [&] { return self.woken; });
  sleepers_.erase(place);
  return self.woken;
}

// A sleeper that was woken already is busy with another message. Those that take nothing but
// interactive work go first for it, which leaves the others for the rest.
void NextLine::WakeOne(Priority lane) {
  Sleeper* chosen = nullptr;
  for (Sleeper* sleeper : sleepers_) {
    if (sleeper->woken || (sleeper->interactive_only && lane != Priority::kInteractive)) continue;
    chosen = sleeper;
    if (sleeper->interactive_only) break;
  }
  if (chosen == nullptr) return;
  chosen->woken = true;
  chosen->wake.notify_one();
}

std::size_t NextLine::asleep() const {
  return static_cast<std::size_t>(std::count_if(sleepers_.begin(), sleepers_.end(),
                                                [](const Sleeper* one) { return !one->woken; }));
}

void NextLine::WakeAll() {
  for (Sleeper* sleeper : sleepers_) {
    sleeper->woken = true;
    sleeper->wake.notify_one();
  }
}

}  // namespace forkbox::queue
