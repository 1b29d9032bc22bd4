// Connection: one TCP client, from accept to its end; what Pistache's worker, the hub thread and
// the threads that answer share.
//
// It writes to a descriptor of its own, a duplicate of Pistache's. As long as that is open the
// kernel cannot give the same socket to another client, so a late answer never reaches somebody
// else; it is closed under the mutex when the client goes, after which nothing is written.
//
// Everything but id, client_address and the mutex is guarded by the mutex.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "api/http/output_queue.h"
#include "api/http/request_parser.h"
#include "base/clock.h"
#include "base/unique_fd.h"

namespace forkbox::http {

class Exchange;
class Hub;

class Connection {
 public:
  // `hub` must live until Close().
  Connection(std::uint64_t connection_id, UniqueFd socket, std::string address, Hub& hub,
             RequestParser request_parser);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const std::uint64_t id;
  const std::string client_address;
  std::mutex mutex;

  // The following need the mutex held.

  // Sends or queues. False when the client is gone or the connection had to be cut.
  bool Put(std::string_view data);
  bool PutFile(UniqueFd file, std::uint64_t offset, std::uint64_t length);
  // Goes on with what is queued; called by the hub when the socket is writable.
  void Flush();
  // Once nothing is in flight and everything is written, lets the client know by a FIN.
  void FinishClosing();
  // Cuts the connection: Pistache reads the end of input, drops the peer and we get to Close().
  void Kill();
  // The end: gives back everything. Idempotent.
  void Close();

  bool gone = false;       // closed; nothing may be written
  bool in_flight = false;  // a request is with a handler, or its refusal is being made
  bool pumping = false;    // some thread is in Core::Pump
  bool paused = false;     // not parsing until the output is drained
  bool closing = false;    // what comes in is junk; FIN after the output
  // The next output is left to the hub thread, so that this worker turns to other clients.
  bool leave_to_hub = false;
  bool watched = false;  // known to the hub's epoll
  std::size_t junk_bytes = 0;
  RequestParser parser;
  OutputQueue output;
  std::weak_ptr<Exchange> current;  // the request in flight

  // Since when the phase below lasts; what the timers look at.
  RequestParser::Phase phase = RequestParser::Phase::kIdle;
  SteadyTime phase_began;
  SteadyTime last_input;
  SteadyTime last_output;
  SteadyTime closing_began;

 private:
  UniqueFd socket_;
  Hub& hub_;
  friend class Hub;
};

}  // namespace forkbox::http
