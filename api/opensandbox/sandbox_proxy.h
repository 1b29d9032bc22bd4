// SandboxProxy: the part of a server by which the sandboxes of its host are used:
//
//   …/sandboxes/{id}/proxy/44772/…   execd
//   …/sandboxes/{id}/proxy/18080/…   the egress API (reference 14.7): nothing goes out, and nothing
//                                    can be allowed
//   …/sandboxes/{id}/proxy/{port}/…  what listens there inside
//
// Each request needs the token of its sandbox, no API key; keys are not handed on. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "api/http/server.h"
#include "api/opensandbox/execd_face.h"
#include "runner/sandboxes/sandbox_host.h"

namespace forkbox::api {

class SandboxProxy {
 public:
  static constexpr std::size_t kMaxBodyBytes = 8U << 20;

  // Both must outlive it.
  SandboxProxy(sandboxes::SandboxHost& host, ExecdFace& face);

  // For a Tree at "…/sandboxes/:id/proxy".
  void Serve(http::Call& call);
  static bool TakesOver(http::Method method, std::string_view tail, const http::Fields& fields);

  // kMaxBodyBytes for who has the sandbox's token, 0 for strangers. `path` begins with the id.
  std::size_t BodyLimit(std::string_view path, const http::Fields& fields);

 private:
  void ServeEgress(http::Call& call, std::string_view path);

  sandboxes::SandboxHost& host_;
  ExecdFace& face_;
};

// "/44772/command" in its parts; null when it does not begin with a port.
struct ProxyTarget {
  std::uint16_t port = 0;
  std::string_view path;  // "" or with its leading slash
};
std::optional<ProxyTarget> ProxyTargetOf(std::string_view tail);

}  // namespace forkbox::api
