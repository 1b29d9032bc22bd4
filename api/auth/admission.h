// Admission: who may come in, to do what, and how often.
//
// An ordinary key has a bucket of its own, 100 tokens and 100 more a second. Demo keys share
// buckets of 10 tokens, 10 more a minute, one for each client address. With authentication off
// there is no rate limit either. Keys come in by two sets of rules:
//
//   Zeroboot's   `Authorization: Bearer <key>`, spelled exactly so
//   Exec0's      `x-api-key: <key>`, looked at first; else `Authorization`, its scheme in any case
//                or left out altogether
//
// Thread-safe. What comes in must have gone through KeyGate (key_gate.h) before.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "api/auth/client_address.h"
#include "api/auth/key_ring.h"
#include "api/auth/permission.h"
#include "api/auth/rate_limiter.h"
#include "api/http/fields.h"
#include "base/clock.h"

namespace forkbox::api {

// Why not, in terms every dialect can shape.
struct Refusal {
  // 401: no good key. 403: a good one that is disabled, or lacks a permission, which the message
  // names. 429. 503: the store, which alone knows, cannot be asked.
  int status = 401;
  std::string message;
  http::Fields headers;     // of a 429: Retry-After and X-RateLimit-*; of a 503: Retry-After
  std::uint64_t limit = 0;  // of a 429: how many tokens the bucket has
};

// A demo key is everybody's: it must not show one stranger what another one did, nor let him meddle
// with it. Null for other keys; else the 403 that says what it is not for ("list executions").
std::optional<Refusal> RefusalOfSharedKey(const KeyIdentity& identity, std::string_view what);

class Admission {
 public:
  struct Options {
    RateLimiter::Options keys{
        .burst = 100, .refill = std::chrono::milliseconds(10), .max_buckets = 10'000};
    RateLimiter::Options demo{
        .burst = 10, .refill = std::chrono::seconds(6), .max_buckets = 50'000};
    ProxyTrust proxy_trust = ProxyTrust::kLoopback;
  };

  // Both references must outlive it.
  Admission(Options options, const KeyRing& keys, const Clock& clock);

  // By Zeroboot's rules and in its words; takes one token. `fields` are the request's headers,
  // `peer` the address of the TCP peer.
  tl::expected<KeyIdentity, Refusal> Admit(const http::Fields& fields, std::string_view peer,
                                           Right right);
  // The same for dialects whose key stands alone in a header of their own. A request without that
  // header may still have the one of Admit().
  tl::expected<KeyIdentity, Refusal> AdmitByHeader(std::string_view name,
                                                   const http::Fields& fields,
                                                   std::string_view peer, Right right);

  // By Exec0's rules and in its words; takes one token. What store::AcceptTerms limits is limited
  // beyond that, with `limits` and `key_id` of the identity: the store counts only what it accepts.
  tl::expected<KeyIdentity, Refusal> IdentifyAndMeter(const http::Fields& fields,
                                                      std::string_view peer, Right right);
  // One more token, for whoever was admitted with one and asks for several things.
  tl::expected<KeyIdentity, Refusal> TakeAnother(const KeyIdentity& identity,
                                                 const http::Fields& fields,
                                                 std::string_view peer) {
    return TakeToken(identity, fields, peer);
  }

  // Where a request came from, for rows and the audit log.
  [[nodiscard]] std::string AddressOf(const http::Fields& fields, std::string_view peer) const;

  [[nodiscard]] bool enabled() const { return keys_.enabled(); }

 private:
  tl::expected<KeyIdentity, Refusal> TakeToken(tl::expected<KeyIdentity, Refusal> identity,
                                               const http::Fields& fields, std::string_view peer);
  // `missing` is what to say when there is no key.
  tl::expected<KeyIdentity, Refusal> Check(std::optional<std::string_view> key, Right right,
                                           std::string_view missing) const;

  const Options options_;
  const KeyRing& keys_;
  const Clock& clock_;
  RateLimiter key_buckets_;
  RateLimiter demo_buckets_;
};

// Retry-After in whole seconds, rounded up and at least 1; X-RateLimit-Limit, -Remaining, and
// -Reset in Unix milliseconds, which is what Exec0's clients expect.
http::Fields RateLimitHeaders(std::uint64_t limit, std::uint64_t remaining,
                              std::chrono::nanoseconds retry_after, std::int64_t now_unix_ms);

}  // namespace forkbox::api
