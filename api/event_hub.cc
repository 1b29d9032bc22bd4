#include "api/event_hub.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "api/event_writer.h"
#include "api/execution_document.h"

namespace forkbox::api {

using schema::ExecutionId;
using schema::OwnerId;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

constexpr milliseconds kTick{100};
constexpr milliseconds kTickOfLaggards{20};
// A watch lasts queue::kWatchLife; this is well before its end.
constexpr std::chrono::seconds kRenewWatch{5};
// A run that says nothing for so long does not keep another from being heard.
constexpr std::chrono::seconds kSilentRun{5};
// What is asked for again may be on its way.
constexpr milliseconds kGapPause{50};
// One that has not said by then that it compiles, runs.
constexpr milliseconds kStateComesFirst{50};

}  // namespace

struct EventHub::Client {
  Client(http::Reply reply, const EventPosition& from, OwnerId of)
      : writer(std::move(reply), from), owner(std::move(of)) {}

  EventWriter writer;
  const OwnerId owner;
  const std::shared_ptr<std::atomic<bool>> gone =
      std::make_shared<std::atomic<bool>>(false);  // shared with the callback of the reply
};

struct EventHub::Entry {
  explicit Entry(ExecutionId of) : id(std::move(of)) {}

  const ExecutionId id;
  mutable std::mutex mutex;
  std::vector<std::unique_ptr<Client>> clients;
  std::string run;
  std::string state;
  std::string stdout_text;
  std::string stderr_text;
  bool caught_up = false;
  std::shared_ptr<const store::ExecutionRecord> ended;
  std::shared_ptr<const std::string> document;
  std::size_t counted_bytes = 0;  // in text_bytes_
  SteadyTime heard_at;
  SteadyTime run_began;
  SteadyTime asked_at;
  SteadyTime look_at;
  milliseconds look_pause{0};
  bool looking = false;
  bool look_again = false;
  bool lags = false;  // somebody does
  bool gap = false;   // something was lost on the way
};

EventHub::EventHub(Options options, ExecutionService& service, queue::Broker& broker, Log log)
    : options_(options), service_(service), broker_(broker), log_(std::move(log)) {
  cancels_ = broker_.OnCancel([this](const ExecutionId& id) { LookSoon(id); });
  timekeeper_ = std::jthread([this](const std::stop_token& stop) { KeepTime(stop); });
}

EventHub::~EventHub() { Close(); }

std::size_t EventHub::streams() const {
  const std::lock_guard lock(mutex_);
  return streams_;
}

std::size_t EventHub::watched() const {
  const std::lock_guard lock(mutex_);
  return live_.size() + ended_.size();
}

void EventHub::Close() {
  std::vector<EntryPtr> entries;
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(closed_, true)) return;
    for (const auto& [id, entry] : live_) {
      broker_.ForgetProgress(id);
      entries.push_back(entry);
    }
    entries.insert(entries.end(), ended_.begin(), ended_.end());
    live_.clear();
    ended_.clear();
  }
  cancels_.reset();
  timekeeper_.request_stop();
  timekeeper_.join();
  for (const EntryPtr& entry : entries) {
    Leaving leaving;
    {
      const std::lock_guard lock(entry->mutex);
      for (const auto& client : entry->clients) {
        leaving.replies.push_back(client->writer.reply());
        leaving.owners.push_back(client->owner);
      }
      entry->clients.clear();
    }
    Settle(std::move(leaving));
  }
  gate_->Close();
}

// ---- opening ------------------------------------------------------------------------------------

