#include "api/http/taken_socket.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>
#include <utility>

#include "api/http/response_head.h"

namespace forkbox::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Chunked bodies are read through a window of this size.
constexpr std::size_t kWindowBytes = 64 * 1024;
// What is left of an upload that was answered early: most clients look at the answer only when they
// have sent all they wanted, or when it gets slow.
constexpr LingerBounds kUploadLinger{.time = milliseconds(10'000), .bytes = 256U << 20};

bool HasBody(int status) { return status >= 200 && status != 204 && status != 304; }

// False when `deadline` passes first. Everything else shows with the next call on the socket.
bool WaitFor(int socket, short events, Deadline deadline) {
  constexpr auto kLongest = std::chrono::hours(1);  // poll(2) takes an int
  for (;;) {
    const auto now = steady_clock::now();
    const auto left = std::clamp<steady_clock::duration>(deadline - now, milliseconds(0), kLongest);
    pollfd wait{.fd = socket, .events = events, .revents = 0};
    const int count =
        ::poll(&wait, 1, static_cast<int>(std::chrono::ceil<milliseconds>(left).count()));
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) return true;
    if (now >= deadline) return false;
  }
}

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK; }

}  // namespace

TakenSocket::TakenSocket(Options options) : options_(std::move(options)) {}

TakenSocket::~TakenSocket() {
  try {
    End();
  } catch (...) {  // out of memory for a log line
  }
}

Result<std::size_t> TakenSocket::Receive(std::span<char> into, Deadline deadline) {
  if (ended_) return Fail(ErrorCode::kUnavailable, "the connection was answered");
  if (into.empty()) return std::size_t{0};
  for (;;) {
    const ssize_t got = ::recv(options_.socket, into.data(), into.size(), MSG_DONTWAIT);
    if (got >= 0) return static_cast<std::size_t>(got);
    if (errno == EINTR) continue;
    if (!WouldBlock()) return Fail(ErrorCode::kUnavailable, "the client has gone");
    if (!WaitFor(options_.socket, POLLIN, deadline)) {
      return Fail(ErrorCode::kDeadlineExceeded, "the client sent nothing in time");
    }
  }
}

Result<std::size_t> TakenSocket::ReadBody(std::span<char> into) {
  if (ended_) return Fail(ErrorCode::kUnavailable, "the connection was answered");
  RequestParser& parser = options_.parser;
  if (parser.TakeContinue()) {
    const Result<void> sent =
        SendAll("HTTP/1.1 100 Continue\r\n\r\n", steady_clock::now() + options_.write_gap);
    if (!sent) return Fail(sent.error());
  }
  for (;;) {
    std::size_t bytes = 0;
    const RequestParser::Step step = parser.NextBody(into, &bytes);
    if (bytes > 0) return bytes;
    if (step == RequestParser::Step::kRequest) return std::size_t{0};
    if (step == RequestParser::Step::kRefused) {
      const bool too_large = parser.refusal().status == 413;
      return Fail(too_large ? ErrorCode::kQueueFull : ErrorCode::kInvalidArgument,
                  std::string(parser.refusal().message));
    }
    if (into.empty()) return std::size_t{0};
    const Deadline deadline = steady_clock::now() + options_.read_gap;
    const std::size_t plain = parser.plain_bytes();
    // Large pieces go straight to where they are wanted.
    if (plain >= kWindowBytes / 4 || plain >= into.size()) {
      const auto got = Receive(into.first(std::min(plain, into.size())), deadline);
      if (!got) return got;
      if (*got == 0)
        return Fail(ErrorCode::kUnavailable, "the client left in the middle of a body");
      parser.PassOver(*got);
      return got;
    }
    std::array<char, kWindowBytes> window;
    const auto got = Receive(window, deadline);
    if (!got) return got;
    if (*got == 0) return Fail(ErrorCode::kUnavailable, "the client left in the middle of a body");
    parser.Append(std::string_view(window.data(), *got));
  }
}

Result<std::size_t> TakenSocket::Read(std::span<char> into, Deadline deadline) {
  if (HasReadAhead() && !ended_) return options_.parser.TakeRaw(into);
  return Receive(into, deadline);
}

Result<void> TakenSocket::SendAll(std::string_view bytes, Deadline deadline) {
  if (ended_) return Fail(ErrorCode::kUnavailable, "the connection was answered");
  while (!bytes.empty()) {
    const ssize_t sent =
        ::send(options_.socket, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    } else if (errno == EINTR) {
      continue;
    } else if (!WouldBlock()) {
      return Fail(ErrorCode::kUnavailable, "the client has gone");
    } else if (!WaitFor(options_.socket, POLLOUT, deadline)) {
      return Fail(ErrorCode::kDeadlineExceeded, "the client took nothing in time");
    }
  }
  return {};
}

Result<void> TakenSocket::Write(std::string_view bytes, Deadline deadline) {
  Result<void> sent = SendAll(bytes, deadline);
  if (sent) sent_bytes_ += bytes.size();
  return sent;
}

Result<void> TakenSocket::PutAnswer(int status, std::string_view content_type,
                                    std::string_view body, const Fields& headers) {
  if (ended_) return Fail(ErrorCode::kUnavailable, "the connection was answered");
  ResponseHead head;
  head.status = status;
  head.content_type = content_type;
  head.request_id = options_.info.request_id;
  head.headers = &headers;
  head.keep_alive = false;
  if (HasBody(status)) head.content_length = body.size();
  std::string text = head.Format();
  const bool with_body = !options_.head_only && HasBody(status);
  if (with_body) text.append(body);
  {
    std::lock_guard lock(options_.connection->mutex);
    if (!options_.connection->Put(text)) {
      return Fail(ErrorCode::kUnavailable, "the client has gone");
    }
  }
  status_ = status;
  if (with_body) sent_bytes_ += body.size();
  return {};
}

Result<void> TakenSocket::Answer(int status, std::string_view content_type, std::string_view body,
                                 const Fields& headers) {
  Result<void> put = PutAnswer(status, content_type, body, headers);
  End();
  return put;
}

void TakenSocket::SendOwn(int status, std::string_view message) {
  if (ended_ || sent_bytes_ != 0) return Cut();
  AnswerBody answer;
  if (const auto owner = options_.owner.lock()) {
    answer = owner->OwnAnswerBody(options_.info, status, message);
  }
  if (PutAnswer(status, answer.content_type, answer.body, {})) End();
}

void TakenSocket::Cut() {
  std::lock_guard lock(options_.connection->mutex);
  options_.connection->Cut();
}

void TakenSocket::End() {
  if (std::exchange(ended_, true)) return;
  const bool upload = options_.parser.phase() == RequestParser::Phase::kBody;
  {
    std::lock_guard lock(options_.connection->mutex);
    options_.connection->Linger(upload ? kUploadLinger : LingerBounds{});
  }
  Report();
}

void TakenSocket::OnConnectionGone() { Report(); }

void TakenSocket::Report() {
  {
    std::lock_guard lock(options_.connection->mutex);
    if (std::exchange(reported_, true)) return;
  }
  const int status = status_;
  if (const auto owner = options_.owner.lock()) {
    owner->OnFinished(options_.info, status != 0 ? status : kStatusClientGone, sent_bytes_);
  }
}

}  // namespace forkbox::http
