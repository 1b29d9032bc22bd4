// Exchange: one request and its one answer; what all copies of a Reply share.
//
// Thread-safe: its state is guarded by the connection's mutex.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "api/http/body_budget.h"
#include "api/http/connection.h"
#include "api/http/fields.h"
#include "api/http/method.h"
#include "api/http/server.h"
#include "base/clock.h"
#include "base/unique_fd.h"

namespace forkbox::http {

// What is known of a request for logs, metrics and the server's own answers.
struct RequestInfo {
  std::string request_id;
  std::string_view method;  // static; empty when the request could not be read
  std::string path;
  std::string_view route;  // lives as long as the server's routes
  std::string client_address;
  SteadyTime began;
};

// The server, as an exchange sees it. All calls come without any mutex held.
class ExchangeOwner {
 public:
  virtual ~ExchangeOwner() = default;
  virtual AnswerBody OwnAnswerBody(const RequestInfo& info, int status,
                                   std::string_view message) = 0;
  // The request is over, once each: for the records.
  virtual void OnFinished(const RequestInfo& info, int status, std::size_t body_bytes) = 0;
  // The connection is free for the next request.
  virtual void OnFree(const std::shared_ptr<Connection>& connection) = 0;
};

class Exchange {
 public:
  struct Options {
    // Weak, since answers may outlive the server.
    std::weak_ptr<ExchangeOwner> owner;
    std::shared_ptr<Connection> connection;  // shared with the hub and Pistache's peer
    RequestInfo info;
    BodyShare body_share;
    std::size_t max_backlog_bytes = 0;
    bool head_only = false;  // the request was HEAD
    bool keep_alive = true;
    bool http11 = true;
  };
  explicit Exchange(Options options);
  ~Exchange();  // answers 500 or cuts the stream if nobody has finished it
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // As in Reply.
  bool Send(int status, std::string_view content_type, std::string_view body,
            const Fields& headers);
  bool SendFile(int status, std::string_view content_type, UniqueFd file, std::uint64_t offset,
                std::uint64_t length, const Fields& headers);
  bool Start(int status, std::string_view content_type, const Fields& headers);
  bool Write(std::string_view data);
  void End();
  void Abort();
  [[nodiscard]] bool Alive() const;
  void OnGone(std::function<void()> callback);
  [[nodiscard]] std::size_t Backlog() const;
  bool AwaitBacklog(std::size_t bytes, std::chrono::milliseconds patience) const;
  [[nodiscard]] const std::string& request_id() const { return options_.info.request_id; }

  // Sends what the server says by itself; a stream that has begun is cut instead.
  void SendOwn(int status, std::string_view message, const Fields& headers = {});
  // Before the handler is called: nobody else has this exchange yet.
  void set_route(std::string_view route) { options_.info.route = route; }
  // The connection has been closed: runs the callback. Without the mutex held.
  void OnConnectionGone();

 private:
  enum class State { kOpen, kStreaming, kDone };

  [[nodiscard]] bool Is(State state) const;
  [[nodiscard]] std::string FormatHead(int status, std::string_view content_type,
                                       const Fields& headers, std::size_t length) const;
  // Ends the exchange and lets the connection go on. Takes the lock over and releases it.
  void Finish(std::unique_lock<std::mutex> lock, int status, std::size_t body_bytes);
  void Report(int status, std::size_t body_bytes);

  Options options_;
  // By the connection's mutex:
  State state_ = State::kOpen;
  bool answered_ = false;  // done by us, not by the client's leaving
  int stream_status_ = 0;
  std::size_t stream_bytes_ = 0;
  bool keep_alive_;
  std::function<void()> on_gone_;
};

}  // namespace forkbox::http
