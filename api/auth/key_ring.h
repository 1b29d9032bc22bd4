// KeyRing: every key that is good here, in memory: those of the keys file and those of the store.
//
//   KeyRing ring({}, file_keys, store.keys(), clock, log);
//   Result<void> started = ring.Start();             // all keys are known from here on
//   ring.Prepare(key, [=] { … ring.Check(key) … });  // at once, or when the store has answered
//
// Keys change elsewhere too: other API processes, the command line. What changed is read twice a
// second and all of it once a minute, so a change acts everywhere within a second, given that the
// clocks of the machines agree to a minute. A key that is not known here is asked of the store
// before it is refused, so a new one works everywhere at once. Accounts' limits are read when they
// are first needed and then again every two seconds as long as the account is active. A key whose
// account's limits could not be read is kUnavailable: nobody gets limits that are not his.
//
// Answers of the store may overtake each other on their way here. Those about keys that are known
// come one after the other, so the last one is the newest; a first look-up that a change met is
// asked again; and what was revoked stays so, whatever comes later.
//
// Unknown keys cost little: only what looks like a key of ours is asked about at all, the answer is
// kept for some seconds, and there are bounds on all of it, beyond which the answer is
// kUnavailable. Known keys are not concerned: their limits are asked about in places of their own.
//
// While the store is away, known keys stay good, however long that lasts: without it nothing can be
// accepted or read anyway. Unknown ones are kUnavailable then.
//
// Keys are found by the first 64 bits of their hash and then compared in constant time. Whoever
// times that learns of the hash of what he sent, and of no key.
//
// Thread-safe; Start() and Stop() once each.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "api/auth/authenticator.h"
#include "api/auth/key_digest.h"
#include "api/auth/key_identity.h"
#include "api/call_pool.h"
#include "base/clock.h"
#include "base/log.h"
#include "store/key_store.h"

