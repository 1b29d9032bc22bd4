#include "runner/execd/agent_pool.h"

#include <poll.h>

#include <limits>
#include <utility>

namespace forkbox::execd {
namespace {

constexpr std::size_t kMaxIdle = 4;
constexpr std::size_t kMaxBusy = 32;
constexpr std::size_t kMaxLeashes = 8;

constexpr std::size_t MaxBusy(AgentPool::Use use) {
  switch (use) {
    case AgentPool::Use::kListing:
      return 2;
    case AgentPool::Use::kUpload:
      return 24;
    case AgentPool::Use::kShort:
      break;
  }
  return std::numeric_limits<std::size_t>::max();
}

tl::unexpected<Error> Paused() { return Fail(ErrorCode::kUnavailable, "the sandbox is paused"); }

}  // namespace

Result<AgentPool::Lease> AgentPool::Take(Deadline deadline, Use use) {
  if (box_.Frozen()) return Paused();
  std::vector<std::unique_ptr<Agent>> of_no_use;  // ended without the lock
  std::unique_ptr<Agent> agent;
  {
    std::unique_lock lock(mutex_);
    std::size_t& busy_alike = busy_by_use_[static_cast<std::size_t>(use)];
    const bool free = freed_.wait_until(
        lock, deadline, [&] { return busy_ < kMaxBusy && busy_alike < MaxBusy(use); });
    if (!free) {
      return Fail(ErrorCode::kUnavailable,
                  use == Use::kListing ? "too many listings at once in this sandbox"
                                       : "too many file operations at once in this sandbox");
    }
    ++busy_;
    ++busy_alike;
    ForgetEnded();
    while (agent == nullptr && !idle_.empty()) {
      agent = std::move(idle_.back());
      idle_.pop_back();
      if (!agent->link.Quiet()) of_no_use.push_back(std::move(agent));
    }
  }
  Lease lease(this, std::move(agent), use);
  if (!box_.Alive()) return Fail(ErrorCode::kUnavailable, "the sandbox has ended");
  if (box_.Frozen()) {
    lease.Release();
    return Paused();
  }
  if (lease.agent_ != nullptr) return lease;
  sandbox::BoxProgram program;
  program.kind = sandbox::BoxProgram::Kind::kAgent;
  auto process = box_.Start(program);
  if (!process) return Fail(process.error());
  if (!process->channel) return Fail(ErrorCode::kInternal, "the file agent has no channel");
  // What else there is of it is of no interest: it says nothing there, and its channel ends too.
  lease.agent_ = std::make_unique<Agent>(
      Agent{std::move(process->stdin_pipe), AgentLink(std::move(process->channel))});
  return lease;
}

void AgentPool::GiveUp(std::unique_ptr<Agent> agent) {
  if (agent == nullptr || !box_.Frozen()) return;
  UniqueFd leash = std::move(agent->leash);
  agent.reset();
  const std::lock_guard lock(mutex_);
  ForgetEnded();
  if (leashes_.size() == kMaxLeashes) leashes_.erase(leashes_.begin());
  leashes_.push_back(std::move(leash));
}

void AgentPool::ForgetEnded() {
  std::erase_if(leashes_, [](const UniqueFd& leash) {
    pollfd polled{leash.get(), 0, 0};  // an error: nobody is at the other end
    return ::poll(&polled, 1, 0) != 0;
  });
}

void AgentPool::Lease::Release() {
  if (pool_ == nullptr || agent_ == nullptr) return;
  const std::lock_guard lock(pool_->mutex_);
  if (pool_->idle_.size() < kMaxIdle) pool_->idle_.push_back(std::move(agent_));
}

void AgentPool::Lease::Drop() {
  if (pool_ == nullptr) return;
  std::vector<std::unique_ptr<Agent>> dropped;
  {
    const std::lock_guard lock(pool_->mutex_);
    dropped.swap(pool_->idle_);
  }
  Close();
}

void AgentPool::Lease::Close() {
  AgentPool* const pool = std::exchange(pool_, nullptr);
  if (pool == nullptr) return;
  pool->GiveUp(std::move(agent_));
  {
    const std::lock_guard lock(pool->mutex_);
    --pool->busy_;
    --pool->busy_by_use_[static_cast<std::size_t>(use_)];
  }
  pool->freed_.notify_all();
}

}  // namespace forkbox::execd
