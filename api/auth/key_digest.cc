#include "api/auth/key_digest.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace forkbox::api {
namespace {

constexpr std::string_view kHexDigits = "0123456789abcdef";

std::optional<std::uint8_t> HexValue(char digit) {
  if (digit >= '0' && digit <= '9') return static_cast<std::uint8_t>(digit - '0');
  if (digit >= 'a' && digit <= 'f') return static_cast<std::uint8_t>(digit - 'a' + 10);
  if (digit >= 'A' && digit <= 'F') return static_cast<std::uint8_t>(digit - 'A' + 10);
  return std::nullopt;
}

}  // namespace

KeyDigest KeyDigest::Of(std::string_view key) {
  KeyDigest digest;
  static_assert(kBytes == SHA256_DIGEST_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(key.data()), key.size(), digest.bytes_.data());
  return digest;
}

std::optional<KeyDigest> KeyDigest::FromHex(std::string_view hex) {
  if (hex.size() != 2 * kBytes) return std::nullopt;
  KeyDigest digest;
  for (std::size_t i = 0; i < kBytes; ++i) {
    const auto high = HexValue(hex[2 * i]);
    const auto low = HexValue(hex[2 * i + 1]);
    if (!high || !low) return std::nullopt;
    digest.bytes_[i] = static_cast<std::uint8_t>(*high << 4 | *low);
  }
  return digest;
}

std::string KeyDigest::Hex() const {
  std::string hex;
  hex.reserve(2 * kBytes);
  for (const std::uint8_t byte : bytes_) {
    hex += kHexDigits[byte >> 4];
    hex += kHexDigits[byte & 15];
  }
  return hex;
}

std::string KeyDigest::ShortId() const { return Hex().substr(0, 16); }

std::uint64_t KeyDigest::Index() const {
  std::uint64_t index = 0;
  for (std::size_t i = 0; i < sizeof index; ++i) index = index << 8 | bytes_[i];
  return index;
}

bool KeyDigest::Equals(const KeyDigest& other) const {
  return CRYPTO_memcmp(bytes_.data(), other.bytes_.data(), kBytes) == 0;
}

}  // namespace forkbox::api
