#include "api/http/relay.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <span>
#include <utility>

#include "api/http/field_syntax.h"
#include "api/http/method.h"

namespace forkbox::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Until a peer that would not change the protocol has told the rest of why.
constexpr milliseconds kRefusedUpgradeIdle{2000};
constexpr std::size_t kMaxAnswerHeadBytes = 64 * 1024;

constexpr std::array<std::string_view, 11> kOwnFields = {"connection",
                                                         "proxy-connection",
                                                         "keep-alive",
                                                         "te",
                                                         "transfer-encoding",
                                                         "trailer",
                                                         "upgrade",
                                                         "expect",
                                                         "proxy-authorization",
                                                         "proxy-authenticate",
                                                         "content-length"};

bool WouldBlock() { return errno == EAGAIN || errno == EWOULDBLOCK; }

bool IsUpgrade(const Call& call) {
  return call.Header("upgrade") != nullptr && FieldsHaveToken(call.fields, "connection", "upgrade");
}

bool IsChunked(const Call& call) { return call.Header("transfer-encoding") != nullptr; }

void AppendField(std::string_view name, std::string_view value, std::string* text) {
  text->append(name).append(": ").append(value).append("\r\n");
}

std::string EscapedTarget(std::string_view target) {
  constexpr std::string_view kHex = "0123456789ABCDEF";
  std::string escaped;
  if (!target.starts_with('/')) escaped.push_back('/');
  for (const char c : target) {
    if (c > 0x20 && c < 0x7f) {
      escaped.push_back(c);
    } else {
      const auto byte = static_cast<unsigned char>(c);
      escaped.append({'%', kHex[byte >> 4], kHex[byte & 15]});
    }
  }
  return escaped;
}

// Finds the status of the final answer in the bytes of a peer.
class AnswerWatch {
 public:
  // 0 as long as it is not known, -1 when these are no HTTP answers.
  int Feed(std::string_view bytes) {
    if (status_ != 0) return status_;
    head_.append(bytes);
    for (;;) {
      const std::size_t line_end = head_.find("\r\n");
      if (line_end == std::string::npos) break;
      const int status = StatusOf(std::string_view(head_).substr(0, line_end));
      if (status < 100 || status > 199 || status == 101) {
        head_ = {};
        return status_ = status == 0 ? -1 : status;
      }
      const std::size_t end = head_.find("\r\n\r\n");
      if (end == std::string::npos) break;
      head_.erase(0, end + 4);
    }
    if (head_.size() > kMaxAnswerHeadBytes) status_ = -1;
    return status_;
  }

 private:
  static int StatusOf(std::string_view line) {  // "HTTP/1.1 200 OK"
    if (!line.starts_with("HTTP/1.") || line.size() < 12 || line[8] != ' ') return 0;
    int status = 0;
    const auto [end, error] = std::from_chars(line.data() + 9, line.data() + 12, status);
    return error == std::errc() && end == line.data() + 12 ? status : 0;
  }

  std::string head_;
  int status_ = 0;
};

// Bytes on their way to a socket that takes them when it likes.
class Pending {
 public:
  void Append(std::string_view bytes) { text_.append(bytes); }
  [[nodiscard]] bool empty() const { return text_.empty(); }
  [[nodiscard]] std::size_t size() const { return text_.size() - done_; }
  void Clear() {
    text_.clear();
    done_ = 0;
  }
  // How many the socket took; negative when it takes none any more.
  ssize_t SendTo(int socket) {
    for (;;) {
      const ssize_t sent =
          ::send(socket, text_.data() + done_, size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0 && errno == EINTR) continue;
      if (sent < 0) return WouldBlock() ? 0 : -1;
      done_ += static_cast<std::size_t>(sent);
      if (size() == 0) Clear();
      return sent;
    }
  }

 private:
  std::string text_;
  std::size_t done_ = 0;
};

class Relay {
 public:
  Relay(TakenConnection& client, int peer, const RelayOptions& options)
      : client_(client),
        peer_(peer),
        idle_limit_(options.idle_limit),
        buffer_(options.buffer_bytes) {
    const int flags = ::fcntl(peer_, F_GETFL);
    if (flags >= 0) ::fcntl(peer_, F_SETFL, flags | O_NONBLOCK);
  }

  RelayEnd RunBytes() {
    mode_ = Mode::kBytes;
    return Run();
  }

  RelayEnd RunRequest(const Call& call, const RelayHead& head) {
    mode_ = IsUpgrade(call) ? Mode::kUpgrade : Mode::kRequest;
    chunked_ = IsChunked(call);
    to_peer_.Append(FormatRelayHead(call, head));
    if (const auto started = client_.ReadBody({}); !started) {
      BodyFailed(started.error());
      return end_;
    }
    return Run();
  }

 private:
  enum class Mode {
    kRequest,  // one body there, one answer back
    kUpgrade,  // likewise, and it is not said yet whether it becomes
    kBytes,    // whatever comes, both ways
  };

