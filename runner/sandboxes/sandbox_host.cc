#include "runner/sandboxes/sandbox_host.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <system_error>
#include <thread>

#include "runner/sandboxes/daemon_ender.h"
#include "runner/sandboxes/entrypoint.h"
#include "runner/sandboxes/lost_runners.h"
#include "runner/sandboxes/sandbox_ends.h"
#include "runner/sandboxes/sandbox_places.h"
#include "runner/sandboxes/sandbox_token.h"
#include "runner/sandboxes/tree_copy.h"

namespace forkbox::sandboxes {
namespace {

using std::chrono::milliseconds;
using store::SandboxRecord;
using store::SandboxState;

// How often what does not announce itself is looked for.
constexpr milliseconds kTick{1'000};
constexpr std::chrono::seconds kCopyPatience{60};
// Boxes that end at once, when many do.
constexpr std::size_t kEnders = 4;
// A row whose insert failed may still come: the server of the database may be at it.
constexpr std::chrono::seconds kInsertInDoubt{60};
// How long one that was deleted before it was made is remembered; longer than any call waits.
constexpr std::chrono::minutes kRememberDeleted{10};
constexpr std::size_t kMaxRemembered = 10'000;

// Nobody reads what the entrypoint says at its start; its output is kept as any command's is.
class Unheard final : public execd::EventSink {
 public:
  bool Put(const execd::Event&) override { return true; }
};

tl::unexpected<Error> NoSuchSandbox() { return Fail(ErrorCode::kNotFound, "no such sandbox"); }
tl::unexpected<Error> DeletedBefore() {
  return Fail(ErrorCode::kNotFound, "the sandbox was deleted before it was made");
}

}  // namespace

class SandboxHost::Impl {
 public:
  Impl(Options options, OpenBox open_box, store::SandboxStore& store, const Clock& clock, Log log)
      : options_(std::move(options)),
        open_box_(std::move(open_box)),
        store_(store),
        clock_(clock),
        log_(std::move(log)),
        places_(options_.max_sandboxes, options_.max_memory_bytes),
        ends_(store_, clock_),
        lost_runners_(options_.runner_lost_after, store_, clock_) {}

  ~Impl() { Close("server_stopped"); }

  void SetAddress(std::string address) { options_.address = std::move(address); }

  Result<void> Start() {
    const auto failed =
        store_.FailOfRunner(options_.runner_id, "runner_restarted", clock_.UnixMillis());
    if (!failed) return Fail(failed.error());
    if (*failed != 0) log_.Warn("sandbox.lost_by_restart", {{"sandboxes", *failed}});
    if (auto started = ender_.Start(); !started) return started;
    try {
      sweeper_ = std::jthread([this](const std::stop_token& stop) { Sweep(stop); });
    } catch (const std::system_error& error) {
      return Fail(ErrorCode::kUnavailable, std::string("no thread: ") + error.what());
    }
    return {};
  }

  void Close(const std::string& reason) {
    std::vector<std::shared_ptr<Entry>> all;
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
      for (const auto& [id, entry] : entries_) all.push_back(entry);
    }
    sweeper_.request_stop();
    if (sweeper_.joinable()) sweeper_.join();
    EndAll(all, SandboxState::kTerminated, reason, "the server that had this sandbox was stopped");
    ends_.WriteWhatWaits();
    ender_.Stop();
  }

  Result<SandboxRecord> Fork(const std::string& id, SandboxSpec spec) {
    std::shared_ptr<execd::Daemon> source;
    {
      const std::lock_guard lock(mutex_);
      const auto found = entries_.find(id);
      if (found == entries_.end() || found->second->ended) return NoSuchSandbox();
      if (found->second->paused) return Fail(ErrorCode::kConflict, "the sandbox is paused");
      source = found->second->daemon;
      spec.limits = found->second->limits;
      spec.renew_on_access = found->second->renew_on_access;
    }
    spec.env = source->env();
    return Create(std::move(spec), source.get());
  }

