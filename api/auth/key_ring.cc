#include "api/auth/key_ring.h"

#include <algorithm>
#include <utility>

#include "api/auth/permission.h"
#include "api/auth/stored_key.h"

namespace forkbox::api {
namespace {

using std::chrono::milliseconds;

// Accounts whose limits are read again in one go.
constexpr std::size_t kMaxRefreshes = 200;
// How often a look-up is asked again that changes have met.
constexpr int kMaxLookups = 3;

KeyProblem ProblemOf(const store::ApiKey& key) {
  if (key.revoked_unix_ms != 0) return KeyProblem::kRevoked;
  return key.enabled ? KeyProblem::kExpired : KeyProblem::kDisabled;
}

bool IsGood(const store::ApiKey& key, std::int64_t now_unix_ms) {
  const bool expired = key.expires_unix_ms != 0 && key.expires_unix_ms <= now_unix_ms;
  return key.revoked_unix_ms == 0 && key.enabled && !expired;
}

}  // namespace

KeyRing::KeyRing(Options options, const Authenticator& file_keys, store::KeyStore& store,
                 const Clock& clock, Log log)
    : options_(options),
      file_keys_(file_keys),
      store_(store),
      clock_(clock),
      log_(std::move(log)),
      pool_(options.lookup_threads, options.max_waiting_lookups),
      limits_pool_(options.limits_threads, options.max_waiting_limits) {}

KeyRing::~KeyRing() { Stop(); }

Result<void> KeyRing::Start() {
  if (Result<void> read = Poll(); !read) return read;
  started_ = true;
  thread_ = std::jthread([this](const std::stop_token& stop) { Loop(stop); });
  return {};
}

void KeyRing::Stop() {
  pool_.Close();
  limits_pool_.Close();
  if (!thread_.joinable()) return;
  thread_.request_stop();
  thread_.join();
  FlushUses(true);
}

// ---- questions of requests ----------------------------------------------------------------------

bool KeyRing::Knows(std::string_view key) const {
  if (key.empty()) return true;
  const KeyDigest digest = KeyDigest::Of(key);
  return !NeedsKey(digest, key) && !NeedsLimits(digest);
}

void KeyRing::Prepare(std::string_view key, std::function<void()> ready) {
  if (key.empty()) return ready();
  const KeyDigest digest = KeyDigest::Of(key);
  const bool needs_key = NeedsKey(digest, key);
  if (!needs_key && !NeedsLimits(digest)) return ready();
  {
    const std::string hex = digest.Hex();
    std::unique_lock lock(lookups_mutex_);
    const auto known = lookups_.find(hex);
    const bool of_key = known == lookups_.end() ? needs_key : known->second.of_key;
    std::size_t& waiting = of_key ? waiting_ : waiting_limits_;
    if (waiting >= (of_key ? options_.max_waiting_lookups : options_.max_waiting_limits)) {
      lock.unlock();
      return ready();
    }
    ++waiting;
    Lookup& lookup = lookups_[hex];
    lookup.of_key = of_key;
    lookup.waiters.push_back(std::move(ready));
    if (lookup.waiters.size() > 1) return;
  }
  CallPool& pool = needs_key ? pool_ : limits_pool_;
  // Stopping: whoever waits is told what is known.
  const auto stopped = [this, digest] { EndLookup(digest); };
  if (pool.Post([this, digest, needs_key] { LookUp(digest, needs_key); }, stopped)) return;
  stopped();
}

bool KeyRing::Holds(std::string_view key) const {
  if (key.empty()) return false;
  const KeyDigest digest = KeyDigest::Of(key);
  if (file_keys_.OwnerOf(digest)) return true;
  const std::shared_lock lock(mutex_);
  const Entry* const entry = FindEntry(digest);
  return entry != nullptr && IsGood(entry->key, clock_.UnixMillis());
}

tl::expected<KeyIdentity, KeyProblem> KeyRing::Check(std::string_view key) const {
  if (!enabled()) return Nobody();
  const KeyDigest digest = KeyDigest::Of(key);
  if (auto identity = file_keys_.Find(digest, key)) {
    {
      const std::shared_lock lock(mutex_);
      const auto limits = limits_.find(identity->owner);
      if (limits == limits_.end() || !limits->second.limits) {
        return tl::unexpected(KeyProblem::kUnavailable);
      }
      identity->limits = *limits->second.limits;
    }
    NoteUse(*identity, false);
    return *std::move(identity);
  }
  KeyIdentity identity;
  {
    const std::shared_lock lock(mutex_);
    const Entry* const entry = FindEntry(digest);
    if (entry == nullptr) {
      if (!LooksLikeStoredKey(key)) return tl::unexpected(KeyProblem::kUnknown);
      // Not asked about means that too many were asked about.
      const auto unknown = unknown_.find(digest.Hex());
      const bool sure = unknown != unknown_.end() && !unknown->second.unavailable;
      return tl::unexpected(sure ? KeyProblem::kUnknown : KeyProblem::kUnavailable);
    }
    if (!IsGood(entry->key, clock_.UnixMillis())) return tl::unexpected(ProblemOf(entry->key));
    identity.owner = entry->key.owner;
    identity.key_id = entry->key.id;
    identity.permissions = entry->key.permissions;
    const auto limits = limits_.find(identity.owner);
    if (limits == limits_.end() || !limits->second.limits) {
      return tl::unexpected(KeyProblem::kUnavailable);
    }
    identity.limits = *limits->second.limits;
  }
  identity.label = LabelOfKey(key);
  NoteUse(identity, true);
  return identity;
}

std::int64_t KeyRing::LastUsed(const schema::KeyId& id) const {
  const std::lock_guard lock(uses_mutex_);
  const auto use = uses_.find(id);
  return use == uses_.end() ? 0 : use->second.last_unix_ms;
}

void KeyRing::NoteUse(const KeyIdentity& identity, bool stored) const {
  const std::int64_t now = clock_.UnixMillis();
  const std::lock_guard lock(uses_mutex_);
  Use& use = uses_[identity.key_id];
  if (use.last_unix_ms == 0) {
    use.owner = identity.owner;
    use.stored = stored;
  }
  use.last_unix_ms = std::max(use.last_unix_ms, now);
}

// ---- what is known ------------------------------------------------------------------------------

const KeyRing::Entry* KeyRing::FindEntry(const KeyDigest& digest) const {
  const auto [begin, end] = keys_.equal_range(digest.Index());
  for (auto entry = begin; entry != end; ++entry) {
    if (entry->second.digest.Equals(digest)) return &entry->second;
  }
  return nullptr;
}

void KeyRing::Apply(const KeyDigest& digest, const store::ApiKey& key) {
  if (!has_stored_keys_.exchange(true) && started_ && !file_keys_.enabled()) {
    log_.Warn("auth.enabled", {{"cause", "the first key was made"}});
  }
  const auto [begin, end] = keys_.equal_range(digest.Index());
  for (auto entry = begin; entry != end; ++entry) {
    if (!entry->second.digest.Equals(digest)) continue;
    // That is for good: what says otherwise is older.
    if (entry->second.key.revoked_unix_ms != 0 && key.revoked_unix_ms == 0) return;
    entry->second.key = key;
    return;
  }
  keys_.emplace(digest.Index(), Entry{digest, key});
  index_of_[key.id] = digest.Index();
}

void KeyRing::Remember(const std::string& digest, bool unavailable) {
  const auto life = unavailable ? options_.unavailable_life : options_.unknown_life;
  const auto [unknown, is_new] = unknown_.try_emplace(digest);
  unknown->second = {clock_.Now() + life, unavailable};
  if (!is_new) return;
  unknown_order_.push_back(digest);
  if (unknown_order_.size() <= options_.max_unknown) return;
  unknown_.erase(unknown_order_.front());
  unknown_order_.pop_front();
}

bool KeyRing::NeedsKey(const KeyDigest& digest, std::string_view key) const {
  if (!LooksLikeStoredKey(key)) return false;
  const std::shared_lock lock(mutex_);
  if (FindEntry(digest) != nullptr) return false;
  const auto unknown = unknown_.find(digest.Hex());
  return unknown == unknown_.end() || unknown->second.until <= clock_.Now();
}

std::optional<schema::OwnerId> KeyRing::NeedsLimits(const KeyDigest& digest) const {
  std::optional<schema::OwnerId> owner = file_keys_.OwnerOf(digest);
  const std::shared_lock lock(mutex_);
  if (!owner) {
    const Entry* const entry = FindEntry(digest);
    if (entry == nullptr) return std::nullopt;
    owner = entry->key.owner;
  }
  if (HasLimits(*owner)) return std::nullopt;
  return owner;
}

bool KeyRing::HasLimits(const schema::OwnerId& owner) const {
  const auto known = limits_.find(owner);
  if (known == limits_.end()) return false;
  return known->second.limits || clock_.Now() < known->second.read_at + options_.unavailable_life;
}

void KeyRing::LookUp(const KeyDigest& digest, bool ask_for_key) {
  if (ask_for_key) LookUpKey(digest);
  if (const auto owner = NeedsLimits(digest)) {
    const auto limits = store_.LimitsOf(*owner);
    const std::unique_lock lock(mutex_);
    if (!HasLimits(*owner)) {
      limits_[*owner] = {limits ? std::optional(*limits) : std::nullopt, clock_.Now()};
    }
  }
  EndLookup(digest);
}

void KeyRing::LookUpKey(const KeyDigest& digest) {
  const std::string hex = digest.Hex();
  const auto missed = [this] {
    const std::shared_lock lock(mutex_);
    return missed_updates_;
  };
  for (int attempt = 1;; ++attempt) {
    const std::uint64_t before = missed();
    const auto found = store_.FindByDigest(hex);
    const std::unique_lock lock(mutex_);
    if (FindEntry(digest) != nullptr) return;  // it was put meanwhile, and that is newer
    if (found && *found && missed_updates_ != before) {
      // It may have been this one that changed after we asked.
      if (attempt < kMaxLookups) continue;
      return Remember(hex, /*unavailable=*/true);
    }
    if (found && *found) return Apply(digest, **found);
    return Remember(hex, !found);
  }
}

void KeyRing::EndLookup(const KeyDigest& digest) {
  Lookup ended;
  {
    const std::lock_guard lock(lookups_mutex_);
    ended = std::move(lookups_.extract(digest.Hex()).mapped());
    (ended.of_key ? waiting_ : waiting_limits_) -= ended.waiters.size();
  }
  for (const auto& waiter : ended.waiters) waiter();
}

void KeyRing::Put(const KeyDigest& digest, const store::ApiKey& key) {
  const std::lock_guard answered(store_mutex_);
  const std::unique_lock lock(mutex_);
  if (FindEntry(digest) == nullptr) Apply(digest, key);
}

void KeyRing::Update(const schema::KeyId& id, const std::function<void(store::ApiKey*)>& change) {
  const std::lock_guard asking(store_mutex_);
  std::optional<Entry> known;
  {
    const std::unique_lock lock(mutex_);
    if (const auto index = index_of_.find(id); index != index_of_.end()) {
      const auto [begin, end] = keys_.equal_range(index->second);
      for (auto entry = begin; entry != end; ++entry) {
        if (entry->second.key.id == id) known = entry->second;
      }
    }
    if (!known) {
      ++missed_updates_;
      return;
    }
  }
  const auto now = store_.FindByDigest(known->digest.Hex());
  if (now && *now) {
    known->key = **now;
  } else {
    change(&known->key);
  }
  const std::unique_lock lock(mutex_);
  Apply(known->digest, known->key);
}

// ---- the thread ---------------------------------------------------------------------------------

void KeyRing::Loop(const std::stop_token& stop) {
  SteadyTime flushed_at = std::chrono::steady_clock::now();
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(wake_mutex_);
      wake_.wait_for(lock, stop, options_.poll_interval, [] { return false; });
    }
    if (stop.stop_requested()) return;
    if (const Result<void> polled = Poll(); !polled) continue;
    RefreshLimits();
    const SteadyTime now = std::chrono::steady_clock::now();
    if (now - flushed_at < options_.flush_interval) continue;
    flushed_at = now;
    FlushUses(false);
  }
}

