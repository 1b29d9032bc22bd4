#include "runner/waiting_room.h"

#include <algorithm>
#include <map>
#include <ranges>
#include <utility>

namespace forkbox::runner {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How late it is noticed that a driver has come.
constexpr milliseconds kLook{50};
constexpr milliseconds kStandStill{5};

}  // namespace

WaitingRoom::WaitingRoom(Options options, store::ExecutionStore& store, queue::Broker& broker,
                         Clock& clock, const Log& log, HasCome has_come)
    : options_(options),
      store_(store),
      broker_(broker),
      clock_(clock),
      log_(log),
      has_come_(std::move(has_come)),
      thread_([this](const std::stop_token& stop) { Attend(stop); }) {}

WaitingRoom::~WaitingRoom() {
  Close();
  (void)WaitUntilEmpty(Deadline::max());
}

std::size_t WaitingRoom::Waiting() const {
  const std::lock_guard lock(mu_);
  return guests_.size() + leaving_;
}

void WaitingRoom::Enter(std::unique_ptr<queue::Lease> lease, const schema::Execution& execution,
                        bool until_it_comes) {
  auto guest = std::make_shared<Guest>();
  guest->message = lease->message();
  guest->lease = std::move(lease);
  guest->isolation = execution.isolation;
  guest->language = execution.language;
  guest->until_it_comes = until_it_comes;

  // By its own account, since it may come from another runner.
  const milliseconds ago(clock_.UnixMillis() - guest->message.dispatched_unix_ms);
  milliseconds rest(0);
  if (guest->message.waits_since_unix_ms != 0) {
    rest = std::clamp(options_.pause - ago, milliseconds(0), options_.pause);
  }
  bool full = false;
  {
    const std::lock_guard lock(mu_);
    ++leaving_;
    full = guests_.size() >= options_.most;
  }
  if (rest > milliseconds(0) && !full) return Keep(guest, rest);
  if (rest > milliseconds(0)) std::this_thread::sleep_for(kStandStill);
  PutBehind(guest);
}

// From leaving_ to guests_. A second message of one that is here is not needed; nor is there time
// for anybody once it is closed.
void WaitingRoom::Keep(const GuestPtr& guest, milliseconds time) {
  guest->due = steady_clock::now() + time;
  bool known = false;
  {
    const std::lock_guard lock(mu_);
    if (!closed_) {
      known = !guests_.emplace(guest->message.id, guest).second;
      if (!known) {
        --leaving_;
        changed_.notify_all();
        return;
      }
    }
  }
  if (known) return Acknowledge(*guest);
  guest->lease.reset();
  const std::lock_guard lock(mu_);
  --leaving_;
  changed_.notify_all();
}

void WaitingRoom::Acknowledge(Guest& guest) {
  if (auto acked = guest.lease->Ack(); !acked) {
    log_.Debug("worker.ack_failed",
               {{"execution_id", guest.message.id.str()}, {"error", acked.error().message}});
  }
  guest.lease.reset();
  const std::lock_guard lock(mu_);
  --leaving_;
  changed_.notify_all();  // under the lock: after it, the room may be gone
}

void WaitingRoom::PutBehind(const GuestPtr& guest) {
  queue::Message& message = guest->message;
  const std::int64_t seen = message.dispatched_unix_ms;
  const std::int64_t now = std::max(clock_.UnixMillis(), seen + 1);
  const Result<bool> noted = store_.NoteDispatch({message.id, seen}, now);
  if (!noted || !*noted) return Part(guest, noted);

  message.dispatched_unix_ms = now;
  if (message.waits_since_unix_ms == 0) message.waits_since_unix_ms = now;
  broker_.PublishAsync(message, [this, guest](const Result<void>& published) {
    if (published) return Acknowledge(*guest);
    // The lane is full, or nobody is there: later, then. The lease is kept meanwhile.
    log_.Debug("execution.wait_not_published",
               {{"execution_id", guest->message.id.str()}, {"error", published.error().message}});
    Keep(guest, options_.pause);
  });
}

