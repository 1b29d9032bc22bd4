// Connection: one TCP client, from accept to its end; what Pistache's worker, the hub thread and
// the threads that answer share.
//
// It writes to a descriptor of its own, a duplicate of Pistache's. As long as that is open the
// kernel cannot give the same socket to another client, so a late answer never reaches somebody
// else; it is closed under the mutex when the client goes, after which nothing is written.
//
// A request may take the socket (Give): its reader is then made to look at something else, and the
// taker reads and writes alone until it gives the socket back for its last moments (Linger).
//
// Everything but id, client_address, peer_fd, reader and the mutex is guarded by the mutex.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "api/http/connection_reader.h"
#include "api/http/output_queue.h"
#include "api/http/request_parser.h"
#include "base/clock.h"
#include "base/unique_fd.h"

namespace forkbox::http {

class Exchange;
class Hub;
class TakenSocket;

// How long, and for how many bytes, a client is waited for that has its last answer. Closing at
// once would reset the connection and could take the answer away from it.
struct LingerBounds {
  std::chrono::milliseconds time{2000};
  std::size_t bytes = 1U << 20;
};

class Connection {
 public:
  // What a client is by the time it is accepted.
  struct Origin {
    int peer_fd = -1;  // the reader's, who closes it after OnDisconnect
    std::shared_ptr<ConnectionReader> reader;
    std::string client_address;
  };

  // `hub` must live until Close().
  Connection(std::uint64_t connection_id, UniqueFd socket, Origin origin, Hub& hub,
             RequestParser request_parser);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const std::uint64_t id;
  const std::string client_address;
  const int peer_fd;
  const std::shared_ptr<ConnectionReader> reader;  // with the other connections it reads
  std::mutex mutex;
  std::condition_variable drained;  // bytes of the output have left, or the client has

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

  // The request in flight takes the socket. `hold` keeps the reader quiet
  // (ConnectionReader::LetGo). The descriptor returned is good until Linger(), whatever happens to
  // the connection.
  int Give(UniqueFd hold);
  // The taker is done and touches the socket no more: once what was Put() is written, sends a FIN,
  // and drops what still comes in.
  void Linger(const LingerBounds& bounds);
  // Drops what has come in; called by the hub when there is something.
  void DropInput();
  // Ends what the taker waits for.
  void Cut();
  [[nodiscard]] bool lingering() const { return given_ == Given::kLingering; }

  bool gone = false;       // closed; nothing may be written
  bool in_flight = false;  // a request is with a handler, or its refusal is being made
  bool pumping = false;    // some thread is in Core::Pump
  bool paused = false;     // not parsing until the output is drained
  bool take_due = false;   // the reading thread has to let go of the socket
  bool closing = false;    // what comes in is junk; FIN after the output
  // The next output is left to the hub thread, so that this worker turns to other clients.
  bool leave_to_hub = false;
  bool watched = false;      // known to the hub's epoll
  bool input_ended = false;  // a lingering client sends nothing more
  std::size_t junk_bytes = 0;
  LingerBounds linger;
  RequestParser parser;
  OutputQueue output;
  std::weak_ptr<Exchange> current;   // the request in flight
  std::weak_ptr<TakenSocket> taker;  // or this one

  // Since when the phase below lasts; what the timers look at.
  RequestParser::Phase phase = RequestParser::Phase::kIdle;
  SteadyTime phase_began;
  SteadyTime last_input;
  SteadyTime last_output;
  SteadyTime closing_began;

 private:
  enum class Given { kNo, kYes, kLingering };

  UniqueFd socket_;
  UniqueFd hold_;  // while the socket is given away, until the reader is to notice the end
  Given given_ = Given::kNo;
  Hub& hub_;
  friend class Hub;
};

}  // namespace forkbox::http
