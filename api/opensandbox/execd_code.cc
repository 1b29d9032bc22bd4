// Code and the contexts it runs in (reference 6).

#include <array>
#include <string>
#include <utility>

#include "api/opensandbox/execd_body.h"
#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/execd_commands.h"
#include "api/opensandbox/execd_paths.h"
#include "api/opensandbox/execd_stream.h"

namespace forkbox::api {
namespace {

using execd::ContextInfo;
using Json = nlohmann::ordered_json;

constexpr std::string_view kRunning = "error running codes ";

Json ToJson(const ContextInfo& context) {
  Json json{{"id", context.id}, {"language", context.language}};
  if (!context.cwd.empty()) json["cwd"] = context.cwd;
  return json;
}

ExecdError NoContext(const std::string& id) {
  return {.status = 404, .code = "CONTEXT_NOT_FOUND", .message = "context " + id + " not found"};
}

// Of contexts that are asked for by id.
ExecdError FailedContext(const Error& error, const std::string& id, std::string_view prefix) {
  if (error.code == ErrorCode::kNotFound) return NoContext(id);
  return FailedCall(error, "CONTEXT_NOT_FOUND", prefix);
}

bool IsCommand(const std::string& language) { return language.empty() || language == "command"; }

// Languages that upstream runs without a kernel.
bool HasNoContexts(const std::string& language) {
  return IsCommand(language) || language == "background-command" || language == "sql";
}

void ServeRun(ExecdCall& call) {
  const auto body = DecodeExecdBody(std::move(call.body));
  if (!body) return call.Refuse(UnparsableBody(body.error()));
  std::string code;
  std::string id;
  std::string language;
  ExecdFields fields(*body);
  fields.Text("code", &code);
  if (auto read = fields.Finish(); !read) return call.Refuse(UnparsableBody(read.error()));
  if (const auto* context = fields.Find("context")) {
    ExecdFields inner(*context);
    inner.Text("id", &id);
    inner.Text("language", &language);
    if (auto read = inner.Finish(); !read) {
      return call.Refuse(
          UnparsableBody({ErrorCode::kInvalidArgument, "context: " + read.error().message}));
    }
  }
  if (code.empty()) {
    return call.Refuse(InvalidBody("invalid request, validation error field \"code\" is required"));
  }

  if (IsCommand(language) || language == "background-command") {
    if (code.find('\0') != std::string::npos) {
      return call.Refuse(
          InvalidBody("invalid request, validation error field \"code\" must not hold a NUL"));
    }
    execd::CommandRequest request;
    request.command = std::move(code);
    request.env = ExecdCommandEnvironment(*call.daemon, {});
    return StreamExecdCommand(call, request, language == "background-command");
  }
  if (language == "sql") {
    return call.Refuse({.status = 501,
                        .code = "NOT_SUPPORTED",
                        .message = std::string(kRunning) +
                                   "language sql is not supported: there is no database here"});
  }
  execd::Contexts& contexts = call.daemon->contexts();
  if (!contexts.Knows(language)) {
    return call.Refuse(InvalidBody(std::string(kRunning) + "unknown language: " + language));
  }
  if (id.empty()) {
    auto context = contexts.Default(language);
    if (!context) {
      return call.Refuse(FailedCall(context.error(), "CONTEXT_NOT_FOUND", kRunning));
    }
    id = std::move(context->id);
  }
  ExecdStream stream(call.reply, *call.clock);
  const auto ran = contexts.Run(id, code, stream);
  if (!ran && !stream.started()) {
    if (ran.error().code == ErrorCode::kNotFound) {
      return call.Refuse({.status = 404,
                          .code = "CONTEXT_NOT_FOUND",
                          .message = std::string(kRunning) + "context not found"});
    }
    return call.Refuse(FailedCall(ran.error(), "CONTEXT_NOT_FOUND", kRunning));
  }
  stream.End();
}

void ServeCreate(ExecdCall& call) {
  const auto body = DecodeExecdBody(std::move(call.body));
  if (!body) return call.Refuse(UnparsableBody(body.error()));
  std::string language;
  std::string cwd;
  ExecdFields fields(*body);
  fields.Text("language", &language);
  fields.Text("cwd", &cwd);
  if (auto read = fields.Finish(); !read) return call.Refuse(UnparsableBody(read.error()));
  constexpr std::string_view kPrefix = "error creating code context. ";
  execd::Contexts& contexts = call.daemon->contexts();
  if (language.empty()) {
    return call.Refuse(InvalidBody(std::string(kPrefix) + "field \"language\" is required"));
  }
  if (!contexts.Knows(language)) {
    return call.Refuse(InvalidBody(std::string(kPrefix) + "unknown language: " + language));
  }
  if (!cwd.empty()) {
    auto path = ExecdPath(cwd, ExecdPathEnvironment(call.daemon->env()));
    if (!path) return call.Refuse(InvalidBody(std::string(kPrefix) + path.error().message));
    cwd = *std::move(path);
  }
  const auto context = contexts.Create(language, cwd);
  if (!context) return call.Refuse(FailedCall(context.error(), "RUNTIME_ERROR", kPrefix));
  call.Json(200, ToJson(*context));
}

void ServeList(ExecdCall& call) {
  std::string language;
  if (call.Query("language", &language) && !language.empty() && HasNoContexts(language)) {
    return call.Refuse(InvalidBody("language " + language + " has no contexts"));
  }
  Json list = Json::array();
  for (const ContextInfo& context : call.daemon->contexts().List(language)) {
    list.push_back({{"id", context.id}, {"language", context.language}});
  }
  call.Json(200, list);
}

void ServeGet(ExecdCall& call) {
  const std::string id = call.Param(":id");
  const auto context = call.daemon->contexts().Get(id);
  if (!context) return call.Refuse(NoContext(id));
  call.Json(200, {{"id", context->id}, {"language", context->language}});
}

void ServeDelete(ExecdCall& call) {
  const std::string id = call.Param(":id");
  const auto deleted = call.daemon->contexts().Delete(id);
  if (!deleted) {
    return call.Refuse(FailedContext(deleted.error(), id, "error deleting code context. "));
  }
  call.Done();
}

void ServeDeleteAll(ExecdCall& call) {
  std::string language;
  if (!call.NeedQuery("language", &language)) return;
  call.daemon->contexts().DeleteAll(language);
  call.Done();
}

// Ours: a second context that goes on from where this one is.
void ServeFork(ExecdCall& call) {
  const std::string id = call.Param(":id");
  constexpr std::string_view kPrefix = "error forking code context. ";
  const auto context = call.daemon->contexts().Fork(id);
  if (context) return call.Json(200, ToJson(*context));
  ExecdError refusal = FailedContext(context.error(), id, kPrefix);
  if (context.error().code == ErrorCode::kInvalidArgument) {
    refusal.status = 501;
    refusal.code = "NOT_SUPPORTED";
  }
  call.Refuse(refusal);
}

constexpr std::array kRoutes{
    ExecdRoute{http::Method::kPost, "/code", ServeRun},
    ExecdRoute{http::Method::kPost, "/code/context", ServeCreate},
    ExecdRoute{http::Method::kGet, "/code/contexts", ServeList},
    ExecdRoute{http::Method::kDelete, "/code/contexts", ServeDeleteAll},
    ExecdRoute{http::Method::kGet, "/code/contexts/:id", ServeGet},
    ExecdRoute{http::Method::kDelete, "/code/contexts/:id", ServeDelete},
    ExecdRoute{http::Method::kPost, "/code/contexts/:id/fork", ServeFork},
};

}  // namespace

std::span<const ExecdRoute> ExecdCodeRoutes() { return kRoutes; }

}  // namespace forkbox::api
