#include "api/auth/admission.h"

#include <algorithm>

namespace forkbox::api {
namespace {

// "100 req/s", "10 req/min": the unit in which the whole bucket comes back.
std::string RateText(const RateLimiter::Options& bucket) {
  const double per_second = 1e9 / static_cast<double>(bucket.refill.count());
  const bool by_second = per_second >= 1;
  const auto count = static_cast<std::uint64_t>((by_second ? per_second : per_second * 60) + 0.5);
  return std::to_string(count) + (by_second ? " req/s" : " req/min");
}

}  // namespace

Admission::Admission(Options options, const Authenticator& authenticator, const Clock& clock)
    : options_(options),
      authenticator_(authenticator),
      clock_(clock),
      key_buckets_(options.keys, clock),
      demo_buckets_(options.demo, clock) {}

tl::expected<KeyIdentity, Refusal> Admission::Admit(const http::Fields& fields,
                                                    std::string_view peer) {
  return TakeToken(authenticator_.CheckBearer(http::FindField(fields, "Authorization")), fields,
                   peer);
}

tl::expected<KeyIdentity, Refusal> Admission::AdmitByHeader(std::string_view name,
                                                            const http::Fields& fields,
                                                            std::string_view peer) {
  const std::string* const key = http::FindField(fields, name);
  if (key == nullptr) return Admit(fields, peer);
  return TakeToken(authenticator_.CheckKey(*key), fields, peer);
}

tl::expected<KeyIdentity, Refusal> Admission::TakeToken(Result<KeyIdentity> identity,
                                                        const http::Fields& fields,
                                                        std::string_view peer) {
  if (!identity) {
    return tl::unexpected(Refusal{401, identity.error().message, {{"WWW-Authenticate", "Bearer"}}});
  }
  if (!enabled()) return *std::move(identity);
  const bool demo = identity->is_demo;
  const RateDecision rate =
      demo ? demo_buckets_.Take(ClientAddress(fields, peer, options_.proxy_trust))
           : key_buckets_.Take(identity->owner.str());
  if (rate.allowed) return *std::move(identity);
  const std::string text =
      demo ? RateText(options_.demo) + " for demo keys" : RateText(options_.keys);
  return tl::unexpected(
      Refusal{429, "Rate limit exceeded (" + text + ")",
              RateLimitHeaders(rate.limit, rate.remaining, rate.retry_after, clock_.UnixMillis())});
}

http::Fields RateLimitHeaders(std::uint64_t limit, std::uint64_t remaining,
                              std::chrono::nanoseconds retry_after, std::int64_t now_unix_ms) {
  const auto seconds =
      std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(retry_after).count());
  const auto reset =
      now_unix_ms + std::chrono::ceil<std::chrono::milliseconds>(retry_after).count();
  return {{"Retry-After", std::to_string(seconds)},
          {"X-RateLimit-Limit", std::to_string(limit)},
          {"X-RateLimit-Remaining", std::to_string(remaining)},
          {"X-RateLimit-Reset", std::to_string(reset)}};
}

}  // namespace forkbox::api
