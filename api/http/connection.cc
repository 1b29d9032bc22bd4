#include "api/http/connection.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "api/http/hub.h"

namespace forkbox::http {

Connection::Connection(std::uint64_t connection_id, UniqueFd socket, Origin origin, Hub& hub,
                       RequestParser request_parser)
    : id(connection_id),
      client_address(std::move(origin.client_address)),
      peer_fd(origin.peer_fd),
      reader(std::move(origin.reader)),
      parser(std::move(request_parser)),
      phase_began(std::chrono::steady_clock::now()),
      last_input(phase_began),
      last_output(phase_began),
      closing_began(phase_began),
      socket_(std::move(socket)),
      hub_(hub) {}

bool Connection::Put(std::string_view data) {
  if (gone) return false;
  if (output.empty()) {
    last_output = std::chrono::steady_clock::now();
    while (!leave_to_hub && !data.empty()) {
      const ssize_t sent =
          ::send(socket_.get(), data.data(), data.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent >= 0) {
        data.remove_prefix(static_cast<std::size_t>(sent));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else if (errno != EINTR) {
        Kill();
        return false;
      }
    }
  }
  leave_to_hub = false;
  if (!data.empty()) {
    output.Append(data);
    hub_.Watch(*this);
  }
  return true;
}

bool Connection::PutFile(UniqueFd file, std::uint64_t offset, std::uint64_t length) {
  if (gone) return false;
  const bool first = output.empty();
  output.AppendFile(std::move(file), offset, length);
  if (first) {
    last_output = std::chrono::steady_clock::now();
    Flush();
  }
  return true;
}

void Connection::Flush() {
  if (gone || output.empty()) return;
  const OutputQueue::Flushed flushed = output.Flush(socket_.get());
  if (flushed.bytes > 0) {
    last_output = std::chrono::steady_clock::now();
    drained.notify_all();
  }
  switch (flushed.progress) {
    case OutputQueue::Progress::kDrained:
      FinishClosing();
      break;
    case OutputQueue::Progress::kBlocked:
      hub_.Watch(*this);
      break;
    case OutputQueue::Progress::kFailed:
      Kill();
      break;
  }
}

void Connection::FinishClosing() {
  if (gone || !closing || in_flight || !output.empty()) return;
  closing_began = std::chrono::steady_clock::now();
  // Fails when the client has reset the connection, or a taker was cut.
  if (::shutdown(socket_.get(), SHUT_WR) != 0) Kill();
}

void Connection::Kill() {
  if (gone) return;
  ::shutdown(socket_.get(), SHUT_RDWR);
  hold_.Reset();
}

void Connection::Close() {
  if (gone) return;
  gone = true;
  ::shutdown(socket_.get(), SHUT_RDWR);
  if (given_ != Given::kYes) socket_.Reset();
  hold_.Reset();
  output.Clear();
  parser.Reset();
  drained.notify_all();
}

int Connection::Give(UniqueFd hold) {
  hold_ = std::move(hold);
  given_ = Given::kYes;
  leave_to_hub = false;
  parser.Reset();
  return socket_.get();
}

void Connection::Linger(const LingerBounds& bounds) {
  given_ = Given::kLingering;
  in_flight = false;
  if (gone) {
    socket_.Reset();
    return;
  }
  closing = true;
  linger = bounds;
  FinishClosing();
  DropInput();
}

void Connection::DropInput() {
  if (gone) return;
  // A turn is short, so that one fast sender cannot keep the hub's thread.
  constexpr std::size_t kMaxBytesPerTurn = 4U << 20;
  for (std::size_t dropped = 0; dropped < kMaxBytesPerTurn && junk_bytes <= linger.bytes;) {
    // TCP drops without copying.
    const ssize_t got = ::recv(socket_.get(), nullptr, 1U << 20, MSG_TRUNC | MSG_DONTWAIT);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return hub_.Watch(*this);
    if (got == 0 && !output.empty()) {  // it has said all, and may still take its answer
      input_ended = true;
      return hub_.Watch(*this);
    }
    if (got <= 0) return Kill();
    dropped += static_cast<std::size_t>(got);
    junk_bytes += static_cast<std::size_t>(got);
  }
  if (junk_bytes > linger.bytes) return Kill();
  hub_.Watch(*this);
}

void Connection::Cut() {
  if (!gone) ::shutdown(socket_.get(), SHUT_RDWR);
}

}  // namespace forkbox::http
