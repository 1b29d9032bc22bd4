#include "tests/webhook/receiver.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>

#include "base/check.h"

namespace forkbox::tests {
namespace {

bool SendAll(int socket, TlsSession* tls, std::string_view text) {
  while (!text.empty()) {
    const ssize_t sent =
        tls != nullptr ? tls->Write(text) : ::send(socket, text.data(), text.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// False when it broke off.
bool Receive(int socket, TlsSession* tls, std::string& text) {
  char chunk[16 << 10];
  const ssize_t got =
      tls != nullptr ? tls->Read(chunk, sizeof(chunk)) : ::recv(socket, chunk, sizeof(chunk), 0);
  if (got <= 0) return false;
  text.append(chunk, static_cast<std::size_t>(got));
  return true;
}

bool ReadPost(int socket, TlsSession* tls, Post& post) {
  std::string text;
  std::size_t end = 0;
  while ((end = text.find("\r\n\r\n")) == std::string::npos) {
    if (!Receive(socket, tls, text)) return false;
  }
  const std::string head = text.substr(0, end + 2);
  post.body = text.substr(end + 4);
  std::size_t line = head.find("\r\n");
  const std::size_t space = head.find(' ');
  post.method = head.substr(0, space);
  post.target = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
  for (line += 2; line < head.size();) {
    const std::size_t next = head.find("\r\n", line);
    const std::size_t colon = head.find(": ", line);
    std::string name = head.substr(line, colon - line);
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    post.headers[name] = head.substr(colon + 2, next - colon - 2);
    line = next + 2;
  }
  const std::size_t length = std::stoul(post.headers["content-length"]);
  while (post.body.size() < length) {
    if (!Receive(socket, tls, post.body)) return false;
  }
  return true;
}

}  // namespace

bool Receiver::Talk::Write(std::string_view text) { return SendAll(socket_, tls_, text); }

void Receiver::Talk::Drip(std::string_view text, std::chrono::milliseconds pause) {
  for (const char byte : text) {
    if (!Write({&byte, 1})) return;
    std::this_thread::sleep_for(pause);
  }
  WaitForClose();
}

void Receiver::Talk::Answer(int status, std::string_view headers) {
  Write("HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: 2\r\n" +
        std::string(headers) + "\r\nok");
}

void Receiver::Talk::WaitForClose() {
  std::string ignored;
  while (Receive(socket_, tls_, ignored)) {
  }
}

void Receiver::Talk::Reset() {
  const linger now{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
  // A connect to "nobody" ends a TCP connection at once while its number stays ours.
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  ::connect(socket_, &nobody, sizeof(nobody));
}

Receiver::Receiver(Behaviour behaviour, const char* address, const TlsIdentity* identity)
    : behaviour_(std::move(behaviour)),
      address_(address),
      identity_(identity),
      listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in name{};
  name.sin_family = AF_INET;
  FORKBOX_CHECK(::inet_pton(AF_INET, address, &name.sin_addr) == 1);
  socklen_t size = sizeof(name);
  auto* const any = reinterpret_cast<sockaddr*>(&name);
  FORKBOX_CHECK(::bind(listener_.get(), any, size) == 0);
  FORKBOX_CHECK(::listen(listener_.get(), 1'000) == 0);
  FORKBOX_CHECK(::getsockname(listener_.get(), any, &size) == 0);
  port_ = ntohs(name.sin_port);
  acceptor_ = std::jthread([this] { Accept(); });
}

Receiver::~Receiver() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    ::shutdown(listener_.get(), SHUT_RDWR);
    for (const UniqueFd& socket : sockets_) ::shutdown(socket.get(), SHUT_RDWR);
  }
  acceptor_.join();
  talks_.clear();
}

std::string Receiver::Url(const std::string& path, std::string host) const {
  if (host.empty()) host = address_;
  return (identity_ != nullptr ? "https://" : "http://") + host + ":" + std::to_string(port_) +
         path;
}

std::vector<Post> Receiver::posts() const {
  const std::lock_guard lock(mutex_);
  return posts_;
}

std::size_t Receiver::connections() const {
  const std::lock_guard lock(mutex_);
  return sockets_.size();
}

void Receiver::Accept() {
  while (true) {
    UniqueFd socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    const std::lock_guard lock(mutex_);
    if (!socket.valid() || stopping_) return;
    sockets_.push_back(std::move(socket));
    talks_.emplace_back([this, fd = sockets_.back().get()] { Serve(fd); });
  }
}

void Receiver::Serve(int socket) {
  std::unique_ptr<TlsSession> tls;
  if (identity_ != nullptr) tls = identity_->Accept(socket);
  Post post;
  if ((identity_ == nullptr || tls != nullptr) && ReadPost(socket, tls.get(), post)) {
    int number = 0;
    {
      const std::lock_guard lock(mutex_);
      posts_.push_back(post);
      number = static_cast<int>(posts_.size());
    }
    Talk talk(post, number, socket, tls.get());
    behaviour_(talk);
  }
  ::shutdown(socket, SHUT_RDWR);
}

}  // namespace forkbox::tests
