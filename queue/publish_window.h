// PublishWindow: what was published on a channel in confirm mode and is not settled yet. Delivery
// tags count the publications of a channel from 1.
//
// One thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "queue/amqp_connection.h"

namespace forkbox::queue {

struct PendingPublish {
  AmqpPublication publication;
  std::function<void(Result<void>)> done = nullptr;  // null when nobody waits for a word
  Deadline deadline;
  bool maybe_taken = false;  // it has been written, at least in part, to some connection
};

class PublishWindow {
 public:
  // The tag of the next publication: it goes out with it, so that a return can be told from others.
  [[nodiscard]] std::uint64_t next_tag() const { return last_tag_ + 1; }
  void Add(PendingPublish publish);

  // Those that the confirm settles; a tag that is not known any more settles nothing.
  std::vector<PendingPublish> Settle(std::uint64_t tag, bool multiple);
  // Those whose deadline has passed. A confirm that comes later is nobody's.
  std::vector<PendingPublish> TakeExpired(SteadyTime now);
  // All, oldest first, and the tags start anew: the channel is gone.
  std::vector<PendingPublish> TakeAll();

  [[nodiscard]] std::size_t bytes() const { return bytes_; }
  [[nodiscard]] bool empty() const { return open_.empty(); }
  // Of the oldest, which is the first: deadlines grow with the tags.
  [[nodiscard]] Deadline first_deadline() const;

 private:
  using Open = std::map<std::uint64_t, PendingPublish>;
  std::vector<PendingPublish> Take(Open::iterator first, Open::iterator last);

  Open open_;  // by tag
  std::uint64_t last_tag_ = 0;
  std::size_t bytes_ = 0;  // of the bodies
};

}  // namespace forkbox::queue
