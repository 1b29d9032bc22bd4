// NextLine: the threads that sleep in a Broker's Next(), so that one message wakes one of them, and
// the right one.
//
// Guarded by the broker's own mutex: every call is made with it held.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <list>
#include <mutex>

#include "base/clock.h"
#include "schema/execution.h"

namespace forkbox::queue {

class NextLine {
 public:
  // Sleeps until it is woken or the deadline passes; false: the deadline passed first. Who was
  // woken must look at the lanes again before leaving, or the message it was woken for is left to
  // nobody.
  bool Sleep(std::unique_lock<std::mutex>& lock, Deadline deadline, bool interactive_only);
  // One more message of the lane can be taken.
  void WakeOne(schema::Priority lane);
  void WakeAll();

  [[nodiscard]] bool empty() const { return sleepers_.empty(); }
  // Those that nobody has woken.
  [[nodiscard]] std::size_t asleep() const;

 private:
  struct Sleeper {
    std::condition_variable wake;
    bool interactive_only = false;
    bool woken = false;
  };
  std::list<Sleeper*> sleepers_;  // each is on the stack of its thread
};

}  // namespace forkbox::queue
