#include "queue/amqp_link.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <utility>

#include "base/check.h"

namespace forkbox::queue {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds kShortestRetry{50};
constexpr milliseconds kLongestRetry{5'000};
// A connection that lived shorter than this counts as one more failure.
constexpr std::chrono::seconds kStable{5};
// Frames read before Work() gets its turn: a flood of messages must not keep acknowledgements from
// going out.
constexpr int kMaxFramesPerTurn = 128;
constexpr milliseconds kLinger{1'000};  // for the last words, at the end

// So that many processes do not come back to a restarted broker at the same instant.
milliseconds RetryDelay(int failures) {
  const milliseconds longest =
      std::min(kLongestRetry, kShortestRetry * (1 << std::min(failures, 7)));
  static thread_local std::minstd_rand random{std::random_device{}()};
  return milliseconds(std::uniform_int_distribution<milliseconds::rep>(longest.count() / 2,
                                                                       longest.count())(random));
}

}  // namespace

AmqpLink::AmqpLink(AmqpAddress address, std::string name, AmqpLinkHandler& handler, Log log)
    : address_(std::move(address)),
      name_(std::move(name)),
      handler_(handler),
      log_(log.With({{"link", name_}})),
      wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      down_(Error{ErrorCode::kUnavailable, "not connected yet"}),
      down_since_(steady_clock::now()) {
  FORKBOX_CHECK(wake_.valid());
}

AmqpLink::~AmqpLink() { Stop(); }

void AmqpLink::Start() {
  thread_ = std::thread([this] { Run(); });
}

void AmqpLink::Stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  Wake();
  thread_.join();
}

void AmqpLink::Wake() {
  if (awake_.exchange(true)) return;
  const std::uint64_t one = 1;
  FORKBOX_CHECK(::write(wake_.get(), &one, sizeof(one)) == sizeof(one));
}

Result<void> AmqpLink::Status() const { return StatusAfter(milliseconds(0)); }

Result<void> AmqpLink::StatusAfter(milliseconds grace) const {
  const std::lock_guard lock(mutex_);
  if (!down_ || steady_clock::now() < down_since_ + grace) return {};
  return Fail(ErrorCode::kUnavailable, down_->message);
}

Result<void> AmqpLink::WaitUntilUp(Deadline deadline) const {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, deadline,
                      [&] { return !down_ || down_->code == ErrorCode::kUnauthenticated; });
  if (down_) return Fail(*down_);
  return {};
}

void AmqpLink::Run() {
  Deadline end = Deadline::max();
  for (;;) {
    const SteadyTime now = steady_clock::now();
    if (stopping_ && end == Deadline::max()) end = now + kLinger;
    if (connection_ == nullptr && !stopping_ && now >= retry_at_) Connect();
    const Result<AmqpLinkHandler::Turn> turn = Serve();
    if (!turn) {
      Lose(turn.error());
      continue;
    }
    if (stopping_ && (connection_ == nullptr || turn->idle || now >= end)) break;
    Sleep(*turn, connection_ == nullptr ? retry_at_ : end);
  }
  if (connection_ != nullptr) connection_->Close();
  Lose(Error{ErrorCode::kUnavailable, "closed"});
}

void AmqpLink::Connect() {
  Result<std::unique_ptr<AmqpConnection>> connection =
      AmqpConnection::Open(address_, "forkbox " + name_);
  if (!connection) return Failed(connection.error());
  connection_ = std::move(*connection);
  if (const Result<void> ready = handler_.SetUp(*connection_); !ready) return Lose(ready.error());
  up_since_ = steady_clock::now();
  readable_ = true;  // something may have come with the answers, where poll() does not see it
  log_.Info("broker.connected", {{"broker", address_.ToString()}});
  const std::lock_guard lock(mutex_);
  down_.reset();
  changed_.notify_all();
}

Result<AmqpLinkHandler::Turn> AmqpLink::Serve() {
  const SteadyTime now = steady_clock::now();
  // Also with nothing to read, for the heartbeats.
  if (connection_ != nullptr && (readable_ || now >= read_at_ + AmqpConnection::kHeartbeat / 4)) {
    read_at_ = now;
    int frames = 0;
    do {
      ++frames;
      Result<std::optional<AmqpEvent>> event = connection_->Read();
      if (!event) return Fail(event.error());
      if (!*event) continue;
      if (auto handled = handler_.OnEvent(*connection_, std::move(**event)); !handled) {
        return Fail(handled.error());
      }
    } while (frames < kMaxFramesPerTurn && connection_->HasBuffered());
  }
  return handler_.Work(connection_.get());
}

void AmqpLink::Sleep(const AmqpLinkHandler::Turn& turn, Deadline until) {
  pollfd fds[2] = {{.fd = wake_.get(), .events = POLLIN, .revents = 0},
                   {.fd = -1, .events = POLLIN, .revents = 0}};
  until = std::min(until, turn.next);
  if (connection_ != nullptr) {
    fds[1].fd = connection_->fd();
    if (turn.wants_to_write) fds[1].events |= POLLOUT;
    until = std::min(until, read_at_ + AmqpConnection::kHeartbeat / 4);
    // What this turn left there, poll() does not see.
    if (connection_->HasBuffered()) until = steady_clock::now();
  }
  const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
  ::poll(fds, std::size(fds),
         static_cast<int>(std::clamp<milliseconds::rep>(left.count(), 0, kLongestRetry.count())));
  readable_ =
      (fds[1].revents & ~POLLOUT) != 0 || (connection_ != nullptr && connection_->HasBuffered());
  if (fds[0].revents != 0) {
    std::uint64_t count = 0;
    FORKBOX_CHECK(::read(wake_.get(), &count, sizeof(count)) == sizeof(count));
    // From here on a Wake() writes again; what it was called for before is seen by this turn.
    awake_ = false;
  }
}

void AmqpLink::Lose(const Error& why) {
  const bool was_up = connection_ != nullptr && Status().has_value();
  connection_.reset();
  // At once after a connection that has lasted: most often it is back by then.
  if (was_up && steady_clock::now() - up_since_ >= kStable) failures_ = 0;
  Failed(why);
  handler_.OnLost(why);
}

void AmqpLink::Failed(const Error& why) {
  retry_at_ = steady_clock::now() + RetryDelay(failures_++);
  bool news = false;
  {
    const std::lock_guard lock(mutex_);
    news = !down_ || failures_ == 1;
    if (!down_) down_since_ = steady_clock::now();
    down_ = why;
    changed_.notify_all();
  }
  // Once per outage; each try would fill the log.
  if (stopping_ || !news) {
    log_.Debug("broker.unavailable", {{"error", why.message}});
  } else {
    log_.Warn("broker.unavailable", {{"error", why.message}});
  }
}

}  // namespace forkbox::queue
