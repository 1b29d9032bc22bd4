#include "runner/sandboxes/sandbox_token.h"

#include <openssl/crypto.h>
#include <sys/random.h>

#include <array>

#include "base/check.h"

namespace forkbox::sandboxes {

std::string NewToken() {
  static constexpr char kHex[] = "0123456789abcdef";
  std::array<unsigned char, 32> random{};
  // Up to 256 bytes come whole, once the kernel has any (getrandom(2)).
  FORKBOX_CHECK(::getrandom(random.data(), random.size(), 0) ==
                static_cast<ssize_t>(random.size()));
  std::string token;
  for (const unsigned char byte : random) {
    token += kHex[byte >> 4];
    token += kHex[byte & 15];
  }
  return token;
}

bool SameToken(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace forkbox::sandboxes
