#include "api/http/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pistache/endpoint.h>
#include <sys/socket.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <exception>
#include <filesystem>
#include <system_error>
#include <utility>

#include "api/http/core.h"
#include "api/http/pistache_handler.h"
#include "base/check.h"

namespace forkbox::http {
namespace {

namespace fs = std::filesystem;

// "127.0.0.1" or "[::1]", as Pistache wants it before ":port". Empty when it is no literal.
std::string HostLiteral(std::string text) {
  if (text.size() > 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  in6_addr address{};
  if (::inet_pton(AF_INET, text.c_str(), &address) == 1) return text;
  if (::inet_pton(AF_INET6, text.c_str(), &address) == 1) return "[" + text + "]";
  return {};
}

std::uint16_t PortOf(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  }
  return 0;
}

// Pistache 0.0.5 ignores Options::backlog() and listens with 128, which costs clients a second of
// SYN retry in a burst; listen(2) may be called again. The socket itself is not to be had from the
// library, so it is looked up among our descriptors.
void RaiseBacklog(std::uint16_t port, int backlog) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd", error)) {
    const int fd = std::atoi(entry.path().filename().c_str());
    int listening = 0;
    socklen_t length = sizeof listening;
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) != 0) continue;
    if (listening == 0) continue;
    sockaddr_storage address{};
    length = sizeof address;
    if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) != 0) continue;
    if (PortOf(address) == port) ::listen(fd, backlog);
  }
}

Pistache::Http::Endpoint::Options EndpointOptions(const Server::Options& options) {
  // Pistache's timers count from the end of the last request and cut replies in flight: off.
  constexpr auto kNever = std::chrono::hours(24 * 3650);
  using TcpOptions = Pistache::Tcp::Options;
  return Pistache::Http::Endpoint::options()
      .threads(options.threads)
      .flags(Pistache::Flags<TcpOptions>(TcpOptions::ReuseAddr) | TcpOptions::NoDelay |
             TcpOptions::CloseOnExec)
      .headerTimeout(kNever)
      .bodyTimeout(kNever)
      .keepaliveTimeout(kNever);
}

}  // namespace

class Server::Impl {
 public:
  explicit Impl(Options options)
      : options_(std::move(options)),
        core_(std::make_shared<Core>(options_)),
        nudge_(std::make_shared<WorkerNudge>()) {}

  Result<void> Start() {
    FORKBOX_CHECK(!started_);
    started_ = true;
    const std::string host = HostLiteral(options_.address);
    if (host.empty()) {
      return Fail(ErrorCode::kInvalidArgument,
                  "listen address: not an IP address: " + options_.address);
    }
    if (options_.threads < 1) {
      return Fail(ErrorCode::kInvalidArgument, "http threads: must be at least 1");
    }
    if (std::signal(SIGPIPE, SIG_IGN) == SIG_ERR) return FailErrno("signal SIGPIPE");
    if (Result<void> hub = core_->Start([nudge = nudge_] { nudge->Nudge(); }); !hub) return hub;
    const std::string place = host + ":" + std::to_string(options_.port);
    try {
      endpoint_ = std::make_unique<Pistache::Http::Endpoint>(Pistache::Address(place));
      endpoint_->init(EndpointOptions(options_));
      endpoint_->setHandler(std::make_shared<PistacheHandler>(core_, nudge_));
      endpoint_->serveThreaded();
      port_ = endpoint_->getPort();
    } catch (const std::exception& error) {
      Stop();
      return Fail(ErrorCode::kUnavailable, "listen on " + place + ": " + error.what());
    }
    RaiseBacklog(port_, options_.listen_backlog);
    return {};
  }

  void Stop() {
    if (stopped_) return;
    stopped_ = true;
    core_->CutAll();
    core_->StopHub();
    nudge_->Clear();
    if (endpoint_) {
      if (endpoint_->isBound()) endpoint_->shutdown();
      endpoint_.reset();  // joins Pistache's threads
    }
    core_->CloseAll();
  }

  Core& core() { return *core_; }
  [[nodiscard]] const Options& options() const { return options_; }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] bool started() const { return started_; }

  std::vector<RouteName> routes;  // only for whoever asks; the router finds its own

 private:
  const Options options_;
  std::shared_ptr<Core> core_;          // with Pistache's handlers; exchanges hold it weakly
  std::shared_ptr<WorkerNudge> nudge_;  // with Pistache's handlers and the hub's tick
  std::unique_ptr<Pistache::Http::Endpoint> endpoint_;
  std::uint16_t port_ = 0;
  bool started_ = false;
  bool stopped_ = false;
};

Server::Server(Options options) : impl_(std::make_unique<Impl>(std::move(options))) {}

Server::~Server() { Stop(); }

void Server::Route(Method method, const std::string& path, Handler handler) {
  FORKBOX_CHECK(!impl_->started());
  if (const auto& before = impl_->options().before_handler) handler = before(path, handler);
  impl_->core().router().Add(method, path, std::move(handler));
  impl_->routes.push_back({method, path});
}

void Server::Tree(const std::string& prefix, Handler handler, TakesOver takes_over) {
  TreeOptions options;
  options.takes_over = std::move(takes_over);
  Tree(prefix, std::move(handler), std::move(options));
}

void Server::Tree(const std::string& prefix, Handler handler, TreeOptions options) {
  FORKBOX_CHECK(!impl_->started());
  if (const auto& before = impl_->options().before_handler) handler = before(prefix, handler);
  impl_->core().router().AddTree(prefix, std::move(handler), std::move(options));
}

const std::vector<Server::RouteName>& Server::routes() const { return impl_->routes; }

Result<void> Server::Start() { return impl_->Start(); }

std::uint16_t Server::port() const { return impl_->port(); }

std::size_t Server::Drain(std::chrono::milliseconds timeout) {
  return impl_->core().Drain(timeout);
}

void Server::Stop() { impl_->Stop(); }

Server::Stats Server::stats() const { return impl_->core().stats(); }

}  // namespace forkbox::http