void WaitingRoom::Part(const GuestPtr& guest, const Result<bool>& noted) {
  const schema::ExecutionId& id = guest->message.id;
  Result<store::ExecutionRecord> record =
      noted ? store_.GetHead(id, std::nullopt) : Fail(noted.error());
  const bool unknown = !record && record.error().code == ErrorCode::kNotFound;
  const std::int64_t age_ms = clock_.UnixMillis() - guest->message.enqueued_unix_ms;
  if (!record && (!unknown || age_ms < kRowMayFollowMs)) {
    return Keep(guest, options_.pause);  // the store is away, or the row on its way
  }
  if (unknown) log_.Warn("worker.unknown_execution", {{"execution_id", id.str()}});
  // Finished by another's hand; who waits for it gets what the row says.
  if (record && record->outcome) {
    broker_.SendReply({id, record->execution.reply_to, std::move(*record->outcome)});
  }
  Acknowledge(*guest);
}

void WaitingRoom::Call(const schema::ExecutionId& id) {
  const std::lock_guard lock(mu_);
  const auto found = guests_.find(id);
  if (found == guests_.end()) return;
  found->second->called = someone_called_ = true;
  changed_.notify_all();
}

void WaitingRoom::Close() {
  const std::lock_guard lock(mu_);
  closed_ = true;
  changed_.notify_all();
}

bool WaitingRoom::WaitUntilEmpty(Deadline deadline) {
  std::unique_lock lock(mu_);
  const auto empty = [this] { return guests_.empty() && leaving_ == 0; };
  if (deadline == Deadline::max()) {
    changed_.wait(lock, empty);
    return true;
  }
  return changed_.wait_until(lock, deadline, empty);
}

void WaitingRoom::TakeLeaving(std::vector<GuestPtr>* to_head, std::vector<GuestPtr>* behind) {
  // Few languages, many guests.
  std::map<std::pair<schema::Isolation, std::string>, bool> come;
  const auto has_come = [&](const Guest& guest) {
    const auto [known, is_new] = come.try_emplace({guest.isolation, guest.language});
    if (is_new) known->second = has_come_(guest.isolation, guest.language);
    return known->second;
  };
  const SteadyTime now = steady_clock::now();
  for (auto it = guests_.begin(); it != guests_.end();) {
    const GuestPtr& guest = it->second;
    if (closed_ || guest->called || (guest->until_it_comes && has_come(*guest))) {
      to_head->push_back(guest);
    } else if (guest->due <= now) {
      behind->push_back(guest);
    } else {
      ++it;
      continue;
    }
    ++leaving_;
    it = guests_.erase(it);
  }
  const auto by_age = [](const GuestPtr& a, const GuestPtr& b) { return a->due < b->due; };
  std::ranges::sort(*to_head, by_age);
  std::ranges::sort(*behind, by_age);
}

void WaitingRoom::Attend(const std::stop_token& stop) {
  std::unique_lock lock(mu_);
  while (!stop.stop_requested()) {
    if (guests_.empty()) {
      changed_.wait(lock, stop, [this] { return !guests_.empty(); });
    } else if (!closed_) {
      const SteadyTime until = steady_clock::now() + std::min(kLook, options_.pause);
      changed_.wait_until(lock, stop, until, [this] { return closed_ || someone_called_; });
    }
    someone_called_ = false;
    std::vector<GuestPtr> to_head;
    std::vector<GuestPtr> behind;
    TakeLeaving(&to_head, &behind);
    lock.unlock();
    // The last first: each goes before the one that went before it. And with no lock of ours, since
    // the broker may be announcing a cancel under its own.
    for (const GuestPtr& guest : to_head | std::views::reverse) guest->lease.reset();
    for (const GuestPtr& guest : behind) PutBehind(guest);
    lock.lock();
    leaving_ -= to_head.size();
    changed_.notify_all();
  }
}

}  // namespace forkbox::runner