  RelayEnd Run();
  void Stop(ErrorCode code, std::string message) {
    end_.error = Error{code, std::move(message)};
    over_ = true;
  }
  [[nodiscard]] bool WantsClient() const {
    return !client_ended_ && to_peer_.empty() && (mode_ == Mode::kBytes || !body_over_);
  }
  void FromClient();
  void BodyFailed(const Error& error);
  void BodyEnded();
  void FromPeer();
  void ToClient();
  void ToPeer();
  void PassEnds();
  void OnStatus(int status);

  TakenConnection& client_;
  const int peer_;
  milliseconds idle_limit_;
  std::vector<char> buffer_;
  Mode mode_ = Mode::kBytes;
  bool chunked_ = false;
  bool body_over_ = false;
  bool client_ended_ = false;  // sends nothing more
  bool peer_ended_ = false;
  bool peer_deaf_ = false;  // takes nothing more
  bool told_peer_ = false;  // of the client's end
  bool told_client_ = false;
  bool over_ = false;
  Pending to_peer_;
  Pending to_client_;
  AnswerWatch watch_;
  RelayEnd end_;
};

void Relay::OnStatus(int status) {
  if (status <= 0 || end_.status != 0) return;
  end_.status = status;
  client_.SetStatus(status);
  if (mode_ != Mode::kUpgrade) return;
  if (status == 101) {
    mode_ = Mode::kBytes;
  } else {
    mode_ = Mode::kRequest;
    idle_limit_ = std::min(idle_limit_, kRefusedUpgradeIdle);
  }
}

void Relay::BodyEnded() {
  body_over_ = true;
  if (chunked_) to_peer_.Append("0\r\n\r\n");
}

void Relay::BodyFailed(const Error& error) {
  switch (error.code) {
    case ErrorCode::kInvalidArgument:
      end_.client_fault = 400;
      break;
    case ErrorCode::kQueueFull:
      end_.client_fault = 413;
      break;
    case ErrorCode::kDeadlineExceeded:
      end_.client_fault = 408;
      break;
    default:
      break;
  }
  Stop(error.code, error.message);
}

void Relay::FromClient() {
  if (mode_ == Mode::kBytes) {
    const auto got = client_.Read(buffer_, steady_clock::now());
    if (!got) {
      if (got.error().code != ErrorCode::kDeadlineExceeded) {
        Stop(ErrorCode::kUnavailable, "the client has gone");
      }
      return;
    }
    if (*got == 0) {
      client_ended_ = true;
    } else if (!peer_deaf_) {
      to_peer_.Append({buffer_.data(), *got});
    }
    return;
  }
  const auto got = client_.ReadBody(buffer_);
  if (!got) return BodyFailed(got.error());
  if (*got == 0) return BodyEnded();
  if (peer_deaf_) return;
  if (chunked_) {
    char size[16];
    const auto [size_end, error] = std::to_chars(size, size + sizeof size, *got, 16);
    to_peer_.Append({size, static_cast<std::size_t>(size_end - size)});
    to_peer_.Append("\r\n");
  }
  to_peer_.Append({buffer_.data(), *got});
  if (chunked_) to_peer_.Append("\r\n");
}

