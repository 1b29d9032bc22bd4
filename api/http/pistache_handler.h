// PistacheHandler: where Pistache's workers hand over to us.
//
// Pistache accepts, polls and reads; parsing and writing are ours, for what its own do is proven
// harmful (docs/decisions/http-guard.md). So only connect, input and disconnect are overridden;
// onRequest is never reached. Nothing may be thrown into a worker: it would end the process.
#pragma once

#include <pistache/http.h>
#include <pistache/tcp.h>
#include <pistache/transport.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "api/http/connection.h"
#include "api/http/connection_reader.h"
#include "api/http/core.h"
#include "base/clock.h"

namespace forkbox::http {

// Pistache 0.0.5 can lose the wake-up for a new connection until the next one comes. Nudge() gives
// every worker a connection that is closed already, which makes it look again. Thread-safe.
class WorkerNudge {
 public:
  void Add(Pistache::Tcp::Transport* worker);
  void Nudge();
  void Clear();  // before the workers go

  // Gives one worker such a connection, which says that it is to see after `connection`.
  void Call(Pistache::Tcp::Transport* worker, const std::shared_ptr<Connection>& connection);

  static bool IsNudge(const Pistache::Tcp::Peer& peer);
  // Whom to see after; nullptr when it is only a nudge.
  static std::shared_ptr<Connection> Called(const Pistache::Tcp::Peer& peer);

 private:
  using Weak = std::weak_ptr<Connection>;
  static void GiveTo(Pistache::Tcp::Transport& worker,
                     const std::shared_ptr<Connection>& connection);

  std::mutex mutex_;
  std::vector<Pistache::Tcp::Transport*> workers_;  // by mutex_
};

// One of Pistache's workers, as the connections it reads know it.
class PistacheReader final : public ConnectionReader {
 public:
  // In the worker's thread.
  PistacheReader(Pistache::Tcp::Transport& worker, std::shared_ptr<WorkerNudge> nudge);

  [[nodiscard]] bool IsThisThread() const override;
  UniqueFd LetGo(int peer_fd) override;
  void Call(const std::shared_ptr<Connection>& connection) override;

 private:
  Pistache::Tcp::Transport&
      worker_;  // used in its own thread, or as the nudge knows that it is there
  const std::shared_ptr<WorkerNudge> nudge_;
  const std::thread::id thread_;
};

// Pistache makes one copy for each worker, and calls a copy from its worker's thread alone.
class PistacheHandler final : public Pistache::Http::Handler {
  HTTP_PROTOTYPE(PistacheHandler)

 public:
  // Shared with the other copies.
  PistacheHandler(std::shared_ptr<Core> core, std::shared_ptr<WorkerNudge> nudge);

 private:
  void onRequest(const Pistache::Http::Request& request,
                 Pistache::Http::ResponseWriter response) override;
  void onConnection(const std::shared_ptr<Pistache::Tcp::Peer>& peer) override;
  void onInput(const char* buffer, std::size_t length,
               const std::shared_ptr<Pistache::Tcp::Peer>& peer) override;
  void onDisconnection(const std::shared_ptr<Pistache::Tcp::Peer>& peer) override;
  bool IsHogging(std::uint64_t connection_id);

  std::shared_ptr<Core> core_;
  std::shared_ptr<WorkerNudge> nudge_;
  std::shared_ptr<ConnectionReader> reader_;  // null before the first connection
  // The connection whose input came last, and since when nobody else's came.
  std::uint64_t streak_id_ = 0;
  SteadyTime streak_began_;
};

}  // namespace forkbox::http
