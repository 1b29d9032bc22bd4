#include "api/auth/stored_key.h"

#include <sys/random.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace forkbox::api {
namespace {

constexpr std::string_view kPrefix = "exec0_";
constexpr std::size_t kRandomCharacters = 32;
constexpr std::string_view kAlphabet =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
// Bytes from here on are thrown away: with them the first letters would come more often.
constexpr std::size_t kFairBytes = 256 - 256 % kAlphabet.size();

bool IsAlphanumeric(char c) { return kAlphabet.find(c) != std::string_view::npos; }

}  // namespace

Result<std::string> NewStoredKey() {
  std::string key(kPrefix);
  while (key.size() < kPrefix.size() + kRandomCharacters) {
    std::array<std::uint8_t, 2 * kRandomCharacters> random{};
    // Up to 256 bytes come whole, once the kernel has any (getrandom(2)).
    if (::getrandom(random.data(), random.size(), 0) != static_cast<ssize_t>(random.size())) {
      return FailErrno("getrandom");
    }
    for (const std::uint8_t byte : random) {
      if (byte >= kFairBytes || key.size() == kPrefix.size() + kRandomCharacters) continue;
      key += kAlphabet[byte % kAlphabet.size()];
    }
  }
  return key;
}

bool LooksLikeStoredKey(std::string_view key) {
  return key.size() == kPrefix.size() + kRandomCharacters && key.starts_with(kPrefix) &&
         std::all_of(key.begin() + kPrefix.size(), key.end(), IsAlphanumeric);
}

std::string_view PrefixOfKey(std::string_view key) { return key.substr(0, 10); }

}  // namespace forkbox::api