namespace forkbox::api {

// Why a key is no good.
enum class KeyProblem { kUnknown, kExpired, kRevoked, kDisabled, kUnavailable };

class KeyRing {
 public:
  struct Options {
    std::chrono::milliseconds poll_interval{500};
    std::chrono::milliseconds overlap{60'000};  // how far clocks may be apart
    std::chrono::milliseconds reload_interval{60'000};
    std::chrono::milliseconds limits_life{2'000};
    std::chrono::milliseconds flush_interval{10'000};  // of when keys were last used
    std::chrono::milliseconds use_interval{60'000};    // the same, of one key
    std::size_t lookup_threads = 2;
    std::size_t max_waiting_lookups = 256;
    std::size_t limits_threads = 1;  // look-ups of the limits of accounts whose key is known
    std::size_t max_waiting_limits = 1'000;
    std::size_t max_unknown = 10'000;  // remembered
    std::chrono::milliseconds unknown_life{5'000};
    std::chrono::milliseconds unavailable_life{1'000};
  };

  // All references must outlive it.
  KeyRing(Options options, const Authenticator& file_keys, store::KeyStore& store,
          const Clock& clock, Log log);
  ~KeyRing();  // Stop()
  KeyRing(const KeyRing&) = delete;
  KeyRing& operator=(const KeyRing&) = delete;

  // Reads all keys. Fails when the store does, for a server that lost its keys must not turn into
  // one that needs none.
  Result<void> Start();
  // Answers what waits and writes down when keys were last used.
  void Stop();

  // Whether keys are asked for: there is one in the file, or ever was one in the store. Turns true
  // when the first one is made, and never false again.
  [[nodiscard]] bool enabled() const { return file_keys_.enabled() || has_stored_keys_; }

  // Whether Check(key) knows what the store knows.
  [[nodiscard]] bool Knows(std::string_view key) const;
  // Calls `ready` once, when Knows(key), or when there is no way to know: mostly at once, in this
  // thread; else from a thread of the ring, which it must not block.
  void Prepare(std::string_view key, std::function<void()> ready);

  // Whether it is a good key that is in memory; its account's limits may not be. A key made
  // elsewhere a moment ago is not.
  [[nodiscard]] bool Holds(std::string_view key) const;

  // Whose key this is; Nobody() while keys are off. Also notes that it was used.
  [[nodiscard]] tl::expected<KeyIdentity, KeyProblem> Check(std::string_view key) const;

  // What this process has just written to the store acts here at once. May wait for the store. Of
  // one that is known by now, what is known is newer.
  void Put(const KeyDigest& digest, const store::ApiKey& key);
  // The same of one that is there: the store is asked what it is now. When it does not say,
  // `change` does. Nothing happens when it is not known here.
  void Update(const schema::KeyId& id, const std::function<void(store::ApiKey*)>& change);

  // 0: not that we know. May be ahead of the store's.
  [[nodiscard]] std::int64_t LastUsed(const schema::KeyId& id) const;

 private:
  struct Entry {
    KeyDigest digest;
    store::ApiKey key;
  };
  struct Unknown {
    SteadyTime until;  // then it is asked about again
    bool unavailable = false;
  };
  struct OwnerLimits {
    std::optional<store::AccountLimits> limits;  // null: the store did not say
    SteadyTime read_at;
  };
  // Those who wait for one key to be looked up.
  struct Lookup {
    bool of_key = false;  // else of its limits only
    std::vector<std::function<void()>> waiters;
  };
  struct Use {
    schema::OwnerId owner;
    bool stored = false;  // in the store, not in the file
    std::int64_t last_unix_ms = 0;
    std::int64_t flushed_unix_ms = 0;
  };

  const Entry* FindEntry(const KeyDigest& digest) const;          // mutex_ held, shared at least
  void Apply(const KeyDigest& digest, const store::ApiKey& key);  // mutex_ held
  void Remember(const std::string& digest, bool unavailable);     // mutex_ held
  // What is still to be asked: the key, its account's limits, or nothing.
  bool NeedsKey(const KeyDigest& digest, std::string_view key) const;
  std::optional<schema::OwnerId> NeedsLimits(const KeyDigest& digest) const;
  void LookUp(const KeyDigest& digest, bool ask_for_key);
  void LookUpKey(const KeyDigest& digest);
  void EndLookup(const KeyDigest& digest);
  // Whether anything is known of its account's limits: what they are, or for the moment nothing.
  [[nodiscard]] bool HasLimits(const schema::OwnerId& owner) const;  // mutex_ held

  void Loop(const std::stop_token& stop);
  Result<void> Poll();
  void RefreshLimits();
  void FlushUses(bool all);
  void NoteUse(const KeyIdentity& identity, bool stored) const;

  const Options options_;
  const Authenticator& file_keys_;
  store::KeyStore& store_;
  const Clock& clock_;
  const Log log_;
  std::atomic<bool> has_stored_keys_{false};
  std::atomic<bool> started_{false};

  // Held from a question to the store about many keys until its answer is in memory, and by Put():
  // an older answer must not undo what was put after it was asked.
  std::mutex store_mutex_;
  std::optional<SteadyTime> reloaded_at_;  // guarded by store_mutex_
  std::int64_t polled_unix_ms_ = 0;        // guarded by store_mutex_; when that last succeeded
  bool away_ = false;                      // guarded by store_mutex_

  mutable std::shared_mutex mutex_;
  std::unordered_multimap<std::uint64_t, Entry> keys_;         // guarded by mutex_
  std::unordered_map<schema::KeyId, std::uint64_t> index_of_;  // guarded by mutex_
  std::unordered_map<std::string, Unknown> unknown_;           // guarded by mutex_; by digest
  std::deque<std::string> unknown_order_;                      // guarded by mutex_; oldest first
  std::unordered_map<schema::OwnerId, OwnerLimits> limits_;    // guarded by mutex_
  std::uint64_t missed_updates_ = 0;  // guarded by mutex_; of keys that were not known here

  mutable std::mutex uses_mutex_;
  mutable std::unordered_map<schema::KeyId, Use> uses_;  // guarded by uses_mutex_

  std::mutex lookups_mutex_;
  std::unordered_map<std::string, Lookup> lookups_;  // guarded by lookups_mutex_; by digest
  std::size_t waiting_ = 0;                          // guarded by lookups_mutex_; of keys
  std::size_t waiting_limits_ = 0;                   // guarded by lookups_mutex_

  std::mutex wake_mutex_;
  std::condition_variable_any wake_;
  CallPool pool_;
  CallPool limits_pool_;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace forkbox::api
