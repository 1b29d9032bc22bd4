#include "runner/execd/agent_pool.h"

#include <utility>

namespace forkbox::execd {
namespace {

constexpr std::size_t kMaxIdle = 4;
constexpr std::size_t kMaxBusy = 32;
constexpr std::size_t kMaxLong = 24;

}  // namespace

Result<AgentPool::Lease> AgentPool::Take(Deadline deadline, bool is_long) {
  std::unique_ptr<AgentLink> link;
  {
    std::unique_lock lock(mutex_);
    const bool free = freed_.wait_until(
        lock, deadline, [&] { return busy_ < kMaxBusy && (!is_long || long_ < kMaxLong); });
    if (!free) {
      return Fail(ErrorCode::kUnavailable, "too many file operations at once in this sandbox");
    }
    ++busy_;
    if (is_long) ++long_;
    while (link == nullptr && !idle_.empty()) {
      link = std::move(idle_.back());
      idle_.pop_back();
      if (!link->Quiet()) link.reset();
    }
  }
  Lease lease(this, std::move(link), is_long);
  if (lease.link_ != nullptr) return lease;
  if (!box_.Alive()) return Fail(ErrorCode::kUnavailable, "the sandbox has ended");
  sandbox::BoxProgram program;
  program.kind = sandbox::BoxProgram::Kind::kAgent;
  auto process = box_.Start(program);
  if (!process) return Fail(process.error());
  if (!process->channel) return Fail(ErrorCode::kInternal, "the file agent has no channel");
  // Its streams and its end are of no interest: it says nothing there, and its channel ends too.
  lease.link_ = std::make_unique<AgentLink>(std::move(process->channel));
  return lease;
}

void AgentPool::Lease::Release() {
  if (pool_ == nullptr || link_ == nullptr) return;
  const std::lock_guard lock(pool_->mutex_);
  if (pool_->idle_.size() < kMaxIdle) pool_->idle_.push_back(std::move(link_));
}

void AgentPool::Lease::Drop() {
  std::vector<std::unique_ptr<AgentLink>> dropped;  // closed without the lock
  link_.reset();
  if (pool_ == nullptr) return;
  {
    const std::lock_guard lock(pool_->mutex_);
    dropped.swap(pool_->idle_);
  }
  Close();
}

void AgentPool::Lease::Close() {
  link_.reset();
  AgentPool* const pool = std::exchange(pool_, nullptr);
  if (pool == nullptr) return;
  {
    const std::lock_guard lock(pool->mutex_);
    --pool->busy_;
    if (is_long_) --pool->long_;
  }
  pool->freed_.notify_all();
}

}  // namespace forkbox::execd
