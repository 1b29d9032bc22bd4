#include "webhook/signature.h"

#include <openssl/evp.h>
#include <sys/random.h>

#include <array>
#include <optional>

#include "base/check.h"
#include "schema/base64.h"

namespace forkbox::webhook {
namespace {

constexpr std::string_view kPrefix = "whsec_";
constexpr std::size_t kNewKeyBytes = 32;
constexpr std::size_t kMinKeyBytes = 24;
constexpr std::size_t kMaxKeyBytes = 64;

std::optional<std::string> KeyOf(std::string_view secret) {
  if (!secret.starts_with(kPrefix)) return std::nullopt;
  auto key = schema::DecodeBase64(secret.substr(kPrefix.size()));
  if (!key || key->size() < kMinKeyBytes || key->size() > kMaxKeyBytes) return std::nullopt;
  return key;
}

}  // namespace

std::string NewSecret() {
  std::string key(kNewKeyBytes, '\0');
  FORKBOX_CHECK(::getrandom(key.data(), key.size(), 0) == static_cast<ssize_t>(key.size()));
  return std::string(kPrefix) + schema::EncodeBase64(key);
}

bool IsSecret(std::string_view text) { return KeyOf(text).has_value(); }

Result<std::string> Sign(std::string_view secret, std::string_view id, std::int64_t unix_seconds,
                         std::string_view body) {
  const auto key = KeyOf(secret);
  if (!key) return Fail(ErrorCode::kInvalidArgument, "not a webhook secret");
  const std::string message = std::string(id)
                                  .append(1, '.')
                                  .append(std::to_string(unix_seconds))
                                  .append(1, '.')
                                  .append(body);
  std::array<unsigned char, 32> mac{};
  std::size_t size = 0;
  if (::EVP_Q_mac(nullptr, "HMAC", nullptr, "SHA256", nullptr, key->data(), key->size(),
                  reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                  mac.data(), mac.size(), &size) == nullptr) {
    return Fail(ErrorCode::kInternal, "HMAC-SHA256 failed");
  }
  return "v1," + schema::EncodeBase64({reinterpret_cast<const char*>(mac.data()), size});
}

}  // namespace forkbox::webhook
