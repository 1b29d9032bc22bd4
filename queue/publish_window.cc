#include "queue/publish_window.h"

#include <utility>

namespace forkbox::queue {

void PublishWindow::Add(PendingPublish publish) {
  bytes_ += publish.publication.body.size();
  open_.emplace_hint(open_.end(), ++last_tag_, std::move(publish));
}

std::vector<PendingPublish> PublishWindow::Take(Open::iterator first, Open::iterator last) {
  std::vector<PendingPublish> taken;
  for (auto one = first; one != last; ++one) {
    bytes_ -= one->second.publication.body.size();
    taken.push_back(std::move(one->second));
  }
  open_.erase(first, last);
  return taken;
}

std::vector<PendingPublish> PublishWindow::Settle(std::uint64_t tag, bool multiple) {
  return Take(multiple ? open_.begin() : open_.lower_bound(tag), open_.upper_bound(tag));
}

std::vector<PendingPublish> PublishWindow::TakeExpired(SteadyTime now) {
  auto last = open_.begin();
  while (last != open_.end() && last->second.deadline <= now) ++last;
  return Take(open_.begin(), last);
}

std::vector<PendingPublish> PublishWindow::TakeAll() {
  last_tag_ = 0;
  return Take(open_.begin(), open_.end());
}

Deadline PublishWindow::first_deadline() const {
  return open_.empty() ? Deadline::max() : open_.begin()->second.deadline;
}

}  // namespace forkbox::queue
