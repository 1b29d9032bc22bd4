#include "api/http/pistache_handler.h"

#include <fcntl.h>
#include <pistache/peer.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
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

std::shared_ptr<Connection> WorkerNudge::Called(const Tcp::Peer& peer) {
  const auto data = std::static_pointer_cast<Weak>(peer.tryGetData(kNudgeKey));
  return data ? data->lock() : nullptr;
}

void WorkerNudge::GiveTo(Tcp::Transport& worker, const std::shared_ptr<Connection>& connection) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) return;
  UniqueFd ours(pair[0]);
  const UniqueFd other(pair[1]);
  try {
    auto peer = Tcp::Peer::Create(ours.get(),
                                  Pistache::Address(Pistache::Ipv4::loopback(), Pistache::Port(0)));
    peer->putData(kNudgeKey, std::make_shared<Weak>(connection));  // cannot be null
    worker.handleNewPeer(peer);
    ours.Release();  // the worker closes it
  } catch (...) {    // no memory now: the next tick tries again
  }
}

void WorkerNudge::Nudge() {
  std::lock_guard lock(mutex_);
  for (Tcp::Transport* worker : workers_) GiveTo(*worker, nullptr);
}

void WorkerNudge::Call(Tcp::Transport* worker, const std::shared_ptr<Connection>& connection) {
  std::lock_guard lock(mutex_);
  if (std::find(workers_.begin(), workers_.end(), worker) == workers_.end()) return;
  GiveTo(*worker, connection);
}

PistacheReader::PistacheReader(Tcp::Transport& worker, std::shared_ptr<WorkerNudge> nudge)
    : worker_(worker), nudge_(std::move(nudge)), thread_(std::this_thread::get_id()) {}

bool PistacheReader::IsThisThread() const { return std::this_thread::get_id() == thread_; }

UniqueFd PistacheReader::LetGo(int peer_fd) {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) return {};
  const UniqueFd silent(pair[0]);
  UniqueFd hold(pair[1]);
  // Before the number means something else: epoll(7) watches what is behind it.
  worker_.reactor()->removeFd(worker_.key(), peer_fd);
  // Cannot fail with two open descriptors, but for a race with open(2) in the same slot.
  while (::dup3(silent.get(), peer_fd, O_CLOEXEC) < 0) {
  }
  worker_.reactor()->registerFd(
      worker_.key(), peer_fd,
      Pistache::Polling::NotifyOn::Read | Pistache::Polling::NotifyOn::Shutdown,
      Pistache::Polling::Mode::Edge);
  return hold;
}

void PistacheReader::Call(const std::shared_ptr<Connection>& connection) {
  nudge_->Call(&worker_, connection);
}

PistacheHandler::PistacheHandler(std::shared_ptr<Core> core, std::shared_ptr<WorkerNudge> nudge)
    : core_(std::move(core)), nudge_(std::move(nudge)) {}

void PistacheHandler::onRequest(const Pistache::Http::Request& /*request*/,
                                Pistache::Http::ResponseWriter /*response*/) {}

void PistacheHandler::onConnection(const std::shared_ptr<Tcp::Peer>& peer) {
  // Pistache looks for its parser in every peer twice a second, and throws when there is none.
  peer->putData(ParserData, std::make_shared<Pistache::Http::RequestParser>(1));
  if (WorkerNudge::IsNudge(*peer)) {
    if (const auto called = WorkerNudge::Called(*peer)) core_->OnCalled(called);
    return;
  }
  std::shared_ptr<Connection> connection;
  try {
    if (!reader_) {
      auto reader = std::make_shared<PistacheReader>(*transport(), nudge_);
      nudge_->Add(transport());
      reader_ = std::move(reader);
    }
    connection = core_->OnConnect(
        {.peer_fd = peer->fd(), .reader = reader_, .client_address = AddressOf(*peer)});
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