  // With a copy of the files of `source`, unless that is null.
  Result<SandboxRecord> Create(SandboxSpec spec, execd::Daemon* source = nullptr) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return Fail(ErrorCode::kUnavailable, "the server is stopping");
      if (deleted_.contains(spec.id)) return DeletedBefore();
    }
    if (auto taken = places_.Take(spec.limits.memory_bytes); !taken) return Fail(taken.error());
    SandboxPlaces::Place place(places_, spec.limits.memory_bytes);
    auto entry = std::make_shared<Entry>();
    entry->id = spec.id;
    entry->token = NewToken();
    entry->limits = spec.limits;
    entry->renew_on_access = spec.renew_on_access;
    Result<SandboxRecord> made = Open(*entry, spec, source);
    if (!made) {
      entry->daemon.reset();
      ender_.Flush();
      return made;
    }
    const std::shared_ptr<execd::Daemon> daemon = entry->daemon;  // others may end it from here on
    bool late = false;
    bool unwanted = false;
    {
      const std::lock_guard lock(mutex_);
      entries_.emplace(entry->id, entry);
      place.Keep();  // the entry's, until it ends
      late = closed_;
      unwanted = deleted_.contains(entry->id);
      changed_ = true;
    }
    wake_.notify_all();
    if (late) {
      End(entry, SandboxState::kTerminated, "server_stopped", "the server was stopped");
      return Fail(ErrorCode::kUnavailable, "the server is stopping");
    }
    if (unwanted) {
      End(entry, SandboxState::kTerminated, "deleted", "deleted before it was made");
      return DeletedBefore();
    }
    if (!IsIdleEntrypoint(spec.entrypoint)) {
      execd::CommandRequest request;
      request.command = EntrypointCommand(spec.entrypoint);
      request.env = daemon->env();
      Unheard unheard;
      if (auto begun = daemon->commands().RunInBackground(request, unheard); !begun) {
        End(entry, SandboxState::kFailed, "entrypoint_failed", "the entrypoint did not start");
        return Fail(ErrorCode::kUnavailable, "entrypoint: " + begun.error().message);
      }
    }
    log_.Info("sandbox.created", {{"sandbox_id", entry->id}, {"sandboxes", size()}});
    return made;
  }

  Result<void> Delete(const std::string& id) {
    std::shared_ptr<Entry> entry;
    {
      const std::lock_guard lock(mutex_);
      if (const auto found = entries_.find(id); found != entries_.end()) entry = found->second;
      // It may be on its way: who asked for it has given up waiting and knows it by its id only.
      if (entry == nullptr) RememberDeleted(id);
    }
    if (entry == nullptr) return NoSuchSandbox();
    if (!End(entry, SandboxState::kTerminated, "deleted", "deleted by its owner")) {
      return NoSuchSandbox();
    }
    return {};
  }

  Result<void> Pause(const std::string& id) {
    return Turn(id, true, [](sandbox::Box& box) { return box.Freeze(); });
  }
  Result<void> Resume(const std::string& id) {
    return Turn(id, false, [](sandbox::Box& box) { return box.Thaw(); });
  }

  Result<void> Renew(const std::string& id, std::int64_t expires_unix_ms) {
    const std::shared_ptr<Entry> entry = Get(id);
    if (entry == nullptr) return NoSuchSandbox();
    const std::lock_guard turn(entry->turn);
    {
      const std::lock_guard lock(mutex_);
      if (entry->ended) return NoSuchSandbox();
      if (!entry->expires_unix_ms) {
        return Fail(ErrorCode::kConflict, "the sandbox never expires");
      }
    }
    if (expires_unix_ms <= clock_.UnixMillis()) {
      return Fail(ErrorCode::kInvalidArgument, "expiresAt: must be in the future");
    }
    const Result<bool> written = store_.SetExpiry(id, expires_unix_ms);
    if (!written) return Fail(written.error());
    {
      const std::lock_guard lock(mutex_);
      entry->expires_unix_ms = expires_unix_ms;
      entry->expiry_to_write = false;
      changed_ = true;
    }
    wake_.notify_all();
    if (!*written) {
      EndInTurn(entry);  // somebody held us for dead
      return NoSuchSandbox();
    }
    return {};
  }

  Result<std::shared_ptr<execd::Daemon>> Find(std::string_view id, std::string_view token) {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    if (found == entries_.end() || found->second->ended) return NoSuchSandbox();
    Entry& entry = *found->second;
    if (!SameToken(entry.token, token)) {
      return Fail(ErrorCode::kUnauthenticated, "not the token of this sandbox");
    }
    if (entry.paused) return Fail(ErrorCode::kConflict, "the sandbox is paused");
    if (entry.renew_on_access && entry.expires_unix_ms) {
      const std::int64_t until = clock_.UnixMillis() + milliseconds(*entry.renew_on_access).count();
      if (until > *entry.expires_unix_ms) {
        entry.expires_unix_ms = until;
        entry.expiry_to_write = true;  // by the sweeper: this must not wait for a store
      }
    }
    return entry.daemon;
  }

  Result<sandbox::BoxUsage> Usage(const std::string& id) const {
    std::shared_ptr<execd::Daemon> daemon;
    {
      const std::lock_guard lock(mutex_);
      const auto found = entries_.find(id);
      if (found == entries_.end() || found->second->ended) return NoSuchSandbox();
      daemon = found->second->daemon;
    }
    return daemon->box().Usage();
  }

  [[nodiscard]] std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return entries_.size();
  }

  [[nodiscard]] Room room() const { return places_.room(); }

 private:
  struct Entry {
    std::string id;
    std::string token;
    sandbox::BoxLimits limits;
    std::optional<std::chrono::seconds> renew_on_access;
    std::mutex turn;  // what changes its state takes its turn; before the host's mutex
    // Guarded by the host's mutex:
    std::shared_ptr<execd::Daemon> daemon;  // shared with those who use it at the moment
    std::optional<std::int64_t> expires_unix_ms;
    bool expiry_to_write = false;
    bool state_to_write = false;  // the row may say something else than `paused`
    bool paused = false;
    bool ended = false;
  };
  // mutex_ held.
  void RememberDeleted(const std::string& id) {
    const SteadyTime now = clock_.Now();
    std::erase_if(deleted_, [&](const auto& one) { return one.second <= now; });
    if (deleted_.size() < kMaxRemembered) deleted_[id] = now + kRememberDeleted;
  }

  std::shared_ptr<Entry> Get(const std::string& id) const {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id);
    return found == entries_.end() ? nullptr : found->second;
  }

  Result<SandboxRecord> Open(Entry& entry, const SandboxSpec& spec, execd::Daemon* source) {
    auto box = open_box_(spec.limits);
    if (!box) {
      return Fail(box.error().code == ErrorCode::kQueueFull ? ErrorCode::kQueueFull
                                                            : ErrorCode::kUnavailable,
                  box.error().message);
    }
    execd::Daemon::Options daemon;
    daemon.env = spec.env;
    daemon.contexts = options_.contexts;
    daemon.contexts.env = spec.env;
    const unsigned cores = std::max(1U, std::thread::hardware_concurrency());
    daemon.cpu_cores = spec.limits.cpu_millis == 0
                           ? cores
                           : std::min<double>(cores, spec.limits.cpu_millis / 1000.0);
    entry.daemon = ender_.Own(std::make_unique<execd::Daemon>(
        std::move(daemon), std::move(*box), clock_, log_.With({{"sandbox_id", spec.id}})));
    if (source != nullptr) {
      // An archive is a little more than what it holds.
      const std::uint64_t most = 2 * spec.limits.disk_bytes + (64U << 20);
      const auto copied = CopyTree(source->box(), entry.daemon->box(), most,
                                   std::chrono::steady_clock::now() + kCopyPatience);
      if (!copied) return Fail(copied.error());
    }
    SandboxRecord record;
    record.id = spec.id;
    record.owner = spec.owner;
    record.runner_id = options_.runner_id;
    record.address = options_.address;
    record.token = entry.token;
    record.state = SandboxState::kRunning;
    record.request = spec.request;
    record.metadata = spec.metadata;
    record.created_unix_ms = clock_.UnixMillis();
    record.changed_unix_ms = record.created_unix_ms;
    if (spec.timeout) {
      record.expires_unix_ms = record.created_unix_ms + milliseconds(*spec.timeout).count();
    }
    entry.expires_unix_ms = record.expires_unix_ms;
    if (auto inserted = store_.Insert(record); !inserted) {
      const ErrorCode code = inserted.error().code;
      if (code != ErrorCode::kConflict && code != ErrorCode::kInvalidArgument) {
        // It may have been written all the same.
        ends_.WriteLater({record.id, SandboxState::kFailed, "not_started",
                          "it could not be written down, and was not started", clock_.UnixMillis(),
                          clock_.Now() + kInsertInDoubt});
      }
      return Fail(inserted.error());
    }
    return record;
  }

  // To be paused or to be running. `change` does it.
  Result<void> Turn(const std::string& id, bool pause,
                    const std::function<Result<void>(sandbox::Box&)>& change) {
    const std::shared_ptr<Entry> entry = Get(id);
    if (entry == nullptr) return NoSuchSandbox();
    const std::lock_guard turn(entry->turn);
    std::shared_ptr<execd::Daemon> daemon;
    const bool row_was_wrong = StateToWrite(*entry);
    if (row_was_wrong) {
      if (auto written = WriteStateInTurn(entry); !written) return written;
    }
    {
      const std::lock_guard lock(mutex_);
      if (entry->ended) return NoSuchSandbox();
      if (entry->paused == pause) {
        // Whoever asks went by a row that said otherwise.
        if (row_was_wrong) return {};
        return Fail(ErrorCode::kConflict,
                    pause ? "the sandbox is not running" : "the sandbox is not paused");
      }
      daemon = entry->daemon;
      entry->paused = true;  // either way nobody comes in until it is done
    }
    const auto set_paused = [&](bool paused) {
      const std::lock_guard lock(mutex_);
      entry->paused = paused;
    };
    if (auto changed = change(daemon->box()); !changed) {
      set_paused(!pause);
      return changed;
    }
    const Result<bool> written = store_.SetState(
        id, pause ? SandboxState::kPaused : SandboxState::kRunning, "", "", clock_.UnixMillis());
    if (!written) {
      // What the row says is what it is; and if it was written all the same, it is mended.
      const Result<void> undone = pause ? daemon->box().Thaw() : daemon->box().Freeze();
      const std::lock_guard lock(mutex_);
      entry->paused = undone ? !pause : pause;
      entry->state_to_write = true;
      return Fail(written.error());
    }
    set_paused(pause);
    if (!*written) {
      EndInTurn(entry);
      return NoSuchSandbox();
    }
    return {};
  }

  bool StateToWrite(const Entry& entry) const {
    const std::lock_guard lock(mutex_);
    return entry.state_to_write;
  }

  // Makes the row say what the sandbox is. With the entry's turn.
  Result<void> WriteStateInTurn(const std::shared_ptr<Entry>& entry) {
    bool paused = false;
    {
      const std::lock_guard lock(mutex_);
      if (entry->ended) return NoSuchSandbox();
      paused = entry->paused;
    }
    const Result<bool> written =
        store_.SetState(entry->id, paused ? SandboxState::kPaused : SandboxState::kRunning, "", "",
                        clock_.UnixMillis());
    if (!written) return Fail(written.error());
    {
      const std::lock_guard lock(mutex_);
      entry->state_to_write = false;
    }
    if (!*written) {
      EndInTurn(entry);  // somebody held us for dead
      return NoSuchSandbox();
    }
    return {};
  }

  bool End(const std::shared_ptr<Entry>& entry, SandboxState state, const std::string& reason,
           const std::string& message, bool only_if_expired = false) {
    const std::lock_guard turn(entry->turn);
    if (only_if_expired) {
      const std::lock_guard lock(mutex_);
      if (!entry->expires_unix_ms || *entry->expires_unix_ms > clock_.UnixMillis()) return false;
    }
    return EndInTurn(entry, SandboxEnd{entry->id, state, reason, message, clock_.UnixMillis()});
  }

  // With the entry's turn. Null: its row says what happened to it.
  bool EndInTurn(const std::shared_ptr<Entry>& entry,
                 std::optional<SandboxEnd> end = std::nullopt) {
    std::shared_ptr<execd::Daemon> daemon;
    {
      const std::lock_guard lock(mutex_);
      if (entry->ended) return false;
      entry->ended = true;
      daemon = std::move(entry->daemon);
    }
    daemon->box().End();
    if (end) ends_.Write(*end);
    log_.Info("sandbox.ended", {{"sandbox_id", entry->id},
                                {"reason", end ? end->reason : std::string("ended_by_others")}});
    daemon.reset();
    ender_.Flush();  // its place is free when it has gone, unless somebody still uses it
    {
      const std::lock_guard lock(mutex_);
      entries_.erase(entry->id);
    }
    places_.GiveBack(entry->limits.memory_bytes);
    return true;
  }

  void EndAll(const std::vector<std::shared_ptr<Entry>>& entries, SandboxState state,
              const std::string& reason, const std::string& message, bool only_if_expired = false) {
    std::atomic<std::size_t> next{0};
    const auto work = [&] {
      for (std::size_t i; (i = next++) < entries.size();) {
        End(entries[i], state, reason, message, only_if_expired);
      }
    };
    std::vector<std::jthread> others;
    try {
      for (std::size_t i = 1; i < std::min(kEnders, entries.size()); ++i) others.emplace_back(work);
    } catch (const std::system_error&) {  // no more threads: those that there are do it
    }
    work();
  }

  void Sweep(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      try {
        SweepOnce(stop);
      } catch (const std::exception& error) {  // of memory or threads: there may be some next time
        log_.Error("sandbox.sweep_failed", {{"error", error.what()}});
        std::unique_lock lock(mutex_);
        wake_.wait_for(lock, stop, kTick, [] { return false; });
      }
    }
  }

  void SweepOnce(const std::stop_token& stop) {
    std::vector<std::shared_ptr<Entry>> expired;
    std::vector<std::shared_ptr<Entry>> all;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, UntilNext(), [this] { return changed_; });
      changed_ = false;
      const std::int64_t now = clock_.UnixMillis();
      for (const auto& [id, entry] : entries_) {
        const bool over = entry->expires_unix_ms && *entry->expires_unix_ms <= now;
        (over ? expired : all).push_back(entry);
      }
    }
    if (stop.stop_requested()) return;
    EndAll(expired, SandboxState::kTerminated, "expired", "its time was over", true);
    if (clock_.Now() < look_at_) return;
    look_at_ = clock_.Now() + kTick;
    Look(all);
  }

  // mutex_ held.
  [[nodiscard]] milliseconds UntilNext() const {
    milliseconds wait = kTick;
    const std::int64_t now = clock_.UnixMillis();
    for (const auto& [id, entry] : entries_) {
      if (entry->expires_unix_ms)
        wait = std::min(wait, milliseconds(*entry->expires_unix_ms - now));
    }
    return std::max(wait, milliseconds(1));
  }

  // What happens without anybody telling us.
  void Look(const std::vector<std::shared_ptr<Entry>>& entries) {
    ends_.WriteWhatWaits();
    for (const auto& entry : entries) {
      std::shared_ptr<execd::Daemon> daemon;
      bool to_write = false;
      {
        const std::lock_guard lock(mutex_);
        daemon = entry->daemon;
        to_write = entry->expiry_to_write || entry->state_to_write;
      }
      if (daemon == nullptr) continue;
      if (!daemon->box().Alive()) {
        daemon.reset();
        End(entry, SandboxState::kFailed, "sandbox_died", "the sandbox ended by itself");
      } else if (to_write) {
        WriteWhatChanged(entry);
      }
    }
    if (options_.runner_lost_after.count() != 0) LookForLost(entries);
  }

  // What Find() and failed writes have left. In its turn, so that nothing newer is overwritten.
  void WriteWhatChanged(const std::shared_ptr<Entry>& entry) {
    const std::unique_lock turn(entry->turn, std::try_to_lock);
    if (!turn) return;  // the next time
    if (StateToWrite(*entry) && !WriteStateInTurn(entry)) return;
    std::optional<std::int64_t> expiry;
    {
      const std::lock_guard lock(mutex_);
      if (entry->ended) return;
      if (std::exchange(entry->expiry_to_write, false)) expiry = entry->expires_unix_ms;
    }
    if (expiry && !store_.SetExpiry(entry->id, *expiry)) {
      const std::lock_guard lock(mutex_);
      entry->expiry_to_write = true;
    }
  }

  void LookForLost(const std::vector<std::shared_ptr<Entry>>& entries) {
    // One row at a time: has somebody held us for dead?
    if (!entries.empty()) {
      const auto& entry = entries[looked_at_++ % entries.size()];
      const auto row = store_.Get(entry->id);
      if (row && (!*row || store::IsFinal((*row)->state))) {
        const std::lock_guard turn(entry->turn);
        EndInTurn(entry);
      }
    }
    const auto failed = lost_runners_.Look();
    if (failed && *failed != 0) log_.Warn("sandbox.runner_lost", {{"sandboxes", *failed}});
  }

  Options options_;  // fixed once the first sandbox is made
  const OpenBox open_box_;
  store::SandboxStore& store_;
  const Clock& clock_;
  const Log log_;

  SandboxPlaces places_;
  SandboxEnds ends_;
  DaemonEnder ender_;
  mutable std::mutex mutex_;  // guards all down to `closed_`
  std::map<std::string, std::shared_ptr<Entry>, std::less<>> entries_;  // shared with turns at work
  std::map<std::string, SteadyTime> deleted_;  // that were not there, and until when it matters
  bool changed_ = false;                       // an expiry did
  bool closed_ = false;
  std::condition_variable_any wake_;

  SteadyTime look_at_;         // the sweeper's
  std::size_t looked_at_ = 0;  // the sweeper's
  LostRunners lost_runners_;   // the sweeper's
  std::jthread sweeper_;       // last: it uses all of the above
};

