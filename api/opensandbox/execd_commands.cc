// Commands of a box (reference 4).

#include "api/opensandbox/execd_commands.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <string>
#include <utility>

#include "api/opensandbox/execd_body.h"
#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/execd_paths.h"
#include "api/opensandbox/execd_stream.h"
#include "base/rfc3339.h"

namespace forkbox::api {
namespace {

using execd::CommandRequest;

constexpr std::string_view kInvalid = "invalid request, validation error ";
// Longer than any box lives, and far from what overflows.
constexpr std::int64_t kMaxTimeoutMs = 366LL * 24 * 3600 * 1000;

bool HasNul(std::string_view text) { return text.find('\0') != text.npos; }

// What exec(3) and the environment cannot take.
Result<void> CheckTexts(const CommandRequest& request, const execd::Environment& envs) {
  const auto wrong = [](const char* what) { return Fail(ErrorCode::kInvalidArgument, what); };
  if (HasNul(request.command)) return wrong("field \"command\" must not hold a NUL");
  if (std::ranges::any_of(request.argv, HasNul)) return wrong("field \"argv\" must not hold a NUL");
  for (const auto& [name, value] : envs) {
    if (name.empty() || name.find('=') != name.npos || HasNul(name) || HasNul(value)) {
      return wrong("field \"envs\" must have names without '=' and no NUL");
    }
  }
  return {};
}

Result<CommandRequest> ReadCommand(const nlohmann::json& body, execd::Environment* envs,
                                   bool* background, std::string* cwd, ExecdError* refusal) {
  CommandRequest request;
  std::int64_t timeout = 0;
  ExecdFields fields(body);
  fields.Text("command", &request.command);
  fields.Texts("argv", &request.argv);
  fields.Text("cwd", cwd);
  fields.Flag("background", background);
  fields.Integer("timeout", &timeout);
  fields.Number32("uid", &request.uid);
  fields.Number32("gid", &request.gid);
  fields.TextMap("envs", envs);
  if (auto read = fields.Finish(); !read) {
    *refusal = UnparsableBody(read.error());
    return Fail(read.error());
  }
  const auto invalid = [&](std::string message) {
    *refusal = InvalidBody(std::string(kInvalid) + message);
    return Fail(ErrorCode::kInvalidArgument, std::move(message));
  };
  if (request.command.empty() && request.argv.empty()) {
    return invalid("field \"command\" is required");
  }
  if (!request.command.empty() && !request.argv.empty()) {
    return invalid("exactly one of \"command\" and \"argv\" must be given");
  }
  if (!request.argv.empty() && request.argv.front().empty()) {
    return invalid("field \"argv\" must begin with the name of a program");
  }
  if (timeout < 0) return invalid("field \"timeout\" must not be negative");
  if (request.gid && !request.uid) return invalid("uid is required when gid is provided");
  if (auto texts = CheckTexts(request, *envs); !texts) return invalid(texts.error().message);
  request.timeout = std::chrono::milliseconds(std::min(timeout, kMaxTimeoutMs));
  return request;
}

void ServeRun(ExecdCall& call) {
  const auto body = DecodeExecdBody(std::move(call.body));
  if (!body) return call.Refuse(UnparsableBody(body.error()));
  execd::Environment envs;
  bool background = false;
  std::string cwd;
  ExecdError refusal;
  auto request = ReadCommand(*body, &envs, &background, &cwd, &refusal);
  if (!request) return call.Refuse(refusal);
  request->env = ExecdCommandEnvironment(*call.daemon, envs);
  auto directory = ExecdRunDirectory(cwd, ExecdPathEnvironment(request->env), call.daemon->files());
  if (!directory) {
    const Error& error = directory.error();
    return call.Refuse(error.code == ErrorCode::kUnavailable
                           ? FailedCall(error, "", "error running commands ")
                           : InvalidBody(std::string(kInvalid) + error.message));
  }
  request->cwd = *std::move(directory);
  StreamExecdCommand(call, *request, background);
}

void ServeInterrupt(ExecdCall& call) {
  std::string id;
  if (!call.NeedQuery("id", &id)) return;
  constexpr std::string_view kPrefix = "error interruptting code context. ";  // as upstream spells
  execd::Daemon& daemon = *call.daemon;
  Result<void> done;
  if (daemon.contexts().Get(id)) {
    done = daemon.contexts().Interrupt(id);
  } else if (daemon.commands().Status(id)) {
    done = daemon.commands().Interrupt(id);
    if (!done && done.error().code == ErrorCode::kConflict) {
      return call.Refuse(
          {.status = 409,
           .code = "CONFLICT",
           .message = std::string(kPrefix) + "command session " + id + " is not running"});
    }
  } else {
    done = daemon.shells().Delete(id);
  }
  if (done) return call.Done();
  if (done.error().code == ErrorCode::kNotFound) {
    return call.Refuse({.status = 404,
                        .code = "CONTEXT_NOT_FOUND",
                        .message = std::string(kPrefix) + "no such session"});
  }
  call.Refuse(FailedCall(done.error(), "CONTEXT_NOT_FOUND", kPrefix));
}

void ServeStatus(ExecdCall& call) {
  const std::string id = call.Param(":id");
  const auto status = call.daemon->commands().Status(id);
  if (!status) {
    return call.Refuse({.status = 404,
                        .code = "INVALID_REQUEST_BODY",  // as upstream has it
                        .message = "command not found: " + id});
  }
  nlohmann::ordered_json json{{"id", status->id}};
  if (!status->content.empty()) json["content"] = status->content;
  json["running"] = status->running;
  if (!status->running) json["exit_code"] = status->exit_code.value_or(-1);
  if (!status->error.empty()) json["error"] = status->error;
  json["started_at"] = Rfc3339Millis(status->started_unix_ms);
  if (!status->running) json["finished_at"] = Rfc3339Millis(status->finished_unix_ms);
  call.Json(200, json);
}

void ServeLogs(ExecdCall& call) {
  const std::string id = call.Param(":id");
  std::string text;
  std::int64_t cursor = 0;
  if (call.Query("cursor", &text)) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, cursor);
    if (error != std::errc() || stop != end) cursor = 0;  // what does not parse is none
  }
  if (cursor < 0) return call.Refuse(InvalidBody("error seek file: negative cursor " + text));
  const auto logs = call.daemon->commands().ReadLogs(id, static_cast<std::uint64_t>(cursor));
  if (!logs) {
    const std::string message = logs.error().code == ErrorCode::kNotFound
                                    ? "command not found: " + id
                                : logs.error().code == ErrorCode::kInvalidArgument
                                    ? "command " + id + " is not running in background"
                                    : logs.error().message;
    return call.Refuse(InvalidBody(message));
  }
  call.Answer(200, "text/plain; charset=utf-8", logs->bytes,
              {{"EXECD-COMMANDS-TAIL-CURSOR", std::to_string(logs->cursor)}});
}

constexpr std::array kRoutes{
    ExecdRoute{http::Method::kPost, "/command", ServeRun},
    ExecdRoute{http::Method::kDelete, "/command", ServeInterrupt},
    ExecdRoute{http::Method::kDelete, "/code", ServeInterrupt},
    ExecdRoute{http::Method::kGet, "/command/status/:id", ServeStatus},
    ExecdRoute{http::Method::kGet, "/command/:id/logs", ServeLogs},
};

}  // namespace

void StreamExecdCommand(ExecdCall& call, const CommandRequest& request, bool background) {
  ExecdStream stream(call.reply, *call.clock);
  execd::Commands& commands = call.daemon->commands();
  const auto ran =
      background ? commands.RunInBackground(request, stream) : commands.Run(request, stream);
  if (!ran && !stream.started()) {
    return call.Refuse(FailedCall(ran.error(), "RUNTIME_ERROR", "error running commands "));
  }
  stream.End();
}

std::span<const ExecdRoute> ExecdCommandRoutes() { return kRoutes; }

}  // namespace forkbox::api
