// HOST:PORT as people write it: "127.0.0.1:8080", "localhost:0", "[::1]:8080".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace forkbox::cli {

struct ListenAddress {
  std::string host = "127.0.0.1";  // a literal without brackets; "localhost" becomes 127.0.0.1
  std::uint16_t port = 8080;       // 0 takes any free one

  // With brackets where a URL needs them. A wildcard becomes the loopback address of its family:
  // something a client on this machine can use.
  [[nodiscard]] std::string UrlHost() const;

  // kInvalidArgument says what is wrong with the text.
  static Result<ListenAddress> Parse(std::string_view text);
};

// Succeeds when the address could be listened on right now: a cheap look before the expensive
// parts of a start. kUnavailable in words for people otherwise.
Result<void> CheckCanListen(const ListenAddress& address);

}  // namespace forkbox::cli
