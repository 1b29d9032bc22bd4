// Shell sessions of a box (reference 5).

#include <algorithm>
#include <array>
#include <chrono>
#include <string>
#include <utility>

#include "api/opensandbox/execd_body.h"
#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/execd_paths.h"
#include "api/opensandbox/execd_stream.h"

namespace forkbox::api {
namespace {

constexpr std::int64_t kMaxTimeoutMs = 366LL * 24 * 3600 * 1000;

ExecdError Unparsable(const Error& error) {
  return InvalidBody("error parsing request. " + error.message);
}

void ServeCreate(ExecdCall& call) {
  std::string cwd;
  if (!call.body.empty()) {
    const auto body = DecodeExecdBody(std::move(call.body));
    if (!body) return call.Refuse(Unparsable(body.error()));
    ExecdFields fields(*body);
    fields.Text("cwd", &cwd);
    if (auto read = fields.Finish(); !read) return call.Refuse(Unparsable(read.error()));
  }
  constexpr std::string_view kPrefix = "error creating session. ";
  if (!cwd.empty()) {
    auto path = ExecdPath(cwd, ExecdPathEnvironment(call.daemon->env()));
    if (!path) return call.Refuse(InvalidBody(std::string(kPrefix) + path.error().message));
    cwd = *std::move(path);
  }
  const auto id = call.daemon->shells().Create(cwd);
  if (!id) return call.Refuse(FailedCall(id.error(), "RUNTIME_ERROR", kPrefix));
  call.Json(200, {{"session_id", *id}});
}

void ServeRun(ExecdCall& call) {
  const std::string id = call.Param(":id");
  const auto body = DecodeExecdBody(std::move(call.body));
  if (!body) return call.Refuse(Unparsable(body.error()));
  execd::Shells::RunRequest request;
  std::string cwd;
  std::int64_t timeout = 0;
  ExecdFields fields(*body);
  fields.Text("command", &request.command);
  fields.Text("cwd", &cwd);
  fields.Integer("timeout", &timeout);
  if (auto read = fields.Finish(); !read) return call.Refuse(Unparsable(read.error()));
  const auto invalid = [&](const std::string& message) {
    call.Refuse(InvalidBody("invalid request. " + message));
  };
  if (request.command.empty()) return invalid("field \"command\" is required");
  if (request.command.find('\0') != std::string::npos) {
    return invalid("field \"command\" must not hold a NUL");
  }
  if (timeout < 0) return invalid("field \"timeout\" must not be negative");
  request.timeout = std::chrono::milliseconds(std::min(timeout, kMaxTimeoutMs));
  auto directory =
      ExecdRunDirectory(cwd, ExecdPathEnvironment(call.daemon->env()), call.daemon->files());
  constexpr std::string_view kPrefix = "error running in session. ";
  if (!directory) {
    if (directory.error().code == ErrorCode::kUnavailable) {
      return call.Refuse(FailedCall(directory.error(), "", kPrefix));
    }
    return invalid(directory.error().message);
  }
  request.cwd = *std::move(directory);

  ExecdStream stream(call.reply, *call.clock);
  const auto ran = call.daemon->shells().Run(id, request, stream);
  if (!ran && !stream.started()) {
    if (ran.error().code == ErrorCode::kNotFound) {
      return call.Refuse({.status = 404,
                          .code = "CONTEXT_NOT_FOUND",
                          .message = std::string(kPrefix) + "context not found"});
    }
    return call.Refuse(FailedCall(ran.error(), "CONTEXT_NOT_FOUND", kPrefix));
  }
  stream.End();
}

void ServeDelete(ExecdCall& call) {
  const std::string id = call.Param(":id");
  const auto deleted = call.daemon->shells().Delete(id);
  if (deleted) return call.Done();
  if (deleted.error().code == ErrorCode::kNotFound) {
    return call.Refuse(
        {.status = 404, .code = "CONTEXT_NOT_FOUND", .message = "session " + id + " not found"});
  }
  call.Refuse(FailedCall(deleted.error(), "CONTEXT_NOT_FOUND", "error deleting session. "));
}

constexpr std::array kRoutes{
    ExecdRoute{http::Method::kPost, "/session", ServeCreate},
    ExecdRoute{http::Method::kPost, "/session/:id/run", ServeRun},
    ExecdRoute{http::Method::kDelete, "/session/:id", ServeDelete},
};

}  // namespace

std::span<const ExecdRoute> ExecdSessionRoutes() { return kRoutes; }

}  // namespace forkbox::api
