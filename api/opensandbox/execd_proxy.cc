// Ports of a box from outside (reference 11).

#include <charconv>
#include <cstdint>
#include <string>
#include <utility>

#include "api/http/relay.h"
#include "api/opensandbox/execd_call.h"

namespace forkbox::api {
namespace {

constexpr std::string_view kTextType = "text/plain; charset=utf-8";

}  // namespace

void ServeExecdProxy(ExecdCall& call, std::string_view rest) {
  const std::size_t slash = rest.find('/');
  const std::string_view digits = rest.substr(0, slash);
  if (digits.empty()) {
    call.Answer(400, kTextType, "port is required");
    return;
  }
  std::uint16_t port = 0;
  const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || stop != digits.data() + digits.size() || port == 0) {
    call.Answer(400, kTextType, "port must be a number from 1 to 65535");
    return;
  }
  std::string target(slash == rest.npos ? "/" : rest.substr(slash));
  if (!call.raw_query.empty()) target += "?" + call.raw_query;

  const auto peer = call.daemon->files().Connect(port);
  if (!peer || call.taken == nullptr) {
    call.Answer(502, kTextType, "Bad Gateway");
    return;
  }
  // Keys of the service are no business of what runs in a box.
  const http::RelayHead head{.target = std::move(target),
                             .drop = {"open-sandbox-api-key", "X-Forwarded-Host"}};
  const http::RelayEnd end = http::RelayRequest(call, *call.taken, peer->get(), head, {});
  if (end.answered) return;
  if (end.client_fault != 0) {
    call.Answer(end.client_fault, kTextType, end.error->message);
  } else {
    call.Answer(502, kTextType, "Bad Gateway");
  }
}

}  // namespace forkbox::api
