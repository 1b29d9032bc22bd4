#include "api/auth/admission.h"

#include <algorithm>
#include <optional>

namespace forkbox::api {
namespace {

// "100 req/s", "10 req/min": the unit in which the whole bucket comes back.
std::string RateText(const RateLimiter::Options& bucket) {
  const double per_second = 1e9 / static_cast<double>(bucket.refill.count());
  const bool by_second = per_second >= 1;
  const auto count = static_cast<std::uint64_t>((by_second ? per_second : per_second * 60) + 0.5);
  return std::to_string(count) + (by_second ? " req/s" : " req/min");
}

// The key of a request by Exec0's rules; null when it has none.
std::optional<std::string_view> Exec0Key(const http::Fields& fields) {
  if (const std::string* key = http::FindField(fields, "x-api-key")) return *key;
  const std::string* const value = http::FindField(fields, "Authorization");
  if (value == nullptr) return std::nullopt;
  constexpr std::string_view kScheme = "Bearer";
  std::string_view key = *value;
  if (http::EqualIgnoringCase(key.substr(0, kScheme.size()), kScheme) &&
      (key.size() == kScheme.size() || key[kScheme.size()] == ' ')) {
    key.remove_prefix(kScheme.size());
    key.remove_prefix(std::min(key.size(), key.find_first_not_of(' ')));
  }
  if (key.empty()) return std::nullopt;
  return key;
}

tl::expected<KeyIdentity, Refusal> Check(Result<KeyIdentity> identity, Right right) {
  if (!identity) {
    return tl::unexpected(Refusal{401, identity.error().message, {{"WWW-Authenticate", "Bearer"}}});
  }
  if (!Allows(identity->permissions, right)) {
    return tl::unexpected(Refusal{
        403,
        "this key lacks the permission: " + std::string(PermissionsFor(right)) + " is needed",
        {}});
  }
  return *std::move(identity);
}

}  // namespace

Admission::Admission(Options options, const Authenticator& authenticator, const Clock& clock)
    : options_(options),
      authenticator_(authenticator),
      clock_(clock),
      key_buckets_(options.keys, clock),
      demo_buckets_(options.demo, clock) {}

tl::expected<KeyIdentity, Refusal> Admission::Admit(const http::Fields& fields,
                                                    std::string_view peer, Right right) {
  return TakeToken(
      Check(authenticator_.CheckBearer(http::FindField(fields, "Authorization")), right), fields,
      peer);
}

tl::expected<KeyIdentity, Refusal> Admission::AdmitByHeader(std::string_view name,
                                                            const http::Fields& fields,
                                                            std::string_view peer, Right right) {
  const std::string* const key = http::FindField(fields, name);
  if (key == nullptr) return Admit(fields, peer, right);
  return TakeToken(Check(authenticator_.CheckKey(*key), right), fields, peer);
}

tl::expected<KeyIdentity, Refusal> Admission::Identify(const http::Fields& fields,
                                                       std::string_view peer, Right right) {
  const auto key = Exec0Key(fields);
  Result<KeyIdentity> identity = Fail(ErrorCode::kUnauthenticated, "Missing API key");
  if (!enabled() || key) identity = authenticator_.CheckKey(key.value_or(""));
  auto checked = Check(std::move(identity), right);
  if (checked && checked->is_demo && right == Right::kExecute) {
    return TakeToken(std::move(checked), fields, peer);
  }
  return checked;
}

tl::expected<KeyIdentity, Refusal> Admission::IdentifyAndMeter(const http::Fields& fields,
                                                               std::string_view peer, Right right) {
  auto identity = Identify(fields, peer, right);
  if (identity && identity->is_demo && right == Right::kExecute) return identity;  // took one
  return TakeToken(std::move(identity), fields, peer);
}

std::string Admission::AddressOf(const http::Fields& fields, std::string_view peer) const {
  return ClientAddress(fields, peer, options_.proxy_trust);
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
