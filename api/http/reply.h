// Reply: the right to answer one request, once, from any thread, at any later time.
//
// Thread-safe; copies are cheap and share the one answer. The first Send, SendFile or Start wins;
// every later one returns false and writes nothing. A reply reaches the client that asked or
// nobody: it is bound to the connection, not to a descriptor number.
//
// When the last copy goes away unanswered the client gets a 500; an unfinished stream is cut, so
// that the client can tell it is incomplete. A Reply may outlive its Server; then nothing is sent.
//
// Every answer carries X-Request-Id, Content-Length or chunked framing, and Connection; do not
// pass these yourself. CR, LF and other control bytes in field values become blanks. The body of
// an answer to HEAD is measured but not sent.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "api/http/fields.h"
#include "base/unique_fd.h"

namespace forkbox::http {

class Exchange;

class Reply {
 public:
  Reply() = default;  // answers nobody: everything returns false
  explicit Reply(std::shared_ptr<Exchange> exchange);

  // A whole answer. False: the client has left, or somebody has answered already. True means
  // accepted for sending; whether it arrives nobody can know. An empty content_type sends none.
  bool Send(int status, std::string_view content_type, std::string_view body,
            const Fields& headers = {});

  // A whole answer from `length` bytes of a regular file starting at `offset`, by sendfile(2). The
  // file must not shrink meanwhile (the connection would be cut).
  bool SendFile(int status, std::string_view content_type, UniqueFd file, std::uint64_t offset,
                std::uint64_t length, const Fields& headers = {});

  // A stream: Start, any number of Writes, End. One Write is one chunk and leaves at once if the
  // client keeps up. HTTP/1.0 clients get it unframed, ended by the end of the connection.
  bool Start(int status, std::string_view content_type, const Fields& headers = {});
  // False: the client has left, or has let Limits::max_backlog_bytes pile up and was cut off.
  bool Write(std::string_view data);
  void End();
  // Cuts the connection without an answer, or in the middle of one.
  void Abort();

  // False once the client has left or the answer is complete.
  [[nodiscard]] bool Alive() const;

  // Calls `callback` once if the client leaves before the answer is complete; at once, in this
  // thread, if it has left already; never after the answer. Otherwise it runs on a server thread:
  // set a flag, enqueue, return. A second call replaces the first callback. The callback may hold
  // a copy of this Reply: both are released when the answer is complete or the client has left.
  void OnGone(std::function<void()> callback);

  // Bytes accepted but not yet taken by the kernel. A stream whose client is slow should wait.
  [[nodiscard]] std::size_t Backlog() const;

  // Blocks the caller, which must be a thread of its own, until at most `bytes` of the backlog are
  // left. False: the client has left, or took nothing for `patience`.
  bool AwaitBacklog(std::size_t bytes, std::chrono::milliseconds patience) const;

  // The id sent as X-Request-Id; empty for a default Reply.
  [[nodiscard]] const std::string& request_id() const;

 private:
  std::shared_ptr<Exchange> exchange_;  // shared by all copies: the last one decides
};

}  // namespace forkbox::http
