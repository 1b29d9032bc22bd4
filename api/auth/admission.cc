#include "api/auth/admission.h"

#include <algorithm>

#include "api/auth/presented_keys.h"

namespace forkbox::api {
namespace {

// "100 req/s", "10 req/min": the unit in which the whole bucket comes back.
std::string RateText(const RateLimiter::Options& bucket) {
  const double per_second = 1e9 / static_cast<double>(bucket.refill.count());
  const bool by_second = per_second >= 1;
  const auto count = static_cast<std::uint64_t>((by_second ? per_second : per_second * 60) + 0.5);
  return std::to_string(count) + (by_second ? " req/s" : " req/min");
}

Refusal Unauthenticated(std::string_view message) {
  return {401, std::string(message), {{"WWW-Authenticate", "Bearer"}}};
}

Refusal RefusalOf(KeyProblem problem) {
  switch (problem) {
    case KeyProblem::kUnknown:
      break;
    case KeyProblem::kExpired:
      return Unauthenticated("API key has expired");
    case KeyProblem::kRevoked:
      return Unauthenticated("API key has been revoked");
    case KeyProblem::kDisabled:
      return {403, "API key is disabled", {}};
    case KeyProblem::kUnavailable:
      return {503, "the store cannot be asked about this API key now", {{"Retry-After", "1"}}};
  }
  return Unauthenticated("Invalid API key");
}

}  // namespace

std::optional<Refusal> RefusalOfSharedKey(const KeyIdentity& identity, std::string_view what) {
  if (!identity.is_demo) return std::nullopt;
  return Refusal{403, "demo keys are shared by everybody: they cannot " + std::string(what), {}};
}

Admission::Admission(Options options, const KeyRing& keys, const Clock& clock)
    : options_(options),
      keys_(keys),
      clock_(clock),
      key_buckets_(options.keys, clock),
      demo_buckets_(options.demo, clock) {}

tl::expected<KeyIdentity, Refusal> Admission::Admit(const http::Fields& fields,
                                                    std::string_view peer, Right right) {
  return TakeToken(Check(ZerobootKey(fields), right, "Missing Authorization header"), fields, peer);
}

tl::expected<KeyIdentity, Refusal> Admission::AdmitByHeader(std::string_view name,
                                                            const http::Fields& fields,
                                                            std::string_view peer, Right right) {
  const std::string* const key = http::FindField(fields, name);
  if (key == nullptr) return Admit(fields, peer, right);
  return TakeToken(Check(*key, right, ""), fields, peer);
}

tl::expected<KeyIdentity, Refusal> Admission::IdentifyAndMeter(const http::Fields& fields,
                                                               std::string_view peer, Right right) {
  return TakeToken(Check(Exec0Key(fields), right, "Missing API key"), fields, peer);
}

std::string Admission::AddressOf(const http::Fields& fields, std::string_view peer) const {
  return ClientAddress(fields, peer, options_.proxy_trust);
}

tl::expected<KeyIdentity, Refusal> Admission::Check(std::optional<std::string_view> key,
                                                    Right right, std::string_view missing) const {
  if (!key && enabled()) return tl::unexpected(Unauthenticated(missing));
  auto identity = keys_.Check(key.value_or(""));
  if (!identity) return tl::unexpected(RefusalOf(identity.error()));
  if (!Allows(identity->permissions, right)) {
    return tl::unexpected(Refusal{
        403, "this API key lacks the permission: " + std::string(PermissionsFor(right)), {}});
  }
  return *std::move(identity);
}

tl::expected<KeyIdentity, Refusal> Admission::TakeToken(tl::expected<KeyIdentity, Refusal> identity,
                                                        const http::Fields& fields,
                                                        std::string_view peer) {
  if (!identity) return identity;
  if (!enabled()) return identity;
  const bool demo = identity->is_demo;
  const RateDecision rate =
      demo ? demo_buckets_.Take(ClientAddress(fields, peer, options_.proxy_trust))
           : key_buckets_.Take(identity->key_id.str());
  if (rate.allowed) return identity;
  const std::string text =
      demo ? RateText(options_.demo) + " for demo keys" : RateText(options_.keys);
  return tl::unexpected(
      Refusal{429, "Rate limit exceeded (" + text + ")",
              RateLimitHeaders(rate.limit, rate.remaining, rate.retry_after, clock_.UnixMillis()),
              rate.limit});
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
