#include "api/opensandbox/sandbox_server.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "api/error_response.h"
#include "api/opensandbox/execd_limits.h"
#include "api/opensandbox/lifecycle_face.h"
#include "api/opensandbox/sandbox_wire.h"
#include "runner/sandboxes/sandbox_token.h"
#include "schema/json.h"

namespace forkbox::api {
namespace {

using http::Method;
using nlohmann::json;

constexpr char kJsonType[] = "application/json";
constexpr std::size_t kMaxControlBody = 1U << 20;

void SendError(const http::Reply& reply, const Error& error) {
  http::Reply(reply).Send(HttpStatusOf(error.code), kJsonType, ControlErrorBody(error));
}

// What stands below "…/sandboxes/" in a path of the proxy; "" otherwise.
std::string_view BelowSandboxes(std::string_view target) {
  constexpr std::string_view kRoom = "/sandboxes/";
  const std::string_view path = target.substr(0, target.find('?'));
  const auto found = path.find(kRoom);
  return found == std::string_view::npos ? std::string_view() : path.substr(found + kRoom.size());
}

}  // namespace

SandboxServer::SandboxServer(Options options, sandboxes::SandboxHost& host, const Clock& clock,
                             Log log)
    : options_(std::move(options)),
      host_(host),
      face_(std::make_unique<ExecdFace>(
          ExecdFace::Options{.max_body_bytes = SandboxProxy::kMaxBodyBytes}, clock, log)),
      proxy_(host, *face_),
      calls_(options_.control_threads, 1'000),
      forks_(options_.fork_threads, 100) {
  http::Server::Options http;
  http.address = options_.address;
  http.port = options_.port;
  http.threads = options_.threads;
  http.log = log;
  http.limits.max_connections = options_.max_connections;
  http.limits.max_body_bytes = kMaxControlBody;
  WidenForExecd(&http.limits);
  http.body_limit = [this](Method, std::string_view target, const http::Fields& fields) {
    return std::max(kMaxControlBody, proxy_.BodyLimit(BelowSandboxes(target), fields));
  };
  http.error_body = [](const http::OwnAnswer& answer) {
    return http::AnswerBody{kJsonType, LifecycleBody({.status = answer.status,
                                                      .code = "GENERAL::UNKNOWN_ERROR",
                                                      .message = std::string(answer.message)})};
  };
  server_ = std::make_unique<http::Server>(std::move(http));
  server_->Route(Method::kGet, "/health", [](http::Call& call) {
    call.reply.Send(200, kJsonType, R"({"status":"healthy"})");
  });
  for (const char* prefix : {"/v1/sandboxes/:id/proxy", "/sandboxes/:id/proxy"}) {
    server_->Tree(
        prefix, [this](http::Call& call) { proxy_.Serve(call); }, SandboxProxy::TakesOver);
  }

  const std::string all = kControlRoot;
  const std::string one = all + "/:id";
  const auto done = [](const Result<void>& result) -> Result<std::string> {
    if (!result) return Fail(result.error());
    return "{}";
  };
  const auto made = [](const Result<store::SandboxRecord>& record) -> Result<std::string> {
    if (!record) return Fail(record.error());
    return RecordToJson(*record);
  };
  Control(calls_, Method::kPost, all, 201,
          [this, made](const std::string&, const std::string& body) -> Result<std::string> {
            auto spec = SpecFromJson(body);
            if (!spec) return Fail(spec.error());
            return made(host_.Create(*std::move(spec)));
          });
  Control(forks_, Method::kPost, one + "/fork", 201,
          [this, made](const std::string& id, const std::string& body) -> Result<std::string> {
            auto spec = SpecFromJson(body);
            if (!spec) return Fail(spec.error());
            return made(host_.Fork(id, *std::move(spec)));
          });
  Control(
      calls_, Method::kDelete, one, 200,
      [this, done](const std::string& id, const std::string&) { return done(host_.Delete(id)); });
  Control(
      calls_, Method::kPost, one + "/pause", 200,
      [this, done](const std::string& id, const std::string&) { return done(host_.Pause(id)); });
  Control(
      calls_, Method::kPost, one + "/resume", 200,
      [this, done](const std::string& id, const std::string&) { return done(host_.Resume(id)); });
  Control(calls_, Method::kPost, one + "/renew", 200,
          [this, done](const std::string& id, const std::string& body) -> Result<std::string> {
            const auto read = schema::ParseJson(body, {.max_depth = 4, .max_bytes = 4096});
            if (!read || !read->is_object() || !read->contains("expires_unix_ms") ||
                !(*read)["expires_unix_ms"].is_number_integer()) {
              return Fail(ErrorCode::kInvalidArgument, "expires_unix_ms: not as it must be");
            }
            return done(host_.Renew(id, (*read)["expires_unix_ms"].get<std::int64_t>()));
          });
}

SandboxServer::~SandboxServer() { Stop(); }

Result<void> SandboxServer::Start() { return server_->Start(); }

void SandboxServer::Stop() {
  server_->Stop();
  calls_.Close();
  forks_.Close();
  face_.reset();
}

void SandboxServer::Control(CallPool& pool, Method method, const std::string& path, int status,
                            Work work) {
  server_->Route(method, path, [this, &pool, status, work = std::move(work)](http::Call& call) {
    const std::string* token = call.Header(kControlHeader);
    if (token == nullptr || !sandboxes::SameToken(*token, options_.control_token)) {
      return SendError(call.reply, {ErrorCode::kUnauthenticated, "not the token of this runner"});
    }
    const auto run = [status, work, id = call.Param(":id"), body = std::move(call.body),
                      reply = call.reply]() mutable {
      const Result<std::string> answer = work(id, body);
      if (!answer) return SendError(reply, answer.error());
      reply.Send(status, kJsonType, *answer);
    };
    if (!pool.Post(run)) {
      SendError(call.reply, {ErrorCode::kUnavailable, "too many calls wait"});
    }
  });
}

}  // namespace forkbox::api
