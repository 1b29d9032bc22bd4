// One POST of JSON to a server, for `forkbox run --url`.
#pragma once

#include <chrono>
#include <string>

#include "base/result.h"

namespace forkbox::cli {

struct HttpResponse {
  long status = 0;
  std::string body;
};

// kInvalidArgument: not an http or https URL. kUnavailable: no connection, or it broke.
// The body is bounded to 64 MiB; redirects are not followed, since the key would go with them.
Result<HttpResponse> PostJson(const std::string& url, const std::string& bearer_key,
                              const std::string& body, std::chrono::seconds timeout);

}  // namespace forkbox::cli
