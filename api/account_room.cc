#include "api/account_room.h"

#include <algorithm>

namespace forkbox::api {
namespace {

using store::Acceptance;
using store::AcceptVerdict;

constexpr std::int64_t kMinuteMs = 60'000;

std::int64_t EndOfMinute(std::int64_t now_unix_ms) {
  return (now_unix_ms / kMinuteMs + 1) * kMinuteMs;
}

bool Fits(std::uint64_t used, std::uint64_t limit) { return limit == 0 || used <= limit / 2; }

}  // namespace

std::optional<Acceptance> AccountRoom::CertainRefusal(const Account& account,
                                                      const store::AcceptTerms& terms,
                                                      std::uint64_t unfinished_here,
                                                      std::int64_t now_unix_ms) {
  const std::lock_guard lock(mutex_);
  Acceptance refusal;
  refusal.minute_ends_unix_ms = EndOfMinute(now_unix_ms);
  if (const auto key = keys_.find(account.key);
      key != keys_.end() && now_unix_ms < key->second.minute.ends_unix_ms) {
    refusal.used_this_minute = key->second.minute.used;
    refusal.minute_ends_unix_ms = key->second.minute.ends_unix_ms;
  }
  if (const auto owner = owners_.find(account.owner); owner != owners_.end()) {
    if (now_unix_ms < owner->second.month_ends_unix_ms) {
      refusal.used_this_month = owner->second.month_used;
      refusal.month_ends_unix_ms = owner->second.month_ends_unix_ms;
    }
  }
  refusal.unfinished = unfinished_here;
  if (terms.per_minute != 0 && refusal.used_this_minute >= terms.per_minute) {
    refusal.verdict = AcceptVerdict::kRateLimited;
  } else if (terms.concurrency != 0 && unfinished_here >= terms.concurrency) {
    refusal.verdict = AcceptVerdict::kTooManyAtOnce;
  } else if (terms.monthly_quota != 0 && refusal.used_this_month >= terms.monthly_quota) {
    refusal.verdict = AcceptVerdict::kQuotaSpent;
  } else {
    return std::nullopt;
  }
  return refusal;
}

bool AccountRoom::TakeIfPlenty(const Account& account, const store::AcceptTerms& terms,
                               std::int64_t now_unix_ms) {
  const std::lock_guard lock(mutex_);
  const auto key = keys_.find(account.key);
  const auto owner = owners_.find(account.owner);
  if (key == keys_.end() || owner == owners_.end()) return false;
  const std::uint64_t minute =
      now_unix_ms < key->second.minute.ends_unix_ms ? key->second.minute.used : 0;
  const std::uint64_t month =
      now_unix_ms < owner->second.month_ends_unix_ms ? owner->second.month_used : 0;
  const std::uint64_t asked = owner->second.asked;
  if (!Fits(minute + key->second.asked + 1, terms.per_minute) ||
      !Fits(month + asked + 1, terms.monthly_quota) ||
      !Fits(owner->second.unfinished + asked + 1, terms.concurrency)) {
    return false;
  }
  ++key->second.asked;
  ++owner->second.asked;
  return true;
}

void AccountRoom::Settle(const Account& account) {
  if (const auto key = keys_.find(account.key); key != keys_.end() && key->second.asked > 0) {
    --key->second.asked;
  }
  if (const auto owner = owners_.find(account.owner);
      owner != owners_.end() && owner->second.asked > 0) {
    --owner->second.asked;
  }
}

void AccountRoom::Unanswered(const Account& account) {
  const std::lock_guard lock(mutex_);
  Settle(account);
}

void AccountRoom::Saw(const Account& account, const Acceptance& seen, bool taken) {
  const std::lock_guard lock(mutex_);
  if (taken) Settle(account);
  // Knowledge only: without it the store is asked first, once.
  if (keys_.size() >= max_accounts_ && !keys_.contains(account.key)) keys_.clear();
  if (owners_.size() >= max_accounts_ && !owners_.contains(account.owner)) owners_.clear();
  Minute& minute = keys_[account.key].minute;
  // Answers may overtake each other.
  if (seen.minute_ends_unix_ms > minute.ends_unix_ms) {
    minute = {seen.used_this_minute, seen.minute_ends_unix_ms};
  } else if (seen.minute_ends_unix_ms == minute.ends_unix_ms) {
    minute.used = std::max(minute.used, seen.used_this_minute);
  }
  OwnerUse& owner = owners_[account.owner];
  if (seen.month_ends_unix_ms > owner.month_ends_unix_ms) {
    owner.month_used = seen.used_this_month;
    owner.month_ends_unix_ms = seen.month_ends_unix_ms;
  } else if (seen.month_ends_unix_ms == owner.month_ends_unix_ms) {
    owner.month_used = std::max(owner.month_used, seen.used_this_month);
  }
  owner.unfinished = seen.unfinished;
}

AccountRoom::Minute AccountRoom::MinuteOf(const schema::KeyId& key, std::int64_t now_unix_ms) {
  const std::lock_guard lock(mutex_);
  const auto found = keys_.find(key);
  if (found == keys_.end() || now_unix_ms >= found->second.minute.ends_unix_ms) {
    return {0, EndOfMinute(now_unix_ms)};
  }
  return found->second.minute;
}

}  // namespace forkbox::api
