#include "runner/sandbox/process_box.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>
#include <chrono>
#include <string>
#include <string_view>
#include <utility>

#include "runner/sandbox/cgroup_numbers.h"
#include "runner/sandbox/template/job_wire.h"

namespace forkbox::sandbox {
namespace {

using std::chrono::seconds;
using std::chrono::steady_clock;

// For the thaw of a frozen box, for a lazy template to come up, and for a fork that was caught by a
// freeze.
constexpr seconds kStartPatience{10};
constexpr seconds kFreezePatience{5};

// Whole, or not in time: the child may be frozen, or killed by a neighbour.
bool SendJob(int channel, std::string_view frame) {
  const timeval patience{kStartPatience.count(), 0};
  const timeval for_ever{};
  ::setsockopt(channel, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  while (!frame.empty()) {
    const ssize_t n = ::send(channel, frame.data(), frame.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    frame.remove_prefix(static_cast<std::size_t>(n));
  }
  ::setsockopt(channel, SOL_SOCKET, SO_SNDTIMEO, &for_ever, sizeof for_ever);
  return true;
}

}  // namespace

ProcessBox::ProcessBox(ForkserverClient* client, OpenedBox place, const BoxLimits& limits,
                       Planner planner, std::function<void()> closed)
    : client_(client),
      number_(place.number),
      limits_(limits),
      planner_(std::move(planner)),
      closed_(std::move(closed)),
      place_(std::move(place)) {}

ProcessBox::~ProcessBox() {
  End();
  if (closed_) closed_();
}

Result<BoxProcess> ProcessBox::Start(const BoxProgram& program) {
  auto plan = planner_(program);
  if (!plan) return Fail(plan.error());
  const std::string frame = EncodeJob(plan->job, {});
  if (frame.size() > kMaxJobFrameBytes) {
    return Fail(ErrorCode::kInvalidArgument, "the program's arguments are too long");
  }
  {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, kStartPatience, [this] { return !frozen_ || ended_; });
    if (ended_) return Fail(ErrorCode::kUnavailable, "the box has ended");
    if (frozen_) return Fail(ErrorCode::kUnavailable, "the box is frozen");
  }
  auto joined = client_->Join(number_, plan->template_index, steady_clock::now() + kStartPatience);
  if (!joined) return Fail(joined.error());
  ReadyFork& fork = joined->fork;
  if (!SendJob(fork.channel.get(), frame)) {
    return Fail(ErrorCode::kUnavailable, "the fork did not take its job");
  }
  if (!plan->channel) fork.channel.Reset();
  BoxProcess process;
  process.status = std::move(fork.status);
  process.channel = std::move(fork.channel);
  process.stdin_pipe = std::move(fork.stdin_pipe);
  process.stdout_pipe = std::move(fork.stdout_pipe);
  process.stderr_pipe = std::move(fork.stderr_pipe);
  process.pid = joined->pid;
  return process;
}

Result<void> ProcessBox::Freeze() {
  std::lock_guard one(freezing_);
  {
    std::lock_guard lock(mutex_);
    if (ended_) return Fail(ErrorCode::kUnavailable, "the box has ended");
    if (frozen_) return {};
    frozen_ = true;  // first, so that nothing is started into what is about to stand still
  }
  auto frozen = client_->Freeze(number_, steady_clock::now() + kFreezePatience);
  if (frozen) return {};
  (void)client_->Thaw(number_, steady_clock::now() + kFreezePatience);
  {
    std::lock_guard lock(mutex_);
    frozen_ = false;
  }
  changed_.notify_all();
  return frozen;
}

Result<void> ProcessBox::Thaw() {
  std::lock_guard one(freezing_);
  {
    std::lock_guard lock(mutex_);
    if (ended_) return Fail(ErrorCode::kUnavailable, "the box has ended");
    if (!frozen_) return {};
  }
  auto thawed = client_->Thaw(number_, steady_clock::now() + kFreezePatience);
  if (!thawed) return thawed;
  {
    std::lock_guard lock(mutex_);
    frozen_ = false;
  }
  changed_.notify_all();
  return {};
}

bool ProcessBox::Frozen() const {
  std::lock_guard lock(mutex_);
  return frozen_ && !ended_;
}

void ProcessBox::End() {
  {
    std::lock_guard lock(mutex_);
    if (ended_) return;
    ended_ = true;
    last_usage_ = UsageNow();
    last_usage_.memory_bytes = 0;
    place_ = {};  // the lease is the order
  }
  changed_.notify_all();
}

BoxUsage ProcessBox::UsageNow() const {
  BoxUsage usage;
  usage.cpu_us = static_cast<std::uint64_t>(
      CpuUsed(place_.cpu_usage.get()).value_or(std::chrono::microseconds(0)).count());
  usage.memory_bytes = PlainNumber(place_.memory_now.get());
  usage.memory_peak_bytes = PlainNumber(place_.memory_peak.get());
  usage.memory_limit_bytes = limits_.memory_bytes;
  usage.oom_kills = OomKills(place_.memory_events.get());
  return usage;
}

BoxUsage ProcessBox::Usage() const {
  std::lock_guard lock(mutex_);
  return ended_ ? last_usage_ : UsageNow();
}

bool ProcessBox::Alive() const {
  std::lock_guard lock(mutex_);
  if (ended_) return false;
  // Whatever comes through the lease says that the place is gone.
  pollfd polled{place_.lease.get(), POLLIN, 0};
  return ::poll(&polled, 1, 0) == 0;
}

}  // namespace forkbox::sandbox
