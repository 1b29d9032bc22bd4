#include "bench/http_load.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "base/unique_fd.h"

namespace forkbox::bench {
namespace {

UniqueFd Connect(std::uint16_t port) {
  UniqueFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (::connect(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    socket.Reset();
  }
  return socket;
}

// One reply with a Content-Length; "" when there was none.
std::string Exchange(int socket, const std::string& request) {
  if (::send(socket, request.data(), request.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(request.size())) {
    return "";
  }
  std::string reply;
  char buffer[8192];
  for (;;) {
    const ssize_t n = ::recv(socket, buffer, sizeof buffer, 0);
    if (n <= 0) return "";
    reply.append(buffer, static_cast<std::size_t>(n));
    const auto head = reply.find("\r\n\r\n");
    if (head == std::string::npos) continue;
    const auto length = reply.find("Content-Length: ");
    if (length == std::string::npos || length > head) return "";
    if (reply.size() >= head + 4 + std::strtoul(reply.c_str() + length + 16, nullptr, 10)) {
      return reply;
    }
  }
}

}  // namespace

LoadResult PostJson(std::uint16_t port, const std::string& path, const std::string& body,
                    const std::string& expected, std::size_t clients, std::size_t requests) {
  const std::string request = "POST " + path +
                              " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                              "Content-Length: " +
                              std::to_string(body.size()) + "\r\n\r\n" + body;
  LoadResult result;
  std::mutex mutex;
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < clients; ++i) {
    threads.emplace_back([&] {
      std::vector<double> mine;
      std::size_t failed = 0;
      const UniqueFd socket = Connect(port);
      while (next.fetch_add(1) < requests) {
        const auto start = std::chrono::steady_clock::now();
        const std::string reply = Exchange(socket.get(), request);
        mine.push_back(
            std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
                .count());
        if (reply.rfind("HTTP/1.1 2", 0) != 0 || reply.find(expected) == std::string::npos) {
          ++failed;
        }
      }
      std::lock_guard lock(mutex);
      result.latencies_ms.insert(result.latencies_ms.end(), mine.begin(), mine.end());
      result.failed += failed;
    });
  }
  for (auto& thread : threads) thread.join();
  return result;
}

bool Answers(std::uint16_t port, const std::string& path) {
  const UniqueFd socket = Connect(port);
  if (!socket) return false;
  const std::string reply = Exchange(socket.get(), "GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n");
  return reply.rfind("HTTP/1.1 200", 0) == 0;
}

}  // namespace forkbox::bench
