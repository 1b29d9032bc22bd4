// Terminals of a box and the WebSocket they are shown over (reference 10).

#include <signal.h>

#include <array>
#include <charconv>
#include <cstdint>
#include <limits>
#include <stop_token>
#include <string>
#include <utility>

#include "api/opensandbox/execd_body.h"
#include "api/opensandbox/execd_call.h"
#include "api/opensandbox/execd_paths.h"
#include "api/opensandbox/execd_pty_client.h"

namespace forkbox::api {
namespace {

using Json = nlohmann::ordered_json;

ExecdError NoSession(const std::string& id) {
  return {
      .status = 404, .code = "CONTEXT_NOT_FOUND", .message = "pty session " + id + " not found"};
}

void ServeCreate(ExecdCall& call) {
  std::string cwd;
  std::string command;
  if (!call.body.empty()) {
    const auto body = DecodeExecdBody(std::move(call.body));
    if (!body) return call.Refuse(UnparsableBody(body.error()));
    ExecdFields fields(*body);
    fields.Text("cwd", &cwd);
    fields.Text("command", &command);
    if (auto read = fields.Finish(); !read) return call.Refuse(UnparsableBody(read.error()));
  }
  constexpr std::string_view kPrefix = "error creating pty session. ";
  if (command.find('\0') != std::string::npos) {
    return call.Refuse(InvalidBody(std::string(kPrefix) + "field \"command\" must not hold a NUL"));
  }
  if (!cwd.empty()) {
    auto path = ExecdPath(cwd, ExecdPathEnvironment(call.daemon->env()));
    if (!path) return call.Refuse(InvalidBody(std::string(kPrefix) + path.error().message));
    cwd = *std::move(path);
  }
  const auto id = call.daemon->ptys().Create(cwd, command);
  if (!id) return call.Refuse(FailedCall(id.error(), "RUNTIME_ERROR", kPrefix));
  call.Json(201, {{"session_id", *id}});
}

void ServeGet(ExecdCall& call) {
  const std::string id = call.Param(":id");
  const auto status = call.daemon->ptys().Get(id);
  if (!status) return call.Refuse(NoSession(id));
  call.Json(
      200,
      {{"session_id", id}, {"running", status->running}, {"output_offset", status->output_offset}});
}

void ServeDelete(ExecdCall& call) {
  const std::string id = call.Param(":id");
  const auto deleted = call.daemon->ptys().Delete(id);
  if (deleted) return call.Done();
  if (deleted.error().code == ErrorCode::kNotFound) return call.Refuse(NoSession(id));
  call.Refuse(FailedCall(deleted.error(), "CONTEXT_NOT_FOUND", "error deleting pty session. "));
}

// 0 for names that are none of those a client may send.
int SignalNumber(std::string_view name) {
  constexpr std::array<std::pair<std::string_view, int>, 5> kSignals{{{"SIGINT", SIGINT},
                                                                      {"SIGTERM", SIGTERM},
                                                                      {"SIGKILL", SIGKILL},
                                                                      {"SIGQUIT", SIGQUIT},
                                                                      {"SIGHUP", SIGHUP}}};
  for (const auto& [known, number] : kSignals) {
    if (known == name) return number;
  }
  return 0;
}

void TakeInput(execd::Ptys::Connection& connection, ExecdPtyClient& client,
               std::string_view bytes) {
  if (auto sent = connection.Input(bytes); !sent) {
    client.OnError("STDIN_WRITE_FAILED", sent.error().message);
  }
}

void TakeText(execd::Ptys::Connection& connection, ExecdPtyClient& client,
              const std::string& text) {
  const auto json = DecodeExecdBody(text);
  if (!json || !json->is_object()) return;
  ExecdFields fields(*json);
  std::string type;
  std::string data;
  std::string signal;
  std::int64_t columns = 0;
  std::int64_t rows = 0;
  fields.Text("type", &type);
  fields.Text("data", &data);
  fields.Text("signal", &signal);
  fields.Integer("cols", &columns);
  fields.Integer("rows", &rows);
  if (!fields.Finish()) return;
  constexpr std::int64_t kMost = std::numeric_limits<std::uint16_t>::max();
  if (type == "stdin") {
    TakeInput(connection, client, data);
  } else if (type == "resize") {
    if (columns > 0 && rows > 0 && columns <= kMost && rows <= kMost) {
      connection.Resize(static_cast<std::uint16_t>(columns), static_cast<std::uint16_t>(rows));
    }
  } else if (type == "signal") {
    if (const int number = SignalNumber(signal); number != 0) connection.Signal(number);
  } else if (type == "ping") {
    client.Pong();
  } else {
    client.OnError("INVALID_FRAME", "unknown frame type");
  }
}

void ServeSocket(ExecdCall& call) {
  const std::string id = call.Param(":id");
  if (!call.daemon->ptys().Get(id)) return call.Refuse(NoSession(id));
  if (call.taken == nullptr || !http::IsWebSocketRequest(call)) {
    return call.Refuse({.status = 400,
                        .code = "INVALID_REQUEST_BODY",
                        .message = "the request must ask for a WebSocket"});
  }
  execd::Ptys::Attach attach;
  std::string text;
  if (call.Query("pty", &text)) attach.terminal = text != "0";
  if (call.Query("takeover", &text)) attach.takeover = text == "1";
  if (call.Query("since", &text)) {
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, attach.since);
    if (error != std::errc() || stop != end) attach.since = 0;
  }
  ExecdPtyClient client(id);
  auto connection = call.daemon->ptys().Connect(id, attach, client);
  if (!connection) {
    const Error& error = connection.error();
    if (error.code == ErrorCode::kNotFound) return call.Refuse(NoSession(id));
    if (error.code == ErrorCode::kConflict) {
      return call.Refuse({.status = 409,
                          .code = "ALREADY_CONNECTED",
                          .message = "pty session " + id + " has a client already"});
    }
    return call.Refuse(FailedCall(error, "CONTEXT_NOT_FOUND", "error connecting. "));
  }
  auto socket = http::WebSocket::Accept(call, call.taken, {});
  if (!socket) {
    connection->reset();
    return call.Refuse(InvalidBody(socket.error().message));
  }
  client.Show(**socket);
  // Until the end of this function: it is called off before the socket goes.
  const std::stop_callback leave(call.ending, [&client] { client.Leave(); });
  for (;;) {
    http::WebSocket::Message message = (*socket)->Receive();
    if (message.kind == http::WebSocket::Message::Kind::kClosed) break;
    if (message.kind == http::WebSocket::Message::Kind::kText) {
      TakeText(**connection, client, message.data);
    } else if (!message.data.empty() && message.data.front() == '\0') {
      TakeInput(**connection, client, std::string_view(message.data).substr(1));
    }
  }
  connection->reset();  // from here on nobody calls the client, nor uses the socket
}

constexpr std::array kRoutes{
    ExecdRoute{http::Method::kPost, "/pty", ServeCreate},
    ExecdRoute{http::Method::kGet, "/pty/:id", ServeGet},
    ExecdRoute{http::Method::kDelete, "/pty/:id", ServeDelete},
    ExecdRoute{http::Method::kGet, "/pty/:id/ws", ServeSocket},
};

}  // namespace

std::span<const ExecdRoute> ExecdPtyRoutes() { return kRoutes; }

}  // namespace forkbox::api
