// TakenSocket: the TakenConnection of this server.
//
// Threads as TakenConnection says; OnConnectionGone() from any.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "api/http/connection.h"
#include "api/http/exchange.h"
#include "api/http/fields.h"
#include "api/http/request_parser.h"
#include "api/http/taken_connection.h"
#include "base/clock.h"
#include "base/result.h"

namespace forkbox::http {

class TakenSocket final : public TakenConnection {
 public:
  struct Options {
    std::weak_ptr<ExchangeOwner> owner;  // weak, since it may outlive the server
    std::shared_ptr<Connection> connection;
    int socket = -1;       // by Connection::Give()
    RequestParser parser;  // after TakeHead()
    RequestInfo info;
    std::chrono::milliseconds read_gap{0};
    std::chrono::milliseconds write_gap{0};
    bool head_only = false;  // the request was HEAD
  };
  explicit TakenSocket(Options options);
  ~TakenSocket() override;
  TakenSocket(const TakenSocket&) = delete;
  TakenSocket& operator=(const TakenSocket&) = delete;

  Result<std::size_t> ReadBody(std::span<char> into) override;
  [[nodiscard]] bool BodyIsOver() const override {
    return options_.parser.body_is_over() || options_.parser.refused();
  }
  Result<std::size_t> Read(std::span<char> into, Deadline deadline) override;
  Result<void> Write(std::string_view bytes, Deadline deadline) override;
  Result<void> Answer(int status, std::string_view content_type, std::string_view body,
                      const Fields& headers) override;
  void SetStatus(int status) override { status_ = status; }
  void CountSent(std::size_t bytes) override { sent_bytes_ += bytes; }
  [[nodiscard]] int socket() const override { return options_.socket; }
  [[nodiscard]] bool HasReadAhead() const override { return options_.parser.buffered_bytes() != 0; }
  void Cut() override;

  // What the server says by itself.
  void SendOwn(int status, std::string_view message);
  // The connection has been closed: records the end. Without its mutex held.
  void OnConnectionGone();

 private:
  // At least one byte, 0 at the end; waits until `deadline`.
  Result<std::size_t> Receive(std::span<char> into, Deadline deadline);
  // All of it, or what is taken until `deadline`.
  Result<void> SendAll(std::string_view bytes, Deadline deadline);
  // To the connection, whose hub sends what the client does not take at once.
  Result<void> PutAnswer(int status, std::string_view content_type, std::string_view body,
                         const Fields& headers);
  // The last word: gives the socket back.
  void End();
  void Report();

  Options options_;
  std::atomic<int> status_{0};  // 0: nobody has said
  std::atomic<std::size_t> sent_bytes_{0};
  bool ended_ = false;
  bool reported_ = false;  // by the connection's mutex
};

}  // namespace forkbox::http