std::optional<EventHub::Refused> EventHub::Open(store::ExecutionRecord record,
                                                const EventPosition& from, http::Reply reply) {
  const OwnerId owner = record.execution.owner;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return Refused{503, "the server is shutting down"};
    if (streams_ >= options_.max_streams || text_bytes_ >= options_.max_text_bytes) {
      return Refused{503, "too many streams of events are open"};
    }
    const auto of = streams_of_.find(owner);
    if (!owner.empty() && of != streams_of_.end() && of->second >= options_.max_streams_per_owner) {
      return Refused{429, "too many streams of events of this account are open, limit " +
                              std::to_string(options_.max_streams_per_owner)};
    }
    ++streams_;
    ++streams_of_[owner];
  }
  const auto release = [&] { Settle({.replies = {}, .owners = {owner}}); };
  const http::Fields headers{{"Cache-Control", "no-cache, no-store"}, {"X-Accel-Buffering", "no"}};
  // HEAD has its answer by now.
  if (!reply.Start(200, "text/event-stream", headers) ||
      !reply.Write("retry: " + std::to_string(options_.retry.count()) + "\n\n")) {
    release();
    return std::nullopt;
  }
  auto client = std::make_unique<Client>(reply, from, owner);
  reply.OnGone([gone = client->gone] { *gone = true; });

  EntryPtr entry;
  bool is_new = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      // Its client comes back elsewhere; below, without the lock.
    } else if (record.outcome) {
      entry = ended_.emplace_back(std::make_shared<Entry>(record.execution.id));
      const std::lock_guard entry_lock(entry->mutex);
      SetEnded(*entry, std::move(record));
      entry->clients.push_back(std::move(client));
    } else {
      EntryPtr& slot = live_[record.execution.id];
      is_new = slot == nullptr;
      if (is_new) {
        slot = std::make_shared<Entry>(record.execution.id);
        broker_.ExpectProgress(
            record.execution.id,
            [this, gate = gate_, weak = std::weak_ptr(slot)](queue::Progress progress) {
              const Gate::Pass inside = gate->Enter();
              const EntryPtr watched = inside ? weak.lock() : nullptr;
              if (watched != nullptr) OnProgress(watched, std::move(progress));
            });
      }
      entry = slot;
      const std::lock_guard entry_lock(entry->mutex);
      if (is_new) {
        const SteadyTime now = steady_clock::now();
        // The row says `running` before the program runs, and also while it is compiled: that is
        // for the runner to say.
        if (record.state == schema::State::kQueued) entry->state = "queued";
        entry->heard_at = entry->asked_at = now;
        entry->look_pause = options_.first_look;
        entry->look_at = now + entry->look_pause;
      }
      entry->clients.push_back(std::move(client));
    }
    if (entry != nullptr) wake_.notify_all();
  }
  if (entry == nullptr) {
    release();
    reply.End();
    return std::nullopt;
  }
  if (is_new) Ask(*entry, /*stop=*/false);
  Leaving leaving;
  {
    const std::lock_guard lock(entry->mutex);
    Pump(*entry, &leaving);
  }
  Settle(std::move(leaving));
  return std::nullopt;
}

void EventHub::Ask(const Entry& entry, bool stop) {
  queue::Watch watch{.id = entry.id, .to = broker_.ReplyAddress(), .run = "", .stop = stop};
  if (!stop) {
    const std::lock_guard lock(entry.mutex);
    watch.run = entry.run;
    watch.stdout_from = entry.stdout_text.size();
    watch.stderr_from = entry.stderr_text.size();
  }
  // Without a lock: in one process the answer comes from within.
  if (Result<void> sent = broker_.SendWatch(watch); !sent) {
    log_.Debug("events.watch_failed",
               {{"execution_id", entry.id.str()}, {"error", sent.error().message}});
  }
}

// ---- news ---------------------------------------------------------------------------------------