SandboxHost::SandboxHost(Options options, OpenBox open_box, store::SandboxStore& store,
                         const Clock& clock, Log log)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(open_box), store, clock,
                                   std::move(log))) {}
SandboxHost::~SandboxHost() = default;

void SandboxHost::SetAddress(std::string address) { impl_->SetAddress(std::move(address)); }
Result<void> SandboxHost::Start() { return impl_->Start(); }
void SandboxHost::Close(const std::string& reason) { impl_->Close(reason); }
Result<store::SandboxRecord> SandboxHost::Create(SandboxSpec spec) {
  return impl_->Create(std::move(spec));
}
Result<store::SandboxRecord> SandboxHost::Fork(const std::string& id, SandboxSpec spec) {
  return impl_->Fork(id, std::move(spec));
}
Result<void> SandboxHost::Delete(const std::string& id) { return impl_->Delete(id); }
Result<void> SandboxHost::Pause(const std::string& id) { return impl_->Pause(id); }
Result<void> SandboxHost::Resume(const std::string& id) { return impl_->Resume(id); }
Result<void> SandboxHost::Renew(const std::string& id, std::int64_t expires_unix_ms) {
  return impl_->Renew(id, expires_unix_ms);
}
Result<std::shared_ptr<execd::Daemon>> SandboxHost::Find(std::string_view id,
                                                         std::string_view token) {
  return impl_->Find(id, token);
}
Result<sandbox::BoxUsage> SandboxHost::Usage(const std::string& id) const {
  return impl_->Usage(id);
}
std::size_t SandboxHost::size() const { return impl_->size(); }
SandboxHost::Room SandboxHost::room() const { return impl_->room(); }

}  // namespace forkbox::sandboxes
