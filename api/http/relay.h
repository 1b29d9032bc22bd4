// Relay: one request of a taken connection, handed on to another server, and its answer brought
// back; or just bytes, both ways.
//
//   RelayEnd end = RelayRequest(call, *call.taken, peer.get(), {.target = "/x?q=1"}, {});
//   if (!end.answered) (void)call.taken->Answer(end.client_fault != 0 ? end.client_fault : 502, …);
//
// Exactly one request goes to the peer: what the client sends after its body goes nowhere. When it
// asks for another protocol (Upgrade) and the peer agrees (101), the two are connected until both
// have ended. The peer is told to close; the answer goes back as it comes, and the connection with
// it.
//
// Both functions use the calling thread until all is over; TakenConnection::Cut() ends them. They
// hold two buffers, whoever sends faster than the other takes waits. `peer` is a connected stream
// socket, which they make non-blocking and do not close.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/http/call.h"
#include "api/http/fields.h"
#include "api/http/taken_connection.h"
#include "base/result.h"

namespace forkbox::http {

struct RelayOptions {
  std::chrono::milliseconds idle_limit{300'000};  // without a byte in either direction
  std::size_t buffer_bytes = 64 * 1024;           // for each direction
};

// How the peer gets to see the request.
struct RelayHead {
  std::string target;             // path and query; what cannot stand there is escaped
  std::vector<std::string> drop;  // fields that are not handed on, in any case
  Fields add = {};                // instead of what the client sent by these names
};

struct RelayEnd {
  bool answered = false;  // the client has some of the peer's answer: there can be no other
  int status = 0;         // of the peer's final answer, or 101; 0: it did not get that far
  std::uint64_t to_peer_bytes = 0;
  std::uint64_t to_client_bytes = 0;
  // What ended it early. kDeadlineExceeded: idle_limit, or a body that does not go on.
  // kUnavailable: the client or the peer has gone. kInvalidArgument, kQueueFull: the client's body,
  // as ReadBody().
  std::optional<Error> error = {};
  // The client's body is what ended it, and the peer is not to blame: 400 broken framing, 413 too
  // large, 408 it did not go on. `error` may be shown then. 0: not so.
  int client_fault = 0;
};

// The head for the peer: fields without those that are between us and the client (RFC 9110, 7.6.1),
// with X-Forwarded-For, X-Forwarded-Proto and "Connection: close", and the framing of the body.
std::string FormatRelayHead(const Call& call, const RelayHead& head);

// `client` is the one of `call`, which need not be in it any more. Records the status.
RelayEnd RelayRequest(const Call& call, TakenConnection& client, int peer, const RelayHead& head,
                      const RelayOptions& options);

// From now on bytes alone, until both have ended; the end of one is passed on as such.
RelayEnd RelayBytes(TakenConnection& client, int peer, const RelayOptions& options);

}  // namespace forkbox::http
