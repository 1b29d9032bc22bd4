#include "api/opensandbox/sandbox_proxy.h"

#include <charconv>
#include <string>
#include <utility>

#include "api/opensandbox/lifecycle_problem.h"

namespace forkbox::api {
namespace {

using nlohmann::ordered_json;

constexpr char kToken[] = "X-EXECD-ACCESS-TOKEN";
constexpr std::uint16_t kExecdPort = 44772;
constexpr std::uint16_t kEgressPort = 18080;

// As execd itself has it (reference 11).
std::string InnerPath(const ProxyTarget& target) {
  if (target.port == kExecdPort) return std::string(target.path.empty() ? "/" : target.path);
  return "/proxy/" + std::to_string(target.port) + std::string(target.path);
}

// Of the API, none of the sandbox's business (reference 14.6).
void DropKeys(http::Fields* fields) {
  std::erase_if(*fields, [](const auto& field) {
    for (const char* name : {"OPEN-SANDBOX-API-KEY", "x-api-key", "Authorization", "Cookie"}) {
      if (http::EqualIgnoringCase(field.first, name)) return true;
    }
    return false;
  });
}

void Refuse(http::Call& call, const LifecycleProblem& problem) {
  call.Answer(problem.status, "application/json", LifecycleBody(problem), problem.headers);
}

}  // namespace

std::optional<ProxyTarget> ProxyTargetOf(std::string_view tail) {
  if (!tail.starts_with('/')) return std::nullopt;
  tail.remove_prefix(1);
  const std::string_view digits = tail.substr(0, tail.find('/'));
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || end != digits.data() + digits.size() || port == 0) {
    return std::nullopt;
  }
  return ProxyTarget{port, tail.substr(digits.size())};
}

SandboxProxy::SandboxProxy(sandboxes::SandboxHost& host, ExecdFace& face)
    : host_(host), face_(face) {}

bool SandboxProxy::TakesOver(http::Method method, std::string_view tail,
                             const http::Fields& fields) {
  const auto target = ProxyTargetOf(tail);
  return target && target->port != kEgressPort &&
         ExecdFace::TakesOver(method, InnerPath(*target), fields);
}

std::size_t SandboxProxy::BodyLimit(std::string_view path, const http::Fields& fields) {
  const std::string* token = http::FindField(fields, kToken);
  if (token == nullptr) return 0;
  return host_.Find(path.substr(0, path.find('/')), *token) ? kMaxBodyBytes : 0;
}

void SandboxProxy::Serve(http::Call& call) {
  const auto target = ProxyTargetOf(call.tail);
  if (!target) {
    return Refuse(call, {.status = 400,
                         .code = "DOCKER::INVALID_PORT",
                         .message = "port: must be a number from 1 to 65535"});
  }
  const std::string id = call.Param(":id");
  const std::string* token = call.Header(kToken);
  auto daemon = host_.Find(id, token == nullptr ? "" : *token);
  if (!daemon) {
    switch (daemon.error().code) {
      case ErrorCode::kUnauthenticated:
        return ExecdFace::Refuse401(call);
      case ErrorCode::kConflict:
        return Refuse(call, {.status = 409,
                             .code = "DOCKER::SANDBOX_NOT_RUNNING",
                             .message = "Sandbox " + id + " is paused."});
      default:
        return Refuse(call, NoSuchSandbox(id));
    }
  }
  DropKeys(&call.fields);
  if (target->port == kEgressPort) return ServeEgress(call, target->path);
  const std::string path = InnerPath(*target);
  face_.Serve(call, path, *std::move(daemon));
}

void SandboxProxy::ServeEgress(http::Call& call, std::string_view path) {
  if (path.ends_with('/')) path.remove_suffix(1);
  if (path == "/policy" && call.method == http::Method::kGet) {
    const ordered_json policy{{"defaultAction", "deny"}, {"egress", ordered_json::array()}};
    return SendLifecycleJson(call.reply, 200,
                             {{"status", "ok"},
                              {"mode", "deny_all"},
                              {"enforcementMode", "no-network"},
                              {"reason", "sandboxes have no network beyond themselves"},
                              {"policy", policy}});
  }
  if (path == "/policy" || path.starts_with("/credential-vault")) {
    return Refuse(call, NotSupported("sandboxes have no network, and none can be allowed"));
  }
  Refuse(call, {.status = 404, .code = "NOT_FOUND", .message = "there is no such path"});
}

}  // namespace forkbox::api
