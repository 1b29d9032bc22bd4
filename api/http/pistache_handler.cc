#include "api/http/pistache_handler.h"

#include <pistache/peer.h>
#include <sys/socket.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/unique_fd.h"

namespace forkbox::http {
namespace {

namespace Tcp = Pistache::Tcp;

constexpr const char* kConnectionKey = "forkbox.connection";
constexpr const char* kNudgeKey = "forkbox.nudge";

// Pistache reads one socket until it is empty. A client that sends as fast as we answer would keep
// a worker to itself; after this long its next answer is left to the hub thread, the reading runs
// dry and others get their turn.
constexpr std::chrono::milliseconds kMaxStreak{2};

std::shared_ptr<Connection> ConnectionOf(const Tcp::Peer& peer) {
  return std::static_pointer_cast<Connection>(peer.tryGetData(kConnectionKey));
}

std::string AddressOf(const Tcp::Peer& peer) {
  constexpr std::string_view kMapped = "::ffff:";
  std::string host = peer.address().host();
  if (host.starts_with(kMapped) && host.find('.') != std::string::npos) {
    host.erase(0, kMapped.size());
  }
  return host;
}

}  // namespace

void WorkerNudge::Add(Tcp::Transport* worker) {
  std::lock_guard lock(mutex_);
  workers_.push_back(worker);
}

void WorkerNudge::Clear() {
  std::lock_guard lock(mutex_);
  workers_.clear();
}

bool WorkerNudge::IsNudge(const Tcp::Peer& peer) { return peer.tryGetData(kNudgeKey) != nullptr; }

void WorkerNudge::Nudge() {
  static const auto mark = std::make_shared<bool>(true);  // a peer's data cannot be null
  std::lock_guard lock(mutex_);
  for (Tcp::Transport* worker : workers_) {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) return;
    UniqueFd ours(pair[0]);
    const UniqueFd other(pair[1]);
    try {
      auto peer = Tcp::Peer::Create(
          ours.get(), Pistache::Address(Pistache::Ipv4::loopback(), Pistache::Port(0)));
      peer->putData(kNudgeKey, mark);
      worker->handleNewPeer(peer);
      ours.Release();  // the worker closes it
    } catch (...) {    // no memory now: the next tick tries again
    }
  }
}

PistacheHandler::PistacheHandler(std::shared_ptr<Core> core, std::shared_ptr<WorkerNudge> nudge)
    : core_(std::move(core)), nudge_(std::move(nudge)) {}

void PistacheHandler::onRequest(const Pistache::Http::Request& /*request*/,
                                Pistache::Http::ResponseWriter /*response*/) {}

void PistacheHandler::onConnection(const std::shared_ptr<Tcp::Peer>& peer) {
  // Pistache looks for its parser in every peer twice a second, and throws when there is none.
  peer->putData(ParserData, std::make_shared<Pistache::Http::RequestParser>(1));
  if (WorkerNudge::IsNudge(*peer)) return;
  std::shared_ptr<Connection> connection;
  try {
    if (!known_to_nudge_) {
      nudge_->Add(transport());
      known_to_nudge_ = true;
    }
    connection = core_->OnConnect(peer->fd(), AddressOf(*peer));
    if (connection) peer->putData(kConnectionKey, connection);
  } catch (...) {  // out of memory
    if (connection) core_->OnDisconnect(connection);
    connection = nullptr;
  }
  // The worker reads the end of input and drops the peer. Its descriptor is its own to close.
  if (!connection) ::shutdown(peer->fd(), SHUT_RDWR);
}

bool PistacheHandler::IsHogging(std::uint64_t connection_id) {
  const SteadyTime now = std::chrono::steady_clock::now();
  if (streak_id_ != connection_id) {
    streak_id_ = connection_id;
    streak_began_ = now;
    return false;
  }
  if (now - streak_began_ <= kMaxStreak) return false;
  streak_began_ = now;
  return true;
}

void PistacheHandler::onInput(const char* buffer, std::size_t length,
                              const std::shared_ptr<Tcp::Peer>& peer) {
  const std::shared_ptr<Connection> connection = ConnectionOf(*peer);
  if (!connection) return;
  try {
    core_->OnInput(connection, std::string_view(buffer, length), IsHogging(connection->id));
  } catch (...) {  // out of memory
    std::lock_guard lock(connection->mutex);
    connection->Kill();
  }
}

void PistacheHandler::onDisconnection(const std::shared_ptr<Tcp::Peer>& peer) {
  const std::shared_ptr<Connection> connection = ConnectionOf(*peer);
  if (!connection) return;
  try {
    core_->OnDisconnect(connection);
  } catch (...) {  // out of memory for a log line
  }
}

}  // namespace forkbox::http
