// What a client asks of a sandbox at an API process of a cluster: handed on to the sandbox's
// runner.

#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <memory>
#include <utility>

#include "api/http/relay.h"
#include "api/opensandbox/cluster_fleet.h"
#include "api/opensandbox/execd_face.h"
#include "api/opensandbox/lifecycle_problem.h"
#include "base/unique_fd.h"

namespace forkbox::api {
namespace {

using std::chrono::milliseconds;
using store::SandboxRecord;
using store::SandboxState;

constexpr milliseconds kConnectTimeout{3'000};
// How old what is known of a sandbox may be. Its runner knows better and is asked anyway.
constexpr milliseconds kKnownFor{1'000};
constexpr std::size_t kMaxKnown = 4'096;

// "127.0.0.1:80", "[::1]:80", "host:80".
std::pair<std::string, std::string> HostAndPort(const std::string& address) {
  const auto colon = address.rfind(':');
  if (colon == std::string::npos) return {address, ""};
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return {std::move(host), address.substr(colon + 1)};
}

// A non-blocking socket.
Result<UniqueFd> Connect(const std::string& address) {
  const auto [host, port] = HostAndPort(address);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found); error != 0) {
    return Fail(ErrorCode::kUnavailable, ::gai_strerror(error));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(found, ::freeaddrinfo);
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    UniqueFd peer(
        ::socket(one->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, one->ai_protocol));
    if (!peer.valid()) continue;
    if (::connect(peer.get(), one->ai_addr, one->ai_addrlen) == 0) return peer;
    if (errno != EINPROGRESS) continue;
    pollfd polled{peer.get(), POLLOUT, 0};
    int error = 0;
    socklen_t length = sizeof error;
    if (::poll(&polled, 1, static_cast<int>(kConnectTimeout.count())) == 1 &&
        ::getsockopt(peer.get(), SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0) {
      return peer;
    }
  }
  return Fail(ErrorCode::kUnavailable, "no connection to " + address);
}

}  // namespace

Result<std::optional<SandboxRecord>> ClusterFleet::Known(const std::string& id) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = known_.find(id);
    if (found != known_.end() && clock_.Now() < found->second.until) return found->second.record;
  }
  auto row = store_.sandboxes().Get(id);
  if (!row) return row;
  const std::lock_guard lock(mutex_);
  if (known_.size() >= kMaxKnown) known_.clear();
  known_[id] = {*row, clock_.Now() + kKnownFor};
  return row;
}

class ClusterFleet::Handed {
 public:
  Handed(ClusterFleet& fleet, const std::string& id) : fleet_(fleet), id_(id) {}
  Handed(const Handed&) = delete;
  Handed& operator=(const Handed&) = delete;
  ~Handed() {
    const std::lock_guard lock(fleet_.mutex_);
    const auto own = fleet_.handed_.find(id_);
    if (--own->second == 0) fleet_.handed_.erase(own);
  }

 private:
  ClusterFleet& fleet_;
  const std::string id_;
};

std::unique_ptr<ClusterFleet::Handed> ClusterFleet::TakeHanded(const std::string& id) {
  const std::lock_guard lock(mutex_);
  std::size_t& handed = handed_[id];
  if (handed >= options_.max_proxied_of_one) return nullptr;
  auto one = std::make_unique<Handed>(*this, id);
  ++handed;
  return one;
}

void ClusterFleet::Serve(http::Call& call) {
  const auto refuse = [&](const LifecycleProblem& problem) {
    call.Answer(problem.status, "application/json", LifecycleBody(problem), problem.headers);
  };
  const std::string id = call.Param(":id");
  const auto row = Known(id);
  if (!row) return refuse(ToLifecycleProblem(row.error(), "LOOKUP"));
  if (!*row || (*row)->state == SandboxState::kTerminated) return refuse(NoSuchSandbox(id));
  const SandboxRecord& record = **row;
  // The runner looks again; but nobody is let through to it who has no business there.
  if (!ExecdFace::TokenMatches(call.fields, record.token)) return ExecdFace::Refuse401(call);
  if (record.state == SandboxState::kFailed) {
    return refuse(
        {.status = 410,
         .code = "DOCKER::SANDBOX_NOT_RUNNING",
         .message = "Sandbox " + id + " has failed (" + record.reason + "): " + record.message});
  }
  const auto handed = TakeHanded(id);
  if (handed == nullptr) {
    return refuse({.status = 429,
                   .code = "TOO_MANY_REQUESTS",
                   .message = "too many requests run in this sandbox at once: at most " +
                              std::to_string(options_.max_proxied_of_one) + " by this server",
                   .headers = {{"Retry-After", "1"}}});
  }
  const LifecycleProblem gone{.status = 502,
                              .code = "SANDBOX::UNKNOWN_ERROR",
                              .message = "the runner that has this sandbox cannot be reached",
                              .headers = {{"Retry-After", "5"}}};
  const Result<UniqueFd> peer = Connect(record.address);
  if (!peer) {
    log_.Warn("sandbox.proxy_failed", {{"sandbox_id", id}, {"error", peer.error().message}});
    return refuse(gone);
  }
  http::RelayHead head;
  head.target = call.path + (call.raw_query.empty() ? "" : "?" + call.raw_query);
  head.drop = {"OPEN-SANDBOX-API-KEY", "x-api-key", "Authorization", "Cookie"};
  head.add = {{"X-Request-Id", call.request_id}};
  const http::RelayEnd end =
      http::RelayRequest(call, *call.taken, peer->get(), head, http::RelayOptions{});
  if (end.answered) return;
  if (end.client_fault != 0) {
    return refuse({.status = end.client_fault, .message = "body: " + end.error->message});
  }
  refuse(gone);
}

}  // namespace forkbox::api
