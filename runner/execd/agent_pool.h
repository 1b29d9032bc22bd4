// The agents of one box: a few idle ones are kept, others are started when they are needed.
//
// Thread-safe. A lease must not outlive its pool.
#pragma once

#include <array>
#include <condition_variable>
#include <cstddef>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "runner/execd/agent_link.h"
#include "runner/sandbox/box.h"

namespace forkbox::execd {

class AgentPool {
  // `leash` is the agent's standard input, by whose end it is killed, even while it is stopped
  // (ForkHooks::leashed). It hears from us first that it is over.
  struct Agent {
    UniqueFd leash;
    AgentLink link;
  };

 public:
  // The box must outlive it.
  explicit AgentPool(sandbox::Box& box) : box_(box) {}

  // What one is taken for: uploads may take as long as their senders, listings as much memory as is
  // allowed for one. Few of either at once; the rest is for the rest.
  enum class Use { kShort, kListing, kUpload };

  // One agent, for one user at a time. Given back as it was taken when it was released; else it is
  // killed, wherever it was.
  class Lease {
   public:
    Lease(AgentPool* pool, std::unique_ptr<Agent> agent, Use use)
        : pool_(pool), agent_(std::move(agent)), use_(use) {}
    Lease(Lease&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)),
          agent_(std::move(other.agent_)),
          use_(other.use_) {}
    Lease& operator=(Lease&&) = delete;
    ~Lease() { Close(); }

    AgentLink& operator*() const { return agent_->link; }
    AgentLink* operator->() const { return &agent_->link; }
    // It has answered and waits for the next request.
    void Release();
    // It is of no use any more; and the idle ones, which may have been stopped with it, neither.
    // Nothing is waited for.
    void Drop();

   private:
    friend class AgentPool;
    void Close();
    AgentPool* pool_;
    std::unique_ptr<Agent> agent_;
    Use use_;
  };

  // kUnavailable: the box has ended or is frozen, cannot start one, or too many were busy until the
  // deadline.
  Result<Lease> Take(Deadline deadline, Use use = Use::kShort);

 private:
  // Some of an agent that was given up. It is killed; in a frozen box it may have something to
  // clean up first, so there it lives until it has seen its channel's end, after the thaw.
  void GiveUp(std::unique_ptr<Agent> agent);
  void ForgetEnded();  // with mutex_

  sandbox::Box& box_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<std::unique_ptr<Agent>> idle_;  // by mutex_, as all below
  std::vector<UniqueFd> leashes_;             // of those given up in a frozen box, oldest first
  std::size_t busy_ = 0;
  std::array<std::size_t, 3> busy_by_use_{};
};

}  // namespace forkbox::execd
