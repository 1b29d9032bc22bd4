// Core: what happens between Pistache's reads and our writes. Bytes come in, requests go to
// handlers, the clock runs, answers are recorded.
//
// Thread-safe. It is kept by the Server and by Pistache's handlers; exchanges know it weakly.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "api/http/body_budget.h"
#include "api/http/connection.h"
#include "api/http/exchange.h"
#include "api/http/hub.h"
#include "api/http/router.h"
#include "api/http/server.h"
#include "api/http/taken_socket.h"
#include "base/result.h"

namespace forkbox::http {

class Core : public ExchangeOwner, public std::enable_shared_from_this<Core> {
 public:
  explicit Core(Server::Options options);

  // `on_tick` runs every Hub::kTick on the hub's thread.
  Result<void> Start(std::function<void()> on_tick);

  // From Pistache's workers. OnConnect returns nullptr when the client is to be turned away.
  std::shared_ptr<Connection> OnConnect(Connection::Origin origin);
  // `hogging`: this connection has had more than its share of the worker.
  void OnInput(const std::shared_ptr<Connection>& connection, std::string_view bytes, bool hogging);
  // The reading thread follows a ConnectionReader::Call().
  void OnCalled(const std::shared_ptr<Connection>& connection) { Pump(connection); }
  void OnDisconnect(const std::shared_ptr<Connection>& connection);

  std::size_t Drain(std::chrono::milliseconds timeout);
  // In this order, around the end of Pistache's threads: cut all clients and wait a moment for
  // Pistache to notice; stop the hub; afterwards close what is left and wait until no handler runs
  // and no hook either.
  void CutAll();
  void StopHub() { hub_.Stop(); }
  void CloseAll();

  [[nodiscard]] Server::Stats stats() const;
  Router& router() { return router_; }
  [[nodiscard]] const Log& log() const { return options_.log; }

  // ExchangeOwner
  AnswerBody OwnAnswerBody(const RequestInfo& info, int status, std::string_view message) override;
  void OnFinished(const RequestInfo& info, int status, std::size_t body_bytes) override;
  void OnFree(const std::shared_ptr<Connection>& connection) override { Pump(connection); }

 private:
  // While one lives, user code (handlers, hooks) may run; none is given out after CloseAll().
  class Entry {
   public:
    explicit Entry(Core& core) : core_(core) {
      ++core_.entered_;
      open_ = !core_.closed_;
    }
    ~Entry() { --core_.entered_; }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    explicit operator bool() const { return open_; }

   private:
    Core& core_;
    bool open_;
  };

  RequestParser NewParser();
  // Hands complete requests to their handlers, one at a time, as long as there are any.
  void Pump(const std::shared_ptr<Connection>& connection);
  void PumpLocked(const std::shared_ptr<Connection>& connection,
                  std::unique_lock<std::mutex>& lock);
  void Handle(const std::shared_ptr<Connection>& connection, Request request,
              std::shared_ptr<Exchange> exchange);
  // What the head of a request says about its connection.
  bool Takes(Method method, std::string_view target, const Fields& fields);
  // Gives the socket to the handler of the request at hand, here and now if that can be.
  void TakeOver(const std::shared_ptr<Connection>& connection, std::unique_lock<std::mutex>& lock);
  void HandleTaken(Request request, RequestInfo info, const std::shared_ptr<TakenSocket>& taken);
  // Says why, and closes. Takes the lock over and releases it.
  void Refuse(const std::shared_ptr<Connection>& connection, std::unique_lock<std::mutex> lock,
              Refusal refusal);
  void CheckTimes();
  void CheckTimes(const std::shared_ptr<Connection>& connection);

  const Server::Options options_;
  const std::shared_ptr<BodyBudget> bodies_;  // with all requests
  Router router_;
  std::function<void()> on_tick_;
  std::atomic<bool> draining_{false};
  std::atomic<std::size_t> in_flight_{0};
  std::atomic<bool> closed_{false};
  std::atomic<int> entered_{0};
  Hub hub_;  // last: its thread uses the rest
};

}  // namespace forkbox::http
