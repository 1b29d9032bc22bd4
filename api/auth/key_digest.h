// KeyDigest: the SHA-256 of an API key, all that is kept and compared of one.
//
// Keys are long and random (or the operator's own choice of secret), so a plain hash is enough: no
// salt, no stretching, and a check costs a microsecond.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace forkbox::api {

class KeyDigest {
 public:
  static constexpr std::size_t kBytes = 32;

  static KeyDigest Of(std::string_view key);
  static std::optional<KeyDigest> FromHex(std::string_view hex);  // 64 digits of either case

  [[nodiscard]] std::string Hex() const;  // lower case

  // The first 16 hexadecimal digits: names the key in rows, logs and lists without giving it away.
  [[nodiscard]] std::string ShortId() const;

  // The first 64 bits, to find it by.
  [[nodiscard]] std::uint64_t Index() const;

  // Takes the same time whatever the two have in common.
  [[nodiscard]] bool Equals(const KeyDigest& other) const;

 private:
  std::array<std::uint8_t, kBytes> bytes_{};
};

}  // namespace forkbox::api
