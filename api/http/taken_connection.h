// TakenConnection: one client's connection, taken out of the server's hands with the request whose
// head was read, for what does not fit a whole request and its one answer: a body that is streamed
// to somewhere, a WebSocket, a request handed on to another server.
//
// The socket is read and written by the thread that has this object, which may block; nothing reads
// ahead of it, so a slow reader here slows the client down. When it is destroyed the connection is
// closed; it never goes back to the server. The server still counts it, records its end, cuts it in
// Stop(), and waits for it in Drain().
//
// One thread at a time, except Cut(); a second thread may Write() while the first reads.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "api/http/fields.h"
#include "base/clock.h"
#include "base/result.h"

namespace forkbox::http {

class TakenConnection {
 public:
  virtual ~TakenConnection() = default;

  // The next bytes of the body as the head framed it (length or chunks), at most `into.size()`; 0
  // at its end. A client that waits for "100 Continue" gets it before the first read.
  // kInvalidArgument: broken framing, or more than `max_body_bytes` of the route (kQueueFull);
  // kDeadlineExceeded: silence for Limits::body_gap_timeout; kUnavailable: the client has gone.
  // Each is final. An empty `into` only has "100 Continue" sent.
  virtual Result<std::size_t> ReadBody(std::span<char> into) = 0;

  // The next ReadBody() needs nothing of the client: it says that the body is over, or what is wrong
  // with it.
  [[nodiscard]] virtual bool BodyIsOver() const { return false; }

  // Bytes as they come, for a connection that has become something else. 0 at the end.
  virtual Result<std::size_t> Read(std::span<char> into, Deadline deadline) = 0;
  // All of it. kDeadlineExceeded, kUnavailable.
  virtual Result<void> Write(std::string_view bytes, Deadline deadline) = 0;

  // The whole answer, with X-Request-Id, Content-Length and "Connection: close". Once, and instead
  // of Write(). It never blocks: what the client does not take at once is kept, and sent by the
  // server as any other answer. What was not read of the body is read and dropped for a moment, so
  // that the client gets to the answer. kUnavailable: the client has gone.
  virtual Result<void> Answer(int status, std::string_view content_type, std::string_view body,
                              const Fields& headers = {}) = 0;

  // What the records say the answer was, when it was written by Write().
  virtual void SetStatus(int status) = 0;

  // The records count what was sent to socket() beside the above.
  virtual void CountSent(std::size_t /*bytes*/) {}

  // For poll(2) and splice(2); bytes that were read ahead with the head come first, from Read() or
  // ReadBody().
  [[nodiscard]] virtual int socket() const = 0;
  [[nodiscard]] virtual bool HasReadAhead() const = 0;

  // Any thread: ends what the owner waits for.
  virtual void Cut() = 0;
};

}  // namespace forkbox::http
