#include "tests/api/http_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <sstream>
#include <string_view>

#include "tests/api/openapi_contract.h"

namespace forkbox::testing {

std::string HttpAnswer::Header(const std::string& name) const {
  const std::string* value = http::FindField(headers, name);
  return value == nullptr ? "" : *value;
}

UniqueFd SendRequest(std::uint16_t port, const HttpRequest& request) {
  UniqueFd connection(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval patience{30, 0};
  ::setsockopt(connection.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(connection.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address)) {
    return {};
  }
  std::string text =
      request.method + " " + request.path + " HTTP/1.1\r\nHost: test\r\n" + "Connection: close\r\n";
  for (const auto& [name, value] : request.headers) text += name + ": " + value + "\r\n";
  if (request.method != "GET") {
    text += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  }
  text += "\r\n" + request.body;
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t sent = ::send(connection.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent <= 0) break;  // refused in the middle of a body: the answer says why
    rest.remove_prefix(static_cast<std::size_t>(sent));
  }
  return connection;
}

namespace {

// As far as they came.
std::string JoinChunks(std::string_view chunks) {
  std::string body;
  for (;;) {
    const std::size_t line = chunks.find("\r\n");
    if (line == chunks.npos) return body;
    const std::size_t size = std::stoul(std::string(chunks.substr(0, line)), nullptr, 16);
    chunks.remove_prefix(line + 2);
    body.append(chunks.substr(0, size));
    if (size == 0 || chunks.size() < size + 2) return body;
    chunks.remove_prefix(size + 2);
  }
}

}  // namespace

HttpAnswer ReadAnswer(const UniqueFd& connection) {
  std::string text;
  std::array<char, 64 * 1024> chunk{};
  for (;;) {
    const ssize_t got = ::recv(connection.get(), chunk.data(), chunk.size(), 0);
    if (got <= 0) break;
    text.append(chunk.data(), static_cast<std::size_t>(got));
  }
  HttpAnswer answer;
  const std::size_t end = text.find("\r\n\r\n");
  if (end == std::string::npos) return answer;
  std::istringstream head(text.substr(0, end + 2));
  std::string line;
  std::getline(head, line);
  answer.status = std::stoi(line.substr(line.find(' ')));
  while (std::getline(head, line)) {
    const std::size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    answer.headers.emplace_back(line.substr(0, colon),
                                line.substr(colon + 2, line.size() - colon - 3));
  }
  answer.body = text.substr(end + 4);
  if (answer.Header("Transfer-Encoding") == "chunked") answer.body = JoinChunks(answer.body);
  return answer;
}

HttpAnswer Fetch(std::uint16_t port, const HttpRequest& request) {
  HttpAnswer answer = ReadAnswer(SendRequest(port, request));
  CheckAgainstOpenApi({.method = request.method,
                       .target = request.path,
                       .request_headers = request.headers,
                       .request_body = request.body,
                       .status = answer.status,
                       .headers = answer.headers,
                       .body = answer.body});
  return answer;
}

}  // namespace forkbox::testing
