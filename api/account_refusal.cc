#include "api/account_refusal.h"

#include <algorithm>
#include <chrono>

#include "api/auth/admission.h"

namespace forkbox::api {

std::optional<AccountRefusal> RefusalOf(const store::Acceptance& account,
                                        const store::AcceptTerms& terms) {
  using store::AcceptVerdict;
  switch (account.verdict) {
    case AcceptVerdict::kRateLimited:
      return AccountRefusal{"rate", terms.per_minute, account.used_this_minute,
                            account.minute_ends_unix_ms};
    case AcceptVerdict::kTooManyAtOnce:
      return AccountRefusal{"concurrency", terms.concurrency, account.unfinished, 0};
    case AcceptVerdict::kQuotaSpent:
      return AccountRefusal{"quota", terms.monthly_quota, account.used_this_month,
                            account.month_ends_unix_ms};
    case AcceptVerdict::kAccepted:
    case AcceptVerdict::kRepeated:
    case AcceptVerdict::kOtherRequest:
      break;
  }
  return std::nullopt;
}

http::Fields HeadersOf(const AccountRefusal& refusal, std::int64_t now_unix_ms) {
  const std::int64_t wait = refusal.resets_unix_ms == 0
                                ? 1'000
                                : std::max<std::int64_t>(1, refusal.resets_unix_ms - now_unix_ms);
  return RateLimitHeaders(refusal.limit, 0, std::chrono::milliseconds(wait), now_unix_ms);
}

store::AcceptTerms TermsOf(const KeyIdentity& identity, bool per_minute) {
  store::AcceptTerms terms;
  terms.per_minute = per_minute ? identity.limits.executions_per_minute : 0;
  terms.concurrency = identity.limits.concurrency;
  terms.monthly_quota = identity.limits.monthly_quota;
  return terms;
}

}  // namespace forkbox::api
