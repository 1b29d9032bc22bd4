// AccountRoom: what this process last heard from the store of how much each account has used.
//
// The store alone decides (ExecutionStore::AcceptAsync), since other processes accept for the same
// account. What is kept here saves it work at both ends: what it would refuse for certain is
// refused without asking, and what it has plenty of room for need not wait for its word.
//
// Thread-safe. Bounded: with too many accounts at once the older knowledge is dropped.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "schema/execution.h"
#include "store/execution_store.h"

namespace forkbox::api {

class AccountRoom {
 public:
  explicit AccountRoom(std::size_t max_accounts = 10'000) : max_accounts_(max_accounts) {}

  struct Account {
    schema::OwnerId owner;
    schema::KeyId key;
  };

  // What the store would answer now, if that can be known: its counters only grow until their
  // minute or month is over. `unfinished_here` are executions of the owner that wait in this
  // process, a lower bound of all. Null: ask the store.
  std::optional<store::Acceptance> CertainRefusal(const Account& account,
                                                  const store::AcceptTerms& terms,
                                                  std::uint64_t unfinished_here,
                                                  std::int64_t now_unix_ms);

  // Whether one more would leave at least half of every limit free, those asked about and not yet
  // answered included. Then it counts as asked about: Saw() or Unanswered() must follow.
  bool TakeIfPlenty(const Account& account, const store::AcceptTerms& terms,
                    std::int64_t now_unix_ms);
  void Unanswered(const Account& account);
  // The store's answer; `taken`: TakeIfPlenty() said yes to it.
  void Saw(const Account& account, const store::Acceptance& seen, bool taken);

  // What the key has used of the current minute, as far as is known here; 0 at worst.
  struct Minute {
    std::uint64_t used = 0;
    std::int64_t ends_unix_ms = 0;
  };
  Minute MinuteOf(const schema::KeyId& key, std::int64_t now_unix_ms);

 private:
  struct KeyUse {
    Minute minute;
    std::uint64_t asked = 0;  // and not yet answered
  };
  struct OwnerUse {
    std::uint64_t month_used = 0;
    std::int64_t month_ends_unix_ms = 0;
    std::uint64_t unfinished = 0;
    std::uint64_t asked = 0;
  };
  void Settle(const Account& account);  // mutex_ held

  const std::size_t max_accounts_;
  std::mutex mutex_;
  std::unordered_map<schema::KeyId, KeyUse> keys_;        // guarded by mutex_
  std::unordered_map<schema::OwnerId, OwnerUse> owners_;  // guarded by mutex_
};

}  // namespace forkbox::api