Result<void> KeyRing::Poll() {
  const std::lock_guard asking(store_mutex_);
  const std::int64_t asked_unix_ms = clock_.UnixMillis();
  const SteadyTime asked_at = clock_.Now();
  const bool all = !reloaded_at_ || asked_at - *reloaded_at_ >= options_.reload_interval;
  const auto changed = store_.ChangedSince(
      all ? 0 : std::max<std::int64_t>(0, polled_unix_ms_ - options_.overlap.count()));
  if (!changed) {
    if (!std::exchange(away_, true)) {
      log_.Warn("keys.not_refreshed", {{"error", changed.error().message}});
    }
    return Fail(changed.error());
  }
  if (std::exchange(away_, false)) log_.Info("keys.refreshed", {});
  polled_unix_ms_ = asked_unix_ms;
  if (all) reloaded_at_ = asked_at;
  if (changed->empty()) return {};
  const std::unique_lock lock(mutex_);
  for (const auto& [hex, key] : *changed) {
    if (const auto digest = KeyDigest::FromHex(hex)) Apply(*digest, key);
  }
  return {};
}

void KeyRing::RefreshLimits() {
  const std::int64_t active_since =
      clock_.UnixMillis() - (options_.limits_life + 2 * options_.poll_interval).count();
  std::vector<schema::OwnerId> active;
  {
    const std::lock_guard lock(uses_mutex_);
    for (const auto& [id, use] : uses_) {
      if (use.last_unix_ms >= active_since) active.push_back(use.owner);
    }
  }
  const SteadyTime old = clock_.Now() - options_.limits_life;
  std::vector<std::pair<SteadyTime, schema::OwnerId>> stale;
  {
    const std::shared_lock lock(mutex_);
    for (const auto& owner : active) {
      const auto known = limits_.find(owner);
      if (known != limits_.end() && known->second.read_at <= old) {
        stale.emplace_back(known->second.read_at, owner);
      }
    }
  }
  std::sort(stale.begin(), stale.end());
  stale.erase(std::unique(stale.begin(), stale.end()), stale.end());
  if (stale.size() > kMaxRefreshes) stale.resize(kMaxRefreshes);
  for (const auto& [read_at, owner] : stale) {
    const auto limits = store_.LimitsOf(owner);
    if (!limits) return;
    const std::unique_lock lock(mutex_);
    limits_[owner] = {std::optional(*limits), clock_.Now()};
  }
}

void KeyRing::FlushUses(bool all) {
  std::vector<std::pair<schema::KeyId, std::int64_t>> uses;
  const std::int64_t now = clock_.UnixMillis();
  {
    const std::lock_guard lock(uses_mutex_);
    for (const auto& [id, use] : uses_) {
      const bool due = all || now - use.flushed_unix_ms >= options_.use_interval.count();
      if (use.stored && due && use.last_unix_ms > use.flushed_unix_ms) {
        uses.emplace_back(id, use.last_unix_ms);
      }
    }
  }
  if (uses.empty()) return;
  if (const Result<void> noted = store_.NoteUse(uses); !noted) {
    return log_.Warn("keys.use_not_noted", {{"error", noted.error().message}});
  }
  const std::lock_guard lock(uses_mutex_);
  for (const auto& [id, last] : uses) uses_[id].flushed_unix_ms = now;
}

}  // namespace forkbox::api