void EventHub::OnProgress(const EntryPtr& entry, queue::Progress progress) {
  Leaving leaving;
  bool gap = false;
  {
    const std::lock_guard lock(entry->mutex);
    if (entry->ended != nullptr) return;
    const SteadyTime now = steady_clock::now();
    if (progress.run != entry->run) {
      // Of two that both believe they run it, the later one; the store will say whose result
      // counts.
      const bool later = progress.run > entry->run || now >= entry->heard_at + kSilentRun;
      if (!later) return;
      entry->run = progress.run;
      entry->run_began = now;
      entry->state.clear();
      entry->stdout_text.clear();
      entry->stderr_text.clear();
      entry->caught_up = false;
      for (const auto& client : entry->clients) client->writer.Recheck();
    }
    entry->heard_at = now;
    if (!progress.state.empty()) {
      entry->state = progress.state;
    } else if (!progress.pieces.empty()) {
      entry->state = "running";
    }
    entry->caught_up = false;
    for (queue::ProgressPiece& piece : progress.pieces) {
      std::string& text = piece.is_stderr ? entry->stderr_text : entry->stdout_text;
      if (piece.at > text.size()) {
        gap = true;
        break;
      }
      const std::size_t known = text.size() - piece.at;
      if (known >= piece.text.size()) continue;
      text.append(piece.text, known);
      Pump(*entry, &leaving);  // one by one, so that each client has them in order
    }
    entry->caught_up = progress.caught_up && !gap;
    Pump(*entry, &leaving);
    entry->gap |= gap;
  }
  Settle(std::move(leaving));
  if (gap) {  // not from here: in one process the answer would come from within the run that calls
    const std::lock_guard lock(mutex_);
    hurry_ = true;
    wake_.notify_all();
  }
  if (progress.finished) Look(entry);
}

void EventHub::LookSoon(const ExecutionId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = live_.find(id);
  if (found == live_.end()) return;
  const std::lock_guard entry_lock(found->second->mutex);
  found->second->look_pause = options_.first_look;
  found->second->look_at = steady_clock::now() + options_.first_look / 4;
}

void EventHub::Look(const EntryPtr& entry) {
  {
    const std::lock_guard lock(entry->mutex);
    if (entry->ended != nullptr) return;
    if (entry->looking) {
      entry->look_again = true;  // what is asked now may be older than what we were told
      return;
    }
    entry->looking = true;
    entry->look_again = false;
  }
  service_.Find(entry->id, std::nullopt,
                [this, gate = gate_, entry](Result<store::ExecutionRecord> record) {
                  if (const Gate::Pass inside = gate->Enter()) OnRecord(entry, std::move(record));
                });
}

void EventHub::OnRecord(const EntryPtr& entry, Result<store::ExecutionRecord> record) {
  Leaving leaving;
  bool again = false;
  {
    const std::lock_guard lock(entry->mutex);
    entry->looking = false;
    again = entry->look_again && record && !record->outcome;
    const SteadyTime now = steady_clock::now();
    entry->look_pause = std::min(2 * entry->look_pause, options_.longest_look);
    entry->look_at = now + entry->look_pause;
    if (record && record->outcome) {
      for (const auto& client : entry->clients) client->writer.Recheck();
      SetEnded(*entry, *std::move(record));
    } else if (record) {
      const bool silent = entry->run.empty() || now >= entry->heard_at + kSilentRun;
      if (silent && record->state == schema::State::kQueued) entry->state = "queued";
      // The runner knows better, if it has said anything.
      if (silent && record->state == schema::State::kRunning) entry->state = "running";
    } else if (record.error().code == ErrorCode::kNotFound) {
      // Pruned, or never written: there will be no end to tell of.
      for (const auto& client : entry->clients) {
        leaving.replies.push_back(client->writer.reply());
        leaving.owners.push_back(client->owner);
      }
      entry->clients.clear();
    }
    Pump(*entry, &leaving);
  }
  Settle(std::move(leaving));
  if (again) Look(entry);
}

void EventHub::SetEnded(Entry& entry, store::ExecutionRecord record) {
  entry.document = std::make_shared<const std::string>(ExecutionDocument(record));
  record.execution.source = {};  // many megabytes perhaps, and no event shows it
  entry.ended = std::make_shared<const store::ExecutionRecord>(std::move(record));
  entry.stdout_text.clear();
  entry.stderr_text.clear();
}

void EventHub::Pump(Entry& entry, Leaving* leaving) {
  KnownEvents known{.state = entry.state,
                    .stdout_text = entry.stdout_text,
                    .stderr_text = entry.stderr_text,
                    .caught_up = entry.caught_up};
  if (entry.ended != nullptr) {
    known.ended = entry.ended.get();
    known.stdout_text = entry.ended->outcome->stdout_text;
    known.stderr_text = entry.ended->outcome->stderr_text;
    known.document = entry.document;
  }
  entry.lags = false;
  std::erase_if(entry.clients, [&](const std::unique_ptr<Client>& client) {
    const EventWriter::Status status =
        *client->gone ? EventWriter::Status::kGone : client->writer.Tell(known);
    if (status == EventWriter::Status::kLags) entry.lags = true;
    if (status == EventWriter::Status::kWaits || status == EventWriter::Status::kLags) return false;
    leaving->replies.push_back(client->writer.reply());
    leaving->owners.push_back(client->owner);
    return true;
  });
}

