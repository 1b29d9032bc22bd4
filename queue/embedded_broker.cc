#include "queue/embedded_broker.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "queue/message_json.h"

namespace forkbox::queue {

using schema::ExecutionId;
using schema::OwnerId;
using schema::Priority;

namespace {

std::size_t BytesOf(const schema::Source& source) {
  std::size_t bytes = source.code.size() + source.stdin_data.size();
  for (const auto& file : source.files) bytes += file.path.size() + file.content.size();
  for (const auto& one : source.cases) bytes += one.stdin_data.size() + one.expected_output.size();
  for (const auto& arg : source.args) bytes += arg.size();
  for (const auto& [name, value] : source.env) bytes += name.size() + value.size();
  return bytes;
}

}  // namespace

class EmbeddedBroker::EmbeddedLease final : public Lease {
 public:
  EmbeddedLease(EmbeddedBroker& broker, Entry entry) : broker_(broker), entry_(std::move(entry)) {}
  ~EmbeddedLease() override {
    if (!acked_) broker_.EndLease(std::move(entry_.message), /*acked=*/false);
  }

  [[nodiscard]] const Message& message() const override { return entry_.message; }
  [[nodiscard]] bool redelivered() const override { return entry_.redelivered; }
  Result<void> Ack() override {
    // A copy: message() stays what it was.
    if (!std::exchange(acked_, true)) broker_.EndLease(entry_.message, /*acked=*/true);
    return {};
  }

