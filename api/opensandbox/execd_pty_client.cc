#include "api/opensandbox/execd_pty_client.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

namespace forkbox::api {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxEarlyBytes = 4U << 20;  // a ring's worth, and what comes meanwhile
constexpr std::size_t kChunkBytes = 32U << 10;

std::string Dump(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace

bool ExecdPtyClient::Send(http::WebSocket& socket, const Frame& frame) {
  switch (frame.kind) {
    case Frame::Kind::kText:
      return socket.SendText(frame.data);
    case Frame::Kind::kBinary:
      return socket.SendBinary(frame.data);
    case Frame::Kind::kClose:
      socket.Close(frame.code, frame.data);
      return false;
  }
  return false;
}

void ExecdPtyClient::Show(http::WebSocket& socket) {
  const std::lock_guard lock(mutex_);
  socket_ = &socket;
  for (const Frame& frame : early_) {
    if (!Send(socket, frame)) break;
  }
  early_.clear();
}

bool ExecdPtyClient::Say(Frame frame) {
  const std::lock_guard lock(mutex_);
  if (socket_ != nullptr) return Send(*socket_, frame);
  early_bytes_ += frame.data.size();
  if (early_bytes_ > kMaxEarlyBytes) return false;
  early_.push_back(std::move(frame));
  return true;
}

void ExecdPtyClient::Pong() { Say({.kind = Frame::Kind::kText, .data = Dump({{"type", "pong"}})}); }

void ExecdPtyClient::Leave() {
  Say({.kind = Frame::Kind::kClose, .data = "going away", .code = 1001});
}

bool ExecdPtyClient::OnReplay(std::uint64_t offset, std::string_view bytes) {
  std::string frame(1, '\x03');
  for (int shift = 56; shift >= 0; shift -= 8) {
    frame.push_back(static_cast<char>(offset >> shift & 0xFFU));
  }
  frame.append(bytes);
  return Say({.kind = Frame::Kind::kBinary, .data = std::move(frame)});
}

bool ExecdPtyClient::OnConnected(bool is_terminal) {
  return Say({.kind = Frame::Kind::kText,
              .data = Dump({{"type", "connected"},
                            {"session_id", session_id_},
                            {"mode", is_terminal ? "pty" : "pipe"}})});
}

bool ExecdPtyClient::OnOutput(bool is_stderr, std::string_view bytes) {
  while (!bytes.empty()) {
    std::string frame(1, is_stderr ? '\x02' : '\x01');
    frame.append(bytes.substr(0, kChunkBytes));
    bytes.remove_prefix(std::min(kChunkBytes, bytes.size()));
    if (!Say({.kind = Frame::Kind::kBinary, .data = std::move(frame)})) return false;
  }
  return true;
}

void ExecdPtyClient::OnExit(int exit_code) {
  Say({.kind = Frame::Kind::kText, .data = Dump({{"type", "exit"}, {"exit_code", exit_code}})});
  Say({.kind = Frame::Kind::kClose, .data = "process exited", .code = 1000});
}

void ExecdPtyClient::OnTakenOver() {
  Say({.kind = Frame::Kind::kClose, .data = "TAKEN_OVER", .code = 4001});
}

void ExecdPtyClient::OnError(std::string_view code, std::string_view message) {
  Say({.kind = Frame::Kind::kText,
       .data = Dump({{"type", "error"}, {"error", message}, {"code", code}})});
}

}  // namespace forkbox::api
