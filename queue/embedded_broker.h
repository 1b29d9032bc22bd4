// EmbeddedBroker: the Broker within one process, in memory. What waited when the process ends is
// found again in the store.
//
// A message of the background lane loses an execution of more than kMaxInlineExecutionBytes
// (queue/message_json.h): its runner reads it from the store.
//
// An id that already waits is taken as the same message, so republishing is harmless. Publishing,
// leasing and answering take constant or logarithmic time whatever waits.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "queue/broker.h"
#include "queue/next_line.h"
#include "queue/progress_desk.h"
#include "queue/reply_desk.h"
#include "queue/subscriptions.h"

namespace forkbox::queue {

class EmbeddedBroker final : public Broker {
 public:
  struct Options {
    std::uint64_t max_waiting_interactive = 1'000;
    std::uint64_t max_waiting_background = 10'000;
    // Leased at once by one owner, in each lane; 0 is no limit. Never applied to the owner "",
    // who is everybody when authentication is off.
    std::uint64_t max_in_flight_per_owner = 0;
  };

  explicit EmbeddedBroker(Options options);
  ~EmbeddedBroker() override;  // every lease is gone by then

  void PublishAsync(Message message, Done done) override;
  Result<std::unique_ptr<Lease>> Next(Deadline deadline, bool interactive_only) override;
  Result<Depth> GetDepth(schema::Priority lane) override;
  void FreshDepth(schema::Priority lane, std::function<void(Result<Depth>)> done) override;
  Result<std::optional<std::int64_t>> OldestDispatch(schema::Priority lane) override;
  [[nodiscard]] const std::string& ReplyAddress() const override { return reply_address_; }
  void Expect(const schema::ExecutionId& id, std::function<void(Reply)> on_reply) override;
  void Forget(const schema::ExecutionId& id) override;
  void SendReply(Reply reply) override;
  std::shared_ptr<void> OnCancel(
      std::function<void(const schema::ExecutionId&)> on_cancel) override;
  Result<void> Cancel(const schema::ExecutionId& id) override;
  std::shared_ptr<void> OnWatch(std::function<void(const Watch&)> on_watch) override;
  Result<void> SendWatch(const Watch& watch) override;
  void ExpectProgress(const schema::ExecutionId& id,
                      std::function<void(Progress)> on_progress) override;
  void ForgetProgress(const schema::ExecutionId& id) override;
  void SendProgress(Progress progress) override;
  Result<void> Status() override { return {}; }
  void Close() override;

 private:
  class EmbeddedLease;

  struct Entry {
    Message message;
    bool redelivered = false;
  };
  struct Owner {
    std::deque<Entry> waiting;
    std::uint64_t leased = 0;
    bool in_turn = false;  // its id is in Lane::turns
  };
  // One lane. `turns` holds, once each, the owners that have a message waiting and may have one
  // more in flight; the first of them is served and goes to the end.
  struct Lane {
    std::unordered_map<schema::OwnerId, Owner> owners;
    std::deque<schema::OwnerId> turns;
    std::unordered_set<schema::ExecutionId> ids;     // of what waits
    std::multiset<std::int64_t> dispatched_unix_ms;  // of what waits
    std::uint64_t leased = 0;
    std::uint64_t limit = 0;
  };

  Result<void> Take(Message message);

  // All of these with mutex_ held.
  Lane& LaneOf(schema::Priority priority);
  [[nodiscard]] bool MayLease(const schema::OwnerId& id, const Owner& owner) const;
  void TakeTurn(Lane& lane, const schema::OwnerId& id, Owner& owner, bool at_head);
  std::unique_ptr<Lease> Take(Lane& lane);

  // What a lease does at its end.
  void EndLease(Message message, bool acked);

  const Options options_;
  const std::string reply_address_ = "embedded";

  std::mutex mutex_;
  Lane interactive_;
  Lane background_;
  NextLine next_line_;
  bool closed_ = false;

  ReplyDesk replies_;
  CancelSubscriptions cancels_;
  ProgressDesk progress_;
  WatchSubscriptions watches_;
};

}  // namespace forkbox::queue