 private:
  EmbeddedBroker& broker_;
  Entry entry_;
  bool acked_ = false;
};

EmbeddedBroker::EmbeddedBroker(Options options) : options_(options) {
  interactive_.limit = options.max_waiting_interactive;
  background_.limit = options.max_waiting_background;
}

EmbeddedBroker::~EmbeddedBroker() {
  FORKBOX_CHECK(interactive_.leased == 0 && background_.leased == 0);
  FORKBOX_CHECK(next_line_.empty());
}

EmbeddedBroker::Lane& EmbeddedBroker::LaneOf(Priority priority) {
  return priority == Priority::kInteractive ? interactive_ : background_;
}

bool EmbeddedBroker::MayLease(const OwnerId& id, const Owner& owner) const {
  return id.empty() || options_.max_in_flight_per_owner == 0 ||
         owner.leased < options_.max_in_flight_per_owner;
}

void EmbeddedBroker::TakeTurn(Lane& lane, const OwnerId& id, Owner& owner, bool at_head) {
  if (owner.in_turn || owner.waiting.empty() || !MayLease(id, owner)) return;
  owner.in_turn = true;
  if (at_head) {
    lane.turns.push_front(id);
  } else {
    lane.turns.push_back(id);
  }
}

void EmbeddedBroker::PublishAsync(Message message, Done done) {
  // In the background thousands may wait for long: a big one waits in the store.
  if (message.lane == Priority::kBackground && message.execution != nullptr &&
      BytesOf(message.execution->source) > kMaxInlineExecutionBytes) {
    message.execution = nullptr;
  }
  done(Take(std::move(message)));
}

Result<void> EmbeddedBroker::Take(Message message) {
  const std::lock_guard lock(mutex_);
  if (closed_) return Fail(ErrorCode::kUnavailable, "the queue is closed");
  const Priority priority = message.lane;
  Lane& lane = LaneOf(priority);
  if (lane.ids.contains(message.id)) return {};
  if (lane.ids.size() >= lane.limit) {
    return Fail(ErrorCode::kQueueFull, "the queue is full: " + std::to_string(lane.ids.size()) +
                                           " waiting in the " + std::string(ToString(priority)) +
                                           " lane");
  }
  lane.ids.insert(message.id);
  lane.dispatched_unix_ms.insert(message.dispatched_unix_ms);
  const OwnerId id = message.owner;
  Owner& owner = lane.owners[id];
  owner.waiting.push_back({std::move(message), /*redelivered=*/false});
  TakeTurn(lane, id, owner, /*at_head=*/false);
  next_line_.WakeOne(priority);
  return {};
}

// Null when nothing may be leased.
std::unique_ptr<Lease> EmbeddedBroker::Take(Lane& lane) {
  if (lane.turns.empty()) return nullptr;
  const OwnerId id = std::move(lane.turns.front());
  lane.turns.pop_front();
  Owner& owner = lane.owners.at(id);
  owner.in_turn = false;
  Entry entry = std::move(owner.waiting.front());
  owner.waiting.pop_front();
  ++owner.leased;
  ++lane.leased;
  lane.ids.erase(entry.message.id);
  lane.dispatched_unix_ms.erase(lane.dispatched_unix_ms.find(entry.message.dispatched_unix_ms));
  TakeTurn(lane, id, owner, /*at_head=*/false);
  return std::make_unique<EmbeddedLease>(*this, std::move(entry));
}

void EmbeddedBroker::EndLease(Message message, bool acked) {
  const std::lock_guard lock(mutex_);
  const Priority priority = message.lane;
  Lane& lane = LaneOf(priority);
  const OwnerId id = message.owner;
  const auto found = lane.owners.find(id);
  FORKBOX_CHECK(found != lane.owners.end() && found->second.leased > 0);
  Owner& owner = found->second;
  --owner.leased;
  --lane.leased;
  // Back it goes, over the limit too: it was accepted. Unless it was published anew meanwhile, or
  // nobody will ask again.
  const bool requeue = !acked && !closed_ && lane.ids.insert(message.id).second;
  if (requeue) {
    lane.dispatched_unix_ms.insert(message.dispatched_unix_ms);
    owner.waiting.push_front({std::move(message), /*redelivered=*/true});
    if (owner.in_turn) {  // its turn comes first now
      lane.turns.erase(std::find(lane.turns.begin(), lane.turns.end(), id));
      owner.in_turn = false;
    }
  }
  const bool had_turn = owner.in_turn;
  TakeTurn(lane, id, owner, /*at_head=*/requeue);
  if (owner.in_turn && !had_turn) next_line_.WakeOne(priority);
  if (owner.leased == 0 && owner.waiting.empty()) lane.owners.erase(found);
}

Result<std::unique_ptr<Lease>> EmbeddedBroker::Next(Deadline deadline, bool interactive_only) {
  std::unique_lock lock(mutex_);
  // Looks once more after the deadline: a sleeper that was woken must not leave without looking.
  for (bool woken = true; woken;) {
    if (closed_) break;
    std::unique_ptr<Lease> lease = Take(interactive_);
    if (lease == nullptr && !interactive_only) lease = Take(background_);
    if (lease != nullptr) {
      // One wake may stand for several messages (two leases of an owner at its limit end, and it
      // gets one turn), so whoever takes one passes the word on.
      if (!interactive_.turns.empty()) next_line_.WakeOne(Priority::kInteractive);
      if (!background_.turns.empty()) next_line_.WakeOne(Priority::kBackground);
      return lease;
    }
    woken = next_line_.Sleep(lock, deadline, interactive_only);
  }
  return std::unique_ptr<Lease>();
}

Result<Depth> EmbeddedBroker::GetDepth(Priority priority) {
  const std::lock_guard lock(mutex_);
  const Lane& lane = LaneOf(priority);
  return Depth{.waiting = lane.ids.size(), .leased = lane.leased, .limit = lane.limit};
}

void EmbeddedBroker::FreshDepth(Priority priority, std::function<void(Result<Depth>)> done) {
  done(GetDepth(priority));
}

Result<std::optional<std::int64_t>> EmbeddedBroker::OldestDispatch(Priority priority) {
  const std::lock_guard lock(mutex_);
  const Lane& lane = LaneOf(priority);
  if (lane.dispatched_unix_ms.empty()) return std::optional<std::int64_t>();
  return std::optional<std::int64_t>(*lane.dispatched_unix_ms.begin());
}

void EmbeddedBroker::Expect(const ExecutionId& id, std::function<void(Reply)> on_reply) {
  replies_.Expect(id, std::move(on_reply));
}

void EmbeddedBroker::Forget(const ExecutionId& id) { replies_.Forget(id); }

void EmbeddedBroker::SendReply(Reply reply) { replies_.Deliver(std::move(reply)); }

std::shared_ptr<void> EmbeddedBroker::OnCancel(std::function<void(const ExecutionId&)> on_cancel) {
  return cancels_.Add(std::move(on_cancel));
}

Result<void> EmbeddedBroker::Cancel(const ExecutionId& id) {
  cancels_.Announce(id);
  return {};
}

std::shared_ptr<void> EmbeddedBroker::OnWatch(std::function<void(const Watch&)> on_watch) {
  return watches_.Add(std::move(on_watch));
}

Result<void> EmbeddedBroker::SendWatch(const Watch& watch) {
  watches_.Announce(watch);
  return {};
}

void EmbeddedBroker::ExpectProgress(const ExecutionId& id,
                                    std::function<void(Progress)> on_progress) {
  progress_.Expect(id, std::move(on_progress));
}

void EmbeddedBroker::ForgetProgress(const ExecutionId& id) { progress_.Forget(id); }

void EmbeddedBroker::SendProgress(Progress progress) { progress_.Deliver(std::move(progress)); }

void EmbeddedBroker::Close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  next_line_.WakeAll();
}

}  // namespace forkbox::queue
