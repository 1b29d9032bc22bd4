#include "api/http/hub.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>
#include <utility>

namespace forkbox::http {
namespace {

constexpr std::uint64_t kWakeId = 0;  // connections count from 1
constexpr rlim_t kMaxDescriptors = 1U << 20;

}  // namespace

Hub::Hub(std::size_t max_connections, Callbacks callbacks)
    : max_connections_(max_connections), callbacks_(std::move(callbacks)) {}

Hub::~Hub() { Stop(); }

Result<void> Hub::Start() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return FailErrno("getrlimit RLIMIT_NOFILE");
  first_duplicate_ = static_cast<int>(std::min(limit.rlim_cur, kMaxDescriptors) / 2);
  epoll_ = UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_) return FailErrno("epoll_create1");
  wake_ = UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_) return FailErrno("eventfd");
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = kWakeId;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, wake_.get(), &event) != 0) {
    return FailErrno("epoll_ctl");
  }
  try {
    thread_ = std::thread([this] { Run(); });
  } catch (const std::system_error& error) {
    return Fail(ErrorCode::kInternal, std::string("http hub thread: ") + error.what());
  }
  return {};
}

void Hub::Stop() {
  refusing_ = true;
  stopping_ = true;
  if (!thread_.joinable()) return;
  const std::uint64_t one = 1;
  // An eventfd refuses only at 2^64-2; the tick comes around anyway.
  if (::write(wake_.get(), &one, sizeof one) < 0) errno = 0;
  thread_.join();
}

UniqueFd Hub::MoveUp(UniqueFd fd) const {
  UniqueFd moved(::fcntl(fd.get(), F_DUPFD_CLOEXEC, first_duplicate_));
  return moved ? std::move(moved) : std::move(fd);
}

std::shared_ptr<Connection> Hub::Add(Connection::Origin origin) {
  if (refusing_) return nullptr;
  UniqueFd socket(::fcntl(origin.peer_fd, F_DUPFD_CLOEXEC, first_duplicate_));
  if (!socket) return nullptr;
  RequestParser parser = callbacks_.new_parser();
  std::lock_guard lock(mutex_);
  if (refusing_ || connections_.size() >= max_connections_) return nullptr;
  const std::uint64_t id = ++last_id_;
  auto connection = std::make_shared<Connection>(id, std::move(socket), std::move(origin), *this,
                                                 std::move(parser));
  connections_.emplace(id, connection);
  size_ = connections_.size();
  return connection;
}

void Hub::Forget(const Connection& connection) {
  std::shared_ptr<Connection> last;  // dies after the lock is released
  std::lock_guard lock(mutex_);
  const auto found = connections_.find(connection.id);
  if (found == connections_.end()) return;
  last = std::move(found->second);
  connections_.erase(found);
  size_ = connections_.size();
}

std::vector<std::shared_ptr<Connection>> Hub::Snapshot() const {
  std::vector<std::shared_ptr<Connection>> all;
  std::lock_guard lock(mutex_);
  all.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) all.push_back(connection);
  return all;
}

void Hub::Watch(Connection& connection) {
  epoll_event event{};
  event.events = EPOLLONESHOT;
  if (!connection.output.empty()) event.events |= EPOLLOUT;
  if (connection.lingering() && !connection.input_ended) event.events |= EPOLLIN;
  event.data.u64 = connection.id;
  const int operation = connection.watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (::epoll_ctl(epoll_.get(), operation, connection.socket_.get(), &event) == 0) {
    connection.watched = true;
  } else {
    connection.Kill();  // ENOMEM, or max_user_watches: nobody would ever finish this
  }
}

void Hub::OnReady(std::uint64_t id) {
  std::shared_ptr<Connection> connection;
  {
    std::lock_guard lock(mutex_);
    const auto found = connections_.find(id);
    if (found != connections_.end()) connection = found->second;
  }
  if (connection == nullptr) return;
  bool resume = false;
  {
    std::lock_guard lock(connection->mutex);
    connection->Flush();
    if (connection->lingering()) return connection->DropInput();
    if (connection->paused && connection->output.empty()) {
      connection->paused = false;
      resume = !connection->gone;
    }
  }
  if (resume) callbacks_.on_resume(connection);
}

void Hub::Run() {
  using std::chrono::steady_clock;
  std::array<epoll_event, 256> events{};
  steady_clock::time_point next_tick = steady_clock::now() + kTick;
  while (!stopping_) {
    const auto wait =
        std::chrono::ceil<std::chrono::milliseconds>(next_tick - steady_clock::now()).count();
    const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()),
                                   static_cast<int>(std::max<long>(wait, 0)));
    for (int i = 0; i < count; ++i) {
      const std::uint64_t id = events[static_cast<std::size_t>(i)].data.u64;
      if (id != kWakeId) OnReady(id);
    }
    if (steady_clock::now() < next_tick) continue;
    next_tick = steady_clock::now() + kTick;
    try {
      callbacks_.on_tick();
    } catch (...) {  // out of memory: the next tick tries again
    }
  }
}

}  // namespace forkbox::http