void Relay::FromPeer() {
  const ssize_t got = ::recv(peer_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
  if (got < 0) {
    if (errno == EINTR || WouldBlock()) return;
    return Stop(ErrorCode::kUnavailable, "the peer has gone");
  }
  if (got == 0) {
    peer_ended_ = true;
    return;
  }
  const std::string_view bytes(buffer_.data(), static_cast<std::size_t>(got));
  to_client_.Append(bytes);
  end_.answered = true;
  if (mode_ != Mode::kBytes) OnStatus(watch_.Feed(bytes));
}

void Relay::ToClient() {
  const ssize_t sent = to_client_.SendTo(client_.socket());
  if (sent < 0) return Stop(ErrorCode::kUnavailable, "the client has gone");
  client_.CountSent(static_cast<std::size_t>(sent));
  end_.to_client_bytes += static_cast<std::size_t>(sent);
}

void Relay::ToPeer() {
  const ssize_t sent = to_peer_.SendTo(peer_);
  if (sent >= 0) {
    end_.to_peer_bytes += static_cast<std::size_t>(sent);
    return;
  }
  // It may have its answer ready all the same.
  peer_deaf_ = true;
  to_peer_.Clear();
}

void Relay::PassEnds() {
  if (peer_ended_ && to_client_.empty() && !told_client_) {
    told_client_ = true;
    if (mode_ == Mode::kBytes) ::shutdown(client_.socket(), SHUT_WR);
  }
  if (client_ended_ && to_peer_.empty() && !told_peer_) {
    told_peer_ = true;
    ::shutdown(peer_, SHUT_WR);
  }
  // A peer that takes nothing and has ended is gone.
  if (told_client_ && (mode_ != Mode::kBytes || told_peer_ || peer_deaf_)) over_ = true;
}

RelayEnd Relay::Run() {
  auto last = steady_clock::now();
  while (!over_) {
    // What was read ahead raises no event.
    const bool body_is_known = mode_ != Mode::kBytes && client_.BodyIsOver();
    if (WantsClient() && (body_is_known || client_.HasReadAhead())) {
      FromClient();
      continue;
    }
    pollfd waits[2] = {{.fd = client_.socket(), .events = 0, .revents = 0},
                       {.fd = peer_, .events = 0, .revents = 0}};
    if (WantsClient()) waits[0].events |= POLLIN;
    if (mode_ != Mode::kBytes) waits[0].events |= POLLRDHUP;
    if (!to_client_.empty()) waits[0].events |= POLLOUT;
    if (!peer_ended_ && to_client_.empty()) waits[1].events |= POLLIN;
    if (!to_peer_.empty()) waits[1].events |= POLLOUT;
    for (pollfd& wait : waits) {
      if (wait.events == 0) wait.fd = -1;  // its end would be told again and again
    }
    const auto left = std::chrono::ceil<milliseconds>(last + idle_limit_ - steady_clock::now());
    const int count =
        ::poll(waits, 2, static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000)));
    if (count < 0 && errno != EINTR) {
      Stop(ErrorCode::kInternal, "poll");
    } else if (count == 0) {
      if (steady_clock::now() - last >= idle_limit_) {
        const Error silence{ErrorCode::kDeadlineExceeded, "nothing came in time"};
        // The peer has all there is of a body and waits as we do.
        const bool of_body = mode_ != Mode::kBytes && WantsClient();
        of_body ? BodyFailed(silence) : Stop(silence.code, silence.message);
      }
    } else if (count > 0) {
      last = steady_clock::now();
      if (waits[1].revents != 0 && (waits[1].events & POLLIN) != 0) FromPeer();
      if (!over_ && waits[1].revents != 0 && (waits[1].events & POLLOUT) != 0) ToPeer();
      if (!over_ && waits[0].revents != 0 && (waits[0].events & POLLOUT) != 0) ToClient();
      if (!over_ && waits[0].revents != 0 && (waits[0].events & POLLIN) != 0) FromClient();
      if (!over_ && mode_ != Mode::kBytes && !WantsClient() &&
          (waits[0].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) {
        Stop(ErrorCode::kUnavailable, "the client has gone");
      }
    }
    if (!over_) PassEnds();
  }
  // A piece of an answer must not look whole.
  if (end_.error && end_.answered) client_.Cut();
  return end_;
}

}  // namespace

std::string FormatRelayHead(const Call& call, const RelayHead& head) {
  const auto is_one_of = [](const auto& names, std::string_view name) {
    return std::any_of(names.begin(), names.end(),
                       [&](std::string_view other) { return EqualIgnoringCase(name, other); });
  };
  std::string text(ToString(call.method));
  text.append(" ").append(EscapedTarget(head.target)).append(" HTTP/1.1\r\n");
  std::string forwarded_for;
  std::string_view proto = "http";
  for (const auto& [name, value] : call.fields) {
    if (EqualIgnoringCase(name, "x-forwarded-for")) {
      forwarded_for.append(value).append(", ");
    } else if (EqualIgnoringCase(name, "x-forwarded-proto")) {
      proto = value;
    } else if (!is_one_of(kOwnFields, name) && !is_one_of(head.drop, name) &&
               FindField(head.add, name) == nullptr &&
               !FieldsHaveToken(call.fields, "connection", name)) {
      AppendField(name, value, &text);
    }
  }
  for (const auto& [name, value] : head.add) {
    if (IsToken(name) && IsFieldValue(value)) AppendField(name, value, &text);
  }
  AppendField("X-Forwarded-For", forwarded_for + call.client_address, &text);
  AppendField("X-Forwarded-Proto", proto, &text);
  if (IsChunked(call)) {
    AppendField("Transfer-Encoding", "chunked", &text);
  } else if (const std::string* length = call.Header("content-length")) {
    AppendField("Content-Length", *length, &text);
  }
  if (IsUpgrade(call)) {
    AppendField("Connection", "Upgrade", &text);
    AppendField("Upgrade", *call.Header("upgrade"), &text);
  } else {
    AppendField("Connection", "close", &text);
  }
  return text + "\r\n";
}

RelayEnd RelayRequest(const Call& call, TakenConnection& client, int peer, const RelayHead& head,
                      const RelayOptions& options) {
  return Relay(client, peer, options).RunRequest(call, head);
}

RelayEnd RelayBytes(TakenConnection& client, int peer, const RelayOptions& options) {
  return Relay(client, peer, options).RunBytes();
}

}  // namespace forkbox::http
