// ExecdPtyClient: a terminal's output as frames of a WebSocket (reference 10).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <string_view>

#include "api/http/web_socket.h"
#include "runner/execd/ptys.h"

namespace forkbox::api {

// Thread-safe. What is said before there is a socket is kept for it: that is what a session says at
// once, its replay above all.
class ExecdPtyClient final : public execd::Ptys::Client {
 public:
  explicit ExecdPtyClient(std::string session_id) : session_id_(std::move(session_id)) {}

  // `socket` must outlive the client's connection to its session.
  void Show(http::WebSocket& socket);
  void Pong();
  void Leave();  // the client is told that the server goes away

  bool OnReplay(std::uint64_t offset, std::string_view bytes) override;
  bool OnConnected(bool is_terminal) override;
  bool OnOutput(bool is_stderr, std::string_view bytes) override;
  void OnExit(int exit_code) override;
  void OnTakenOver() override;
  void OnError(std::string_view code, std::string_view message) override;

 private:
  struct Frame {
    enum class Kind { kText, kBinary, kClose };
    Kind kind = Kind::kText;
    std::string data;  // of kClose the reason
    std::uint16_t code = 0;
  };
  bool Say(Frame frame);
  static bool Send(http::WebSocket& socket, const Frame& frame);

  const std::string session_id_;
  std::mutex mutex_;  // also keeps the order of frames
  http::WebSocket* socket_ = nullptr;
  std::deque<Frame> early_;
  std::size_t early_bytes_ = 0;
};

}  // namespace forkbox::api
