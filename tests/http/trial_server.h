// TrialServer: a real Server on a free port, with routes that misbehave on request.
//
//   GET  /q                                  "ok"
//   GET  /token?t=TOKEN&us=DELAY&bytes=N     TOKEN, then padding up to N bytes, after DELAY from
//                                            another thread (0: at once)
//   POST /echo                               the body
//   GET  /big?bytes=N                        N bytes
//   GET  /file?bytes=N                       N bytes by SendFile
//   GET  /events?id=ID                       "id ID n\n" for n = 0, 1, … until the client leaves
//   GET  /count?n=N                          N chunks "0\n" "1\n" …, then the end
//   GET  /throw, /throw-int, /drop, /drop-stream, /hold
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "api/http/server.h"
#include "tests/http/http_client.h"

namespace forkbox::http {

// Runs things later, on threads of its own. Thread-safe.
class Later {
 public:
  explicit Later(int threads);
  ~Later();  // runs nothing that is still waiting
  void Run(std::chrono::microseconds delay, std::function<void()> task);
  [[nodiscard]] std::size_t waiting() const;

 private:
  void Work();

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<std::chrono::steady_clock::time_point, std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

class TrialServer {
 public:
  explicit TrialServer(Server::Options options = {});
  ~TrialServer();

  // A test may add routes of its own before.
  void Start();
  Server& server() { return *server_; }
  [[nodiscard]] std::uint16_t port() const { return server_->port(); }
  [[nodiscard]] HttpClient Connect(int receive_buffer_bytes = 0) const {
    return HttpClient(port(), receive_buffer_bytes);
  }
  // A fresh connection is served.
  [[nodiscard]] bool IsAlive() const;
  // Everything clients held has been given back.
  [[nodiscard]] bool IsIdle() const;

  std::vector<Reply> TakeHeld();  // the replies /hold has kept
  [[nodiscard]] std::size_t held() const;

 private:
  void Tick(Reply stream, std::string id, std::uint64_t number);

  mutable std::mutex mutex_;
  std::vector<Reply> held_;  // by mutex_
  std::unique_ptr<Server> server_;
  std::unique_ptr<Later> later_;
};

}  // namespace forkbox::http
