#include "tests/http/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>

namespace forkbox::http {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

HttpClient::HttpClient(std::uint16_t port, int receive_buffer_bytes, int segment_bytes)
    : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  if (receive_buffer_bytes != 0) {
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes,
                 sizeof receive_buffer_bytes);
  }
  if (segment_bytes != 0) {
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_MAXSEG, &segment_bytes, sizeof segment_bytes);
  }
  const int on = 1;
  ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int result = 0;
  do {
    result = ::connect(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof address);
  } while (result != 0 && errno == EINTR);
  if (result != 0) socket_.Reset();
}

bool HttpClient::Send(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

std::optional<Ending> HttpClient::ReadMore(milliseconds patience, std::string* bytes) {
  pollfd wait{.fd = socket_.get(), .events = POLLIN, .revents = 0};
  const int ready = ::poll(&wait, 1, static_cast<int>(std::max<long>(patience.count(), 0)));
  if (ready == 0) return Ending::kTimeout;
  std::array<char, 65536> buffer;
  const ssize_t got = ::recv(socket_.get(), buffer.data(), buffer.size(), 0);
  if (got == 0) return Ending::kClosed;
  if (got < 0) return errno == EINTR ? std::nullopt : std::optional(Ending::kReset);
  bytes->append(buffer.data(), static_cast<std::size_t>(got));
  return std::nullopt;
}

Ending HttpClient::ReadToEnd(std::string* bytes, milliseconds patience) {
  bytes->append(input_);
  input_.clear();
  const auto deadline = steady_clock::now() + patience;
  for (;;) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    if (const auto ending = ReadMore(left, bytes)) return *ending;
  }
}

bool HttpClient::FillUntil(std::string_view mark, steady_clock::time_point deadline,
                           std::size_t* end) {
  for (;;) {
    const std::size_t found = input_.find(mark);
    if (found != std::string::npos) {
      *end = found + mark.size();
      return true;
    }
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    if (ReadMore(left, &input_)) return false;
  }
}

bool HttpClient::FillTo(std::size_t bytes, steady_clock::time_point deadline) {
  while (input_.size() < bytes) {
    const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
    if (ReadMore(left, &input_)) return false;
  }
  return true;
}

std::string HttpClient::ReadBytes(std::size_t bytes, milliseconds patience) {
  FillTo(bytes, steady_clock::now() + patience);
  std::string read = input_.substr(0, bytes);
  input_.erase(0, bytes);
  return read;
}

std::optional<HttpResponse> HttpClient::Read(milliseconds patience, bool head_only) {
  const auto deadline = steady_clock::now() + patience;
  std::size_t end = 0;
  if (!FillUntil("\r\n\r\n", deadline, &end)) return std::nullopt;
  HttpResponse response;
  std::string_view head = std::string_view(input_).substr(0, end - 2);
  const std::string_view line = head.substr(0, head.find("\r\n"));
  if (!line.starts_with("HTTP/1.1 ") || line.size() < 12) return std::nullopt;
  response.status = std::atoi(std::string(line.substr(9, 3)).c_str());
  head.remove_prefix(line.size() + 2);
  while (!head.empty()) {
    const std::string_view field = head.substr(0, head.find("\r\n"));
    const std::size_t colon = field.find(": ");
    if (colon == std::string_view::npos) return std::nullopt;
    response.fields.emplace_back(field.substr(0, colon), field.substr(colon + 2));
    head.remove_prefix(field.size() + 2);
  }
  input_.erase(0, end);

  if (head_only || response.status / 100 == 1 || response.status == 204 || response.status == 304) {
    response.complete = true;
    return response;
  }
  if (response.Header("Transfer-Encoding") == "chunked") {
    for (;;) {
      if (!FillUntil("\r\n", deadline, &end)) return response;
      const auto size = static_cast<std::size_t>(std::strtoul(input_.c_str(), nullptr, 16));
      if (!FillTo(end + size + 2, deadline)) return response;
      response.body.append(input_, end, size);
      input_.erase(0, end + size + 2);
      if (size == 0) {
        response.complete = true;
        return response;
      }
    }
  }
  if (const std::string length = response.Header("Content-Length"); !length.empty()) {
    const auto size = static_cast<std::size_t>(std::strtoul(length.c_str(), nullptr, 10));
    response.complete = FillTo(size, deadline);
    response.body = input_.substr(0, size);
    input_.erase(0, size);
    return response;
  }
  const auto left = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
  response.complete = ReadToEnd(&response.body, left) == Ending::kClosed;
  return response;
}

void HttpClient::Reset() {
  const linger hard{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  socket_.Reset();
}

void HttpClient::CloseSending() { ::shutdown(socket_.get(), SHUT_WR); }

std::uint16_t HttpClient::local_port() const {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  ::getsockname(socket_.get(), reinterpret_cast<sockaddr*>(&address), &length);
  return ntohs(address.sin_port);
}

std::string GetRequest(std::string_view target, std::string_view lines) {
  std::string text = "GET ";
  text.append(target).append(" HTTP/1.1\r\nHost: x\r\n").append(lines).append("\r\n");
  return text;
}

std::string PostRequest(std::string_view target, std::string_view body, std::string_view lines) {
  std::string text = "POST ";
  text.append(target).append(" HTTP/1.1\r\nHost: x\r\nContent-Length: ");
  text.append(std::to_string(body.size())).append("\r\n").append(lines).append("\r\n");
  text.append(body);
  return text;
}

void RaiseDescriptorLimit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::size_t OpenDescriptors() {
  std::size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

}  // namespace forkbox::http
