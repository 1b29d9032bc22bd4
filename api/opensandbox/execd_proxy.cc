// Ports of a box from outside (reference 11).

#include "api/opensandbox/execd_call.h"

namespace forkbox::api {

void ServeExecdProxy(ExecdCall& call, std::string_view rest) {
  if (rest.empty()) return (void)call.Answer(400, "text/plain", "port is required");
  call.Answer(502, "text/plain", "Bad Gateway");
}

}  // namespace forkbox::api
