// AmqpLink: keeps one AmqpConnection up for ever, on a thread of its own. What is done with the
// connection is its handler's; the link connects, polls, and after any error lets go of it, waits
// (50 ms to 5 s, with jitter), connects and lets the handler set up again.
//
// Thread-safe, but for Start() and Stop().
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "queue/amqp_address.h"
#include "queue/amqp_connection.h"

namespace forkbox::queue {

// All of it is called on the link's thread. An Error ends the connection.
class AmqpLinkHandler {
 public:
  struct Turn {
    Deadline next = Deadline::max();  // when Work() is to be called again, if nothing comes before
    bool wants_to_write = false;      // also when the connection is writable
    bool idle = true;                 // nothing is left that would be lost with the connection
  };

  virtual ~AmqpLinkHandler() = default;
  virtual Result<void> SetUp(AmqpConnection& connection) = 0;
  virtual Result<void> OnEvent(AmqpConnection& connection, AmqpEvent event) = 0;
  // After every Wake(), every event, and when its last answer said so. Null: not connected.
  virtual Result<Turn> Work(AmqpConnection* connection) = 0;
  // Once after each SetUp(), whether that went well or not, and once more at the end of the thread.
  virtual void OnLost(const Error& why) = 0;
};

class AmqpLink {
 public:
  // `name` is for the log and the broker's own list of connections.
  AmqpLink(AmqpAddress address, std::string name, AmqpLinkHandler& handler, Log log);
  ~AmqpLink();
  AmqpLink(const AmqpLink&) = delete;
  AmqpLink& operator=(const AmqpLink&) = delete;

  void Start();
  // Waits until the handler is idle, about a second at most, and closes in order.
  void Stop();

  // Has Work() called soon.
  void Wake();

  // Success while it is set up; else kUnavailable with the cause.
  Result<void> Status() const;
  // kUnavailable as well, once it has been down for so long.
  Result<void> StatusAfter(std::chrono::milliseconds grace) const;
  // Success once it is set up. Waits, except for what waiting does not mend (kUnauthenticated).
  Result<void> WaitUntilUp(Deadline deadline) const;

 private:
  void Run();
  void Connect();
  Result<AmqpLinkHandler::Turn> Serve();
  void Sleep(const AmqpLinkHandler::Turn& turn, Deadline until);
  void Lose(const Error& why);
  void Failed(const Error& why);

  const AmqpAddress address_;
  const std::string name_;
  AmqpLinkHandler& handler_;
  const Log log_;
  const UniqueFd wake_;              // an eventfd
  std::atomic<bool> awake_ = false;  // it has been written to, and not yet been read
  std::atomic<bool> stopping_ = false;

  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::optional<Error> down_;  // why; null while it is up
  SteadyTime down_since_;

  // The thread's own.
  std::unique_ptr<AmqpConnection> connection_;
  SteadyTime up_since_;
  bool readable_ = false;
  SteadyTime read_at_;  // the last time
  int failures_ = 0;    // in a row
  SteadyTime retry_at_;

  std::thread thread_;
};

}  // namespace forkbox::queue
