#include "api/http/connection.h"

#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "api/http/hub.h"

namespace forkbox::http {

Connection::Connection(std::uint64_t connection_id, UniqueFd socket, std::string address, Hub& hub,
                       RequestParser request_parser)
    : id(connection_id),
      client_address(std::move(address)),
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
    hub_.WatchWritable(*this);
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
  if (flushed.bytes > 0) last_output = std::chrono::steady_clock::now();
  switch (flushed.progress) {
    case OutputQueue::Progress::kDrained:
      FinishClosing();
      break;
    case OutputQueue::Progress::kBlocked:
      hub_.WatchWritable(*this);
      break;
    case OutputQueue::Progress::kFailed:
      Kill();
      break;
  }
}

void Connection::FinishClosing() {
  if (gone || !closing || in_flight || !output.empty()) return;
  ::shutdown(socket_.get(), SHUT_WR);
  closing_began = std::chrono::steady_clock::now();
}

void Connection::Kill() {
  if (!gone) ::shutdown(socket_.get(), SHUT_RDWR);
}

void Connection::Close() {
  if (gone) return;
  gone = true;
  ::shutdown(socket_.get(), SHUT_RDWR);
  socket_.Reset();
  output.Clear();
  parser.Reset();
}

}  // namespace forkbox::http
