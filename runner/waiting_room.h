// WaitingRoom: where a runner puts what it cannot run now, because the driver for it boots, or is
// another runner's.
//
// Such a message goes behind all others of its lane: it is published anew, and its lease
// acknowledged once the broker has it. So whatever can run is reached. One that comes round again
// sooner than after `pause` stays here for the rest of it, so that a queue of nothing else does not
// spin; it leaves at once, to the head, when its driver has come, when it is cancelled, and at the
// end.
//
// Each round notes the dispatch in the store, which also tells what needs no further round: an
// execution that is finished, and a message beside which there is a newer one of the same
// execution. Whoever is killed between publishing and acknowledging leaves two messages: only that
// of the noted dispatch goes round again, and claims keep either of them from a second result.
//
// Thread-safe. What is passed by reference must outlive it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/log.h"
#include "queue/broker.h"
#include "store/execution_store.h"

namespace forkbox::runner {

// A message may overtake the row it belongs to (insert and publish run side by side); after this
// long the row is not on its way but was never written.
inline constexpr std::int64_t kRowMayFollowMs = 5'000;

class WaitingRoom {
 public:
  struct Options {
    std::chrono::milliseconds pause{500};
    // Kept at once. Beyond that, who brings one stands still for a moment, and it goes on.
    std::size_t most = 1'024;
  };
  // Whether there is a driver now. Any thread.
  using HasCome = std::function<bool(schema::Isolation, const std::string& language)>;

  WaitingRoom(Options options, store::ExecutionStore& store, queue::Broker& broker, Clock& clock,
              const Log& log, HasCome has_come);
  // As Close(), and waits for the broker's answers.
  ~WaitingRoom();
  WaitingRoom(const WaitingRoom&) = delete;
  WaitingRoom& operator=(const WaitingRoom&) = delete;

  // `execution` is that of the lease; its source may be missing. With `until_it_comes` it leaves
  // early as soon as its driver has come. Not with a lock held that a cancel takes.
  void Enter(std::unique_ptr<queue::Lease> lease, const schema::Execution& execution,
             bool until_it_comes);
  // It leaves early, if it is here.
  void Call(const schema::ExecutionId& id);
  [[nodiscard]] std::size_t Waiting() const;  // here, or on their way behind the others

  // All leave, and so does whoever comes from now on.
  void Close();
  // False when the broker has not answered by then.
  bool WaitUntilEmpty(Deadline deadline);

 private:
  struct Guest {
    std::unique_ptr<queue::Lease> lease;
    queue::Message message;  // as it was, or will be, published last
    schema::Isolation isolation = schema::Isolation::kProcess;
    std::string language;
    bool until_it_comes = false;
    bool called = false;
    SteadyTime due{};
  };
  using GuestPtr = std::shared_ptr<Guest>;

  void Keep(const GuestPtr& guest, std::chrono::milliseconds time);
  void PutBehind(const GuestPtr& guest);
  // Its dispatch could not be noted.
  void Part(const GuestPtr& guest, const Result<bool>& noted);
  void Acknowledge(Guest& guest);
  void Attend(const std::stop_token& stop);  // the thread
  // With mu_ held: takes them out of guests_.
  void TakeLeaving(std::vector<GuestPtr>* to_head, std::vector<GuestPtr>* behind);

  const Options options_;
  store::ExecutionStore& store_;
  queue::Broker& broker_;
  Clock& clock_;
  const Log log_;
  const HasCome has_come_;

  mutable std::mutex mu_;  // guards all below but the thread
  std::condition_variable_any changed_;
  std::unordered_map<schema::ExecutionId, GuestPtr> guests_;
  std::size_t leaving_ = 0;  // in the hands of some thread, or of the broker
  bool someone_called_ = false;
  bool closed_ = false;
  std::jthread thread_;
};

}  // namespace forkbox::runner