void EventHub::Settle(Leaving leaving) {
  if (leaving.owners.empty()) return;
  {
    const std::lock_guard lock(mutex_);
    for (const OwnerId& owner : leaving.owners) {
      --streams_;
      if (const auto of = streams_of_.find(owner); --of->second == 0) streams_of_.erase(of);
    }
    wake_.notify_all();
  }
  // The end of an answer may begin the next request of that connection, here.
  for (http::Reply& reply : leaving.replies) reply.End();
}

// ---- time ---------------------------------------------------------------------------------------

void EventHub::KeepTime(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  bool lags = false;
  while (!stop.stop_requested()) {
    if (live_.empty() && ended_.empty()) {
      wake_.wait(lock, stop, [this] { return !live_.empty() || !ended_.empty(); });
    } else {
      wake_.wait_for(lock, stop, lags ? kTickOfLaggards : kTick, [this] { return hurry_; });
    }
    hurry_ = false;
    std::vector<EntryPtr> entries(ended_.begin(), ended_.end());
    for (const auto& [id, entry] : live_) entries.push_back(entry);
    lock.unlock();
    lags = false;
    for (const EntryPtr& entry : entries) Tick(entry, &lags);
    entries.clear();
    lock.lock();
  }
}

void EventHub::Tick(const EntryPtr& entry, bool* lags) {
  Leaving leaving;
  bool ask = false;
  bool look = false;
  bool empty = false;
  {
    const std::lock_guard lock(entry->mutex);
    const SteadyTime now = steady_clock::now();
    if (entry->state.empty() && !entry->run.empty() && now >= entry->run_began + kStateComesFirst) {
      entry->state = "running";
    }
    Pump(*entry, &leaving);
    for (const auto& client : entry->clients) client->writer.KeepAlive(options_.heartbeat);
    *lags |= entry->lags;
    empty = entry->clients.empty();
    if (entry->ended == nullptr && !empty) {
      ask = (entry->gap && now >= entry->asked_at + kGapPause) ||
            now >= entry->asked_at + kRenewWatch ||
            now >= std::max(entry->asked_at, entry->heard_at) + options_.ask_again;
      if (ask) entry->asked_at = now;
      if (ask) entry->gap = false;
      look = now >= entry->look_at && !entry->looking;
    }
  }
  Settle(std::move(leaving));
  if (ask) Ask(*entry, /*stop=*/false);
  if (look) Look(entry);
  Forget(entry);
}

void EventHub::Forget(const EntryPtr& entry) {
  bool stop = false;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    const std::lock_guard entry_lock(entry->mutex);
    Count(*entry);
    if (!entry->clients.empty()) return;
    text_bytes_ -= std::exchange(entry->counted_bytes, 0);
    if (const auto found = live_.find(entry->id); found != live_.end() && found->second == entry) {
      // Under the lock, so that whoever opens it anew is not forgotten instead.
      broker_.ForgetProgress(entry->id);
      live_.erase(found);
      stop = entry->ended == nullptr;
    } else {
      std::erase(ended_, entry);
    }
  }
  if (stop) Ask(*entry, /*stop=*/true);
}

// What it holds in memory; mutex_ is held, too.
void EventHub::Count(Entry& entry) {
  std::size_t bytes = entry.stdout_text.size() + entry.stderr_text.size();
  if (entry.ended != nullptr) {
    bytes += entry.ended->outcome->stdout_text.size() + entry.ended->outcome->stderr_text.size() +
             entry.document->size();
  }
  text_bytes_ += bytes - entry.counted_bytes;
  entry.counted_bytes = bytes;
}

}  // namespace forkbox::api
