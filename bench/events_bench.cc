#include "bench/events_bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <utility>

#include "base/unique_fd.h"
#include "bench/process_tree.h"

namespace forkbox::bench {
namespace {

UniqueFd Send(std::uint16_t port, const std::string& request) {
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
  (void)!::send(connection.get(), request.data(), request.size(), MSG_NOSIGNAL);
  return connection;
}

// What comes next; "" at the end.
std::string Receive(const UniqueFd& connection) {
  std::array<char, 16 * 1024> chunk{};
  const ssize_t got = ::recv(connection.get(), chunk.data(), chunk.size(), 0);
  return got <= 0 ? "" : std::string(chunk.data(), static_cast<std::size_t>(got));
}

// What stands between the two, from `*at` on, which is moved behind it; "" when it is not there.
std::string Between(const std::string& text, std::string_view before, std::string_view after,
                    std::size_t* at) {
  const std::size_t begin = text.find(before, *at);
  if (begin == std::string::npos) return "";
  const std::size_t end = text.find(after, begin + before.size());
  if (end == std::string::npos) return "";
  *at = end;
  return text.substr(begin + before.size(), end - begin - before.size());
}

std::string Queue(std::uint16_t port, std::size_t lines) {
  const std::string body =
      R"json({"timeout":60,"webhook_url":"","code":"import time\nfor _ in range()json" +
      std::to_string(lines) +
      R"json():\n    time.sleep(0.02)\n    print(time.time(), flush=True)"})json";
  const UniqueFd connection =
      Send(port,
           "POST /v1/code/execute/python HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
           "Content-Type: application/json\r\nContent-Length: " +
               std::to_string(body.size()) + "\r\n\r\n" + body);
  std::string answer;
  for (std::string more; connection && !(more = Receive(connection)).empty();) answer += more;
  std::size_t at = 0;
  return Between(answer, R"("job_id":")", "\"", &at);
}

}  // namespace

Row EventsRow(std::string name, std::string yardstick, std::uint16_t port,
              std::vector<pid_t> processes, std::size_t runs) {
  Row row{.name = std::move(name), .yardstick = std::move(yardstick), .runs_a_round = runs};
  row.run = [port](std::size_t lines, std::vector<double>* latencies) {
    const std::string id = Queue(port, lines);
    const UniqueFd stream = Send(port, "GET /executions/" + id +
                                           "/events HTTP/1.1\r\nHost: bench\r\n"
                                           "Connection: close\r\n\r\n");
    std::size_t seen = 0;
    std::size_t at = 0;
    std::string text;
    for (std::string more; stream && !(more = Receive(stream)).empty();) {
      const double now =
          std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch())
              .count();
      text += more;
      for (std::string line;
           !(line = Between(text, R"(data: {"text":")", "\\n\"}", &at)).empty();) {
        latencies->push_back(1000 * (now - std::strtod(line.c_str(), nullptr)));
        ++seen;
      }
    }
    return lines - std::min(lines, seen);
  };
  row.cpu_ms = [processes = std::move(processes)] {
    double all = 0;
    for (const pid_t pid : processes) all += TreeCpuMillis(pid);
    return all;
  };
  return row;
}

}  // namespace forkbox::bench
