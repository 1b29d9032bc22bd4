// Sizes as the Exec0 specification writes them in its errors: "50KB", "10MB".
#pragma once

#include <cstddef>
#include <string>

namespace forkbox::api {

// Rounded up, so that what is over a limit never reads like the limit.
inline std::string SizeText(std::size_t bytes) {
  constexpr std::size_t kKilo = 1024;
  constexpr std::size_t kMega = kKilo * kKilo;
  if (bytes > kMega || (bytes != 0 && bytes % kMega == 0)) {
    return std::to_string((bytes + kMega - 1) / kMega) + "MB";
  }
  return std::to_string((bytes + kKilo - 1) / kKilo) + "KB";
}

}  // namespace forkbox::api
